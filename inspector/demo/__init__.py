"""A line without a plant: `inspector demo` with real images and expert labels, and the simulated camera."""
