"""Statistics on plain numbers, without images: clustering, ranking, calibration, intervals."""
