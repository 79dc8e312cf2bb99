"""Enrolment from the browser: good pictures from a folder or a camera, asked for as a job that `inspector worker` does.

Uploaded pictures stay in the state folder, since a version's list of images names them. Each file is stored under a
name of this console's own, and only if its first bytes are those of a JPEG or PNG.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import uuid
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from inspector import files
from inspector.agent.clock import SystemClock
from inspector.console.access import Console, Denied, console_of, context_of, field, form_of, session_of
from inspector.domain import LongJob
from inspector.enrolment.enrol_product import ensure_name
from inspector.enrolment.worker import ENROL
from inspector.errors import UsageError
from inspector.operation.cameras import camera_named
from inspector.store import jobs
from inspector.store.pictures.folders import safe_name, write_whole
from inspector.store.pictures.overlay import suffix_of

MOST_FILE_BYTES: Final = 64 * 1024 * 1024
MOST_FILES: Final = 2000
MOST_BATCH_BYTES: Final = 4 * 2**30
UNSENT_S: Final = 86_400.0
MOST_JOBS: Final = 10_000
MOST_FROM_CAMERA: Final = 1000
HEADS: Final = ("auto", "prototype", "protoad", "student")
PROFILES: Final = ("standard", "fast", "fine")
_BATCH: Final = re.compile(r"[0-9a-f]{32}")


async def show(request: Request) -> Response:
    """The form, and the newest jobs. Pictures of a form that was never sent are forgotten after a day."""
    console = console_of(request)
    asked_for = {
        image for job in await jobs.listed(console.database, limit=MOST_JOBS) for image in job.request.get("images", ())
    }
    await asyncio.to_thread(_forget_unsent, _folder(console, ""), asked_for, console.live.now().timestamp())
    return await _form(request, "")


async def upload(request: Request) -> Response:
    """Take one picture of a batch. The body is the file, `name` is what it is called where it comes from."""
    console, batch = console_of(request), request.path_params["batch"]
    if not _BATCH.fullmatch(batch):
        raise Denied(404, console.pages.text("denied.missing"))
    folder = _folder(console, batch)
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_FILE_BYTES:
            raise Denied(413, console.pages.text("enrol.too_large", most=MOST_FILE_BYTES // 2**20))
    suffix = suffix_of(bytes(content[:16]))
    if suffix is None:
        raise Denied(415, console.pages.text("enrol.no_picture"))
    name = safe_name(Path(request.query_params.get("name", "")).stem or "picture")[:60]
    count, size_bytes = await asyncio.to_thread(_held, folder)
    if count >= MOST_FILES:
        raise Denied(409, console.pages.text("enrol.too_many", most=MOST_FILES))
    if size_bytes + len(content) > MOST_BATCH_BYTES:
        raise Denied(409, console.pages.text("enrol.full", most=MOST_BATCH_BYTES // 2**30))
    target = folder / f"{count:04}-{name}.{suffix}"
    await asyncio.to_thread(write_whole, target, bytes(content), is_shared=True)
    return PlainTextResponse("taken")


async def ask(request: Request) -> Response:
    """Ask for the enrolment, as a job in the person's name."""
    console, form = console_of(request), await form_of(request)
    try:
        wanted = await _request(console, {name: field(form, name) for name in form})
    except UsageError as error:
        return await _form(request, str(error), 400)
    by = session_of(request).person.name
    job = await jobs.ask(console.database, SystemClock(), ENROL, wanted, by=by)
    return RedirectResponse(f"/jobs/{job.number}", 303)


async def show_job(request: Request) -> Response:
    """How far a job is, and what came of it."""
    console, job = console_of(request), await _job(request)
    page = console.pages.render("job.html.j2", **context_of(request), job=job, product=_product(job))
    return HTMLResponse(page)


async def cancel(request: Request) -> Response:
    """Cancel a job that waits or runs."""
    console, job = console_of(request), await _job(request)
    await jobs.cancel(console.database, SystemClock(), job.number, by=session_of(request).person.name)
    return RedirectResponse(f"/jobs/{job.number}", 303)


async def _form(request: Request, said: str, status: int = 200) -> Response:
    console = console_of(request)
    page = console.pages.render(
        "enrol.html.j2",
        **context_of(request),
        said=said,
        batch=uuid.uuid4().hex,
        cameras=[camera.name for camera in console.config.camera if camera.source != "folder"],
        heads=HEADS,
        profiles=PROFILES,
        jobs=[(job, _product(job)) for job in await jobs.listed(console.database, limit=20)],
    )
    return HTMLResponse(page, status)


async def _request(console: Console, form: dict[str, str]) -> dict[str, Any]:
    """The job's request. Raises UsageError for what no worker could do."""
    product, batch, camera = form.get("product", ""), form.get("batch", ""), form.get("camera", "")
    ensure_name(product)
    if form.get("head") not in HEADS or form.get("profile") not in PROFILES:
        raise UsageError("Choose a head and a profile of those offered.")
    wanted: dict[str, Any] = {"product": product, "head": form["head"], "profile": form["profile"]}
    wanted["shadow"] = form.get("shadow") == "yes"
    folder = _folder(console, batch) if _BATCH.fullmatch(batch) else None
    if folder is not None and await asyncio.to_thread(folder.is_dir):
        wanted["images"] = [str(folder)]
    if camera:
        camera_named(console.config, camera)
        count = form.get("count", "")
        if not count.isascii() or not count.isdigit() or not 1 <= int(count) <= MOST_FROM_CAMERA:
            raise UsageError(f"A number of pictures lies between 1 and {MOST_FROM_CAMERA}.")
        wanted |= {"camera": camera, "count": int(count)}
    if "images" not in wanted and not camera:
        raise UsageError(console.pages.text("enrol.nothing"))
    return wanted


def _folder(console: Console, batch: str) -> Path:
    return console.config.agent.state_dir / "enrolment" / ".uploaded" / batch


def _forget_unsent(uploaded: Path, asked_for: Collection[str], now_s: float) -> None:
    """Remove batches that no job names and that nothing was added to for `UNSENT_S`."""
    with contextlib.suppress(OSError):  # no folder yet, or one behind a link of another user
        for batch, status in files.entries(uploaded):
            if _BATCH.fullmatch(batch.name) and str(batch) not in asked_for and now_s - status.st_mtime > UNSENT_S:
                with contextlib.suppress(OSError):
                    files.remove_tree(batch)


def _held(folder: Path) -> tuple[int, int]:
    """Files of a batch, and their bytes together."""
    try:
        sizes = [status.st_size for _, status in files.entries(folder)]
    except FileNotFoundError:
        sizes = []
    return len(sizes), sum(sizes)


def _product(job: LongJob) -> str:
    return str(job.request.get("product", ""))


async def _job(request: Request) -> LongJob:
    number = request.path_params["number"]
    try:
        return await jobs.job_of(console_of(request).database, int(number) if number.isdigit() else 0)
    except UsageError:
        raise Denied(404, console_of(request).pages.text("denied.missing")) from None
