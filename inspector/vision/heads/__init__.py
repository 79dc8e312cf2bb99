"""Heads, as they score. The file that fits a head has the same name in `training/heads`."""
