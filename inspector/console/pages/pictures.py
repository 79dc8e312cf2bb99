"""Pictures of parts, by result id alone: the row says where they lie, never the request."""

from __future__ import annotations

import asyncio
import uuid
from collections import OrderedDict
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from inspector.console.access import Denied, console_of
from inspector.domain import Verdict
from inspector.store.ledger.queries import get_result
from inspector.store.pictures.folders import read_kept
from inspector.store.pictures.overlay import Undrawable, small_jpeg

SHOWN_PX: Final = 1600
SMALL_PX: Final = 480
_KEPT_BYTES: Final = 64 * 1024 * 1024
_TYPES: Final = {".jpg": "image/jpeg", ".png": "image/png"}
_UNCHANGING: Final = {"cache-control": "private, max-age=86400, immutable"}


class Thumbnails:
    """Reduced pictures, each made once as long as there is room for it in memory."""

    def __init__(self, most_bytes: int = _KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._made: OrderedDict[tuple[Path, int], bytes] = OrderedDict()
        self._size_bytes = 0

    async def of(self, path: Path, longest_px: int) -> bytes:
        """The picture in that file as a JPEG of at most `longest_px`. Raises Undrawable, OSError."""
        key = (path, longest_px)
        if key not in self._made:
            made = await asyncio.to_thread(lambda: small_jpeg(read_kept(path), longest_px))
            self._made[key] = made
            self._size_bytes += len(made)
        self._made.move_to_end(key)
        found = self._made[key]
        while self._size_bytes > self._most_bytes and len(self._made) > 1:
            self._size_bytes -= len(self._made.popitem(last=False)[1])
        return found


_THUMBNAILS: Final = Thumbnails()


def result_id_of(request: Request) -> str:
    """The result id in the address. Raises Denied for anything but one."""
    try:
        return str(uuid.UUID(request.path_params["result_id"]))
    except ValueError:
        raise Denied(404, console_of(request).pages.text("denied.missing")) from None


async def verdict_of(request: Request) -> Verdict:
    """The row that the address names. Raises Denied if there is none."""
    verdict = await get_result(console_of(request).database, result_id_of(request))
    if verdict is None:
        raise Denied(404, console_of(request).pages.text("denied.missing"))
    return verdict


async def show(request: Request) -> Response:
    """`frame`: the unchanged file; `shown`: reduced for a page; `heat`: with the heat map; `small`: for a card."""
    console, kind = console_of(request), request.path_params["kind"]
    result_id = result_id_of(request)
    etag = f'"{result_id}-{kind}"'
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag, **_UNCHANGING})
    headers = {"etag": etag, **_UNCHANGING}
    if kind == "small" and (recent := console.live.small(result_id)) is not None:
        return Response(recent, media_type="image/jpeg", headers=headers)
    verdict = await verdict_of(request)
    where = (verdict.result_id, verdict.camera, verdict.decided_at)
    heat = await asyncio.to_thread(console.pictures.heat, *where)
    if kind == "heat" and heat is not None:
        return await _unchanged(heat, headers)
    frame = await asyncio.to_thread(console.pictures.frame, *where)
    if kind == "small":
        frame = heat or frame
    if frame is None or kind == "heat":
        return Response(status_code=404)
    if kind == "frame":
        return await _unchanged(frame, headers)
    try:
        reduced = await _THUMBNAILS.of(frame, SMALL_PX if kind == "small" else SHOWN_PX)
    except (Undrawable, OSError):
        return Response(status_code=404)
    return Response(reduced, media_type="image/jpeg", headers=headers)


async def _unchanged(path: Path, headers: dict[str, str]) -> Response:
    """The file as it is, read through no link."""
    try:
        content = await asyncio.to_thread(read_kept, path)
    except OSError:  # retention may have taken it meanwhile
        return Response(status_code=404)
    return Response(content, media_type=_TYPES[path.suffix], headers=headers)
