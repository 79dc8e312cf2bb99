"""The metrics server answers, and no client, however bad, costs the agent anything."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from inspector.agent.metrics import server
from inspector.agent.metrics.server import MOST_CONNECTIONS, MOST_REQUEST_BYTES, MetricsServer, bound_socket
from inspector.config.addresses import ListenAddress
from inspector.errors import AddressUnusable

TEXT = b"# HELP a A.\n# TYPE a gauge\na 1.0\n"
TYPE = "text/plain; version=0.0.4; charset=utf-8"
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"

Pieces = Callable[[], Iterator[bytes]]


def listening() -> tuple[socket.socket, ListenAddress]:
    """A socket on a port that the system has chosen."""
    bound = bound_socket(ListenAddress("127.0.0.1", 0))
    return bound, ListenAddress("127.0.0.1", bound.getsockname()[1])


def text() -> Iterator[bytes]:
    yield TEXT[:12]
    yield TEXT[12:]


@contextlib.asynccontextmanager
async def served(pieces: Pieces = text) -> AsyncIterator[ListenAddress]:
    bound, address = listening()
    async with MetricsServer(bound, TYPE, pieces):
        yield address


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.002)


async def ask(address: ListenAddress, method: str = "GET", path: str = "/metrics") -> tuple[int, bytes, str | None]:
    """Status, body and content type, by a client that is not ours."""

    def request() -> tuple[int, bytes, str | None]:
        connection = http.client.HTTPConnection(address.host, address.port, timeout=30)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.getheader("Content-Type")

    return await asyncio.to_thread(request)


async def say(address: ListenAddress, words: bytes) -> bytes:
    """Everything that comes back for these bytes until the server closes the connection."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    with contextlib.suppress(OSError):
        writer.write(words)
        await writer.drain()
    said = b""
    with contextlib.suppress(OSError):
        said = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    return said


async def test_get_brings_the_whole_text_with_its_content_type() -> None:
    async with served() as address:
        assert await ask(address) == (200, TEXT, TYPE)
        assert await ask(address, path="/metrics?debug=1") == (200, TEXT, TYPE)


async def test_head_brings_the_length_without_the_text() -> None:
    async with served() as address:
        said = await say(address, b"HEAD /metrics HTTP/1.1\r\n\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert f"Content-Length: {len(TEXT)}".encode() in said
    assert said.endswith(b"\r\n\r\n")


async def test_other_paths_and_methods_are_refused_with_a_hint() -> None:
    async with served() as address:
        status, body, _ = await ask(address, path="/../../etc/passwd")
        assert (status, b"/metrics" in body) == (404, True)
        assert (await ask(address, path="/"))[0] == 200
        for method in ("POST", "PUT", "DELETE"):
            assert (await ask(address, method))[0] == 405


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20,
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"X: " + b"y" * (4 * MOST_REQUEST_BYTES) + b"\r\n\r\n",
        b"\xff\xfe\xfd \x00 \x00\r\n\r\n",
        b"GET " + b"/" * 5000 + b" HTTP/9.9\r\n\r\n",
    ],
    ids=["nothing", "empty", "tls", "no path", "too long", "no text", "long path"],
)
async def test_bad_request_is_harmless_and_the_next_client_is_served(
    words: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.3)
    async with served() as address:
        said = await say(address, words)
        assert not said.startswith(b"HTTP/1.1 200")
        assert (await ask(address))[0] == 200
    assert caplog.records == [], "nothing of it is worth a line"


async def test_client_that_says_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.2)
    async with served() as address:
        reader, writer = await asyncio.open_connection(address.host, address.port)
        assert await asyncio.wait_for(reader.read(), 30) == b""
        writer.close()


