"""Good images: found in folders, decoded, prepared, kept on disk while they are learnt from."""
