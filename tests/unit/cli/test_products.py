"""`inspector products`: one pointer moved, the reason in the audit, unknown names answered with the known ones."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import json
import math
import os
import re
import subprocess
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from inspector.cli.terminal import products_view
from inspector.config.config import Config
from inspector.config.loading import load
from inspector.operation.opening import database_of, registry_of
from inspector.store import audit
from inspector.training.enrol import Enrolment
from inspector.vision.artifacts.calibration import MARGIN, threshold_of
from inspector.vision.artifacts.envelope import seal, unseal
from inspector.vision.artifacts.format import pack, unpack
from inspector.vision.artifacts.thresholds import EnrolledThreshold


def _audited(line: Config) -> list[tuple[str, str | None, str]]:
    async def read() -> list[tuple[str, str | None, str]]:
        async with database_of(line) as database:
            return [(entry.object, entry.new, entry.reason) for entry in await audit.entries(database)]

    return asyncio.run(read())


def _reasons(line: Config) -> list[str]:
    return [reason for _, _, reason in _audited(line)]


@pytest.mark.usefixtures("line")
def test_products_list_of_an_empty_registry_says_how_to_begin(shell: Callable[..., Any]) -> None:
    assert shell("db", "upgrade").code == 0
    assert "inspector enroll" in shell("products", "list").out
    assert shell("products", "list", "--json").document == []


def test_products_list_shows_what_judges(shell: Callable[..., Any], enrolled: Callable[[str], int]) -> None:
    enrolled("bottle")
    enrolled("bottle")
    rows = shell("products", "list", "--json").document
    assert [(row["product"], row["version"], row["live"]) for row in rows] == [
        ("bottle", 1, False),
        ("bottle", 2, True),
    ]
    assert shell("products", "list").out.count("bottle") == 1
    assert shell("products", "list", "--all").out.count("bottle") == 2


def test_products_show_prints_the_manifest(shell: Callable[..., Any], enrolled: Callable[[str], int]) -> None:
    enrolled("bottle")
    assert "at most 1 in 20" in shell("products", "show", "bottle").out
    assert shell("products", "show", "bottle", "--json").document["manifest"]["head"] == "prototype"


def test_products_show_renders_lists_and_absent_values_in_words(
    shell: Callable[..., Any], loadable: Callable[[str], int], line: Config
) -> None:
    async def add() -> None:
        manifest = {
            "head": "prototype",
            "threshold": 2.5,
            "calibration": {"statement": "at most 1 in 20", "threshold": 2.5, "median": 1.0},
            "images": [{"name": "a.png", "is_odd": False}, {"name": "b.png", "is_odd": True}],
            "pairs": [[1, 2], [3, 4]],
            "layers": ["layer1", "layer2"],
            "notes": [],
            "roi": None,
            "options": {},
        }
        async with registry_of(line, creates=True) as registry:
            await registry.add_version("drawn", b"artifact", manifest, by="ada", activate=True)

    asyncio.run(add())
    shown = {name: value for name, _, value in (row.partition("  ") for row in _rows(shell, "drawn"))}
    assert shown["images.1.name"].strip() == "a.png"
    assert shown["images.2.is_odd"].strip() == "yes"
    assert shown["pairs"].strip() == "(1, 2), (3, 4)"
    assert shown["layers"].strip() == "layer1, layer2"
    assert shown["notes"].strip() == "none"
    assert shown["options"].strip() == "none"
    assert shown["roi"].strip() == "-"
    loadable("disc")
    for product in ("drawn", "disc"):
        for row in _rows(shell, product):
            assert not re.search(r"\{'|\['|\[\d|\[\]|\bNone$|\bTrue$|\bFalse$", row.rstrip()), row


def _rows(shell: Callable[..., Any], product: str) -> list[str]:
    return [row for row in shell("products", "show", product).out.splitlines() if row]


def test_products_activate_and_rollback_move_the_pointer_with_a_reason(
    shell: Callable[..., Any], loadable: Callable[[str], int], line: Config
) -> None:
    loadable("bottle")
    loadable("bottle")
    assert shell("products", "activate", "bottle", "1", "--reason", "the old lamp is back", "--json").document["live"]
    assert shell("products", "rollback", "bottle", "--reason", "no it isn't", "--json").document["version"] == 2
    assert {"the old lamp is back", "no it isn't"} <= set(_reasons(line))


def test_products_rollback_twice_says_what_is_live_and_never_that_nothing_was(
    shell: Callable[..., Any], loadable: Callable[[str], int]
) -> None:
    loadable("bottle")
    assert shell("products", "rollback", "bottle", "--reason", "x").err.startswith("Version 1 of bottle is live")
    loadable("bottle")
    assert shell("products", "activate", "bottle", "1", "--reason", "old lamp").code == 0
    first = " ".join(shell("products", "rollback", "bottle", "--reason", "new lamp").out.split())
    assert first.startswith(
        "bottle version 2 is live again, in place of version 1. A further rollback would make version 1 live."
    )
    second = " ".join(shell("products", "rollback", "bottle", "--reason", "older").out.split())
    assert second.startswith("bottle version 1 is live again, in place of version 2. There is no earlier version")
    third = shell("products", "rollback", "bottle", "--reason", "and again")
    said = " ".join(third.err.split())
    assert third.code != 0
    assert "Version 1 of bottle is live" in said
    assert "no earlier one to go back to" in said
    assert "products activate bottle VERSION" in said
    assert "was live before" not in said


@pytest.mark.parametrize(
    "command",
    [
        ("activate", "bottle", "1"),
        ("rollback", "bottle"),
        ("promote", "bottle"),
        ("shadow", "bottle", "--off"),
        ("shadow", "bottle", "3"),
        ("threshold", "bottle", "--level", "0.8"),
        ("remove", "bottle", "--yes"),
        ("import", "bottle-2.artifact", "--activate"),
    ],
)
def test_products_change_of_what_judges_without_a_reason_is_refused_and_changes_nothing(
    shell: Callable[..., Any], loadable: Callable[[str], int], line: Config, command: tuple[str, ...]
) -> None:
    loadable("bottle")
    loadable("bottle")
    loadable("bottle")
    assert shell("products", "activate", "bottle", "2", "--reason", "the third is worse").code == 0
    assert shell("products", "export", "bottle").code == 0
    assert shell("products", "shadow", "bottle", "1", "--reason", "old lamp").code == 0
    before = _audited(line)
    for without in ((), ("--reason", ""), ("--reason", "  ")):
        refused = shell("products", *command, *without)
        assert (refused.code, "--reason" in refused.err, refused.out) == (2, True, "")
    assert _audited(line) == before
    assert shell("products", *command, "--reason", "the lamp is new").code == 0
    assert _reasons(line)[-1] == "the lamp is new"


def test_products_import_that_activates_nothing_needs_no_reason(
    shell: Callable[..., Any], loadable: Callable[[str], int], line: Config
) -> None:
    loadable("bottle")
    assert shell("products", "export", "bottle").code == 0
    assert shell("products", "import", "bottle-1.artifact").code == 0


def test_products_shadow_promote_and_rollback_are_one_step_each_with_a_reason(
    shell: Callable[..., Any], loadable: Callable[[str], int], line: Config
) -> None:
    loadable("bottle")
    loadable("bottle")
    assert shell("products", "shadow", "bottle", "1", "--reason", "old lamp", "--json").document["shadow"]
    promoted = shell("products", "promote", "bottle", "--reason", "it was right", "--json").document
    assert (promoted["version"], promoted["live"], promoted["shadow"]) == (1, True, False)
    assert shell("products", "rollback", "bottle", "--reason", "it was not", "--json").document["version"] == 2
    assert [(what, new and new.partition(":")[0], why) for what, new, why in _audited(line)[-4:]] == [
        ("product/bottle/shadow", "version 1", "old lamp"),
        ("product/bottle/live", "version 1", "it was right"),
        ("product/bottle/shadow", None, "it was right"),
        ("product/bottle/live", "version 2", "it was not"),
    ]


def test_products_shadow_off_takes_the_shadow_away(shell: Callable[..., Any], loadable: Callable[[str], int]) -> None:
    loadable("bottle")
    loadable("bottle")
    assert "in shadow" in shell("products", "shadow", "bottle", "1", "--reason", "old lamp").out
    off = shell("products", "shadow", "bottle", "--off", "--reason", "compared", "--json")
    assert off.document["shadow_version"] is None
    assert not any(row["shadow"] for row in shell("products", "list", "--all", "--json").document)
    refused = shell("products", "promote", "bottle", "--reason", "it was right")
    assert refused.code == 2
    assert "products shadow bottle" in refused.err


def test_products_shadow_refuses_what_makes_no_sense(shell: Callable[..., Any], loadable: Callable[[str], int]) -> None:
    loadable("bottle")
    assert "VERSION" in shell("products", "shadow", "bottle", "--reason", "x").err
    assert "VERSION" in shell("products", "shadow", "bottle", "1", "--off", "--reason", "x").err
    assert "is live" in shell("products", "shadow", "bottle", "1", "--reason", "x").err


def test_products_remove_without_a_terminal_needs_yes(
    shell: Callable[..., Any], enrolled: Callable[[str], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    enrolled("bottle")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    remove = ("products", "remove", "bottle", "--reason", "no longer made")
    assert "say --yes" in shell(*remove).err
    assert shell("products", "list", "--json").document[0]["live"]
    assert shell(*remove, "--yes").code == 0
    assert not shell("products", "list", "--json").document[0]["live"]
    assert "not live" in shell(*remove, "--yes").err


@pytest.mark.parametrize(
    "command",
    [
        ("show",),
        ("activate", "1", "--reason", "x"),
        ("rollback", "--reason", "x"),
        ("remove", "--yes", "--reason", "x"),
        ("export",),
    ],
)
def test_products_of_an_unknown_product_names_the_known_ones(
    shell: Callable[..., Any], enrolled: Callable[[str], int], command: tuple[str, ...]
) -> None:
    enrolled("bottle")
    enrolled("cable")
    answer = shell("products", command[0], "botle", *command[1:])
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "There is no product botle; the products are bottle, cable.\n"


def test_products_activate_of_an_unknown_version_names_the_known_ones(
    shell: Callable[..., Any], enrolled: Callable[[str], int]
) -> None:
    enrolled("bottle")
    answer = shell("products", "activate", "bottle", "7", "--reason", "x")
    assert (answer.code, answer.err) == (2, "bottle has no version 7; its versions are 1.\n")


def test_products_export_writes_a_file_with_its_digest_and_never_over_a_file(
    shell: Callable[..., Any], enrolled: Callable[[str], int]
) -> None:
    enrolled("bottle")
    assert shell("products", "export", "bottle").code == 0
    content = Path("bottle-1.artifact").read_bytes()
    assert content == b"artifact" + b"inspector-sha256:" + hashlib.sha256(b"artifact").hexdigest().encode() + b"\n"
    checked = subprocess.run(
        ["sha256sum", "-c", "bottle-1.artifact.sha256"], capture_output=True, text=True, check=True
    )
    assert checked.stdout == "bottle-1.artifact: OK\n"
    assert shell("products", "export", "bottle").code == 2
    assert shell("products", "export", "bottle", "--force", "--json").document["file"] == "bottle-1.artifact"


@pytest.fixture
def exported(shell: Callable[..., Any], loadable: Callable[[str], int]) -> Path:
    """A live version in a file without its side file, and removed from judging."""
    loadable("disc")
    assert shell("products", "export", "disc").code == 0
    Path("disc-1.artifact.sha256").unlink()
    assert shell("products", "remove", "disc", "--yes", "--reason", "no longer made").code == 0
    return Path("disc-1.artifact")


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_products_import_of_a_damaged_file_without_its_side_file_is_refused(
    shell: Callable[..., Any], exported: Path
) -> None:
    asked = ("products", "import", str(exported), "--activate", "--reason", "it looks right")
    whole = exported.read_bytes()
    middle, end = len(whole) // 2, len(whole)
    torn = (whole[:-30], whole[:-1], flipped(whole, end - 20), flipped(whole, end - 1))
    for damaged in (flipped(whole, middle), flipped(flipped(whole, 99), 9000), *torn):
        exported.write_bytes(damaged)
        for how in ((), ("--trust",)):
            answer = shell(*asked, *how)
            assert (answer.code, "was damaged on its way" in answer.err) == (1, True)
    exported.write_bytes(whole[:-100])
    answer = shell(*asked)
    assert (answer.code, "Nothing says whether" in answer.err) == (2, True)
    assert not shell("products", "list", "--json").document[0]["live"]
    exported.write_bytes(whole)
    assert shell(*asked, "--json").document["live"]


def test_products_import_of_a_file_without_a_digest_needs_one_or_trust_with_a_reason(
    shell: Callable[..., Any], exported: Path, line: Config
) -> None:
    """As earlier software exported it: the artifact's bytes alone, their digest beside them."""
    content = unseal(exported.read_bytes()).artifact
    exported.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    beside = Path("disc-1.artifact.sha256")
    asked = ("products", "import", str(exported), "--json")
    assert shell(*asked).code == 2
    beside.write_text("no digest at all\n")
    assert shell(*asked).code == 2
    assert shell(*asked, "--sha256", "abc").code == 2
    assert "is not the file meant" in shell(*asked, "--sha256", "0" * 64).err
    assert shell(*asked, "--trust").code == 2
    assert shell(*asked, "--sha256", digest.upper()).code == 0
    beside.write_text(f"{'0' * 64}  {exported.name}\n")
    assert "damaged or cut short" in shell(*asked, "--trust", "--reason", "x").err
    beside.write_text(f"{digest}  {exported.name}\n")
    assert shell(*asked).code == 0


