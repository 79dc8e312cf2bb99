"""Who vouches for what judges, by its signatures, or what is wrong with them."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Self

from inspector.config.sections import SigningSection
from inspector.domain import ProductVersion, Signature, TrustedKey
from inspector.signing.keys import PublicKey
from inspector.signing.statements import says, signed_bytes


class SignatureState(enum.StrEnum):
    """Where a version stands by its signatures.

    `foreign`: signed by a key that is not trusted here. `broken`: a signature that does not fit the version.
    `moved`: signed, but with another threshold than the one that stands in the registry.
    """

    SIGNED = "signed"
    UNSIGNED = "unsigned"
    FOREIGN = "foreign"
    BROKEN = "broken"
    MOVED = "moved"


DOUBTFUL: Final = frozenset({SignatureState.FOREIGN, SignatureState.BROKEN, SignatureState.MOVED})
"""Somebody signed such a version, but not what stands in the registry now. No agent takes it up."""

PROVEN: Final = frozenset({SignatureState.SIGNED, SignatureState.MOVED})
"""A trusted key signed such a version as it was enrolled, with the graphs that it named."""


@dataclass(frozen=True, slots=True)
class Vouched:
    """What the signatures of a version are worth.

    `signer`: the name of the key that it was signed by, else its fingerprint; empty for an unsigned one.
    """

    state: SignatureState
    signer: str = ""

    @property
    def is_signed(self) -> bool:
        return self.state is SignatureState.SIGNED

    @property
    def is_doubtful(self) -> bool:
        return self.state in DOUBTFUL

    @property
    def mark(self) -> str:
        """The same in a word, for a table."""
        return f"by {self.signer}" if self.is_signed else self.state.value

    @property
    def words(self) -> str:
        """What the signatures say, after "it is"."""
        match self.state:
            case SignatureState.SIGNED:
                return f"signed by {self.signer}"
            case SignatureState.UNSIGNED:
                return "unsigned"
            case SignatureState.FOREIGN:
                return f"signed by a key that is not trusted here ({self.signer})"
            case SignatureState.BROKEN:
                return f"changed since {self.signer} signed it"
            case SignatureState.MOVED:
                return f"signed by {self.signer}, but its threshold was moved without a signature"


def vouched_for(
    judged: tuple[str, str, float],
    signature: Signature | None,
    moved: Signature | None,
    keys: Iterable[TrustedKey],
) -> Vouched:
    """Who vouches for a product's name, the digest of an artifact, and the threshold that it shall judge by."""
    if signature is None:
        return Vouched(SignatureState.UNSIGNED)
    product, digest, threshold = judged
    by_print = {key.fingerprint: key for key in keys}
    key = by_print.get(signature.key)
    if key is None:
        return Vouched(SignatureState.FOREIGN, signature.key)
    stated = says(signature, "version")
    if not _holds(signature, key) or (stated.get("product"), stated.get("digest")) != (product, digest):
        return Vouched(SignatureState.BROKEN, key.name)
    if stated.get("threshold") == threshold:
        return Vouched(SignatureState.SIGNED, key.name)
    mover = None if moved is None else by_print.get(moved.key)
    if moved is None or mover is None or not _holds(moved, mover):
        return Vouched(SignatureState.MOVED, key.name)
    stated = says(moved, "threshold")
    if (stated.get("product"), stated.get("digest"), stated.get("threshold")) != (product, digest, threshold):
        return Vouched(SignatureState.MOVED, key.name)
    return Vouched(SignatureState.SIGNED, key.name)


def _holds(signature: Signature, key: TrustedKey) -> bool:
    public = PublicKey(key.text)
    return public.fingerprint == signature.key and public.verifies(signature.value, signed_bytes(signature.statement))


@dataclass(frozen=True, slots=True)
class SignaturePolicy:
    """Which versions agents judge by. `keys`: those whose signatures count on this machine.

    `is_active`: False where there is no key and none is asked for; every version judges then.
    `is_required`: unsigned versions are refused too.
    """

    keys: tuple[TrustedKey, ...]
    is_active: bool
    is_required: bool

    @classmethod
    def of(cls, section: SigningSection, keys: Iterable[TrustedKey]) -> Self:
        """`keys`: all keys of the registry."""
        counting = tuple(key for key in keys if not section.keys or key.fingerprint in section.keys)
        return cls(counting, bool(counting or section.keys or section.required), section.required)

    def vouched(self, version: ProductVersion) -> Vouched:
        """Who vouches for the version."""
        return vouched_for(
            (version.product, version.digest, version.threshold),
            version.signature,
            version.threshold_signature,
            self.keys,
        )

    def refuses(self, found: Vouched) -> bool:
        """Whether no agent takes such a version up."""
        return self.is_active and (found.is_doubtful or (self.is_required and not found.is_signed))
