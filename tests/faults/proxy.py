"""A TCP fault proxy: stands between a client and a server, and lets bytes through, late, not at all, or resets.

It keeps to what TCP can do: bytes that it holds are handed on when it is healed, never lost or changed in the
middle of a stream. Runs on an event loop in a thread of its own; every method may be called from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from typing import Any, Self

CHUNK_BYTES = 64 * 1024


class FaultProxy:
    """Listens on `port` of 127.0.0.1 (0: a free one) for the server at `to`; passes everything until told otherwise."""

    def __init__(self, to: tuple[str, int], port: int = 0) -> None:
        self._to = to
        self._delay_s = 0.0
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault proxy", daemon=True)
        self._thread.start()
        self._server = self._call(self._listen(port))
        self.port = int(self._server.sockets[0].getsockname()[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def heal(self) -> None:
        """What is held goes on; later bytes and connections pass. Connections that lost an end stay dead."""
        self._call(self._set(is_open=True, delay_s=0.0))

    def delay(self, seconds: float) -> None:
        """Each chunk comes so much later, both ways."""
        self._call(self._set(is_open=True, delay_s=seconds))

    def black_hole(self) -> None:
        """Connections stay, new ones are taken, and nothing comes through any more, either way."""
        self._call(self._set(is_open=False, delay_s=0.0))

    def reset(self) -> None:
        """Every connection ends by RST at both ends; new ones pass."""
        self._call(self._each(_Link.reset))

    def half_open(self) -> None:
        """The server's end of every connection closes and the client is not told; new connections pass."""
        self._call(self._each(_Link.lose_server))

    @property
    def connections(self) -> int:
        """Clients connected now, half-open ones included."""
        return len(self._links)

    async def _listen(self, port: int) -> asyncio.Server:
        return await asyncio.start_server(self._accept, "127.0.0.1", port)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Known before its task runs: one that is cancelled before that would leave the connection to nobody.
        link = _Link(reader, writer)
        self._links.add(link)
        task = self._loop.create_task(self._serve(link))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, link: _Link) -> None:
        try:
            await self._is_open.wait()
            await link.connect(self._to)
            await link.carry(self._pass)
        except OSError:
            link.reset()  # there is no server: what a refused connection looks like through a proxy
        finally:
            self._links.discard(link)

    async def _pass(self, data: bytes, to: asyncio.StreamWriter) -> None:
        await self._is_open.wait()
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        to.write(data)
        await to.drain()

    async def _set(self, is_open: bool, delay_s: float) -> None:
        self._delay_s = delay_s
        if is_open:
            self._is_open.set()
        else:
            self._is_open.clear()

    async def _each(self, action: Any) -> None:
        for link in list(self._links):
            action(link)

    async def _close(self) -> None:
        self._server.close()
        links = set(self._links)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for link in links:
            link.reset()
        await asyncio.sleep(0.01)  # transports close in the loop's next turns

    def _call(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)


class _Link:
    """One client's connection and the one made to the server for it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._client = (reader, writer)
        self._server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._is_half_open = False

    async def connect(self, to: tuple[str, int]) -> None:
        """Raises OSError where nobody listens."""
        self._server = await asyncio.open_connection(*to)

    async def carry(self, pass_on: Any) -> None:
        """Until either end closes; a half-open link lasts until the client gives up."""
        assert self._server is not None
        server_reader, server_writer = self._server
        client_reader, client_writer = self._client
        up = asyncio.create_task(self._pump(client_reader, server_writer, pass_on))
        down = asyncio.create_task(self._pump(server_reader, client_writer, pass_on))
        try:
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if self._is_half_open:
                await up
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            for writer in (client_writer, server_writer):
                writer.close()

    def reset(self) -> None:
        for end in (self._client, self._server):
            if end is not None:
                _abort(end[1])

    def lose_server(self) -> None:
        self._is_half_open = True
        if self._server is not None:
            _abort(self._server[1])

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pass_on: Any) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK_BYTES):
                if not self._is_half_open:
                    await pass_on(data, writer)


def _abort(writer: asyncio.StreamWriter) -> None:
    """Close by RST, not by FIN."""
    raw = writer.get_extra_info("socket")
    if raw is not None:
        with contextlib.suppress(OSError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
