"""Processes that end together, and work that a signal ends in order."""

from __future__ import annotations

import ast
import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from inspector import lifetime
from inspector.lifetime import ORPHANED, python_command, run_to_end

ROOT = Path(__file__).parents[2]
CHILD = "import sys; from inspector.lifetime import end_with_parent; end_with_parent(int(sys.argv[1])); print('lives')"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with a parent that was killed")
def test_child_whose_parent_is_gone_before_it_begins_does_nothing() -> None:
    def child(parent: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", CHILD, str(parent)]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=60)

    assert child(os.getpid()).stdout == "lives\n"
    orphan = child(os.getppid())
    assert (orphan.returncode, orphan.stdout) == (ORPHANED, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_to_end_lets_the_work_end_its_children_after_a_signal(number: signal.Signals) -> None:
    ended = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), number)
            await asyncio.sleep(60)
        finally:
            ended.append(number)

    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt):
        run_to_end(work())
    assert ended == [number]
    assert signal.getsignal(number) == before


@pytest.mark.parametrize(("same_wish_s", "ended"), [(60.0, ["ended"]), (0.0, [])])
def test_run_to_end_takes_two_signals_at_once_as_one_and_a_later_one_as_another(
    monkeypatch: pytest.MonkeyPatch, same_wish_s: float, ended: list[str]
) -> None:
    monkeypatch.setattr(lifetime, "SAME_WISH_S", same_wish_s)
    found = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(0.05)  # such as closing a connection
            found.append("ended")

    with pytest.raises(KeyboardInterrupt):
        run_to_end(work())
    assert found == ended


def test_run_to_end_leaves_a_signal_ignored_that_was_ignored_as_by_nohup() -> None:
    async def work() -> str:
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.sleep(0)
        return "done"

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_to_end(work()) == "done"
    finally:
        signal.signal(signal.SIGHUP, before)


SECRETIVE = {"inspector/benching/children.py": "the agent of a bench signs in at the person's own broker"}


def children_with_secrets(tree: ast.AST) -> Iterator[str]:
    """Calls that start a process with the whole environment of this one."""
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            starts = call.func.attr in {"create_subprocess_exec", "create_subprocess_shell", "Popen", "fork", "popen"}
            starts |= ast.unparse(call.func).startswith(("subprocess.", "os.spawn", "os.exec", "os.posix_spawn"))
            starts &= call.func.attr != "CompletedProcess"  # what a child has left
            env = next((ast.unparse(word.value) for word in call.keywords if word.arg == "env"), "")
            if starts and "environment_without_secrets" not in env and env not in without_secrets(tree):
                yield f"line {call.lineno}: {ast.unparse(call.func)}"


def test_children_with_this_interpreter_take_no_module_from_the_folder_they_run_in(tmp_path: Path) -> None:
    """Whoever may write into the folder where root calls a command would else be root."""
    for name in ("ctypes", "json", "onnxruntime"):
        (tmp_path / f"{name}.py").write_text(f"open('owned-{name}', 'w').close()\nraise ImportError\n")
    asks = "import ctypes, json, onnxruntime; print(onnxruntime.__name__)"
    module = ("-m", "json.tool", os.devnull)
    for words in (("-c", asks), ("-W", "ignore", "-c", asks), module):
        subprocess.run(python_command(*words), cwd=tmp_path, capture_output=True, check=False, timeout=120)
    assert {path.suffix for path in tmp_path.iterdir()} == {".py"}


def test_every_child_with_this_interpreter_is_started_so() -> None:
    sources = [*(ROOT / "inspector").rglob("*.py"), *(ROOT / "connectors").rglob("*.py")]
    named = [path.name for path in sources if "sys.executable" in path.read_text("utf-8")]
    assert named == ["lifetime.py"]


def without_secrets(tree: ast.AST) -> set[str]:
    """Names that hold an environment without secrets."""
    return {
        ast.unparse(each.targets[0])
        for each in ast.walk(tree)
        if isinstance(each, ast.Assign) and "environment_without_secrets" in ast.unparse(each.value)
    }


def test_children_inherit_no_secret_that_they_do_not_need() -> None:
    sources = [*(ROOT / "inspector").rglob("*.py"), *(ROOT / "connectors").rglob("*.py")]
    found = {
        str(path.relative_to(ROOT)): told
        for path in sources
        if "testing" not in path.parts and (told := list(children_with_secrets(ast.parse(path.read_text("utf-8")))))
    }
    assert found.keys() == SECRETIVE.keys()
