"""RUNS the agent: builds it from its configuration, serves, and drains. This is the composition root of the daemon."""
