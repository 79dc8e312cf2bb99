"""The ledger: verdicts, decisions and gate states as rows, and queries over them."""
