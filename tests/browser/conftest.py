"""A console as a process of its own over a drawn line, and a real browser in front of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from inspector.config.config import Config
from inspector.config.loading import load
from inspector.domain import Role
from inspector.store.console import people
from inspector.store.database import configured
from tests.browser.scene import Line, Plan, write_config
from tests.parts import encoded
from tests.shared import link_graphs

CHROMIUM = "/usr/bin/chromium"
ARGUMENTS = ["--no-sandbox", "--disable-dev-shm-usage"]
PATIENCE_MS = 30_000
"""For what comes within a second on a machine that has nothing else to do."""

PASSWORD = "a good long password"


class Console:
    """One `inspector console` on a state folder with a drawn line."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.folder = folder
        self.path = config
        self._log = folder / "console.log"
        self.address = ""
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def config(self) -> Config:
        return load(self.path)

    def start(self, listen: str | None = None) -> Console:
        """Ready for browsers when it returns."""
        if listen is not None:
            text = re.sub(r'listen = "[^"]*"', f'listen = "{listen}"', self.path.read_text())
            self.path.write_text(text)
        self._log.unlink(missing_ok=True)
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "inspector", "console", "--config", str(self.path)],
                stdout=subprocess.DEVNULL,
                stderr=log,
                env=dict(os.environ),
            )
        deadline = time.monotonic() + 90
        while not (found := re.search(r"The console is at (\S+)/", self._log.read_text())):
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)
        self.address = found[1]
        return self

    def end(self) -> int:
        """Its exit code after SIGTERM."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Visitor:
    """A person in front of a browser. `requests`: all addresses that the browser asked for; `faults`: what it said."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.requests: list[str] = []
        self.faults: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda said: self.faults.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("dialog", lambda dialog: self.faults.append(f"dialog: {dialog.message}"))

    async def go(self, path: str) -> None:
        await self.page.goto(f"{self.address}{path}")

    async def sign_in(self, name: str) -> None:
        await self.go("/sign-in")
        await self.page.fill("input[name=name]", name)
        await self.page.fill("input[name=password]", PASSWORD)
        await self.page.click("button.primary")
        await self.page.wait_for_selector("header nav")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's browser. Playwright's own can't be had without a network."""
    if not Path(CHROMIUM).exists():
        pytest.skip("Chromium is not installed (Debian package: chromium)")
    return CHROMIUM


@pytest.fixture
async def line(tmp_path: Path, enrolled_state: Path, engine_cache: Path) -> AsyncIterator[Line]:
    """Two cameras with two products; 40 parts each, the last one a second ago."""
    shutil.copytree(enrolled_state, tmp_path / "state")
    link_graphs(engine_cache, tmp_path / "state" / "engines")
    async with Line(load(write_config(tmp_path, ("cam1", "cam2"))), encoded) as line:
        for name, role in (("vera", Role.VIEWER), ("otto", Role.OPERATOR), ("eva", Role.ENGINEER)):
            await add_person(line.config, name, role)
        await line.show(Plan(parts=40, gap_s=2.0))
        yield line


async def add_person(config: Config, name: str, role: Role) -> None:
    """Somebody with the tests' password."""
    from inspector.agent.clock import SystemClock
    from inspector.console.passwords import hashed

    async with configured(config) as database:
        now = SystemClock().now()
        await people.add_person(database, name, role, hashed(PASSWORD), now=now, by="test", reason="for the test")


@pytest.fixture
def console(tmp_path: Path, line: Line) -> Iterator[Console]:
    """A running console over that line."""
    made = Console(tmp_path, tmp_path / "inspector.toml")
    yield made.start()
    made.kill()


@pytest.fixture
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield launched
        await launched.close()


Visit = Callable[..., "contextlib.AbstractAsyncContextManager[Visitor]"]


@pytest.fixture
def visit(browser: Browser, console: Console) -> Visit:
    """Opens a browser of its own for a person, signed in. Whatever it shows, nothing may have gone wrong in it."""

    @contextlib.asynccontextmanager
    async def opened(name: str, width: int = 1280, height: int = 800, scheme: str = "light") -> AsyncIterator[Visitor]:
        context: BrowserContext = await browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        visitor = Visitor(await context.new_page(), console.address)
        await visitor.sign_in(name)
        yield visitor
        await context.close()

    return opened
