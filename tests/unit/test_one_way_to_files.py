"""Files go through `inspector.files`: each other call that opens, writes, makes, lists or removes one is listed here.

Each stands there with the reason why it may.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = [
    path
    for package in ("inspector", "connectors")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "testing" not in path.parts and path != ROOT / "inspector" / "files.py"
]
METHODS = {"read_bytes", "read_text", "write_bytes", "write_text", "mkdir", "touch", "symlink_to", "hardlink_to"}
FUNCTIONS = {
    "os": {"open", "link", "symlink", "mkdir", "makedirs", "mkfifo", "chmod", "rename", "replace"},
    "tempfile": {"mkstemp", "mkdtemp", "NamedTemporaryFile", "TemporaryFile", "TemporaryDirectory"},
    "shutil": {"copyfile", "copy", "copy2", "copytree", "move"},
}
WALKS = {"unlink", "rmdir", "glob", "rglob", "iterdir"}
WALKING_FUNCTIONS = {
    "os": {"unlink", "remove", "rmdir", "removedirs", "scandir", "listdir", "walk", "fwalk"},
    "shutil": {"rmtree"},
    "glob": {"glob", "iglob"},
}
KERNEL = "a file of the kernel"
NAMED = "a person named it on the command line, and it is bounded"
OWN = "a file of the package itself"
BENCH = "a bench's own new folder below a state folder of its own"

ALLOWED = {
    "connectors/folder_files.py": "the watched folder, which the configuration names; `done` by its descriptor",
    "inspector/agent/process_figures.py": KERNEL,
    "inspector/benching/children.py": BENCH,
    "inspector/benching/plant.py": BENCH,
    "inspector/benching/plant_files.py": BENCH,
    "inspector/benching/products.py": BENCH,
    "inspector/cli/checks/certificates.py": "certificates that the configuration names; bounded",
    "inspector/cli/checks/state.py": "a lock on a folder, nothing is read",
    "inspector/cli/terminal/naming.py": NAMED,
    "inspector/cli/terminal/streams.py": "the null device in place of a closed stream",
    "inspector/config/loading.py": "the configuration and credentials, in folders of root; bounded",
    "inspector/console/rendering.py": OWN,
    "inspector/demo/cells.py": "a file of the package elpv-dataset",
    "inspector/demo/run.py": "the demo's own new folder",
    "inspector/enrolment/low_priority.py": KERNEL,
    "inspector/operation/engines.py": "a folder of the system's, made for this process alone",
    "inspector/store/database.py": "SQLite's file, after a look for links of other users",
    "inspector/store/filesystem.py": KERNEL,
    "inspector/store/journal/segment_log.py": "the journal's folder, to lock it",
    "inspector/operation/user.py": KERNEL,
    "inspector/store/tls.py": "certificates that the configuration names",
    "inspector/vision/engines/stored_graphs.py": OWN,
    "inspector/training/dataset/spill.py": "a file without a name",
    "inspector/vision/networks/backbone.py": "weights that a person or a package names; nothing in them is run",
    "inspector/vision/routing/profile.py": OWN,
}

NAMED_FOLDER = "a folder of pictures that a person named; it is only listed"

WALKING = {
    "connectors/folder_files.py": "the watched folder, which the configuration names; it is only listed",
    "inspector/agent/process_figures.py": KERNEL,
    "inspector/benching/pictures.py": NAMED_FOLDER,
    "inspector/console/app.py": OWN,
    "inspector/demo/simulated_camera.py": NAMED_FOLDER,
    "inspector/evaluation/layouts.py": NAMED_FOLDER,
    "inspector/training/dataset/folders.py": NAMED_FOLDER,
    "inspector/vision/networks/backbone.py": "weights of an installed package",
}


def walks(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that list a folder, or remove something, by its name."""
    for call in ast.walk(tree):
        match call:
            case ast.Call(ast.Attribute(ast.Name(module), name)) if name in WALKING_FUNCTIONS.get(module, ()):
                yield call
            case ast.Call(ast.Attribute(_, name)) if name in WALKS:
                yield call


def opens(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that open, write or make a file by its name."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call):
            continue
        match call.func:
            case ast.Name("open"):
                yield call
            case ast.Attribute(ast.Name(module), name) if name in FUNCTIONS.get(module, ()):
                yield call
            case ast.Attribute(_, name) if name in METHODS:
                yield call
            case ast.Attribute(_, "open") if _has_mode(call):
                yield call


def _has_mode(call: ast.Call) -> bool:
    """Whether this is a path's `open`: heads, connections and taps have a method of that name too."""
    words = [*call.args[:1], *(word.value for word in call.keywords if word.arg in {"mode", "encoding"})]
    return any(isinstance(word, ast.Constant) and isinstance(word.value, str) for word in words)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_opens_files_through_the_one_module_or_says_why_not(path: Path) -> None:
    found = [f"line {call.lineno}: {ast.unparse(call)}" for call in opens(ast.parse(path.read_text("utf-8")))]
    if str(path.relative_to(ROOT)) in ALLOWED:
        assert found, "it opens nothing any more: take it off the list"
    else:
        assert found == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source_walks_and_removes_through_the_one_module_or_says_why_not(path: Path) -> None:
    found = [f"line {call.lineno}: {ast.unparse(call)}" for call in walks(ast.parse(path.read_text("utf-8")))]
    if str(path.relative_to(ROOT)) in WALKING:
        assert found, "it walks no folder any more: take it off the list"
    else:
        assert found == []


def test_walks_finds_each_kind_of_call() -> None:
    calls = "p.unlink(); os.remove(p); shutil.rmtree(p); p.rglob('*'); os.scandir(p); p.rmdir()"
    tree = ast.parse(f"{calls}; files.remove(p); files.walk(p); ast.walk(p); names.remove(p)")
    assert [ast.unparse(call) for call in walks(tree)] == calls.split("; ")


def test_opens_finds_each_kind_of_call() -> None:
    tree = ast.parse("open(a); p.open('w'); p.open(encoding='x'); os.open(a, 0); p.write_text(t); head.open(engine)")
    assert [ast.unparse(call) for call in opens(tree)] == [
        "open(a)",
        "p.open('w')",
        "p.open(encoding='x')",
        "os.open(a, 0)",
        "p.write_text(t)",
    ]
