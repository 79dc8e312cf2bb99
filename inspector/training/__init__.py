"""LEARNS: makes a new version of a product from good images. `inspector run` never imports this room."""
