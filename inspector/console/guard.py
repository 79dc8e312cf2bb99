"""The outermost layer: which host and site a request may come from, how large it may be, and the headers of answers."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from inspector.config.sections import ConsoleSection

POLICY: Final = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'"
HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
    "cache-control": "no-store",
}
MOST_BODY_BYTES: Final = 256 * 1024
UPLOADS: Final = "/uploads"
"""Paths below this take larger bodies and count them themselves."""

_OWN_NAMES: Final = ("127.0.0.1", "localhost", "::1")


class Guard:
    """An ASGI layer. A request that it refuses reaches no page."""

    def __init__(self, app: ASGIApp, section: ConsoleSection) -> None:
        self._app = app
        self._hosts = _hosts(section)
        self._has_tls = section.has_tls or section.is_proxied

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        guarded = _with_headers(send, self._has_tls)
        if refusal is not None:
            status, sentence = refusal
            await PlainTextResponse(sentence, status)(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        host = _name_of(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            return 421, "This console is not called by that name; see console.hosts."
        if scope["method"] in ("GET", "HEAD"):
            return None
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return 403, "This request comes from another site."
        origin = headers.get("origin")
        if origin is not None and _name_of(origin.partition("://")[2]) != host:
            return 403, "This request comes from another site."
        length = headers.get("content-length", "")
        if scope["path"].startswith(UPLOADS):
            return None
        if not length.isdigit() or int(length) > MOST_BODY_BYTES:
            return 413, "This request is larger than any form of this console."
        return None


def _hosts(section: ConsoleSection) -> frozenset[str]:
    """The names that may be called; empty: any."""
    if section.hosts:
        return frozenset({*(name.lower() for name in section.hosts), *_OWN_NAMES})
    return frozenset(_OWN_NAMES) if section.is_loopback else frozenset()


def _name_of(host: str) -> str:
    """A host without its port, in lower case."""
    host = host.lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _with_headers(send: Send, has_tls: bool) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if has_tls:
                headers.setdefault("strict-transport-security", "max-age=31536000")
        await send(message)

    return guarded
