"""Reads version 3 of the artifact's format: `members`, `student` and `readout` became one head in version 4.

Only names change here. The values are checked by the code that reads version 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

FORMAT_VERSION_3 = 3
_HEAD_KEYS = ("members", "student", "readout")
_TENSOR_PREFIXES = {"member.": "head.member.", "student.": "head."}


def manifest_from_3(stored: Mapping[str, Any], version: int) -> dict[str, Any]:
    """The same manifest with its head under `model`, the form of version 4."""
    student, readout = stored.get("student"), stored.get("readout")
    model: dict[str, Any]
    if student is None:
        model = {"kind": "prototype", "members": stored.get("members"), "readout": readout}
    else:
        model = {**(student if isinstance(student, Mapping) else {}), "kind": "student", "readout": readout}
    rest = {name: value for name, value in stored.items() if name not in _HEAD_KEYS}
    return {**rest, "format_version": version, "model": model}


def tensors_from_3(tensors: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The same tensors under the names that version 4 uses."""
    return {_renamed(name): array for name, array in tensors.items()}


def _renamed(name: str) -> str:
    for old, new in _TENSOR_PREFIXES.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name