def test_products_import_says_in_the_audit_where_a_version_came_from(
    shell: Callable[..., Any], exported: Path, line: Config, tmp_path: Path
) -> None:
    shell("init", str(tmp_path / "second"))
    other = tmp_path / "second" / "inspector.toml"
    exported.write_bytes(unseal(exported.read_bytes()).artifact)
    why = ("--trust", "--reason", "from the maker's stick")
    made = shell("products", "import", str(exported), "--activate", *why, "--config", str(other), "--json")
    assert made.code == 0, made.err
    rows = _audited(load(other))
    origin = "disc-1.artifact, trusted, not checked, unsigned"
    assert ("product/disc/version 1/origin", origin, "from the maker's stick") in rows
    threshold = unpack(exported.read_bytes()).calibration.threshold
    live = f"version 1: threshold {threshold:.6g}, unsigned, from {origin}"
    assert ("product/disc/live", live, "from the maker's stick") in rows


def _packed(enrolment: Enrolment, **changed: Any) -> bytes:
    """The artifact with another calibration."""
    artifact = unpack(enrolment.artifact)
    calibration = replace(artifact.calibration, **changed)
    manifest = {key: value for key, value in artifact.manifest.items() if key not in ("calibration", "threshold")}
    return pack(replace(artifact, calibration=calibration, manifest=manifest))[0]


