"""Files of exported versions, signed and unsigned: made small, damaged, with their digests right again."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import random
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from safetensors.numpy import save as save_tensors

from inspector.cli.terminal import products_view
from inspector.config.sections import SigningSection
from inspector.domain import ProductVersion, TrustedKey
from inspector.errors import ArtifactError
from inspector.operation.artifact_files import OfferedVersion, read_artifact
from inspector.signing.keys import SecretKey
from inspector.signing.statements import VersionStatement, signed, signed_graphs
from inspector.signing.vouching import SignaturePolicy, SignatureState
from inspector.vision.artifacts.envelope import seal, unseal
from inspector.vision.artifacts.eyesight import advice_of, objections_of
from inspector.vision.artifacts.format import read_manifest
from inspector.vision.artifacts.thresholds import EnrolledThreshold, moved_note
from tests.fuzz import containers
from tests.fuzz.mutators import change_value, mutate_bytes

AT = datetime(2026, 3, 1, tzinfo=UTC)
OWN = SecretKey(Ed25519PrivateKey.from_private_bytes(b"own key of the fuzzed plant 0123"))
STRANGER = SecretKey(Ed25519PrivateKey.from_private_bytes(b"key that nobody trusts 012345678"))
KEYS = (TrustedKey("plant-a", OWN.public.text, OWN.public.fingerprint, True, AT, "ada"),)
SHOWN_OF_256 = 16
"""So many of 256 files are drawn as a table, which takes as long as all the rest."""

POLICY = SignaturePolicy.of(SigningSection(), KEYS)


@functools.cache
def signed_digests() -> frozenset[str]:
    """The artifacts that this plant's key has signed; no other may ever count as signed."""
    return frozenset(hashlib.sha256(unseal(each).artifact).hexdigest() for each in seeds()[:1])


@functools.cache
def seeds() -> list[bytes]:
    """One file signed by this plant, one by a stranger, one unsigned, one without any digest."""
    artifact = containers.small_artifact()
    digest, threshold = hashlib.sha256(artifact).hexdigest(), float(read_manifest(artifact)["threshold"])
    statement = VersionStatement("disc", digest, threshold, {"0" * 16: "0" * 64})
    signatures = [signed(statement, key) for key in (OWN, STRANGER)]
    return [*(seal(artifact, signature=each) for each in signatures), seal(artifact), artifact]


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz")


def mutate(rng: random.Random, data: bytes) -> bytes:
    """The artifact under its signature, the signature, or what lies beside it changed; or plain damage."""
    kind = rng.random()
    try:
        sealed = unseal(data)
    except ArtifactError:
        return mutate_bytes(rng, data)
    beside: dict[str, Any] = {}
    if sealed.signature is not None:
        beside["signature"] = {name: getattr(sealed.signature, name) for name in ("key", "statement", "value")}
    artifact = sealed.artifact
    if kind < 0.15:
        return mutate_bytes(rng, data)
    if kind < 0.55 or not beside:
        artifact = containers.mutate_artifact(rng, artifact)
    elif kind < 0.75:
        beside["signature"]["statement"] = json.dumps(change_value(rng, json.loads(beside["signature"]["statement"])))
    else:
        beside = change_value(rng, beside)
    return _file(rng, artifact, beside)


def _file(rng: random.Random, artifact: bytes, beside: Any) -> bytes:
    line = b"inspector-sha256:" + hashlib.sha256(artifact).hexdigest().encode() + b"\n"
    if beside == {}:
        return artifact + line
    tensors = {"0" * 16: np.zeros(3, np.uint8)} if rng.random() < 0.2 else {}
    packed = save_tensors(tensors, {"graphs": json.dumps(beside)})
    if rng.random() < 0.1:
        packed = mutate_bytes(rng, packed)
    return artifact + packed + b"inspector-graphs:%012d:%b\n" % (
        len(packed), hashlib.sha256(packed).hexdigest().encode()
    ) + line  # fmt: skip


def take(data: bytes) -> tuple[OfferedVersion, bool]:
    """The file read, judged by its signature, and shown as the command line shows it; whether it counts as signed."""
    path = Path(_folder().name) / "offered.artifact"  # always this name, so that equal refusals are worded alike
    path.write_bytes(data)
    offered = read_artifact(path, is_trusted=True)
    orjson.dumps(offered.manifest)  # as the database stores it
    enrolled = EnrolledThreshold.of(offered.manifest)
    level = enrolled.level(offered.threshold)
    orjson.dumps([level, enrolled.to_document(offered.threshold), objections_of(offered.manifest)])
    advice_of(offered.manifest)
    version = ProductVersion(
        product=offered.product,
        version=1,
        head=str(offered.manifest.get("head")),
        profile=str(offered.manifest.get("profile")),
        digest=offered.digest,
        size_bytes=len(offered.artifact),
        created_at=AT,
        created_by="eve",
        manifest=offered.manifest,
        threshold=offered.threshold,
        signature=offered.signature,
    )
    moved_note(version)
    found = POLICY.vouched(version)
    if offered.signature is not None:
        signed_graphs(offered.signature)
    if hashlib.sha256(data).digest()[0] < SHOWN_OF_256:
        with contextlib.redirect_stdout(io.StringIO()):
            products_view.print_one([(version, found)], version)
    return offered, found.state is SignatureState.SIGNED
