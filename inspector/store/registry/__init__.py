"""The registry: products, their versions, and the live version of each product."""
