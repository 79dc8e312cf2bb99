"""Answers `GET /metrics` on a thread with an event loop of its own, so that no client can hold up the agent.

What a client may cost is bounded: so many connections at once, so much of a request, so long for a request and for
taking the answer, and one text made in a second, however many ask. Between two pieces of a text the thread sleeps,
which lets the agent's event loop go on. A connection is closed after one answer. Nothing is ever changed by a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final, Self

from inspector.config.addresses import ListenAddress
from inspector.errors import AddressUnusable

PATH: Final = "/metrics"
MOST_CONNECTIONS: Final = 16
MOST_REQUEST_BYTES: Final = 8192
REQUEST_S: Final = 5.0
ANSWER_S: Final = 10.0
FRESH_S: Final = 1.0
"""A text serves all that ask within this time."""

PAUSE_S: Final = 0.0005
START_S: Final = 10.0
END_S: Final = 2.0

_HINT: Final = b"The figures of this agent are at /metrics.\n"


def bound_socket(address: ListenAddress) -> socket.socket:
    """A socket that listens there. Raises AddressUnusable."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, place = found[0][0], found[0][4]
        return socket.create_server(place[:2], family=family, backlog=MOST_CONNECTIONS)
    except OSError as error:
        is_of_system = error.errno is not None and error.errno > 0  # a look-up that fails has a negative number
        why = os.strerror(error.errno or 0) if is_of_system else error.strerror
        raise AddressUnusable(
            f"The agent can't listen on metrics.listen {address} ({why}); end what listens there, or set another one.",
            error.errno,
        ) from None


class MetricsServer:
    """Serves from `__aenter__` to `__aexit__`. `pieces` is called on the server's thread and makes the text."""

    def __init__(self, listening: socket.socket, content_type: str, pieces: Callable[[], Iterator[bytes]]) -> None:
        self._listening = listening
        self._content_type = content_type
        self._pieces = pieces
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="metrics", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._has_started = threading.Event()
        self._is_over = asyncio.Event()
        self._open = 0
        self._making = asyncio.Lock()
        self._text = b""
        self._made_at_s: float | None = None

    @property
    def connections(self) -> int:
        """Clients that are connected now."""
        return self._open

    async def __aenter__(self) -> Self:
        self._thread.start()
        await asyncio.to_thread(self._has_started.wait, START_S)
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Listen no more. A connection that is under way is closed."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended by itself
                self._loop.call_soon_threadsafe(self._is_over.set)
        await asyncio.to_thread(self._thread.join, END_S)
        self._listening.close()

    # --- on the server's thread ---

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(
            self._serve, sock=self._listening, limit=MOST_REQUEST_BYTES, backlog=MOST_CONNECTIONS
        )
        self._has_started.set()
        await self._is_over.wait()
        server.close()  # asyncio.run cancels what is under way

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= MOST_CONNECTIONS:
                await self._answer(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a client that is gone, slow or no client of this
        except asyncio.CancelledError:
            pass  # the server ends; asyncio would report a cancelled connection as an error
        finally:
            self._open -= 1
            writer.transport.abort() if writer.transport.get_write_buffer_size() else writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(REQUEST_S):
            head = await reader.readuntil(b"\r\n\r\n")
        method, _, rest = head.partition(b"\r\n")[0].partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        status, content_type, body = await self._chosen(method, path)
        lines = (
            f"HTTP/1.1 {status}",
            f"Content-Type: {content_type}",
            f"Content-Length: {len(body)}",
            "Connection: close",
            *(["Allow: GET, HEAD"] if status.startswith("405") else []),
        )
        writer.transport.set_write_buffer_limits(high=0)  # so that `drain` returns when the socket has all bytes
        writer.write("\r\n".join(lines).encode("ascii") + b"\r\n\r\n" + (b"" if method == b"HEAD" else body))
        async with asyncio.timeout(ANSWER_S):
            await writer.drain()

    async def _chosen(self, method: bytes, path: bytes) -> tuple[str, str, bytes]:
        plain = "text/plain; charset=utf-8"
        if method not in (b"GET", b"HEAD"):
            return "405 Method Not Allowed", plain, _HINT
        if path == PATH.encode():
            return "200 OK", self._content_type, await self._current()
        return ("200 OK" if path == b"/" else "404 Not Found"), plain, _HINT

    async def _current(self) -> bytes:
        """The text, made anew if it is older than `FRESH_S`. Those that ask meanwhile wait for the same one."""
        async with self._making:
            if self._made_at_s is None or time.monotonic() - self._made_at_s >= FRESH_S:
                made: list[bytes] = []
                for piece in self._pieces():
                    made.append(piece)
                    await asyncio.sleep(PAUSE_S)
                self._text, self._made_at_s = b"".join(made), time.monotonic()
            return self._text
