"""The description of the road names each of its files."""

from __future__ import annotations

import re
from pathlib import Path

from inspector.stream.pipeline import pipeline

ROOM = Path(pipeline.__file__).parent


def test_description_of_the_road_names_every_file_of_the_pipeline_and_no_other() -> None:
    named = set(re.findall(r"(?:\.\./)?\w+\.py", pipeline.__doc__ or ""))
    assert all((ROOM / name).is_file() for name in named), "files that exist"
    own = {path.name for path in ROOM.glob("*.py")} - {"__init__.py", "pipeline.py"}
    assert own <= named
