"""LEARNS: from good images to a new version of a product. `inspector run` never imports this room."""
