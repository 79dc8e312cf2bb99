"""Figures of the running agent for a monitoring system: what they are (`families`), their text, and a server for it."""
