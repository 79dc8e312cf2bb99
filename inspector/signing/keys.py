"""Signing keys of a plant: Ed25519, as `cryptography` has it. No file is read or written here.

A public key is passed on as one line of text, `inspector-key ed25519 BASE64 NAME`. It is known by its fingerprint, the
first 16 hex digits of the SHA-256 of its 32 bytes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from inspector.errors import UsageError

KEY_BYTES: Final = 32
_LINE: Final = re.compile(r"\s*inspector-key\s+ed25519\s+([A-Za-z0-9+/]{43}=)(?:\s+(\S+))?\s*")


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key. `text`: Base64 of its bytes."""

    text: str

    @classmethod
    def of_line(cls, line: str) -> Self:
        """The key in a line as `line` writes it. Raises UsageError for anything else."""
        found = _LINE.fullmatch(line)
        if found is None:
            raise UsageError(
                "That is no public key; it is one line, `inspector-key ed25519 ...`, as `inspector keys show` prints "
                "it."
            )
        return cls(found[1])

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self._raw).hexdigest()[:16]

    def line(self, name: str) -> str:
        """The line that another plant trusts this key by."""
        return f"inspector-key ed25519 {self.text} {name}"

    def verifies(self, value: str, content: bytes) -> bool:
        """Whether the signature, in Base64, is this key's over the content."""
        try:
            Ed25519PublicKey.from_public_bytes(self._raw).verify(base64.b64decode(value, validate=True), content)
        except (InvalidSignature, ValueError, binascii.Error):
            return False
        return True

    @property
    def _raw(self) -> bytes:
        try:
            return base64.b64decode(self.text, validate=True)
        except (ValueError, binascii.Error):  # a damaged row: no signature is this key's
            return b""


class SecretKey:
    """A secret key. Nothing shows it: it has no text form but `to_pem`."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    @classmethod
    def made(cls) -> Self:
        """A new key."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def of_pem(cls, content: bytes, where: str) -> Self:
        """The key in a PEM text. Raises UsageError, which names `where` it was read."""
        try:
            found = serialization.load_pem_private_key(content, password=None)
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"{where} holds no signing key; `inspector keys make NAME --reason ...` makes one."
            ) from error
        if not isinstance(found, Ed25519PrivateKey):
            raise UsageError(f"{where} holds a key of another kind; a signing key is Ed25519.")
        return cls(found)

    def to_pem(self) -> bytes:
        """PKCS 8, not encrypted: its file is readable by its owner alone."""
        return self._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @property
    def public(self) -> PublicKey:
        raw = self._key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return PublicKey(base64.b64encode(raw).decode())

    def sign(self, content: bytes) -> str:
        """The signature over the content, in Base64."""
        return base64.b64encode(self._key.sign(content)).decode()
