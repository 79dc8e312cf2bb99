"""Sets the limits of the frame health checks: faults are made from held-out good images and must be named rightly."""
