"""The checks of `inspector doctor`, one module for each part of the machine or the line. They change nothing."""
