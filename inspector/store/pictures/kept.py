"""Finds the kept pictures of a result, for people who look. A path is made of the row alone, never of a request."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Final

from inspector.files import is_regular, write_whole
from inspector.store.pictures.folders import safe_name

SUFFIXES = (".jpg", ".png")

WATCHED: Final = "watched"
"""A file beside the latest pictures. Its time says when somebody was last known to look at them."""

WATCHED_FOR_S: Final = 15.0


class KeptPictures:
    """The picture folders below a state folder. All functions block: call them on worker threads."""

    def __init__(self, state_dir: Path) -> None:
        self._images = state_dir / "images"
        self._late = state_dir / "late"

    def frame(self, result_id: str, camera: str, decided_at: datetime) -> Path | None:
        """The unchanged frame of the result; None where it was not kept, was pruned, or lies on another machine."""
        bases = [self._base(camera, decided_at), self._late]
        paths = (base / f"{safe_name(result_id)}{suffix}" for base in bases for suffix in SUFFIXES)
        return next((path for path in paths if is_regular(path)), None)

    def heat(self, result_id: str, camera: str, decided_at: datetime) -> Path | None:
        """The frame with the heat map drawn over it, or None."""
        path = self._base(camera, decided_at) / f"{safe_name(result_id)}.heat.jpg"
        return path if is_regular(path) else None

    def latest(self, camera: str) -> Path:
        """Where the small copy of the camera's newest frame is, if there is one."""
        return self._images / "latest" / f"{safe_name(camera)}.jpg"

    def note_watched(self) -> None:
        """Let the agent renew the latest pictures twice a second for the next `WATCHED_FOR_S`.

        Does nothing where this machine has no such pictures. Raises OSError.
        """
        latest = self._images / "latest"
        if latest.is_dir():
            write_whole(latest / WATCHED, b"")

    def _base(self, camera: str, decided_at: datetime) -> Path:
        return self._images / f"{decided_at:%Y-%m-%d}" / safe_name(camera)
