"""Heads score frames. The code that fits a head is in the file of the same name in `training/heads`."""
