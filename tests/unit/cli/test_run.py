"""`inspector run` loads its modules without collections of garbage, and collects again afterwards."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector.cli import run
from inspector.errors import ConfigError


@pytest.fixture
def collecting() -> Iterator[None]:
    yield
    gc.unfreeze()
    gc.enable()


@pytest.mark.usefixtures("collecting")
def test_garbage_is_collected_again_before_the_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "inspector.toml").write_text("[engine]\nname = 7\n")
    with pytest.raises(ConfigError):
        run.command(config=tmp_path / "inspector.toml")
    assert gc.isenabled()
    assert gc.get_freeze_count() > 0, "modules are set apart"


@pytest.mark.usefixtures("collecting")
def test_garbage_is_collected_again_where_a_module_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "inspector.agent.serve", None)
    with pytest.raises(ImportError):
        run.command(config=tmp_path / "inspector.toml")
    assert gc.isenabled()
