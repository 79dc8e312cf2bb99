"""KEEPS results: in the database (all SQL is here) and in the files beside it: journal, pictures, dead letters."""
