"""Loaded products: one product, the lineup of all live ones, frames in tiles."""
