"""AstroYOLO: find and classify the stars and galaxies of survey images."""

__version__ = "0.1.0.dev0"
