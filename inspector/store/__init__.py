"""KEEPS: the database (all SQL is here), and the files beside it: journal, pictures, dead letters."""
