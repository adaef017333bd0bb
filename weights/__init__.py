"""The weights that ship with AstroYOLO; ``astroyolo_cli.model.checkpoint.embedded`` lists them."""
