"""The frames of reviewed parts, kept apart in the state folder, so that no rule removes what a later enrolment needs.

`<state>/reviewed/<product>/<result id>.png` or `.jpg` holds the unchanged bytes. Where the file system can, it is the
same file as in the folder of kept pictures, and takes no room while that one is there.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from inspector.domain import ResultId, Verdict
from inspector.errors import StateUnusable
from inspector.files import link_to, make_folder
from inspector.store.pictures.folders import kept_files, read_kept, safe_name, write_whole


def keep_reviewed(state_dir: Path, verdict: Verdict) -> Path | None:
    """The reviewed part's frame at its own place; None if this machine has no picture of it, or no product is known.

    Raises StateUnusable if the folder can't be written.
    """
    if verdict.product is None:
        return None
    known = reviewed_frame(state_dir, verdict.product, verdict.result_id)
    if known is not None:
        return known
    source = kept_frame(state_dir, verdict)
    if source is None:
        return None
    target = _folder(state_dir, verdict.product) / source.name
    with contextlib.suppress(OSError):  # another file system, or one without links
        make_folder(target.parent, is_shared=True)
        link_to(target, source)
        return target
    try:
        content = read_kept(source)
    except FileNotFoundError:  # pruned meanwhile
        return None
    except OSError as error:
        raise StateUnusable(f"The picture {source} can't be read ({error.strerror}).") from error
    write_whole(target, content, durable=True, is_shared=True)
    return target


def reviewed_frame(state_dir: Path, product: str, result_id: ResultId) -> Path | None:
    """The frame of a reviewed part, if it was kept apart on this machine."""
    return next(iter(_frames(_folder(state_dir, product), safe_name(result_id))), None)


def kept_frame(state_dir: Path, verdict: Verdict) -> Path | None:
    """The picture of a result in the folder of kept pictures, without the heat map."""
    days = state_dir / "images" / f"{verdict.decided_at:%Y-%m-%d}" / safe_name(verdict.camera)
    if verdict.late_outcome is not None:  # judged on another day than decided
        return next(iter(_frames(state_dir / "images", safe_name(verdict.result_id), depth=3)), None)
    return next(iter(_frames(days, safe_name(verdict.result_id))), None)


def _frames(folder: Path, name: str, depth: int = 1) -> list[Path]:
    return [path for path in kept_files(folder, name, depth) if not path.name.endswith(".heat.jpg")]


def _folder(state_dir: Path, product: str) -> Path:
    return state_dir / "reviewed" / safe_name(product)
