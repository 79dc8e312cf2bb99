"""RUNS the agent: builds it from its configuration, serves, drains. The composition root of the daemon."""
