"""An enrolment asked for without a terminal, as a console does it: words in, a stored version out, nothing printed."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.enrolment.enrolment_request import EnrolmentRequest, enrol_on_request
from inspector.errors import EnrolmentError, UsageError
from tests.unit.drawings import FakeEngine, draw, encode
from tests.unit.enrolment.test_camera_frames import give


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Config:
    """One camera that shows six discs."""
    monkeypatch.setattr("inspector.enrolment.enrol_product.create_engine", lambda *_: FakeEngine())
    give(monkeypatch, [encode(draw("disc", seed)) for seed in range(6)])
    agent = {"name": "a", "prefix": "p", "state_dir": str(tmp_path)}
    return parse({"agent": agent, "camera": [{"name": "cam1", "on_unjudged": "reject"}]}, None)


def request_of(**changes: object) -> EnrolmentRequest:
    quick = {"profile": "fast", "measures_detectability": False, "at_low_priority": False}
    return EnrolmentRequest(**{"product": "disc", "by": "ada", **quick, **changes})  # type: ignore[arg-type]  # by name


async def test_enrol_on_request_from_a_camera_stores_a_live_version_and_prints_nothing(
    line: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[tuple[int, Path]] = []
    phases: set[str] = set()
    done = await enrol_on_request(
        line, request_of(camera="cam1", count=6), lambda phase, *_: phases.add(phase), lambda *said: told.append(said)
    )
    assert (done.version.product, done.version.is_live, done.version.created_by) == ("disc", True, "ada")
    (count, folder) = told[0]
    assert count == len(list(folder.iterdir())) == done.report.n_used == 6
    assert "frames of cam1" in phases
    assert done.page.is_file()
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "")


async def test_enrol_on_request_refuses_wrong_words_before_it_listens_to_the_camera(line: Config) -> None:
    for changes, said in (
        ({"exposure": "brightest"}, "brightest"),
        ({"tiles": "many"}, "many"),
        ({"head": "protoad", "profile": "fine", "named": frozenset({"profile"})}, "comes in one profile"),
        ({"product": "a/b"}, "can't be a product's name"),
        ({"mask": Path("/dev/zero")}, "mask /dev/zero can't be read .it is no regular file"),
        ({"page": Path("/")}, "is a folder; name a file for the report"),
        ({"page": Path("/no/such/folder/r.html")}, "There is no folder /no/such/folder"),
    ):
        with pytest.raises(UsageError, match=said):
            await enrol_on_request(line, request_of(camera="cam1", count=6, **changes), lambda *_: None)
    assert not (line.agent.state_dir / "enrolment").exists()


async def test_enrol_on_request_of_what_is_no_image_says_what_was_named(line: Config) -> None:
    with pytest.raises(UsageError, match=r"taken as an image: zero \(no file but a pipe, socket or device"):
        await enrol_on_request(line, request_of(images=(Path("/dev/zero"),)), lambda *_: None)


async def test_enrol_on_request_whose_report_cant_be_written_says_that_the_version_is_live(
    line: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_a_full_disk(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("inspector.enrolment.enrol_product.write_text", on_a_full_disk)
    with pytest.raises(EnrolmentError, match=r"1 is live, but its report .*p.html can't be written .No space"):
        await enrol_on_request(line, request_of(camera="cam1", count=6, page=tmp_path / "p.html"), lambda *_: None)
