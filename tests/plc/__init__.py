"""A simulated PLC at a simulated line: it speaks only `docs/gate.md`, and accounts for every part at the end."""
