"""Choices made by trials on a product's good images: its exposure, and with `--head auto` its head."""
