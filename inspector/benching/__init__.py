"""MEASURES what this machine does: the backbone alone, a whole line, many products, the highest rate in time."""
