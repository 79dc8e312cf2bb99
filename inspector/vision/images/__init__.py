"""From the pixels of a frame to the canvas that passes are cut from, and back."""
