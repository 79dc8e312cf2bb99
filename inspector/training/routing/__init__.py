"""Routing, learnt: anchors of a product, and the products of an unlabelled folder."""
