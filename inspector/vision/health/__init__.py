"""Frame health: tells a frame that does not show its part well enough to be judged, before it is scored."""
