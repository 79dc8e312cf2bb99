"""What `inspector doctor` looks at, one module per part of the machine or the line. Nothing is changed by looking."""
