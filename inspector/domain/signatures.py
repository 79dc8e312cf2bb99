"""Signatures of versions and the keys that they are checked by, as the registry keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature over a statement. `key`: the fingerprint of the signer's public key; `value`: Base64.

    `statement`: the JSON text exactly as it was signed.
    """

    key: str
    statement: str
    value: str


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A public key whose signatures count. `text`: Base64 of its 32 bytes. `is_own`: it was made in this plant."""

    name: str
    text: str
    fingerprint: str
    is_own: bool
    added_at: datetime
    added_by: str
