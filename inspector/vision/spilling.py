"""Prepared frames of an enrolment in bounded memory: what is too much lies in a temporary file without a name."""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Sequence
from typing import IO, overload

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EnrolmentError

KEPT_BYTES = 512 * 1024 * 1024

Pixels = NDArray[np.uint8]


class SpilledPixels(Sequence[Pixels]):
    """Arrays uint8 of any shape, in the order they came; the first `kept_bytes` in memory, the others on disk.

    What is read is never to be written to: those in memory are the ones that were added, those on disk copies.
    """

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._room = kept_bytes
        self._kept: list[Pixels] = []
        self._spilled: list[tuple[int, tuple[int, ...]]] = []  # offset and shape
        self._file: IO[bytes] | None = None

    def append(self, pixels: Pixels) -> None:
        """Raises EnrolmentError where the disk is full."""
        if not self._spilled and pixels.nbytes <= self._room:
            self._room -= pixels.nbytes
            self._kept.append(pixels)
            return
        try:
            file = self._opened()
            offset = file.seek(0, 2)
            file.write(np.ascontiguousarray(pixels).data)
            file.flush()
        except OSError as error:
            raise EnrolmentError(
                f"The prepared images do not fit into {tempfile.gettempdir()} ({error.strerror}); "
                "name a folder with more room in TMPDIR, or enrol fewer images or tiles."
            ) from error
        self._spilled.append((offset, pixels.shape))

    def _opened(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile(prefix="inspector-enrolment-")  # noqa: SIM115 -- ends with this object
            weakref.finalize(self, self._file.close)
        return self._file

    def __len__(self) -> int:
        return len(self._kept) + len(self._spilled)

    @overload
    def __getitem__(self, index: int) -> Pixels: ...
    @overload
    def __getitem__(self, index: slice) -> list[Pixels]: ...
    def __getitem__(self, index: int | slice) -> Pixels | list[Pixels]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        at = range(len(self))[index]
        if at < len(self._kept):
            return self._kept[at]
        offset, shape = self._spilled[at - len(self._kept)]
        file = self._opened()
        file.seek(offset)
        content = file.read(int(np.prod(shape)))
        return np.frombuffer(content, np.uint8).reshape(shape)
