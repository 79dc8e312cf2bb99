"""Says in a sentence which faults of a frame a version names before it judges. Needs the manifest alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def health_statement(manifest: Mapping[str, Any]) -> str:
    """The checks that the version makes, and those that its good images do not carry, with the reason."""
    stored = manifest.get("frame_health")
    if not isinstance(stored, Mapping):
        return "frames are not checked before they are judged: enrolled before there were checks; enrol it again"
    made, reasons = list(stored.get("checks", {})), dict(stored.get("not_checked", {}))
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(str(reason), []).append(str(name))
    told = f"frames that are {_listed(made)} are told and not judged" if made else "frames are not checked"
    refused = [f"not checked for {_listed(names)}: {reason}" for reason, names in by_reason.items()]
    return "; ".join([told, *refused])


def _listed(names: list[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
