"""What the documents name is there: pages, sections, files of this tree, commands, options, configuration keys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer.main

from inspector.cli import app
from inspector.config.keys import tables

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [
    README,
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
CODE = ("benchmarks", "connectors", "docs", "inspector")
SOURCES = [str(path) for room in (*CODE, "tests") for path in (ROOT / room).rglob("*.py")]
ROOMS = "benchmarks|configs|connectors|deploy|docs|inspector|migrations|systemd|tests"

LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(rf"(?<![\w./{{-])((?:{ROOMS})/[\w./-]*\w/?)")
SOURCE = re.compile(r"`([\w/]+\.py)`")
PAGE = re.compile(r"\bdocs/[\w/-]+\.md")
MODULE = re.compile(r"python -m ((?:benchmarks|tests)[\w.]*)")
COMMAND = re.compile(r"(?:^|`)inspector ([a-z][^`#|\n]*)", re.MULTILINE)


def ids(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def broken_links(page: Path, text: str) -> list[str]:
    """Relative links of `text`, as it stands on `page`, to a file or a section that is not there."""
    broken = []
    for link in LINK.findall(text):
        if "://" in link:
            continue
        file, _, section = link.partition("#")
        target = (page.parent / file).resolve() if file else page
        if not target.exists() or (section and section not in anchors_of(target)):
            broken.append(link)
    return broken


def missing_paths(text: str) -> list[str]:
    return [named for named in PATH.findall(text) if not (ROOT / named).exists()]


def commands_in(text: str) -> Iterator[list[str]]:
    for line in COMMAND.findall(text):
        yield line.replace("`", "").split()


def wrong_use(words: Sequence[str]) -> str | None:
    """The first word of `words`, written after `inspector`, that is no command or no option of its command."""
    command: Any = typer.main.get_command(app)
    for word in words:
        if hasattr(command, "commands") and not word.startswith("-"):
            below = command.commands.get(word)
            if below is None:
                return word
            command = below
        elif word.startswith("--"):
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            if word.partition("=")[0].rstrip(".,;:)") not in {*known, "--help"}:
                return word
    return None


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_links_of_page_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_paths_named_on_page_exist(page: Path) -> None:
    assert missing_paths(page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_source_files_named_on_page_exist(page: Path) -> None:
    named = SOURCE.findall(page.read_text(encoding="utf-8"))
    assert [name for name in named if not any(path.endswith(f"/{name}") for path in SOURCES)] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_modules_named_on_page_exist(page: Path) -> None:
    for name in MODULE.findall(page.read_text(encoding="utf-8")):
        path = ROOT / name.rstrip(".").replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), name


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_commands_named_on_page_exist_with_their_options(page: Path) -> None:
    wrong = [(words, wrong_use(words)) for words in commands_in(page.read_text(encoding="utf-8"))]
    assert [found for found in wrong if found[1] is not None] == []


def test_pages_named_in_code_and_examples_exist() -> None:
    files = [
        *(path for room in CODE for path in (ROOT / room).rglob("*.py")),
        *(ROOT / "configs").glob("*.toml"),
        ROOT / "CHANGELOG.md",
    ]
    named = {page for file in files for page in PAGE.findall(file.read_text(encoding="utf-8"))}
    assert {"docs/configuration.md", "docs/experiments.md"} <= named
    assert [page for page in sorted(named) if not (ROOT / page).exists()] == []


def test_commands_of_readme_are_found() -> None:
    named = [words[0] for words in commands_in(README.read_text(encoding="utf-8"))]
    assert {"run", "enroll", "doctor"} <= set(named)


def test_keys_named_with_their_section_exist() -> None:
    known = {table.header.strip("[]"): {key.name for key in table.keys} for table in tables()}
    unknown = []
    for page in PAGES:
        for section, key in re.findall(r"`([a-z]+)\.([a-z_]+)`", page.read_text(encoding="utf-8")):
            if section in known and key not in known[section]:
                unknown.append((page.name, section, key))
    assert unknown == []


def test_readme_and_index_name_every_page() -> None:
    listed = {(README.parent / link).resolve() for link in LINK.findall(README.read_text(encoding="utf-8"))}
    assert set((ROOT / "docs").glob("*.md")) <= listed
    index = ROOT / "docs" / "decisions" / "README.md"
    records = {index.parent / link for link in LINK.findall(index.read_text(encoding="utf-8"))}
    assert set(index.parent.glob("0*.md")) <= records


def test_checks_find_what_is_not_there() -> None:
    assert broken_links(README, "[a](docs/none.md) [b](docs/gate.md#none) [c](docs/gate.md#heartbeat)") == [
        "docs/none.md",
        "docs/gate.md#none",
    ]
    assert missing_paths("`inspector/none.py` and inspector/errors.py") == ["inspector/none.py"]
    assert [wrong_use(words) for words in commands_in("`inspector enrol x` and `inspector enroll x --none`")] == [
        "enrol",
        "--none",
    ]
