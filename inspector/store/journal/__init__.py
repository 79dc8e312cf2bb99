"""The journal: an append-only file of verdicts, written before anything is published."""
