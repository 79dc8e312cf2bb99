"""This plant's signing key and the keys of others that count: made, trusted, listed, forgotten, each change audited.

The secret key never comes into the database. It is a credential that the configuration names, or a file in the state
folder that its owner alone may read. Whoever can read it can sign.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from inspector.agent.clock import SystemClock
from inspector.config.config import Config
from inspector.config.loading import secret
from inspector.config.section import NAME_PATTERN
from inspector.domain import ProductVersion, TrustedKey, printable
from inspector.errors import UsageError
from inspector.files import SECRET_MODE, make_folder, open_regular, remove, write_whole
from inspector.operation.opening import registry_of
from inspector.operation.reasons import ensure_reason
from inspector.operation.user import current_user
from inspector.signing.keys import PublicKey, SecretKey
from inspector.signing.vouching import SignaturePolicy, Vouched
from inspector.store.registry.registry import SqlRegistry

KEY_FILE: Final = "signing-key.pem"
MOST_KEY_BYTES: Final = 16 * 1024


class SigningImpossible(UsageError):
    """There is a signing key, and this user can't sign with it. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key whose signatures count. `signs_here`: this user can sign with it on this machine.

    `live`: the products whose live version it has signed.
    """

    key: TrustedKey
    signs_here: bool
    live: tuple[str, ...]


def key_file(config: Config) -> Path:
    """The file of this plant's secret key, where the configuration names no credential."""
    return config.agent.state_dir / KEY_FILE


def secret_key_of(config: Config) -> SecretKey | None:
    """The secret key of this machine, None if it has none. Raises SigningImpossible, and ConfigError for a credential.

    A file that others may read is refused: whoever has read it can sign.
    """
    if (name := config.signing.key_secret) is not None:
        return SecretKey.of_pem(secret(name).get_secret_value().encode(), f"the credential {name}")
    path = key_file(config)
    try:
        with open_regular(path) as file:
            if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                raise SigningImpossible(
                    f"The signing key {path} may be read by others, who could sign with it: `chmod 600` it, and make a "
                    "new key where that is possible."
                )
            return SecretKey.of_pem(file.read(MOST_KEY_BYTES), str(path))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SigningImpossible(
            f"{current_user()} can't sign: the signing key {path} can't be read ({error.strerror}); run this as its "
            "owner."
        ) from None


async def policy_of(config: Config, registry: SqlRegistry) -> SignaturePolicy:
    """Whose signatures count, and what is refused."""
    return SignaturePolicy.of(config.signing, await registry.signing_keys())


async def signer_of(config: Config, registry: SqlRegistry) -> SecretKey | None:
    """The key that this machine signs with. None without a key, and for one whose signatures do not count here."""
    own = secret_key_of(config)
    if own is None:
        return None
    keys = (await policy_of(config, registry)).keys
    return own if own.public.fingerprint in {key.fingerprint for key in keys} else None


async def make_key(config: Config, name: str, *, by: str, reason: str) -> TrustedKey:
    """A new signing key of this plant, whose signatures count from now on. A key that is here already is only listed.

    Raises UsageError where this machine has a key that counts already.
    """
    _ensure_name(name)
    ensure_reason(reason, "A new signing key")
    async with registry_of(config, creates=True) as registry:
        own = secret_key_of(config)
        is_new = own is None
        if own is None:
            own = SecretKey.made()
            _write_secret(key_file(config), own)
        key = _trusted(name, own.public, by, is_own=True)
        try:
            await registry.add_key(key, by=by, reason=reason)
        except BaseException:  # cancelled as well: no key stays that the audit does not know
            if is_new:
                remove(key_file(config))
            raise
    return key


async def trust_key(config: Config, name: str, line: str, *, by: str, reason: str) -> TrustedKey:
    """The public key of another plant, whose signatures count from now on. Raises UsageError."""
    _ensure_name(name)
    ensure_reason(reason, "A key that is trusted")
    key = _trusted(name, PublicKey.of_line(line), by, is_own=False)
    async with registry_of(config, creates=True) as registry:
        await registry.add_key(key, by=by, reason=reason)
    return key


async def forget_key(config: Config, name: str, *, by: str, reason: str, insists: bool = False) -> TrustedKey:
    """The key, whose signatures count no more.

    Raises UsageError where there is none of that name, and where live versions rest on it, unless the person `insists`:
    an agent that starts would refuse those.
    """
    ensure_reason(reason, "A key that is forgotten")
    async with registry_of(config) as registry:
        for known in await _known(config, registry):
            if known.key.name == name and known.live and not insists:
                raise UsageError(
                    f"Live versions rest on the key {name}: {', '.join(known.live)}. Agents that start would refuse "
                    "them. Sign them with another key first (`inspector keys sign`), or add --insist."
                )
        return await registry.forget_key(name, by=by, reason=reason)


async def known_keys(config: Config) -> list[KnownKey]:
    """The keys whose signatures count, by name."""
    async with registry_of(config) as registry:
        return await _known(config, registry)


async def vouching(config: Config) -> list[tuple[ProductVersion, Vouched]]:
    """Every version, with who vouches for it."""
    async with registry_of(config) as registry:
        policy = await policy_of(config, registry)
        return [(version, policy.vouched(version)) for version in await registry.products()]


async def unsigned_live(config: Config) -> list[str]:
    """The products whose live version nobody vouches for."""
    return [version.product for version, found in await vouching(config) if version.is_live and not found.is_signed]


async def _known(config: Config, registry: SqlRegistry) -> list[KnownKey]:
    own = None
    with contextlib.suppress(UsageError):
        own = secret_key_of(config)
    keys = (await policy_of(config, registry)).keys
    live = [version for version in await registry.products() if version.is_live]
    return [_described(key, own, live) for key in keys]


def _described(key: TrustedKey, own: SecretKey | None, live: Sequence[ProductVersion]) -> KnownKey:
    signed = tuple(
        version.product
        for version in live
        if version.signature is not None and version.signature.key == key.fingerprint
    )
    return KnownKey(key, own is not None and own.public.fingerprint == key.fingerprint, signed)


def _trusted(name: str, public: PublicKey, by: str, *, is_own: bool) -> TrustedKey:
    return TrustedKey(name, public.text, public.fingerprint, is_own, SystemClock().now(), by)


def _ensure_name(name: str) -> None:
    if not re.fullmatch(NAME_PATTERN, name):
        raise UsageError(f"{printable(name)!r} can't name a key; use letters, digits, '_', '.' and '-', 64 at most.")


def _write_secret(path: Path, key: SecretKey) -> None:
    """Write a new file that its owner alone may read. Raises UsageError; what is there stays as it is."""
    try:
        make_folder(path.parent)
        write_whole(path, key.to_pem(), mode=SECRET_MODE, durable=True, overwrites=False)
    except OSError as error:
        raise UsageError(f"The signing key {path} can't be written ({error.strerror}).") from error
