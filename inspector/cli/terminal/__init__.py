"""What the commands show and ask: console, tables, names, the store as a command opens it."""
