"""JUDGES: everything that `inspector run` loads to route and score frames. It uses tensors and learns nothing."""
