"""Composition root: builds the agent from its configuration, serves, drains. The only room that knows all others."""
