"""The person in the audit is the real user id, whatever the environment says."""

from __future__ import annotations

import os
import pwd
from types import SimpleNamespace

import pytest

from inspector.operation.user import current_user, is_same_person

NAMES = {0: "root", 1001: "ada"}


@pytest.fixture(autouse=True)
def known_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", lambda user_id: SimpleNamespace(pw_name=NAMES[user_id]))


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
    assert as_user(monkeypatch, 0, SUDO_UID="1001", SUDO_USER="qa-manager") == "root (sudo by ada)"
    assert as_user(monkeypatch, 0, SUDO_UID="4711") == "root (sudo by uid 4711)"
    assert as_user(monkeypatch, 0, SUDO_UID="-1") == "root"
    assert as_user(monkeypatch, 0, SUDO_UID="4294967295") == "root (sudo by uid 4294967295)"
    assert as_user(monkeypatch, 0, SUDO_UID="9" * 5000) == "root"


def test_current_user_who_is_not_root_can_not_claim_another(monkeypatch: pytest.MonkeyPatch) -> None:
    assert as_user(monkeypatch, 1001, SUDO_UID="0") == "ada"
    assert as_user(monkeypatch, 4711, SUDO_UID="1001") == "uid 4711"


def test_person_who_comes_by_sudo_is_no_second_person() -> None:
    assert is_same_person("ada", "root (sudo by ada)")
    assert is_same_person("root (sudo by ada)", "root (sudo by ada)")
    assert not is_same_person("root (sudo by ada)", "root (sudo by bo)")
    assert not is_same_person("root", "ada")