async def test_client_that_takes_nothing_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "ANSWER_S", 0.3)
    size, (bound, address) = 64 * 1024 * 1024, listening()
    async with MetricsServer(bound, TYPE, lambda: iter([b"x" * size])) as serving:
        with socket.create_connection((address.host, address.port), 30) as client:
            client.sendall(GET)
            for wanted in (1, 0):  # it is answered, and has not read a byte when the server gives up
                await until(lambda: serving.connections == wanted)  # noqa: B023 - of this turn
            got = 0
            with contextlib.suppress(OSError):
                while more := await asyncio.to_thread(client.recv, 1 << 20):
                    got += len(more)
    assert got < size


async def test_clients_beyond_the_bound_are_turned_away_and_come_in_later() -> None:
    async with served() as address:
        idle = [await asyncio.open_connection(address.host, address.port) for _ in range(MOST_CONNECTIONS)]
        assert await say(address, GET) == b""
        for _, writer in idle:
            writer.close()
        async with asyncio.timeout(30):
            while not (await say(address, GET)).endswith(TEXT):
                await asyncio.sleep(0.02)


async def test_text_is_made_once_for_all_that_ask_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "FRESH_S", 3600.0)
    made: list[int] = []

    def pieces() -> Iterator[bytes]:
        made.append(threading.get_ident())
        yield TEXT

    async with served(pieces) as address:
        answers = await asyncio.gather(*(ask(address) for _ in range(8)))
    assert [status for status, _, _ in answers] == [200] * 8
    assert len(made) == 1
    assert threading.get_ident() not in made, "never on the agent's thread"


async def test_text_that_takes_long_does_not_hold_up_the_event_loop_of_the_agent() -> None:
    is_let_go = threading.Event()

    def pieces() -> Iterator[bytes]:
        is_let_go.wait(30)
        yield TEXT

    async with served(pieces) as address:
        answer = asyncio.create_task(ask(address))
        for _ in range(50):
            await asyncio.sleep(0.001)
        assert not answer.done()
        is_let_go.set()
        assert (await answer)[0] == 200


async def test_error_while_the_text_is_made_ends_one_answer_only() -> None:
    attempts: list[int] = []

    def pieces() -> Iterator[bytes]:
        attempts.append(1)
        if len(attempts) == 1:
            raise ValueError("a fault of ours")
        yield TEXT

    async with served(pieces) as address:
        assert await say(address, GET) == b""
        assert (await ask(address))[0] == 200


async def test_end_is_prompt_while_clients_are_connected(caplog: pytest.LogCaptureFixture) -> None:
    async with served() as address:
        idle = await asyncio.open_connection(address.host, address.port)
        await ask(address)
    began = time.monotonic()
    assert await asyncio.wait_for(idle[0].read(), 30) == b""
    idle[1].close()
    assert time.monotonic() - began < 30
    assert caplog.records == []
    assert not any(thread.name == "metrics" for thread in threading.enumerate())
    with pytest.raises(OSError):
        socket.create_connection((address.host, address.port), timeout=5)


def test_address_in_use_is_an_error_that_says_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = ListenAddress("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(AddressUnusable, match=rf"metrics\.listen {address} \(Address already in use\)"):
            bound_socket(address)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_address_of_another_machine_is_an_error(host: str) -> None:
    with pytest.raises(AddressUnusable, match=host):
        bound_socket(ListenAddress(host, 9464))


async def test_many_clients_at_once_are_all_answered_or_turned_away() -> None:
    async with served() as address:
        with ThreadPoolExecutor(40) as pool:
            loop = asyncio.get_running_loop()

            def request() -> bytes:
                with contextlib.suppress(OSError), socket.create_connection((address.host, address.port), 30) as client:
                    client.sendall(GET)
                    return client.makefile("rb").read()
                return b""

            said = await asyncio.gather(*(loop.run_in_executor(pool, request) for _ in range(200)))
        assert {answer[-len(TEXT) :] for answer in said} <= {TEXT, b""}
        assert TEXT in {answer[-len(TEXT) :] for answer in said}
        assert (await ask(address))[0] == 200
