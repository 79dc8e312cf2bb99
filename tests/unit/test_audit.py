"""`make audit`: licences not in the lists are refused; the lock has all that an agent needs, with hashes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from tests.audit import licences, lock, vulnerabilities

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
LINE = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+) --hash=sha256:[0-9a-f]{64}")


class Said(metadata.Distribution):
    """A distribution of which only the metadata is there."""

    def __init__(self, name: str, *lines: str) -> None:
        self._text = "\n".join(("Metadata-Version: 2.4", f"Name: {name}", "Version: 1", *lines)) + "\n"

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "METADATA" else None

    def locate_file(self, path: object) -> Path:
        return Path(str(path))


@pytest.mark.parametrize(
    ("lines", "is_allowed"),
    [
        (("License-Expression: MIT",), True),
        (("License-Expression: MPL-2.0 AND (Apache-2.0 OR MIT)",), True),
        (("License-Expression: GPL-3.0-only OR MIT",), True),
        (("License-Expression: Apache-2.0 WITH LLVM-exception",), True),
        (("License-Expression: MIT AND GPL-3.0-only",), False),
        (("License-Expression: LicenseRef-Own",), False),
        (("Classifier: License :: OSI Approved :: BSD License",), True),
        (("Classifier: License :: OSI Approved :: GNU Affero General Public License v3",), False),
        (("License: MIT",), True),
        (("License: Commercial",), False),
        ((), False),
    ],
)
def test_licence_is_allowed_by_the_list_alone(lines: tuple[str, ...], is_allowed: bool) -> None:
    (found,) = licences.judged([Said("thing", *lines)], frozenset())
    assert found.is_allowed is is_allowed


def test_exception_counts_only_for_what_an_agent_does_not_need() -> None:
    pictures = [Said("elpv-dataset", "License-Expression: CC-BY-NC-SA-4.0")]
    assert licences.judged(pictures, frozenset())[0].is_allowed
    assert not licences.judged(pictures, frozenset({"elpv-dataset"}))[0].is_allowed


def test_needed_are_those_without_an_extra_and_what_they_need() -> None:
    there = [
        Said("root", "Requires-Dist: one[fast]", 'Requires-Dist: tool; extra == "test"'),
        Said("one", 'Requires-Dist: quick; extra == "fast"', 'Requires-Dist: old; python_version < "3"'),
        *(Said(name) for name in ("quick", "old", "tool")),
    ]
    assert licences.needed_by("root", there) == {"root", "one", "quick"}


def test_licences_of_what_is_installed_are_in_the_lists() -> None:
    installed = list(metadata.distributions())
    found = licences.judged(installed, licences.needed_by("inspector", installed))
    assert [each for each in found if not each.is_allowed] == []


def test_lock_has_only_versions_and_hashes() -> None:
    lines = [line for line in LOCK.splitlines() if not line.startswith("#")]
    assert lines
    assert [line for line in lines if LINE.fullmatch(line) is None] == []


def test_lock_has_all_that_an_agent_needs_in_the_versions_that_are_tested() -> None:
    locked = {match["name"]: match["version"] for match in LINE.finditer(LOCK)}
    needed = licences.needed_by("inspector", list(metadata.distributions())) - {"inspector"}
    assert needed <= set(locked)
    constraints = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert {name: version for name, version in locked.items() if constraints.get(name) != version} == {}


def wheel(folder: Path, content: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "thing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("thing.py", content)
        archive.writestr("thing-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
        archive.writestr("thing-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr("thing-1.0.dist-info/RECORD", "")
    return file


def install(folder: Path, requirements: Path, into: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(folder), "--require-hashes",
               "--no-compile", "--disable-pip-version-check", "--target", str(into),
               "-r", str(requirements)]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_folder_of_wheels_is_installed_by_its_lock_and_refused_once_a_wheel_was_changed(tmp_path: Path) -> None:
    folder, requirements = tmp_path / "wheels", tmp_path / "wheels.lock"
    wheel(folder, "whose = 'ours'\n")
    requirements.write_text(lock.text_of(lock.of_folder(folder)))
    assert install(folder, requirements, tmp_path / "first").returncode == 0
    assert "ours" in (tmp_path / "first" / "thing.py").read_text()
    wheel(folder, "whose = 'a stranger'\n")
    refused = install(folder, requirements, tmp_path / "second")
    assert refused.returncode != 0
    assert "HASHES" in refused.stderr
    assert not (tmp_path / "second" / "thing.py").exists()


def test_vulnerabilities_without_an_answer_are_said_to_be_not_checked(tmp_path: Path) -> None:
    answer = vulnerabilities.look(tmp_path / "none.lock", (sys.executable, "-c", "raise SystemExit('no network')"))
    assert (answer.found, answer.why_not) == ((), "pip-audit has no answer (no network)")


def test_vulnerabilities_are_named_with_what_mends_them(tmp_path: Path) -> None:
    known = {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    said = json.dumps({"dependencies": [known, {"name": "b", "version": "1"}]})
    answer = vulnerabilities.look(tmp_path / "some.lock", (sys.executable, "-c", f"print({said!r})"))
    assert answer.found == ("a 1: CVE-1, mended in 2",)


def test_vulnerabilities_of_what_the_database_does_not_know_are_not_checked(tmp_path: Path) -> None:
    known = {"name": "a", "version": "1", "vulns": []}
    skipped = {"name": "b", "skip_reason": "Dependency not found on PyPI and could not be audited: b (1)"}
    said = json.dumps({"dependencies": [known, skipped]})
    answer = vulnerabilities.look(tmp_path / "some.lock", (sys.executable, "-c", f"print({said!r})"))
    assert answer.why_not == "the database has no word on 1 of 2: b, ..."