def test_products_import_of_a_threshold_that_no_images_gave_never_goes_live_as_it_is(
    shell: Callable[..., Any], line: Config, disc: Enrolment
) -> None:
    assert shell("db", "upgrade").code == 0
    Path("odd.artifact").write_bytes(seal(_packed(disc, threshold=1e308)))
    for insisting in ((), ("--insist",)):
        refused = shell("products", "import", "odd.artifact", "--activate", "--reason", "a trial", *insisting)
        assert (refused.code, "was moved to level 1e+06" in " ".join(refused.err.split())) == (2, True)
    assert shell("products", "list", "--json").document == []
    taken = shell("products", "import", "odd.artifact")
    assert taken.code == 0, taken.err
    assert "level 1e+06" in taken.out
    assert "level 1e+06" in shell("products", "list").out
    (row,) = shell("products", "list", "--json").document
    assert (row["live"], row["threshold_moved_to_level"]) == (False, 1e6)
    activate = ("products", "activate", "disc", "1", "--reason", "a trial")
    for insisting in ((), ("--insist",)):
        held = shell(*activate, *insisting)
        assert (held.code, "its threshold was moved to level 1e+06" in " ".join(held.err.split())) == (2, True)
    back = shell("products", "threshold", "disc", "--version", "1", "--level", "1", "--reason", "as enrolled", "--json")
    assert back.document["threshold"] == pytest.approx(disc.manifest["threshold"], rel=1e-4)
    assert "add --insist" in shell(*activate).err, "its calibration still says something else"
    assert shell(*activate, "--insist", "--json").document["live"]
    what, new, reason = _audited(line)[-1]
    assert what == "product/disc/live"
    assert reason.startswith("a trial (insisted on although its threshold, ")
    assert new is not None
    assert f"threshold {disc.manifest['threshold']:.4g}"[:-1] in new
    assert "(enrolled with 1e+308)" in new


