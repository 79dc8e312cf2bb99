"""The person in the audit is the real user id, whatever the environment says."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from inspector.operation import user
from inspector.operation.user import current_user, is_proven, is_same_person

ROOT = Path(__file__).parents[3]
WHOLE_MAP, NO_LOGIN = "0 0 4294967295", "4294967295"

NAMES = {0: "root", 1001: "ada"}


@pytest.fixture(autouse=True)
def proc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A /proc with known users, where nobody has logged in, no namespace is in force, and the parent is sudo."""
    (tmp_path / "uid_map").write_text(WHOLE_MAP)
    (tmp_path / "loginuid").write_text(NO_LOGIN)
    (tmp_path / str(os.getppid())).mkdir()
    (tmp_path / str(os.getppid()) / "status").write_text("Name:\tsudo\nPPid:\t1\nUid:\t1001\t0\t0\t0\n")
    monkeypatch.setattr(pwd, "getpwuid", lambda user_id: SimpleNamespace(pw_name=NAMES[user_id]))
    monkeypatch.setattr(user, "_MAP", tmp_path / "uid_map")
    monkeypatch.setattr(user, "_LOGIN", tmp_path / "loginuid")
    monkeypatch.setattr(user, "_PROCESSES", tmp_path)
    return tmp_path


def as_user(monkeypatch: pytest.MonkeyPatch, user_id: int, **variables: str) -> str:
    monkeypatch.setattr(os, "getuid", lambda: user_id)
    monkeypatch.delenv("SUDO_UID", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return current_user()


@pytest.mark.parametrize("variable", ["LOGNAME", "USER", "LNAME", "USERNAME", "SUDO_USER"])
def test_current_user_is_not_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    assert as_user(monkeypatch, 1001, **{variable: "qa-manager"}) == "ada"


def test_current_user_of_sudo_is_root_and_who_called_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_user(monkeypatch, 0) == "root"
    assert (
        as_user(monkeypatch, 0, SUDO_UID="1001", SUDO_USER="qa-manager")
        == "root (sudo by ada, as the environment says)"
    )
    assert as_user(monkeypatch, 0, SUDO_UID="4711") == "root (sudo by uid 4711, as the environment says)"
    assert as_user(monkeypatch, 0, SUDO_UID="-1") == "root"
    assert as_user(monkeypatch, 0, SUDO_UID="4294967295") == "root (sudo by uid 4294967295, as the environment says)"
    assert as_user(monkeypatch, 0, SUDO_UID="9" * 5000) == "root"


def test_current_user_who_is_not_root_can_not_claim_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_user(monkeypatch, 1001, SUDO_UID="0") == "ada"
    assert as_user(monkeypatch, 4711, SUDO_UID="1001") == "uid 4711"


def test_person_who_comes_by_sudo_is_no_second_person() -> None:
    assert is_same_person("ada", "root (sudo by ada)")
    assert is_same_person("root (sudo by ada)", "root (sudo by ada)")
    assert not is_same_person("root (sudo by ada)", "root (sudo by bo)")
    assert not is_same_person("root", "ada")


def test_current_user_without_sudo_above_is_not_who_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, proc: Path
) -> None:
    (proc / str(os.getppid()) / "status").write_text("Name:\tbash\nPPid:\t1\nUid:\t0\t0\t0\t0\n")
    assert as_user(monkeypatch, 0, SUDO_UID="1001") == "root"


@pytest.mark.parametrize(
    ("ids", "name"),
    [("0 1001 1", "uid 1001"), ("0 0 1", "uid 0"), ("", "uid 0"), ("0 1001 1\n1 100000 65536", "uid 1001")],
)
def test_root_of_a_user_namespace_is_not_root(monkeypatch: pytest.MonkeyPatch, proc: Path, ids: str, name: str) -> None:
    (proc / "uid_map").write_text(ids)
    (proc / "loginuid").write_text("0")
    found = as_user(monkeypatch, 0, SUDO_UID="1001")
    assert found == f"{name} in a user namespace"
    assert not is_proven(found)
    assert is_same_person(found, "ada"), "nobody approves what they proposed under another id"


def test_current_user_says_who_logged_in_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, proc: Path
) -> None:
    (proc / "loginuid").write_text("1001")
    assert as_user(monkeypatch, 1001) == "ada"
    assert as_user(monkeypatch, 0, SUDO_UID="4711") == "root (login ada)"
    assert as_user(monkeypatch, 4711) == "uid 4711 (login ada)"
    assert is_same_person("ada", "root (login ada)")
    assert is_same_person("uid 4711", "uid 4711 (login ada)"), "a login that was never set can be set by its user"
    assert is_same_person("root (sudo by ada)", "root (sudo by ada, as the environment says)")
    assert not is_same_person("root (login ada)", "root (login bo)")


@pytest.mark.skipif(shutil.which("unshare") is None, reason="util-linux is not installed")
def test_process_in_a_real_user_namespace_is_named_as_that() -> None:
    code = "from inspector.operation.user import current_user; print(current_user())"
    command = ["unshare", "-r", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    if "unshare" in done.stderr:
        pytest.skip("this machine lets nobody make a user namespace")
    assert done.stdout.strip() == f"uid {os.getuid()} in a user namespace"
