"""What AstroYOLO stands on is named whole: constraints.txt, constraints-oldest.txt and pyproject.toml agree."""

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TOOLS = ("docs", "fuzz", "peers", "dev")  # extras of which the newest alone counts
HELD_BACK = {"pyparsing"}  # in constraints-oldest.txt without being a dependency


def requirements(*left_out: str) -> list[Requirement]:
    extras = PROJECT["optional-dependencies"]
    return [Requirement(text) for text in (*PROJECT["dependencies"], *(t for e in extras if e not in left_out for t in extras[e]))]


def pins(name: str) -> dict[str, Version]:
    """Name -> version of each line of a constraints file."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    assert all(line.count("==") == 1 for line in lines)
    return {canonicalize_name(line.split("==")[0]): Version(line.split("==")[1]) for line in lines}


def reached(wanted: list[Requirement]) -> set[str]:
    """The names of what is installed of these, and of all that it needs here."""
    names, left, looked = set(), [(one.name, frozenset(one.extras)) for one in wanted], set()
    while left:
        name, extras = left.pop()
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        names.add(canonicalize_name(name))
        for one in map(Requirement, needs):
            needed = one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras | {""})
            if needed and (one.name, frozenset(one.extras)) not in looked:
                looked.add((one.name, frozenset(one.extras)))
                left.append((one.name, frozenset(one.extras)))
    return names


@pytest.mark.skipif(sys.platform != "linux", reason="other systems need some packages more")
def test_everything_that_the_tests_install_is_pinned():
    if any(version(name) != str(pinned) for name, pinned in pins("constraints.txt").items() if name in ("astropy", "onnxruntime")):
        pytest.skip("other versions than the pinned ones are installed, which need other packages")
    wanted = requirements(*(extra for extra in PROJECT["optional-dependencies"] if extra != "test"))
    names = {name for name in reached(wanted) if not name.startswith(("nvidia-", "triton", "cuda-"))}  # PyTorch's own, for GPUs
    assert len(names) > 20 and names <= set(pins("constraints.txt"))


def test_pins_are_versions_that_are_allowed():
    for name in ("constraints.txt", "constraints-oldest.txt"):
        pinned = pins(name)
        for one in requirements():
            if canonicalize_name(one.name) in pinned:
                assert one.specifier.contains(pinned[canonicalize_name(one.name)]), f"{one} in {name}"


def test_the_oldest_pins_are_the_minimum_versions():
    """And there is one minimum of each, whichever extra asks for it."""
    least = {(canonicalize_name(one.name), str(one.specifier)) for one in requirements(*TOOLS)}
    oldest = {name: version for name, version in pins("constraints-oldest.txt").items() if name not in HELD_BACK}
    assert {name: Version(bound.removeprefix(">=")) for name, bound in least} == oldest and len(least) == len(oldest)
