"""Good images: found in folders, decoded, prepared, and kept on disk during an enrolment."""
