"""What stands in the repository about the configuration is what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from inspector.config.loading import load

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted((ROOT / "configs").glob("*.toml"))


def test_configuration_document_is_current() -> None:
    script = runpy.run_path(str(ROOT / "docs" / "write_configuration.py"))
    written = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert written == script["text"](), "run `python docs/write_configuration.py`"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_configuration_loads(path: Path) -> None:
    config = load(path)
    assert config.camera
    assert config.gate


def test_examples_are_there() -> None:
    assert {"one-camera-mqtt", "demo"} <= {path.stem for path in EXAMPLES}
