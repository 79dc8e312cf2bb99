"""`inspector enroll` from end to end on drawn parts: a version, its report, more images added, wrong use answered."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inspector.config.config import Config
from inspector.enrolment import enrol_product as enrolling
from inspector.enrolment import keeping
from inspector.errors import EnrolmentError
from inspector.operation.opening import database_of
from inspector.store import audit, sqlite_connections
from inspector.training.evidence import detectability
from inspector.vision.artifacts import eyesight
from tests.unit.drawings import FakeEngine, draw, encode


@pytest.fixture(autouse=True)
def drawn(monkeypatch: pytest.MonkeyPatch, enrols_here: None) -> None:
    """An engine without a network, and few drawn defects: what is tested here is how it all hangs together."""
    monkeypatch.setattr(enrolling, "create_engine", lambda *_: FakeEngine())
    monkeypatch.setattr(detectability, "PER_CELL", 2)
    monkeypatch.setattr(detectability, "SIZES", (0.16,))
    monkeypatch.setattr(detectability, "BLIND_GRID", 2)


def folder_of_discs(path: Path, seeds: range) -> Path:
    path.mkdir()
    for seed in seeds:
        (path / f"disc-{seed}.png").write_bytes(encode(draw("disc", seed)))
    return path


def test_enroll_stores_a_version_with_its_report_then_adds_to_it(
    shell: Callable[..., Any], line: Config, enrolled: Callable[[str], int], tmp_path: Path
) -> None:
    enrolled("broken")
    first = folder_of_discs(tmp_path / "first", range(8))
    (first / "notes.bmp").write_bytes(b"x")
    made = shell("enroll", "disc", str(first), "--profile", "fast", "--exclude", "disc-7.png", "--json")
    assert made.code == 0, made.err
    document = made.document
    assert (document["version"], document["live"], document["used"]) == (1, True, 7)
    assert set(document["passes"]) == {
        "engine",
        "read",
        "hygiene",
        "choice",
        "fit",
        "anchors_and_probes",
        "detectability",
    }
    assert document["evidence"]["detectability"]["steps"]
    assert set(document["frame_health"]["not_checked"]) == {"dark", "bright", "blurred", "moved", "covered"}
    assert any("broken took no part in the routing check" in warning for warning in document["warnings"])
    page = Path(document["report"])
    assert page.parent == line.agent.state_dir / "enrolment" / "disc"
    text = page.read_text()
    wanted_ones = (
        "notes.bmp",
        "without it",
        "Blind spots",
        "of this size found",
        "What it cost",
        "data:image/jpeg",
        "30 good images are needed",
    )
    for wanted in (document["statement"].split("(")[0], *wanted_ones):
        assert wanted in text
    assert "http://" not in text.replace("http://www.w3.org", "")

    more = folder_of_discs(tmp_path / "more", range(20, 24))
    elsewhere = tmp_path / "second.html"
    added = shell("enroll", "disc", str(more), "--profile", "fast", "--add", "--report", str(elsewhere), "--json")
    assert added.code == 0, added.err
    assert (added.document["version"], added.document["used"]) == (2, 11)
    assert "version 2" in elsewhere.read_text()
    assert shell("products", "rollback", "disc", "--reason", "back").code == 0

    (first / "disc-3.png").unlink()
    lost = shell("enroll", "disc", str(more), "--add")
    assert lost.code == 1
    assert "disc-3.png" in lost.err


def test_enroll_without_a_configuration_says_where_the_product_went(shell: Callable[..., Any], tmp_path: Path) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(6))
    said = shell("enroll", "disc", str(folder), "--profile", "fast", "--no-detectability").out
    assert str(tmp_path / "xdg") in said.split("store: ")[1]
    assert shell("init").code == 0
    assert "store: " not in shell("enroll", "disc", str(folder), "--profile", "fast", "--no-detectability").out


def test_enroll_whose_report_is_killed_while_it_is_drawn_draws_it_itself(
    shell: Callable[..., Any], line: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = []

    async def dies_the_second_time(work: Callable[[Any], Any], progress: Any) -> Any:
        called.append(work)
        if len(called) == 2:
            raise EnrolmentError("The enrolment was ended by signal 9.")
        return work(progress)

    monkeypatch.setattr("inspector.enrolment.enrol_product.run_at_low_priority", dies_the_second_time)
    folder = folder_of_discs(tmp_path / "discs", range(6))
    made = shell("enroll", "disc", str(folder), "--profile", "fast", "--no-detectability", "--json")
    assert (made.code, made.document["live"], len(called)) == (0, True, 2)
    assert Path(made.document["report"]).is_file()


def test_enroll_strict_refuses_files_of_other_kinds(shell: Callable[..., Any], line: Config, tmp_path: Path) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(6))
    (folder / ".DS_Store").write_bytes(b"an operating system's own")
    quick = ("--profile", "fast", "--no-detectability", "--strict")
    assert ".DS_Store" not in shell("enroll", "disc", str(folder), *quick).err
    (folder / "seven.bmp").write_bytes(b"BM")
    refused = shell("enroll", "disc", str(folder), *quick)
    assert (refused.code, "seven.bmp: a BMP image; convert it to PNG" in refused.err) == (2, True)


def test_enroll_takes_names_that_are_not_utf8_from_the_folder_to_the_report(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(8))
    (folder / "disc-3.png").rename(os.fsdecode(os.fsencode(folder) + b"/gr\xf6\xdfe.png"))
    quick = ("--profile", "fast", "--no-detectability")
    made = shell("enroll", "disc", str(folder), *quick, "--json")
    assert made.code == 0, made.err
    shown = shell("products", "show", "disc", "--json").document["manifest"]["images"]
    assert str(folder / r"gr\xf6\xdfe.png") in [each["name"] for each in shown]
    json.dumps(shown, ensure_ascii=False).encode()  # no lone surrogate is left
    more = folder_of_discs(tmp_path / "more", range(20, 22))
    added = shell("enroll", "disc", str(more), "--add", *quick, "--exclude", r"gr\xf6\xdfe.png", "--json")
    assert added.code == 0, added.err
    assert added.document["used"] == 9


def test_enroll_names_everything_that_was_offered_and_not_taken(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(8))
    (folder / "lotB").mkdir()
    (folder / "dangling.png").symlink_to("/nonexistent/x.png")
    (folder / "[red]a.heic").write_bytes(b"\0\0\0\x18ftypheic")
    quick = ("--profile", "fast", "--no-detectability")
    made = shell("enroll", "disc", str(folder), *quick)
    assert made.code == 0, made.err
    said = " ".join(made.out.split())
    for wanted in ("8 of 11 images", "lotB: a folder", "a link to nothing, /nonexistent/x.png", "[red]a.heic: a HEIC"):
        assert wanted in said
    for name in ("[red]a.heic", "dangling.png", "lotB"):
        refused = shell("enroll", "disc", str(folder), "--strict")
        assert (refused.code, f"{folder / name}: " in refused.err) == (2, True)
        found = folder / name
        found.rmdir() if found.is_dir() else found.unlink()


def test_enroll_names_an_image_in_one_line_however_long_its_path(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(8))
    twin, broken = folder / f"{'t' * 120}.png", folder / f"{'b' * 120}.png"
    twin.write_bytes((folder / "disc-0.png").read_bytes())
    broken.write_bytes(b"no picture")
    made = shell("enroll", "disc", str(folder), "--profile", "fast", "--no-detectability")
    assert made.code == 0, made.err
    assert f"  counted once {twin}: the same image as {folder / 'disc-0.png'}\n" in made.out
    assert f"  left out {broken}: " in made.out


def test_enroll_of_pictures_that_show_nothing_is_held_back(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    (tmp_path / "gray").mkdir()
    for seed in range(12):
        noise = np.random.default_rng(seed).normal(0, 3, (120, 160, 3))
        picture = np.clip(128 + noise, 0, 255).astype(np.uint8)
        (tmp_path / "gray" / f"{seed}.png").write_bytes(encode(picture))
    held = shell("enroll", "gray", str(tmp_path / "gray"), "--profile", "fast", "--no-detectability", "--json")
    assert (held.code, held.document["live"]) == (1, False)
    assert "12 of 12 images show nothing" in held.err


@pytest.fixture
def alone(line: Config) -> None:
    """One person may move a threshold as far as they like."""
    text = Path("inspector.toml").read_text()
    Path("inspector.toml").write_text(text.replace("[agent]\n", "[agent]\nthreshold_share = 10\n", 1))


@pytest.mark.usefixtures("alone")
def test_products_threshold_moves_with_a_reason_and_says_what_is_left_of_the_promise(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(12))
    made = shell("enroll", "disc", str(folder), "--profile", "fast", "--no-detectability", "--json")
    assert made.code == 0, made.err
    born = shell("products", "threshold", "disc", "--json").document
    assert (born["level"], born["held_out"], born["held_out_above"]) == (1.0, 12, 0)
    assert born["statement"] == made.document["statement"]
    assert born["threshold"] == born["threshold_enrolled"]

    without = shell("products", "threshold", "disc", "--level", "0.5")
    assert without.code == 2
    assert "--reason" in without.err
    assert shell("products", "threshold", "disc", "--reason", "only").code == 2
    lower = shell("products", "threshold", "disc", "--level", "0.01", "--reason", "a scratch passed", "--json").document
    assert lower["level"] == pytest.approx(0.01)
    assert lower["threshold"] < born["threshold"]
    assert lower["held_out_above"] >= 1
    assert "holds no more" in lower["statement"]
    (listed,) = shell("products", "list", "--json").document
    assert listed["threshold"] == lower["threshold"]
    assert listed["threshold_moved_to_level"] == pytest.approx(0.01)
    higher = shell("products", "threshold", "disc", "--level", "2", "--reason", "too many").out
    assert "above level 2 of its enrolment" in higher
    assert "larger defects pass" in higher
    shell("products", "threshold", "disc", "--level", "1", "--reason", "as it was")
    again = shell("products", "threshold", "disc", "--json").document
    assert (again["threshold"], again["statement"]) == (born["threshold"], born["statement"])


@pytest.mark.usefixtures("alone")
def test_products_threshold_that_was_moved_is_seen_wherever_the_version_is(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(6))
    quick = ("--profile", "fast", "--no-detectability")
    assert shell("enroll", "disc", str(folder), *quick).code == 0
    shell("products", "threshold", "disc", "--level", "3", "--reason", "too many")
    for command in (("list",), ("show", "disc"), ("activate", "disc", "1", "--reason", "a try")):
        assert "level 3" in shell("products", *command).out, command
    checked = shell("doctor").out
    assert "moved to level 3" in " ".join(checked.replace("│", " ").split())
    again = shell("enroll", "disc", str(folder), *quick, "--json").document
    assert any("version 1" in each and "level 3" in each for each in again["warnings"])
    assert "level 3" in shell("products", "rollback", "disc", "--reason", "back").out


def test_enroll_add_learns_as_the_live_version_did_but_for_what_is_named_anew(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(8))
    mask = tmp_path / "mask.png"
    mask.write_bytes(encode(np.pad(np.full((80, 80, 3), 255, np.uint8), ((8, 8), (8, 8), (0, 0)))))
    as_before = ("--profile", "fast", "--exposure", "normalised", "--roi", "0.1,0.1,0.8,0.8", "--tiles", "2x1")
    as_before = (*as_before, "--mask", str(mask))
    assert shell("enroll", "disc", str(folder), *as_before, "--no-detectability", "--insist").code == 0
    more = folder_of_discs(tmp_path / "more", range(30, 33))
    added = shell("enroll", "disc", str(more), "--add", "--no-detectability", "--insist", "--json")
    assert added.code == 0, added.err
    assert any("as version 1 was" in each and "tiles 2x1" in each for each in added.document["warnings"])
    first, second = (
        shell("products", "show", "disc", "--version", str(number), "--json").document["manifest"] for number in (1, 2)
    )
    assert second["counts"]["used"] == 11
    assert second["profile"] == "fast"
    assert second["preparation"]["exposure"] == "normalised"
    for key in ("roi", "tiles", "mask", "size_px", "exposure"):
        assert second["preparation"][key] == first["preparation"][key], key
    anew = ("--add", "--tiles", "1x1", "--profile", "standard")
    third = shell("enroll", "disc", str(more), *anew, "--no-detectability", "--insist", "--json")
    assert third.code == 0, third.err
    manifest = shell("products", "show", "disc", "--json").document["manifest"]
    assert (manifest["profile"], manifest["preparation"]["tiles"]) == ("standard", [1, 1])
    assert manifest["preparation"]["roi"] == first["preparation"]["roi"]


def test_enroll_a_head_of_one_profile_refuses_another(shell: Callable[..., Any], line: Config, tmp_path: Path) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(6))
    refused = shell("enroll", "disc", str(folder), "--head", "protoad", "--profile", "fine")
    assert (refused.code, "comes in one profile, standard" in refused.err) == (2, True)


@pytest.mark.usefixtures("alone")
def test_evaluate_registry_judges_at_the_moved_threshold_and_says_so(
    shell: Callable[..., Any], line: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inspector.operation.engines.create_engine", lambda *_: FakeEngine())
    for name, seeds, defect in (("train/good", range(8), False), ("test/good", range(20, 23), False)):
        (tmp_path / "root/disc" / name).mkdir(parents=True)
        for seed in seeds:
            (tmp_path / "root/disc" / name / f"{seed}.png").write_bytes(encode(draw("disc", seed, defect=defect)))
    (tmp_path / "root/disc/test/spot").mkdir()
    (tmp_path / "root/disc/test/spot/1.png").write_bytes(encode(draw("disc", 30, defect=True)))
    quick = ("--profile", "fast", "--no-detectability")
    assert shell("enroll", "disc", str(tmp_path / "root/disc/train/good"), *quick).code == 0
    asked = ("evaluate", str(tmp_path / "root"), "--registry", "--products", "disc")
    born = shell(*asked, "--json").document["products"]["disc"]
    assert "estimate" in born["calibration"]
    shell("products", "threshold", "disc", "--level", "9", "--reason", "x")
    moved = shell(*asked, "--json").document["products"]["disc"]
    assert moved["threshold"] > born["threshold"]
    assert "moved to level 9" in moved["calibration"]
    assert "moved to level 9" in shell(*asked).out


def test_products_import_of_what_is_there_adds_no_version(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    folder = folder_of_discs(tmp_path / "discs", range(6))
    assert shell("enroll", "disc", str(folder), "--profile", "fast", "--no-detectability").code == 0
    assert shell("products", "export", "disc").code == 0
    assert shell("products", "remove", "disc", "--yes", "--reason", "no longer made").code == 0
    again = shell("products", "import", "disc-1.artifact")
    assert "version 1 was there already" in again.out
    why = ("--activate", "--reason", "made again")
    assert shell("products", "import", "disc-1.artifact", *why, "--json").document["live"]
    assert [each["version"] for each in shell("products", "list", "--all", "--json").document] == [1]


def test_enroll_of_what_the_router_takes_for_another_is_stored_but_not_live(
    shell: Callable[..., Any], line: Config, tmp_path: Path
) -> None:
    """The same parts under another name: good parts would meet a head that is not theirs."""
    discs = str(folder_of_discs(tmp_path / "discs", range(8)))
    quick = ("--profile", "fast", "--no-detectability")
    assert shell("enroll", "disc", discs, *quick).code == 0
    held = shell("enroll", "double", discs, *quick, "--json")
    assert held.code == 1
    assert (held.document["live"], held.document["version"]) == (False, 1)
    assert "good frames of" in held.document["objections"][0]
    assert "double version 1 is stored but not live: " in held.err
    assert "`inspector products activate double 1 --insist --reason" in held.err
    refused = shell("products", "activate", "double", "1", "--reason", "they are double")
    assert (refused.code, "good frames of" in refused.err, "--insist" in refused.err) == (2, True, True)
    assert "For this the version was stored but not made live" in Path(held.document["report"]).read_text()
    live = {each["product"]: each["live"] for each in shell("products", "list", "--json").document}
    assert live == {"disc": True, "double": False}
    insisted = shell("enroll", "double", discs, *quick, "--insist", "--json")
    assert (insisted.code, insisted.document["live"], insisted.document["objections"]) == (0, True, [])
    assert "good frames of" in insisted.document["insisted_on"][0]
    assert shell("enroll", "third", discs, *quick, "--shadow").code == 0


@pytest.mark.usefixtures("line")
def test_enroll_auto_says_which_head_it_is_and_why(shell: Callable[..., Any], tmp_path: Path) -> None:
    folder = folder_of_discs(tmp_path / "good", range(6))
    answer = shell("enroll", "disc", str(folder), "--head", "auto", "--profile", "fast", "--no-detectability")
    assert answer.code == 0, answer.err
    assert "chosen head: prototype (auto is the default head, because drawn defects" in " ".join(answer.out.split())


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "--camera and --count"),
        (("--count", "5"), 2, "name it with --camera"),
        (("--count", "5", "--camera", "cam77"), 2, "There is no camera 'cam77'"),
        (("--add",), 2, "There is no live version of disc"),
    ],
)
def test_enroll_wrong_use_is_answered(
    shell: Callable[..., Any], arguments: tuple[str, ...], code: int, said: str
) -> None:
    answer = shell("enroll", "disc", *arguments)
    assert answer.code == code
    assert said in " ".join(answer.err.split())


@pytest.mark.usefixtures("line")
def test_enroll_excluding_an_image_that_is_not_there_is_wrong_use(shell: Callable[..., Any], tmp_path: Path) -> None:
    folder = folder_of_discs(tmp_path / "good", range(2))
    answer = shell("enroll", "disc", str(folder), "--exclude", "disc-9.png")
    assert answer.code == 2
    assert "disc-9.png" in answer.err
    answer = shell("enroll", "disc", str(folder), "--report", str(tmp_path / "none" / "r.html"))
    assert answer.code == 2
    assert "There is no folder" in answer.err


@pytest.fixture
def locks_at_the_end(line: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[sqlite3.Connection]:
    """Somebody else writes from the moment on that the work begins."""
    monkeypatch.setattr(sqlite_connections, "BUSY_TIMEOUT_MS", 1)
    monkeypatch.setattr(keeping, "TRIED_FOR_S", 0.05)
    monkeypatch.setattr(keeping, "FIRST_PAUSE_S", 0.01)
    holder = sqlite3.connect(line.agent.state_dir / "inspector.db", isolation_level=None, check_same_thread=False)

    def engine(*_: object) -> FakeEngine:
        if not holder.in_transaction:
            holder.execute("BEGIN IMMEDIATE")
        return FakeEngine()

    monkeypatch.setattr(enrolling, "create_engine", engine)
    with contextlib.closing(holder):
        yield holder


def test_enroll_whose_database_is_locked_at_the_end_loses_no_work(
    shell: Callable[..., Any],
    enrolled: Callable[[str], int],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    enrolled("other")  # the database is there
    holder = request.getfixturevalue("locks_at_the_end")
    lost = shell("enroll", "disc", str(folder_of_discs(tmp_path / "first", range(8))), "--profile", "fast")
    assert lost.code == 1
    assert "Enrolling disc waits for the database" in lost.err
    command = re.search(r"`inspector (products import .* --activate --reason enrolled)`", lost.err)
    assert command is not None
    holder.rollback()
    assert shell(*command[1].split()).code == 0
    assert [row["live"] for row in shell("products", "list", "--json").document if row["product"] == "disc"] == [True]
    more = shell("enroll", "disc", str(folder_of_discs(tmp_path / "more", range(20, 24))), "--add", "--json")
    holder.rollback()
    assert "not known which files" not in more.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("products", "activate", "disc", "1", "--reason", "x"),
        ("products", "rollback", "disc", "--reason", "x"),
        ("products", "threshold", "disc", "--level", "0.8", "--reason", "x"),
        ("products", "remove", "disc", "--yes", "--reason", "x"),
        ("db", "hold", "add", "--product", "disc", "--reason", "x"),
        ("db", "prune"),
    ],
)
def test_change_of_a_locked_database_is_refused_with_one_sentence(
    shell: Callable[..., Any],
    line: Config,
    loadable: Callable[[str], int],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    loadable("disc")
    loadable("disc")
    if arguments[:2] == ("db", "prune"):
        Path("inspector.toml").write_text(Path("inspector.toml").read_text().replace("#events_days", "events_days"))
    monkeypatch.setattr(sqlite_connections, "BUSY_TIMEOUT_MS", 1)
    with contextlib.closing(sqlite3.connect(line.agent.state_dir / "inspector.db", isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        answer = shell(*arguments)
    sentence = "The database is locked by another process; end whatever holds it open.\n"
    assert (answer.code, answer.err) == (1, sentence)


@pytest.mark.usefixtures("line")
def test_enroll_overkill_sets_the_threshold_and_products_show_has_the_trade(
    shell: Callable[..., Any], tmp_path: Path
) -> None:
    folder = folder_of_discs(tmp_path / "good", range(24))
    made = shell("enroll", "disc", str(folder), "--profile", "fast", "--overkill", "5%", "--json")
    assert made.code == 0, made.err
    trade = made.document["evidence"]["detectability"]["trade"]
    assert [point["overkill"] for point in trade] == [0.001, 0.005, 0.01, 0.02, 0.05]
    assert [point["is_deployed"] for point in trade] == [False] * 4 + [True]
    assert made.document["overkill"] == 0.05
    (beyond,) = [each for each in made.document["warnings"] if "to sign that" in each]
    assert "to sign that 5% of good parts are rejected takes 19 held-out images (95 good images in all)" in beyond
    assert trade[-1]["level"] == pytest.approx(1.0)
    assert trade[0]["threshold"] >= trade[-1]["threshold"]
    assert made.document["evidence"]["pose"]["statement"]
    page = Path(made.document["report"]).read_text()
    assert "What another threshold would find" in page
    assert "How it lies" in page
    shown = shell("products", "show", "disc")
    assert shown.code == 0, shown.err
    text = " ".join(shown.out.split())
    assert "Drawn defects found, if more or fewer good parts may be rejected" in text
    assert "enrolled with this" in text
    assert "needs 999 images" in text
    assert "enrolled with this" in page
    assert "5% of good parts may be rejected" in page
    assert "missing piece" in text
    added = shell(
        "enroll", "disc", str(folder_of_discs(tmp_path / "more", range(40, 44))), "--add", "--no-detectability"
    )
    assert added.code == 0, added.err
    manifest = shell("products", "show", "disc", "--json").document["manifest"]
    assert manifest["calibration"]["alpha"] == 0.05


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("share", ["0", "50%", "few"])
def test_enroll_of_an_impossible_overkill_is_wrong_use(shell: Callable[..., Any], tmp_path: Path, share: str) -> None:
    answer = shell("enroll", "disc", str(folder_of_discs(tmp_path / "good", range(6))), "--overkill", share)
    assert answer.code == 2
    assert "no share of good parts to reject" in " ".join(answer.err.split())


def test_enroll_of_a_head_that_finds_hardly_any_drawn_defect_is_held_back_until_a_person_insists(
    shell: Callable[..., Any], line: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(eyesight, "BLIND_BELOW", 1.1)
    folder = folder_of_discs(tmp_path / "good", range(12))
    held = shell("enroll", "disc", str(folder), "--profile", "fast", "--json")
    assert (held.code, held.document["live"]) == (1, False)
    assert "large drawn defects" in held.err
    assert "it is all but blind" in held.document["objections"][0]
    (advised,) = [each for each in held.document["warnings"] if "What may help" in each]
    assert "from 495 good images on (95 with --overkill 5%) no margin is needed" in advised
    assert "--head auto" not in advised
    assert advised.split("What may help: ")[1] in held.document["evidence"]["eyesight"]["advice"] + "."
    assert "all but blind" in Path(held.document["report"]).read_text()

    assert ": blind" in shell("products", "list").out
    assert "all but blind" in shell("products", "show", "disc").out
    (row,) = shell("products", "list", "--json").document
    assert (row["eyesight"]["sight"], len(row["objections"])) == ("blind", 1)
    refused = shell("products", "activate", "disc", "1", "--reason", "a trial")
    assert (refused.code, refused.out) == (2, "")
    assert "all but blind" in refused.err
    assert "What may help: " in refused.err
    assert shell("products", "export", "disc", "--version", "1").code == 0
    activates = ("products", "import", "disc-1.artifact", "--activate", "--reason", "from line 2")
    assert "--insist" in shell(*activates).err
    assert not shell("products", "list", "--json").document[0]["live"]
    shell("products", "shadow", "disc", "1", "--reason", "beside")
    assert "--insist" in shell("products", "promote", "disc", "--reason", "it did well").err
    assert shell("products", "promote", "disc", "--reason", "it did well", "--insist").code == 0
    assert "all but blind" in " ".join(shell("doctor").out.split())
    made = shell("enroll", "disc", str(folder), "--profile", "fast", "--insist", "--json")
    assert (made.code, made.document["live"], len(made.document["insisted_on"])) == (0, True, 1)
    assert "--insist" in shell("products", "rollback", "disc", "--reason", "as before").err
    back = shell("products", "rollback", "disc", "--reason", "as before", "--insist")
    assert (back.code, "all but blind" in back.out) == (0, True)
    of_live = [reason for what, reason in _audited(line) if what == "product/disc/live"]
    assert [each.split(" (insisted on although ")[0] for each in of_live] == ["it did well", "enrolled", "as before"]
    assert all("all but blind" in each for each in of_live)


def _audited(line: Config) -> list[tuple[str, str]]:
    async def read() -> list[tuple[str, str]]:
        async with database_of(line) as database:
            return [(entry.object, entry.reason) for entry in await audit.entries(database)]

    return asyncio.run(read())


@pytest.mark.usefixtures("line")
def test_enroll_without_drawn_defects_says_wherever_the_version_is_that_its_eyesight_was_not_checked(
    shell: Callable[..., Any], tmp_path: Path
) -> None:
    folder = str(folder_of_discs(tmp_path / "good", range(6)))
    told = "it was not checked whether the head sees defects: no defects were drawn on its images; `enroll` without"
    made = shell("enroll", "disc", folder, "--profile", "fast", "--no-detectability")
    assert made.code == 0, made.err
    assert told in " ".join(made.out.split())
    assert "not checked" in shell("products", "list").out
    for command in (("products", "show", "disc"), ("doctor",)):
        assert told in " ".join(shell(*command).out.split()), command
    document = shell("products", "show", "disc", "--json").document
    assert document["manifest"]["evidence"]["eyesight"]["sight"] == "not_checked"
    again = shell("products", "activate", "disc", "1", "--reason", "once more")
    assert (again.code, told in again.out) == (0, True)


@pytest.mark.usefixtures("line")
def test_enroll_where_no_large_defect_can_be_drawn_is_held_back(
    shell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(detectability, "SIZES", (0.02,))
    folder = str(folder_of_discs(tmp_path / "good", range(6)))
    held = shell("enroll", "disc", folder, "--profile", "fast", "--json")
    assert (held.code, held.document["live"]) == (1, False)
    assert "no large defect could be drawn on its images" in held.document["objections"][0]
