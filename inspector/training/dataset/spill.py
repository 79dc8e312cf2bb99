"""Arrays kept in a temporary file instead of memory: an enrolment's memory must not grow with its images.

The file has no name and disappears with the object. This module knows nothing of what the arrays mean.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import NDArray

from inspector.errors import EnrolmentError
from inspector.files import make_folder, remove


class Spill(Sequence[NDArray[Any]]):
    """A list of arrays that only grows. Each read gives a new array. For one thread at a time.

    `folder`: where the file lies, None for the system's own place. Raises OSError where the disk is full.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None:
            make_folder(folder, is_shared=True)
        descriptor, path = tempfile.mkstemp(prefix="enrolment-", dir=folder)
        remove(Path(path))
        self._descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)
        self._end = 0
        self._entries: list[tuple[int, np.dtype[Any], tuple[int, ...]]] = []

    def append(self, array: NDArray[Any]) -> None:
        """Store an array with its dtype and shape. Raises EnrolmentError where the disk is full."""
        content = np.ascontiguousarray(array)
        try:
            _write_all(self._descriptor, content.tobytes(), self._end)
        except OSError as error:
            raise EnrolmentError(
                f"The prepared images do not fit on the disk ({error.strerror}); "
                "make room, or enrol fewer images or tiles."
            ) from error
        self._entries.append((self._end, content.dtype, content.shape))
        self._end += content.nbytes

    def __len__(self) -> int:
        return len(self._entries)

    @overload
    def __getitem__(self, index: SupportsIndex) -> NDArray[Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[NDArray[Any]]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> NDArray[Any] | list[NDArray[Any]]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        offset, dtype, shape = self._entries[index]
        wanted = int(np.prod(shape)) * dtype.itemsize
        content = os.pread(self._descriptor, wanted, offset)
        while len(content) < wanted:
            more = os.pread(self._descriptor, wanted - len(content), offset + len(content))
            if not more:
                raise OSError("The temporary file of the enrolment was cut short.")
            content += more
        return np.frombuffer(bytearray(content), dtype).reshape(shape)

    def without(self, indices: frozenset[int]) -> Spill:
        """The same arrays without the given ones. Both lists share the file, which stays as long as either list."""
        other = object.__new__(Spill)
        other._descriptor = os.dup(self._descriptor)
        weakref.finalize(other, os.close, other._descriptor)
        other._end = self._end
        other._entries = [entry for index, entry in enumerate(self._entries) if index not in indices]
        return other


def _write_all(descriptor: int, content: bytes, offset: int) -> None:
    view = memoryview(content)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
