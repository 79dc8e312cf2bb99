"""Streaming inspection of parts on a factory line: frame in, verdict out, nothing lost."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("inspector")
except PackageNotFoundError:  # a source tree on PYTHONPATH, never an installed product
    __version__ = "0.0.0+source"
