"""`inspector demo`: a small production line on this machine, with real images and expert labels."""