def test_products_import_whose_calibration_contradicts_its_images_names_the_level_that_is_odd(
    shell: Callable[..., Any], line: Config, disc: Enrolment
) -> None:
    manifest = unpack(disc.artifact).manifest
    own = manifest["threshold"]
    contradicted = {**manifest, "calibration": {**manifest["calibration"], "threshold": 1e6}}
    assert EnrolledThreshold.of(contradicted).level(own) == pytest.approx(0.0, abs=1e-3)
    length = int.from_bytes(disc.artifact[:8], "little")
    header = json.loads(disc.artifact[8 : 8 + length])
    header["__metadata__"] = {"inspector-artifact": json.dumps(contradicted)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path("odd.artifact").write_bytes(seal(len(text).to_bytes(8, "little") + text + disc.artifact[8 + length :]))
    refused = shell("products", "import", "odd.artifact", "--activate", "--reason", "x")
    assert refused.code == 2
    assert "was moved to level" in refused.err
    assert "level 1 of" not in refused.err


@pytest.mark.parametrize("count", [1, 2])
def test_products_import_of_a_threshold_that_only_invented_scores_give_never_goes_live_as_it_is(
    shell: Callable[..., Any], line: Config, disc: Enrolment, count: int
) -> None:
    artifact = unpack(disc.artifact)
    evidence = dict(artifact.manifest["evidence"])
    evidence["held_out_scores"] = [*([1e6 / MARGIN] * count), *evidence["held_out_scores"][count:]]
    calibration = replace(artifact.calibration, threshold=1e6)
    manifest = {key: value for key, value in artifact.manifest.items() if key not in ("calibration", "threshold")}
    odd = pack(replace(artifact, calibration=calibration, manifest={**manifest, "evidence": evidence}))[0]
    known = EnrolledThreshold.of(unpack(odd).manifest)
    level = known.level(1e6)
    assert level is not None
    assert level > 1e4
    assert not known.is_plausible(1e6)
    Path("odd.artifact").write_bytes(seal(odd))
    for insisting in ((), ("--insist",)):
        refused = shell("products", "import", "odd.artifact", "--activate", "--reason", "a trial", *insisting)
        assert (refused.code, "was moved to level" in " ".join(refused.err.split())) == (2, True)
    assert shell("products", "import", "odd.artifact").code == 0
    assert "moved: level" in " ".join(shell("products", "list").out.split())
    held = shell("products", "activate", "disc", "1", "--insist", "--reason", "a trial")
    assert (held.code, "its threshold was moved" in " ".join(held.err.split())) == (2, True)


@pytest.mark.parametrize(
    "scores",
    [
        [11.2] * 26 + [11.4, 11.6, 11.9, 12.8, 15.5],
        [10.2] * 24 + [10.8, 10.9, 11.0, 11.2, 11.3, 11.7, 15.3],
        [1.0, 1.0, 1.0, 1.9],
        [1.0],
        [0.0] * 5,
        [-3.0, -2.0, -1.0],
    ],
)
def test_products_threshold_that_honest_scores_give_is_not_moved(disc: Enrolment, scores: list[float]) -> None:
    """The first two are shaped as the widest that were measured, photographs of cookies."""
    threshold, median = threshold_of(scores, 0.01, is_cross_fit=False)
    calibration = replace(unpack(disc.artifact).calibration, threshold=threshold, median=median, alpha=0.01)
    known = EnrolledThreshold(replace(calibration, kind="certified"), tuple(scores))
    assert known.level(threshold) is None
    assert known.is_plausible(threshold)


@pytest.mark.parametrize("level", [0.001, 11.0])
def test_products_import_of_a_threshold_beyond_what_a_person_may_move_it_to_is_refused(
    shell: Callable[..., Any], line: Config, disc: Enrolment, level: float
) -> None:
    own = unpack(disc.artifact).calibration
    threshold = own.median + level * (own.threshold - own.median)
    Path("odd.artifact").write_bytes(seal(_packed(disc, threshold=threshold)))
    assert shell("products", "import", "odd.artifact", "--activate", "--reason", "x").code == 2


def test_products_import_of_a_moved_threshold_takes_a_second_person_beyond_the_cap(
    shell: Callable[..., Any], line: Config, disc: Enrolment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A level that a person could have chosen: the file says it of its calibration too, so that both agree."""
    own = unpack(disc.artifact).calibration
    moved = own.median + 5.0 * (own.threshold - own.median)
    Path("moved.artifact").write_bytes(seal(_packed(disc, threshold=moved)))
    refused = shell("products", "import", "moved.artifact", "--activate", "--insist", "--reason", "x")
    assert (refused.code, "was moved to level 5 of" in " ".join(refused.err.split())) == (2, True)
    taken = shell("products", "import", "moved.artifact")
    assert "level 5 of its enrolment: larger defects pass" in " ".join(taken.out.split())
    assert "moved: level 5" in shell("products", "list").out
    assert shell("products", "list", "--json").document[0]["threshold_moved_to_level"] == pytest.approx(5.0, rel=1e-3)
    activate = ("products", "activate", "disc", "1", "--reason", "x", "--insist")
    assert "from 0.75 to 1.25 (agent.threshold_share)" in " ".join(shell(*activate).err.split())
    level = ("products", "threshold", "disc", "--version", "1")
    assert shell(*level, "--level", "5", "--reason", "their parts are dirty").code == 1
    monkeypatch.setattr("inspector.cli.products.current_user", lambda: "bo")
    assert shell(*level, "--approve", "--reason", "I saw them").code == 0
    assert shell(*activate).code == 0


def test_products_import_of_a_threshold_within_the_cap_is_activated_by_one_person(
    shell: Callable[..., Any], line: Config, disc: Enrolment
) -> None:
    own = unpack(disc.artifact).calibration
    moved = own.median + 1.2 * (own.threshold - own.median)
    Path("moved.artifact").write_bytes(seal(_packed(disc, threshold=moved)))
    assert shell("products", "import", "moved.artifact", "--activate", "--reason", "x").code == 2
    assert shell("products", "import", "moved.artifact").code == 0
    assert shell("products", "activate", "disc", "1", "--reason", "x").code == 0


def test_list_of_a_moved_threshold_says_that_defects_were_counted_at_another_one(disc: Enrolment) -> None:
    artifact = unpack(disc.artifact)
    evidence = {**artifact.manifest["evidence"], "eyesight": {"found": 25, "n": 120}}
    manifest, own = {**artifact.manifest, "evidence": evidence}, artifact.calibration
    moved = own.median + 1.2 * (own.threshold - own.median)
    for threshold, told in ((own.threshold, "25 of 120: weak"), (moved, "25 of 120: weak as enrolled")):
        version: Any = SimpleNamespace(manifest=manifest, threshold=threshold)
        assert products_view._sight(version).plain == told


def test_products_rollback_to_a_threshold_that_was_moved_here_before_there_was_a_cap_goes_on(
    shell: Callable[..., Any], loadable: Callable[[str], int], line: Config
) -> None:
    """An upgrade stops no line: who moved it then stands in the audit."""
    loadable("disc")

    async def move() -> None:
        async with registry_of(line) as registry:
            await registry.move_threshold("disc", 1, 1e6, by="ada", reason="long ago")

    asyncio.run(move())
    loadable("disc")
    assert shell("products", "rollback", "disc", "--insist", "--reason", "as before").code == 0


HOSTILE: dict[str, Callable[[dict[str, Any]], object]] = {
    "not a number": lambda m: m["evidence"].update(note=math.nan),
    "more than 64 bits": lambda m: m["evidence"].update(note=-(10**19) + 1),
    "beyond every number": lambda m: m["evidence"].update(note=10**400),
    "half a character": lambda m: m["images"][0].update(name="\ud800"),
    "a NUL": lambda m: m["images"][0].update(name="a\x00b"),
    "nested deep": lambda m: m["evidence"].update(note=functools.reduce(lambda inner, _: [inner], range(300), [])),
    "scores of text": lambda m: m["evidence"].update(held_out_scores=["nan"]),
    "a calibration of another shape": lambda m: m["calibration"].update(confidence=["nan"]),
    "an interval of another shape": lambda m: m["calibration"].update(false_reject_interval=["nan"]),
}


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("name", HOSTILE)
def test_products_import_of_a_hostile_manifest_is_one_sentence_and_changes_nothing(
    shell: Callable[..., Any], disc: Enrolment, name: str
) -> None:
    """None of it is the database's fault, and none of it may end in a traceback."""
    assert shell("db", "upgrade").code == 0
    Path("odd.artifact").write_bytes(seal(_with_manifest(disc.artifact, HOSTILE[name])))
    for activating in ((), ("--activate", "--reason", "x")):
        answer = shell("products", "import", "odd.artifact", *activating)
        assert (answer.code, len(answer.err.splitlines())) == (1, 1), answer.err
        assert "can't be imported" in answer.err
        assert "database" not in answer.err
    assert shell("products", "list", "--json").document == []


def _with_manifest(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The artifact with its manifest changed, and the header's length right again."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    ((key, text),) = header["__metadata__"].items()
    manifest = json.loads(text)
    change(manifest)
    header["__metadata__"][key] = json.dumps(manifest)
    head = json.dumps(header).encode("utf-8", "surrogatepass")
    return len(head).to_bytes(8, "little") + head + content[8 + length :]


@pytest.mark.usefixtures("line")
def test_products_import_of_a_large_file_that_is_no_artifact_reads_its_beginning_alone(
    shell: Callable[..., Any],
) -> None:
    with Path("vast.artifact").open("wb") as file:
        file.truncate(400 * 2**20)
    Path("header.artifact").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    Path("empty.artifact").write_bytes(b"")
    tracemalloc.start()
    try:
        for name in ("vast.artifact", "header.artifact", "empty.artifact"):
            answer = shell("products", "import", name, "--trust", "--reason", "x")
            assert (answer.code, "no artifact of this software" in answer.err) == (1, True), name
        assert tracemalloc.get_traced_memory()[1] < 64 * 2**20
    finally:
        tracemalloc.stop()


def test_products_threshold_of_every_enrolment_is_what_its_images_give(enrolments: list[Enrolment]) -> None:
    for each in enrolments:
        known = EnrolledThreshold.of(each.manifest)
        assert known.level_given(each.manifest["threshold"]) == pytest.approx(1.0, abs=1e-3)
        assert EnrolledThreshold(known.calibration, (), known.probes).is_plausible(each.manifest["threshold"])


@pytest.mark.usefixtures("line")
def test_products_import_of_what_is_no_file_is_refused_unread(shell: Callable[..., Any], tmp_path: Path) -> None:
    os.mkfifo("pipe.artifact")
    Path("folder.artifact").mkdir()
    with Path("vast.artifact").open("wb") as file:
        file.truncate(2**40)
    for name, said in (
        ("/dev/zero", "is no file but a device"),
        ("pipe.artifact", "is no file but a pipe"),
        ("folder.artifact", "is a folder"),
        ("vast.artifact", "has 1048576 MiB"),
        ("none.artifact", "can't be read (No such file"),
    ):
        answer = shell("products", "import", name, "--activate", "--reason", "x")
        assert (answer.code, said in answer.err, len(answer.err.splitlines())) == (2, True, 1), name


@pytest.mark.usefixtures("line")
@pytest.mark.parametrize("threshold", ["NaN", "Infinity", '"2.5"', "true", "null"])
def test_products_import_of_a_threshold_that_is_no_number_is_refused(
    shell: Callable[..., Any], disc: Enrolment, threshold: str
) -> None:
    assert shell("db", "upgrade").code == 0
    length = int.from_bytes(disc.artifact[:8], "little")
    header = json.loads(disc.artifact[8 : 8 + length])
    ((key, text),) = header["__metadata__"].items()
    manifest = json.loads(text) | {"threshold": "HERE"}
    header["__metadata__"][key] = json.dumps(manifest).replace('"HERE"', threshold)
    head = json.dumps(header).encode()
    Path("odd.artifact").write_bytes(seal(len(head).to_bytes(8, "little") + head + disc.artifact[8 + length :]))
    answer = shell("products", "import", "odd.artifact", "--activate", "--reason", "x")
    assert (answer.code, "can't be imported" in answer.err, len(answer.err.splitlines())) == (1, True, 1)
    assert shell("products", "list", "--json").document == []


def test_products_activate_and_rollback_never_make_a_version_live_that_no_agent_could_load(
    shell: Callable[..., Any], enrolled: Callable[[str], int], loadable: Callable[[str], int]
) -> None:
    enrolled("disc")
    loadable("disc")
    for command in (("activate", "disc", "1"), ("rollback", "disc")):
        answer = shell("products", *command, "--reason", "as before")
        assert (answer.code, "disc version 1 is not made live, since no agent could load it" in answer.err) == (1, True)
        assert [each["live"] for each in shell("products", "list", "--json").document] == [False, True]


@pytest.mark.usefixtures("line")
def test_products_import_of_anything_else_is_refused(shell: Callable[..., Any]) -> None:
    assert shell("db", "upgrade").code == 0
    Path("picture.png").write_bytes(seal(b"\x89PNG"))
    answer = shell("products", "import", "picture.png")
    assert answer.code == 1
    assert "no artifact" in answer.err
    assert shell("products", "import", "nothing.artifact").code == 2
    assert shell("products", "list", "--json").document == []
