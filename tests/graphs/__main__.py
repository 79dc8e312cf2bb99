"""Writes all graphs, and removes those that no profile needs any more."""

from __future__ import annotations

from inspector.vision.engines.stored_graphs import FOLDER
from tests.graphs import graphs

FOLDER.mkdir(exist_ok=True)
made = graphs()
for old in FOLDER.iterdir():
    if old.name not in made:
        old.unlink()
for name, content in made.items():
    (FOLDER / name).write_bytes(content)
