"""Engines run the passes: `protocols` says what an engine does, each engine has one file, `factory` makes engines."""
