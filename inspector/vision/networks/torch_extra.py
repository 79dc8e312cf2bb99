"""Torch and timm come with the extra `[torch]`. What needs them says so where they are not installed."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util

from inspector.errors import TorchMissing

INSTALL_TORCH = "pip install 'inspector[torch]'"
_PACKAGES = ("torch", "timm")


def has_torch() -> bool:
    """Whether torch and timm are installed. They are not loaded."""
    with contextlib.suppress(ImportError):
        return all(importlib.util.find_spec(package) is not None for package in _PACKAGES)
    return False


def ensure_installed(what: str, instead: str = "") -> None:
    """Raises TorchMissing where torch or timm is not installed. They are not loaded.

    `what`: the work that needs them, as the subject of a sentence. `instead`: what else a person can do, as a sentence.
    """
    if not has_torch():
        raise _missing(what, instead, "not installed")


def ensure_torch(what: str, instead: str = "") -> None:
    """Load torch and timm. Raises TorchMissing where they are not installed or can't be loaded."""
    ensure_installed(what, instead)
    try:
        for package in _PACKAGES:
            importlib.import_module(package)
    except (ImportError, OSError) as error:  # OSError: a library that torch itself loads is missing
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise _missing(what, instead, f"not usable ({reason})") from error


def _missing(what: str, instead: str, why: str) -> TorchMissing:
    also = f" {instead}" if instead else ""
    return TorchMissing(f"{what} needs torch and timm, which are {why} here. Run `{INSTALL_TORCH}`.{also}")
