"""Routing, applied: the profile that all products share, anchors, and the index that votes."""
