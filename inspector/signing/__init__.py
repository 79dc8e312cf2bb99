"""Who vouches for a version: signing keys, what is signed, and where a version stands by its signatures. Pure."""
