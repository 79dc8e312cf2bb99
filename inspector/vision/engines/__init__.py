"""What runs the passes: protocols at the bottom, one file an engine, a factory on top."""
