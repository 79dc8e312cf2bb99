"""Decides how long rows and files are kept: rules, holds, and the task that prunes."""
