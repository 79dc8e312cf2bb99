"""`inspector discover` and `evaluate --report` as a shell sees them, on drawn products and without a network."""

from __future__ import annotations

import asyncio
from pathlib import Path

import cv2
import pytest

from inspector.cli.terminal import naming
from inspector.config.config import Config
from inspector.errors import UsageError
from inspector.operation.opening import registry_of
from tests.unit.cli.conftest import Shell
from tests.unit.drawings import FakeEngine, draw, encode


@pytest.fixture(autouse=True)
def _without_a_network(monkeypatch: pytest.MonkeyPatch, enrols_here: None) -> None:
    """Exporting real graphs takes longer than all of this; what they see is tested in the room of vision."""
    for place in ("inspector.operation.engines.create_engine", "inspector.enrolment.enrol_product.create_engine"):
        monkeypatch.setattr(place, lambda *_arguments: FakeEngine())


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    folder = tmp_path / "mixed"
    folder.mkdir()
    for seed in range(7):
        (folder / f"{seed}-m.png").write_bytes(encode(draw("mesh", seed)))
    for seed in range(6):
        (folder / f"{seed}-d.png").write_bytes(encode(draw("disc", seed)))
    return folder


async def live(config: Config) -> set[str]:
    async with registry_of(config, creates=True) as registry:
        return {version.product for version in (await registry.live()).versions}


def test_discover_finds_names_and_enrols(shell: Shell, line: Config, mixed: Path) -> None:
    answer = shell("discover", str(mixed), "--names", "a=mesh", "--enroll", "--profile", "fast", "--json")
    assert answer.code == 0, answer.err
    found = answer.document
    assert (found["categories_found"], found["purity"], found["nmi"]) == (2, None, None)
    first, second = found["categories"]
    assert {Path(name).name for name in first["images"]} == {f"{seed}-m.png" for seed in range(7)}
    assert (first["name"], second["name"]) == ("mesh", None)
    sheet = cv2.imread(first["contact_sheet"])
    assert sheet is not None
    assert sheet.shape[0] > 300
    assert [(each["product"], each["live"], each["used"]) for each in found["enrolled"]] == [("mesh", True, 7)]
    assert asyncio.run(live(line)) == {"mesh"}


def test_discover_two_categories_of_one_name_are_one_product(shell: Shell, line: Config, mixed: Path) -> None:
    names = mixed.parent / "names"
    names.write_text("a=part\nb=part\n")
    answer = shell("discover", str(mixed), "--names-from", str(names), "--enroll", "--profile", "fast")
    # One version for two unlike products is stored, and a person has to insist on it.
    assert answer.code == 1
    assert "part version 1 is stored but not live: the images look like 2 products" in " ".join(answer.err.split())
    assert asyncio.run(live(line)) == set()
    insisted = shell("products", "activate", "part", "1", "--insist", "--reason", "both sides of one part")
    assert insisted.code == 0, insisted.err
    assert asyncio.run(live(line)) == {"part"}


def test_discover_strays_are_enrolled_only_when_asked(shell: Shell, line: Config, mixed: Path) -> None:
    for seed in range(2):
        (mixed / f"{seed}-p.png").write_bytes(encode(draw("plate", seed)))
    found = shell("discover", str(mixed), "--json").document
    (odd,) = [each for each in found["categories"] if each["strays"]]
    assert sorted(Path(name).name for name in odd["strays"]) == ["0-p.png", "1-p.png"]
    assert not {"0-p.png", "1-p.png"} & {Path(name).name for each in found["categories"] for name in each["images"]}
    names = ("--names", f"{odd['category']}=part", "--profile", "fast", "--json")
    (done,) = shell("discover", str(mixed), "--enroll", "--with-strays", *names).document["enrolled"]
    assert done["used"] == len(odd["images"]) + 2


def test_discover_in_a_layout_reports_purity(shell: Shell, mixed: Path, tmp_path: Path) -> None:
    for path in sorted(mixed.iterdir()):
        home = tmp_path / "sets" / path.stem[-1] / "train/good"
        home.mkdir(parents=True, exist_ok=True)
        path.rename(home / path.name)
    answer = shell("discover", str(tmp_path / "sets"))
    assert answer.code == 0, answer.err
    assert "2 categories, purity 1.000, NMI 1.000" in answer.out
    assert "category-b.png" in answer.out


def test_discover_wrong_use_is_told_before_anything_is_enrolled(shell: Shell, mixed: Path) -> None:
    answer = shell("discover", str(mixed), "--enroll")
    assert answer.code == 2
    assert "name the categories with --names" in answer.err
    assert shell("discover", str(mixed / "none")).code == 2
    unknown = shell("discover", str(mixed), "--names", "z=bolt")
    assert unknown.code == 2
    assert "found: a, b" in unknown.err


def test_names_given_reads_files_and_refuses_contradictions(tmp_path: Path) -> None:
    (tmp_path / "names").write_text("a = bolt # the long one\n\nb=bolt\n")
    assert naming.names_given(None, tmp_path / "names", ["a", "b"]) == {"a": "bolt", "b": "bolt"}
    assert naming.names_given(None, None, ["a"]) is None
    for wrong, match in (("a", "category=product"), ("a=b/c", "can't be a product's name"), ("a=b,a=c", "two names")):
        with pytest.raises(UsageError, match=match):
            naming.names_given(wrong, None, ["a"])
    with pytest.raises(UsageError, match="not both"):
        naming.names_given("a=b", tmp_path / "names", ["a"])
    with pytest.raises(UsageError, match="can't be read"):
        naming.names_given(None, tmp_path / "none", ["a"])


def test_names_asked_until_they_can_be_names(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["not a name!", "bolt", "", "bolt"])
    monkeypatch.setattr(naming.typer, "prompt", lambda *_args, **_options: next(answers))
    assert naming.names_asked([("a", "9 images"), ("b", "5 images"), ("c", "5 images")]) == {"a": "bolt", "c": "bolt"}


def test_evaluate_report_is_written_and_its_folder_asked_for_first(shell: Shell, tmp_path: Path) -> None:
    for seed in range(6):
        for kind, defect in (("train/good", False), ("test/good", False), ("test/spot", True)):
            path = tmp_path / "sets/disc" / kind / f"{seed}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(draw("disc", seed + 50 * (kind != "train/good"), defect=defect)))
    refused = shell("evaluate", str(tmp_path / "sets"), "--report", str(tmp_path / "none/out.html"))
    assert refused.code == 2
    assert "There is no folder" in refused.err
    report = tmp_path / "out.html"
    options = ("--profile", "fast", "--report", str(report), "--json")
    answer = shell("evaluate", str(tmp_path / "sets"), *options)
    assert answer.code == 0, answer.err
    assert answer.document["products"]["disc"]["n_defect"] == 6
    assert "<h1>Evaluation of sets</h1>" in report.read_text()


def test_evaluate_registry_with_a_head_is_refused_since_the_live_versions_have_theirs(
    shell: Shell, tmp_path: Path
) -> None:
    answer = shell("evaluate", str(tmp_path), "--registry", "--head", "student")
    assert answer.code == 2
    assert "leave --head and --profile out" in " ".join(answer.err.split())
