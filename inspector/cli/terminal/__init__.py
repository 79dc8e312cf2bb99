"""The output and questions of the commands: console, tables, names."""
