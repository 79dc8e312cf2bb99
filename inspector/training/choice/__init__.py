"""What a product's good images choose: its exposure, and its head with `--head auto`."""
