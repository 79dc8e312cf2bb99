"""A person's OPERATION: what the command line and the console call to enrol products."""
