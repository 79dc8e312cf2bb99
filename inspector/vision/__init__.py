"""JUDGES: all that `inspector run` loads to route and score frames. Knows tensors; learns nothing."""
