"""Learns the routing: the anchors of a product, and the products in an unlabelled folder."""
