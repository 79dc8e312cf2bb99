"""Loaded products: the inspector of one product, the lineup of all live products, and frames in tiles."""
