"""The registry: products, their versions, which one is live."""
