"""How each head is fitted. The file that scores it has the same name in `vision/heads`."""
