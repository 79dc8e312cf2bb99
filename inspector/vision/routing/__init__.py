"""Routing finds the product of a frame: the profile that all products share, their anchors, and an index of them."""
