"""Simulated skies with known truth, in the layouts that training reads.

``simulate_field(rng)`` makes one field in memory; ``write_sg`` and ``write_ds`` write whole sets,
``write_injected`` windows of real frames with simulated sources in them.
"""

from astroyolo_cli.simulate.sets import write_ds, write_injected, write_sg

__all__ = ["simulate_field", "write_ds", "write_injected", "write_sg"]


def __getattr__(name: str):
    if name == "simulate_field":  # imported when first used: it brings scipy
        from astroyolo_cli.simulate.render import simulate_field

        return simulate_field
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
