"""Statistics that know nothing of images: clustering, ranking, calibration, intervals."""
