"""Standard streams that are closed, full or read by nobody: an exit code and a sentence, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = f"{sys.executable} -m inspector"


def run(shell_line: str, folder: Path) -> tuple[int, str]:
    """The exit code and what stood on standard error, of a line for bash; $I is the command."""
    environment = os.environ | {"I": COMMAND, "XDG_STATE_HOME": str(folder), "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell_line], cwd=folder, env=environment, capture_output=True, check=False
    )
    told = done.stderr.decode()
    assert "Traceback" not in told
    assert "Exception ignored" not in told
    return done.returncode, told


@pytest.fixture
def store(tmp_path: Path) -> None:
    """An empty database of this user."""
    assert run("$I db upgrade", tmp_path) == (0, "")


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("arguments", ["products list", "products list --json", "--help", "--version"])
@pytest.mark.parametrize(("where", "why"), [(">&-", "it is closed"), (">/dev/full", "No space left on device")])
def test_output_that_can_not_be_written_is_exit_code_1_with_a_sentence(
    tmp_path: Path, arguments: str, where: str, why: str
) -> None:
    assert run(f"$I {arguments} {where}", tmp_path) == (
        1,
        f"Standard output can't be written ({why}); what the command changed stays.\n",
    )


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("arguments", ["products list --json", "--help"])
def test_output_that_nobody_reads_is_exit_code_1_without_a_word(tmp_path: Path, arguments: str) -> None:
    assert run(f"$I {arguments} | true", tmp_path) == (1, "")


def test_change_whose_output_is_lost_stays(tmp_path: Path) -> None:
    assert run("$I init line >&-", tmp_path)[0] == 1
    assert (tmp_path / "line" / "inspector.toml").is_file()


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_error_that_can_not_be_told_keeps_its_exit_code(tmp_path: Path, where: str) -> None:
    assert run(f"$I products show nothing {where}", tmp_path)[0] == 2
    assert run(f"$I --wrong {where}", tmp_path)[0] == 2
    assert run(f"$I products list {where}", tmp_path)[0] == 0


@pytest.mark.usefixtures("store")
def test_question_without_standard_input_is_refused_with_a_sentence(tmp_path: Path) -> None:
    assert run("$I products show nothing <&-", tmp_path)[0] == 2
    assert run("$I products remove nothing --reason x <&-", tmp_path)[0] == 2
    assert run("$I products list --config missing.toml <&- >&- 2>&-", tmp_path)[0] == 78


def test_files_opened_by_a_command_never_get_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    """What is printed would else go into the database."""
    code, _ = run("$I db upgrade >&- 2>&- <&-", tmp_path)
    assert code == 1
    assert run("$I db check", tmp_path)[0] == 0
