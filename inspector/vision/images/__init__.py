"""Brings the pixels of a frame to the canvas that passes see, and maps over the canvas back to the frame."""
