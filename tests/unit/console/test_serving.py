"""The first password, new ones, and the address that people type."""

from __future__ import annotations

import asyncio
import re
import signal
import socket

import pytest

from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.console import serving
from inspector.console.passwords import is_right
from inspector.console.rendering import Pages
from inspector.domain import Role
from inspector.errors import StateUnusable, UsageError
from inspector.store.console import people
from inspector.store.database import configured

MADE_UP = r"[a-z0-9]{4}(-[a-z0-9]{4}){3}"


def stored_hash(config: Config, name: str) -> str:
    async def read() -> str:
        async with configured(config) as database:
            known = await people.credentials_of(database, name)
            assert known is not None
            assert known[0].role is Role.ENGINEER
            return known[1]

    return asyncio.run(read())


def test_first_password_is_made_once_and_stored_as_a_hash(console_config: Config) -> None:
    made = asyncio.run(serving.first_password(console_config))
    assert made is not None
    assert re.fullmatch(MADE_UP, made)
    hashed = stored_hash(console_config, serving.FIRST_PERSON)
    assert made not in hashed
    assert is_right(made, hashed)
    assert asyncio.run(serving.first_password(console_config)) is None


def test_new_password_replaces_the_old_one(console_config: Config) -> None:
    first = asyncio.run(serving.new_password(console_config, serving.FIRST_PERSON, by="root"))
    second = asyncio.run(serving.new_password(console_config, serving.FIRST_PERSON, by="root"))
    hashed = stored_hash(console_config, serving.FIRST_PERSON)
    assert is_right(second, hashed)
    assert not is_right(first, hashed)


def test_new_password_of_somebody_unknown_is_refused(console_config: Config) -> None:
    asyncio.run(serving.first_password(console_config))
    with pytest.raises(UsageError, match="nobody named nora"):
        asyncio.run(serving.new_password(console_config, "nora", by="root"))


@pytest.mark.parametrize(
    ("section", "address"),
    [
        ({"listen": "127.0.0.1:8420"}, "http://127.0.0.1:8420/"),
        ({"listen": "[::1]:8420"}, "http://[::1]:8420/"),
        ({"listen": "0.0.0.0:9", "allow_plain": True}, "http://127.0.0.1:9/"),
        ({"listen": "box:443", "cert_file": "/c", "key_file": "/k"}, "https://box:443/"),
    ],
)
def test_address_is_one_that_a_browser_takes(section: dict[str, object], address: str) -> None:
    assert serving.address_of(parse({"console": section}, None)) == address


def test_serve_on_a_taken_address_says_so(console_config: Config) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        section = console_config.console.model_copy(update={"listen": f"127.0.0.1:{other.getsockname()[1]}"})
        config = console_config.model_copy(update={"console": section})
        with pytest.raises(StateUnusable, match="can't listen"):
            asyncio.run(serving.serve(config))


def test_console_compiles_its_pages_and_sets_them_apart_before_it_says_that_it_is_there(
    console_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    load = Pages.load_templates

    def load_templates(pages: Pages) -> None:
        load(pages)
        done.append("compiled")

    def on_start(_address: str) -> None:
        done.append("there")
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(Pages, "load_templates", load_templates)
    monkeypatch.setattr(serving, "set_start_apart", lambda: done.append("set apart"))
    section = console_config.console.model_copy(update={"listen": "127.0.0.1:0"})
    asyncio.run(serving.serve(console_config.model_copy(update={"console": section}), on_start))
    assert done == ["compiled", "set apart", "there"]
