"""Runs the console: its database, its first password, its server."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Final

import uvicorn
from starlette.applications import Starlette

from inspector.agent.clock import SystemClock
from inspector.agent.garbage import set_start_apart
from inspector.agent.systemd import Notifier
from inspector.config import loading
from inspector.config.config import Config
from inspector.console.app import application
from inspector.console.passwords import hashed, made_up
from inspector.domain import Role
from inspector.errors import ConfigError, StateUnusable
from inspector.operation.opening import database_of
from inspector.store.console import people
from inspector.store.database import Database

FIRST_PERSON: Final = "engineer"
DRAIN_S: Final = 3
_ANYWHERE: Final = frozenset({"", "::", "0.0.0.0"})
Say = Callable[[str], None]


async def first_password(config: Config) -> str | None:
    """Make the first person with a password of their own, and return it; None where somebody may sign in already."""
    async with database_of(config, creates=True) as database:
        if await people.has_people(database):
            return None
        return await _new_person(database)


async def new_password(config: Config, name: str, *, by: str) -> str:
    """A new password for a person. A person of the name `FIRST_PERSON` is made if there is none yet.

    Raises UsageError for anybody else who is not there.
    """
    async with database_of(config, creates=True) as database:
        if name == FIRST_PERSON and await people.credentials_of(database, name) is None:
            return await _new_person(database)
        password = made_up()
        stored = await asyncio.to_thread(hashed, password)
        await people.set_password(
            database, name, stored, now=SystemClock().now(), by=by, reason="new password, made at the terminal"
        )
        return password


async def _new_person(database: Database) -> str:
    password = made_up()
    stored = await asyncio.to_thread(hashed, password)
    now = SystemClock().now()
    await people.add_person(
        database, FIRST_PERSON, Role.ENGINEER, stored, now=now, by="console", reason="the first person of this console"
    )
    return password


def address_of(config: Config, port: int | None = None) -> str:
    """What a person types into a browser on this machine."""
    host, configured_port = config.console.address
    scheme = "https" if config.console.has_tls else "http"
    if host in _ANYWHERE:
        host = "127.0.0.1"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port or configured_port}/"


async def serve(config: Config, on_start: Say = lambda _address: None) -> None:
    """Serve until SIGTERM or SIGINT. `on_start` is told the address once browsers can reach it.

    Raises ConfigError for a certificate that can't be used, StateUnusable where the address is taken.
    """
    async with database_of(config, creates=True) as database:
        database.chain.ensure_there()
        listener = _listener(config)
        with contextlib.closing(listener):
            app = application(config, database)
            app.state.console.pages.load_templates()
            server = _Server(_settings(config, app))
            server.stop_on_signals(app.state.console.live.stop)
            started = asyncio.create_task(_announce(server, listener, config, on_start))
            try:
                await server.serve(sockets=[listener])
            finally:
                started.cancel()


class _Server(uvicorn.Server):
    """uvicorn's server without its own handling of signals, which ends the process by the signal and not with 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    def stop_on_signals(self, end_streams: Callable[[], None]) -> None:
        """Stop at SIGTERM and SIGINT. Open streams are ended, since nothing else ends them."""

        def stop() -> None:
            self.should_exit = True
            end_streams()

        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop)


async def _announce(server: uvicorn.Server, listener: socket.socket, config: Config, on_start: Say) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)
    address, _ = loading.notify_socket()
    set_start_apart()  # a full collection of all that was loaded would stop each page that it falls into for 0.1 s
    Notifier(address).send("READY=1")
    on_start(address_of(config, listener.getsockname()[1]))


def _listener(config: Config) -> socket.socket:
    host, port = config.console.address
    with contextlib.ExitStack() as closing:
        try:
            family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            listener = closing.enter_context(socket.socket(family, socket.SOCK_STREAM))
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
        except OSError as error:
            raise StateUnusable(
                f"The console can't listen on {config.console.listen} ({error.strerror or error}); is another one "
                "running? console.listen names another address."
            ) from error
        closing.pop_all()
        return listener


def _settings(config: Config, app: Starlette) -> uvicorn.Config:
    section = config.console
    if section.cert_file is not None:
        _check_certificate(config)
    return uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=section.is_proxied,
        ssl_certfile=None if section.cert_file is None else str(section.cert_file),
        ssl_keyfile=None if section.key_file is None else str(section.key_file),
        timeout_graceful_shutdown=DRAIN_S,
        h11_max_incomplete_event_size=32 * 1024,
        limit_concurrency=4 * section.viewers + 100,
    )


def _check_certificate(config: Config) -> None:
    section = config.console
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(str(section.cert_file), section.key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError([f"console.cert_file and console.key_file can't be used: {error}"]) from error
