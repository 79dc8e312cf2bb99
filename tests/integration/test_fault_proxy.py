"""The proxy of the fault suite does to a connection what it says, and never changes a byte."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from tests.faults.proxy import FaultProxy

SILENCE_S = 0.3


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """Before a server that says everything back."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with FaultProxy(("127.0.0.1", server.server_address[1])) as made:
            yield made
        server.shutdown()


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator[socket.socket]:
    with connected(proxy) as made:
        yield made


def connected(proxy: FaultProxy) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=30)


def first_byte(proxy: FaultProxy) -> bytes:
    """Of a connection of its own."""
    with connected(proxy) as client:
        return client.recv(1)


def echo(client: socket.socket, data: bytes) -> bytes:
    """What comes back, as many bytes as went."""
    sending = threading.Thread(target=client.sendall, args=(data,))
    sending.start()
    back = b""
    while len(back) < len(data):
        chunk = client.recv(65536)
        assert chunk, "the connection was closed"
        back += chunk
    sending.join()
    return back


def is_silent(client: socket.socket) -> bool:
    client.settimeout(SILENCE_S)
    try:
        client.recv(1)
    except TimeoutError:
        return True
    finally:
        client.settimeout(30)
    return False


def test_proxy_passes_every_byte_in_order(proxy: FaultProxy, client: socket.socket) -> None:
    data = bytes(range(256)) * 4000
    assert echo(client, data) == data


def test_proxy_black_hole_holds_and_healing_hands_on(proxy: FaultProxy, client: socket.socket) -> None:
    assert echo(client, b"before") == b"before"
    proxy.black_hole()
    client.sendall(b"held")
    with connected(proxy) as late:
        late.sendall(b"late")
        assert is_silent(client)
        assert is_silent(late)
        proxy.heal()
        assert client.recv(4) == b"held"
        assert late.recv(4) == b"late"


def test_proxy_reset_ends_connections_and_lets_new_ones_pass(proxy: FaultProxy, client: socket.socket) -> None:
    assert echo(client, b"before") == b"before"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    with connected(proxy) as again:
        assert echo(again, b"after") == b"after"


def test_proxy_half_open_is_silent_to_the_client_for_good(proxy: FaultProxy, client: socket.socket) -> None:
    assert echo(client, b"before") == b"before"
    proxy.half_open()
    client.sendall(b"to nobody")
    assert is_silent(client)
    proxy.heal()
    assert is_silent(client)
    with connected(proxy) as again:
        assert echo(again, b"after") == b"after"


def test_proxy_delay_comes_late_and_whole(proxy: FaultProxy, client: socket.socket) -> None:
    assert echo(client, b"before") == b"before"
    proxy.delay(SILENCE_S)
    began = time.monotonic()
    assert echo(client, b"slow") == b"slow"
    assert time.monotonic() - began >= 2 * SILENCE_S


def test_proxy_without_a_server_resets_its_clients() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: a connection to it is refused
        with FaultProxy(("127.0.0.1", taken.getsockname()[1])) as proxy, pytest.raises(ConnectionResetError):
            first_byte(proxy)
