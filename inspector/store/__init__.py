"""Everything that knows SQL, and the files that stand beside it: journal, pictures, dead letters."""
