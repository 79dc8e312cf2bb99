"""The brake on thresholds: a person alone moves one a little way, a second person approves the rest."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa

from inspector.config.config import Config
from inspector.errors import ArtifactError, UsageError
from inspector.operation import product_versions
from inspector.operation.opening import database_of
from inspector.operation.threshold_approval import approve_threshold
from inspector.store.tables import product_versions as versions
from inspector.training.enrol import Enrolment
from inspector.vision.artifacts.thresholds import EnrolledThreshold

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


def test_threshold_approval_itself_refuses_the_proposer_namespaces_and_no_reason(line: Config, shell: Shell) -> None:
    """Whoever calls it, the console too, can't go around what the command line asks."""
    shell(*FAR)
    (version,) = asyncio.run(product_versions.versions_of(line, "disc"))

    def refusal(by: str, reason: str = "seen it too") -> str:
        with pytest.raises(UsageError) as refused:
            asyncio.run(approve_threshold(line, version, by=by, reason=reason))
        return str(refused.value)

    for same in ("ada", "ada (login bo)", "root (sudo by ada, as the environment says)"):
        assert "somebody else has to approve it" in refusal(same)
    assert "in a user namespace" in refusal("uid 1001 in a user namespace")
    assert "reason" in refusal("bo", " ")
    assert level(shell) == 1.0
    assert asyncio.run(approve_threshold(line, version, by="bo", reason="x")).threshold != version.threshold
    assert "Nothing is proposed" in refusal("cy")


def test_threshold_that_was_proposed_from_a_namespace_is_approved_by_nobody(
    shell: Shell, as_user: Callable[[str], None]
) -> None:
    as_user("uid 1001 in a user namespace")
    assert shell(*FAR).code == 1
    as_user("bo")
    refused = shell(*APPROVE)
    assert (refused.code, "in a user namespace" in refused.err) == (2, True)
    assert level(shell) == 1.0


def rewritten(line: Config, change: Callable[[dict[str, Any]], None]) -> None:
    """What an earlier software or a hand in the database left behind."""

    async def write() -> None:
        async with database_of(line) as database, database.writing() as connection:
            manifest = dict((await connection.execute(sa.select(versions.c.manifest))).scalar_one())
            change(manifest)
            await connection.execute(sa.update(versions).values(manifest=manifest))

    asyncio.run(write())


@pytest.mark.parametrize("value", [[], [0.1]])
def test_threshold_of_a_version_with_half_a_calibration_is_a_sentence(shell: Shell, line: Config, value: Any) -> None:
    rewritten(line, lambda manifest: manifest["calibration"].update(false_reject_interval=value))
    for more in ((), ("--level", "1.1", "--reason", "x"), ("--level", "5", "--reason", "x")):
        answer = shell("products", "threshold", "disc", *more)
        assert answer.code not in (0, 70), answer.err
        assert "false_reject_interval is of another kind" in " ".join(answer.err.split())
    assert shell("products", "list").code == 0
    assert shell("products", "show", "disc").code == 0


def test_threshold_of_a_strange_calibration_is_read_or_refused(disc: Enrolment) -> None:
    """The readers know one refusal, ArtifactError; any other would be a traceback, in the console and an agent too."""
    calibration = disc.manifest["calibration"]
    for key in calibration:
        for value in (None, [], [0.1], "x", {}, -1, True, 1e308, 10**400):
            with contextlib.suppress(ArtifactError):
                known = EnrolledThreshold.of({**disc.manifest, "calibration": {**calibration, key: value}})
                for threshold in (disc.manifest["threshold"], 1e308):
                    known.to_document(threshold)
                    known.score_at(1.1)


def test_threshold_that_only_the_manifest_itself_gives_is_never_moved_to(shell: Shell, line: Config) -> None:
    """Without held-out scores the calibration is the ruler; its probes say that no image gave such a threshold."""

    def invent(manifest: dict[str, Any]) -> None:
        manifest["evidence"].pop("held_out_scores")
        manifest["calibration"]["threshold"] = 1e308

    rewritten(line, invent)
    before = shell("products", "list", "--json").document[0]["threshold"]
    for level in ("1", "1.1"):
        refused = shell("products", "threshold", "disc", "--level", level, "--reason", "x")
        assert (refused.code, "its own good images contradict" in " ".join(refused.err.split())) == (1, True), (
            refused.err
        )
    assert shell("products", "list", "--json").document[0]["threshold"] == before


def test_threshold_beyond_every_number_is_none(disc: Enrolment) -> None:
    for scores in ([1e308] * 40, [-1e308] * 20 + [1.7e308] * 40):
        with pytest.raises(ArtifactError, match="scores that no image has"):
            EnrolledThreshold.of({**disc.manifest, "evidence": {"held_out_scores": scores}})
