"""The brake on thresholds: a person alone moves one a little way, a second person approves the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inspector.config.config import Config

Shell = Callable[..., Any]
FAR = ("products", "threshold", "disc", "--level", "0.5", "--reason", "a scratch passed")
APPROVE = ("products", "threshold", "disc", "--approve", "--reason", "seen it too")


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda name: monkeypatch.setattr("inspector.cli.products.current_user", lambda: name)


@pytest.fixture(autouse=True)
def product(loadable: Callable[[str], int], as_user: Callable[[str], None]) -> None:
    as_user("ada")
    loadable("disc")


def level(shell: Shell) -> float:
    return float(shell("products", "threshold", "disc", "--json").document["level"])


def test_threshold_within_the_share_moves_alone_but_many_moves_lead_no_further(shell: Shell) -> None:
    move = ("products", "threshold", "disc", "--reason", "x", "--level")
    for near in ("0.8", "0.75", "1.25"):
        assert shell(*move, near).code == 0
        assert level(shell) == pytest.approx(float(near), abs=1e-3)
    further = shell(*move, "1.4")
    assert (further.code, "from 0.75 to 1.25" in further.err) == (1, True)
    assert level(shell) == pytest.approx(1.25, abs=1e-3)


def test_threshold_beyond_the_share_moves_once_somebody_else_agrees(
    shell: Shell, as_user: Callable[[str], None]
) -> None:
    asked = shell(*FAR, "--json")
    assert (asked.code, asked.document["proposed_level"], asked.document["approved_level"]) == (1, 0.5, 1.0)
    assert "--approve" in asked.err
    assert level(shell) == 1.0
    own = shell(*APPROVE)
    assert (own.code, "somebody else" in own.err) == (2, True)
    as_user("bo")
    assert shell(*APPROVE[:-1], " ").code == 2
    agreed = shell(*APPROVE, "--json")
    assert agreed.code == 0, agreed.err
    assert level(shell) == pytest.approx(0.5, abs=1e-3)
    again = shell(*APPROVE)
    assert (again.code, "Nothing is proposed" in again.err) == (2, True)


def test_threshold_that_was_approved_is_what_later_moves_are_measured_by(
    shell: Shell, as_user: Callable[[str], None]
) -> None:
    shell(*FAR)
    as_user("bo")
    shell(*APPROVE)
    assert shell("products", "threshold", "disc", "--level", "0.6", "--reason", "x").code == 0
    back = shell("products", "threshold", "disc", "--level", "1", "--reason", "x")
    assert (back.code, "from 0.375 to 0.625" in back.err) == (1, True)


def test_threshold_approval_takes_no_level_and_a_share_of_one_s_own(shell: Shell, line: Config) -> None:
    assert shell("products", "threshold", "disc", "--level", "0.5", "--approve", "--reason", "x").code == 2
    path = line.agent.state_dir.parent / "inspector.toml"
    text = path.read_text() if path.exists() else ""
    assert "[agent]" in text
    path.write_text(text.replace("[agent]\n", "[agent]\nthreshold_share = 0.5\n", 1))
    assert shell(*FAR).code == 0
