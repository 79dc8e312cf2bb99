"""A console over a small store, asked by HTTP without a browser."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.console import passwords
from inspector.console.access import COOKIE, TICKET
from inspector.console.app import application
from inspector.domain import Role, Verdict
from inspector.store.console import people
from inspector.store.database import Database, configured, ensure_schema
from inspector.store.ledger.ledger import SqlLedger

PASSWORD = "a good long password"
PEOPLE = {"vera": Role.VIEWER, "otto": Role.OPERATOR, "eva": Role.ENGINEER}
HTML = {"accept": "text/html"}


class Browser:
    """One browser with cookies of its own. `post` sends the session's token, as the forms of the pages do."""

    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.csrf = ""
        self.token = ""

    def get(self, path: str, **headers: str) -> str:
        """The page's text, which must be there."""
        answer = self.client.get(path, headers=HTML | headers)
        assert answer.status_code == 200, (answer.status_code, answer.text)
        return answer.text

    def status(self, path: str) -> int:
        return self.client.get(path, headers=HTML, follow_redirects=False).status_code

    def post(self, path: str, **fields: str) -> int:
        """The status of a change, sent with this session's token."""
        return self.client.post(
            path, data={"csrf": self.csrf, **fields}, headers=HTML, follow_redirects=False
        ).status_code

    def carry(self, cookie: str) -> None:
        """Send this session's cookie from now on, and no other."""
        self.token = cookie.partition("=")[2].partition(";")[0] or cookie
        self.client.cookies.clear()
        self.client.headers["cookie"] = f"{COOKIE}={self.token}"

    def until(self, path: str, *words: str) -> str:
        """The page, once it shows these words: the console looks into the store a few times a second."""
        for _ in range(100):
            page = self.get(path)
            if all(word in page for word in words):
                return page
            time.sleep(0.1)
        raise AssertionError(f"{path} does not show {words}: {page}")

    def sign_in(self, name: str, password: str = PASSWORD) -> int:
        """The status of the answer to the form."""
        ticket = re.search(r'name="ticket" value="([^"]+)"', self.get("/sign-in"))
        assert ticket is not None
        cookies = [f"{TICKET}={ticket[1]}", *([f"{COOKIE}={self.token}"] if self.token else [])]
        answer = self.client.post(
            "/sign-in",
            data={"ticket": ticket[1], "name": name, "password": password, "next": "/"},
            headers=HTML | {"cookie": "; ".join(cookies)},
            follow_redirects=False,
        )
        if answer.status_code == 303:
            self.carry(next(each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE)))
            token = re.search(r'name="csrf" value="([^"]+)"', self.get("/"))
            assert token is not None
            self.csrf = token[1]
        return answer.status_code


@pytest.fixture
def console_config(tmp_path: Path) -> Config:
    return parse(
        {
            "agent": {"name": "agent1", "state_dir": str(tmp_path / "state")},
            "console": {"hosts": ["testserver"]},
            "camera": [{"name": "cam1", "on_unjudged": "reject"}, {"name": "cam2", "on_unjudged": "reject"}],
        },
        None,
    )


@pytest.fixture(autouse=True)
def _quick_hashes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes of the same kind at a hundredth of the cost."""
    from argon2 import PasswordHasher

    quick = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", quick)
    monkeypatch.setattr(passwords, "_NOBODY", quick.hash("nobody"))


@pytest.fixture
def store(console_config: Config) -> Callable[[Sequence[Verdict]], None]:
    """Adds rows. The store has the three people already."""

    async def begin() -> None:
        async with configured(console_config) as database:
            await ensure_schema(database)
            for name, role in PEOPLE.items():
                await people.add_person(
                    database,
                    name,
                    role,
                    passwords.hashed(PASSWORD),
                    now=SystemClock().now(),
                    by="test",
                    reason="for the test",
                )

    async def add(rows: Sequence[Verdict]) -> None:
        async with configured(console_config) as database:
            await SqlLedger(database, SystemClock()).record(list(rows), [], [])

    asyncio.run(begin())
    return lambda rows: asyncio.run(add(rows))


@pytest.fixture
def app(console_config: Config, store: Callable[[Sequence[Verdict]], None]) -> Starlette:
    return application(console_config, Database(f"sqlite:///{console_config.agent.state_dir / 'inspector.db'}"))


@pytest.fixture
def client(app: Starlette) -> Iterator[TestClient]:
    with TestClient(app, raise_server_exceptions=False) as found:
        yield found


@pytest.fixture
def browser(client: TestClient) -> Browser:
    """A browser that nobody has signed in with."""
    return Browser(client)


@pytest.fixture
def signed_in(app: Starlette, client: TestClient) -> Callable[[str], Browser]:
    """Makes browsers that a person has signed in with."""

    def make(name: str) -> Browser:
        found = Browser(TestClient(app, raise_server_exceptions=False))
        found.client.portal = client.portal  # the application runs once, on one loop
        assert found.sign_in(name) == 303
        return found

    return make
