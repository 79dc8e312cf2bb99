"""What was enrolled is what is loaded, or nothing is."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import ArtifactError, ParityError
from inspector.training.enrol import Enrolment, EnrolmentOptions, enrol
from inspector.vision.artifacts.format import FORMAT, digest_of, pack, read_manifest, unpack
from inspector.vision.engines.protocols import Bank
from inspector.vision.routing.routing_pass import RoutingPass
from inspector.vision.serving.product_inspector import ProductInspector
from tests.unit.drawings import FakeEngine, good_images


def check(enrolment: Enrolment, engine: FakeEngine) -> None:
    artifact = unpack(enrolment.artifact, enrolment.digest)
    inspector = ProductInspector(artifact, engine)
    inspector.check_probes(engine.embedder(artifact.graph), RoutingPass.on(engine))


def test_unpack_gives_what_was_packed(enrolled: dict[str, Enrolment]) -> None:
    enrolment = enrolled["disc"]
    artifact = unpack(enrolment.artifact, enrolment.digest)
    assert artifact.product == "disc"
    assert dict(artifact.manifest) == enrolment.manifest
    again, _ = pack(artifact)
    assert digest_of(again) == enrolment.digest


def test_manifest_holds_what_an_audit_asks(enrolled: dict[str, Enrolment]) -> None:
    manifest = read_manifest(enrolled["disc"].artifact)
    assert manifest["head"] == "prototype"
    assert manifest["profile"] == "standard"
    assert manifest["threshold"] == manifest["calibration"]["threshold"]
    assert len(manifest["images"]) == manifest["counts"]["used"] == 8
    assert {"name", "sha256"} == set(manifest["images"][0])
    assert manifest["engine"]["name"] == "fake"
    assert len(manifest["graph"]["weights_sha256"]) == 64
    assert set(manifest["seconds"]) == {"engine", "read", "hygiene", "choice", "fit", "anchors_and_probes"}
    json.dumps(manifest)


@given(st.data())
def test_unpack_any_damaged_byte_is_refused(enrolled: dict[str, Enrolment], data: st.DataObject) -> None:
    content = bytearray(enrolled["disc"].artifact)
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ArtifactError):
        unpack(bytes(content), enrolled["disc"].digest)


@given(st.binary(max_size=200))
def test_unpack_any_bytes_are_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError):
        unpack(content)


@pytest.mark.parametrize("length", [0, 7, 100, 5000, -1])
def test_unpack_truncated_is_refused(enrolled: dict[str, Enrolment], length: int) -> None:
    with pytest.raises(ArtifactError):
        unpack(enrolled["disc"].artifact[:length])


def rewritten(content: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    """The artifact with its manifest changed, the header's length right again."""
    length = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + length])
    manifest = json.loads(table["__metadata__"][FORMAT])
    change(manifest)
    header = json.dumps({**table, "__metadata__": {FORMAT: json.dumps(manifest)}}).encode()
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


NONSENSE: dict[str, Callable[[dict[str, Any]], object]] = {
    "a threshold that is no number would pass every part": lambda m: m["calibration"].update(threshold=math.nan),
    "an infinite bound would know every product": lambda m: m["routing"].update(bound=math.inf),
    "the same as text": lambda m: m["routing"].update(bound="inf"),
    "a Gaussian wider than the picture": lambda m: m["model"]["readout"].update(sigma_px=1e6),
    "a negative share": lambda m: m["model"]["readout"].update(top_share=-1),
    "the last embedding by a negative number": lambda m: m["model"]["members"][0].update(embedding=-1),
    "a bank of another embedding": lambda m: m["model"]["members"][0].update(score_unit=0),
    "no bank": lambda m: m["model"].update(members=[]),
    "a head of an unknown kind": lambda m: m["model"].update(kind="oracle"),
    "a kind that is no text": lambda m: m["model"].update(kind=["prototype"]),
    "another head's numbers": lambda m: m["model"].update(kind="student"),
    "no head": lambda m: m.pop("model"),
    "a pass of another size": lambda m: m["graph"].update(size_px=512),
    "a number of 400 digits": lambda m: m["map_scale"].update(threshold=10**400),
    "weights that are no path": lambda m: m.update(weights_file=5),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_unpack_whole_bytes_that_say_nonsense_are_refused(enrolled: dict[str, Enrolment], name: str) -> None:
    content = enrolled["disc"].artifact
    unpack(rewritten(content, lambda manifest: None))
    with pytest.raises(ArtifactError):
        unpack(rewritten(content, NONSENSE[name]))


def test_unpack_manifest_nested_too_deep_is_refused() -> None:
    header = json.dumps({"__metadata__": {FORMAT: "[" * 100_000}}).encode()
    with pytest.raises(ArtifactError):
        unpack(struct.pack("<Q", len(header)) + header)


@pytest.fixture(scope="module")
def many_discs() -> Enrolment:
    return enrol("disc", good_images("disc", 20), EnrolmentOptions(profile="fast"), FakeEngine())


def test_bank_of_places_is_left_out_of_few_images(enrolled: dict[str, Enrolment], many_discs: Enrolment) -> None:
    few, many = (unpack(each.artifact).head.members for each in (enrolled["disc"], many_discs))
    assert [sum(each.bank.is_placed for each in members) for members in (few, many)] == [0, 1]


@pytest.mark.parametrize(
    "change",
    [
        lambda bank: replace(bank, scales=np.zeros_like(bank.scales)),  # it would be blind at every place
        lambda bank: replace(bank, scales=-bank.scales),
        lambda bank: replace(bank, scales=bank.scales[:, :-1]),
        lambda bank: replace(bank, covers=2),
        lambda bank: replace(bank, scales=bank.scales[:-2], prototypes=bank.prototypes[:-2]),  # places without patches
    ],
)
def test_unpack_bank_of_places_that_does_not_fit_is_refused(
    many_discs: Enrolment, change: Callable[[Bank], Bank]
) -> None:
    artifact = unpack(many_discs.artifact)
    (number,) = (number for number, each in enumerate(artifact.head.members) if each.bank.is_placed)
    member = artifact.head.members[number]
    bank = change(member.bank)
    other = replace(member, bank=bank, sources=member.sources[: len(bank.prototypes)])
    members = (*artifact.head.members[:number], other, *artifact.head.members[number + 1 :])
    content, _ = pack(replace(artifact, head=replace(artifact.head, members=members)))
    with pytest.raises(ArtifactError, match=f"bank {number} does not fit together"):
        unpack(content)


def test_probes_banks_of_other_channels_than_the_pass_are_refused(enrolled: dict[str, Enrolment]) -> None:
    artifact = unpack(enrolled["disc"].artifact)
    first = artifact.head.members[0]
    narrow = replace(
        first.bank,
        mean=first.bank.mean[:-1],
        projection=None if first.bank.projection is None else first.bank.projection[:-1],
        prototypes=first.bank.prototypes[:, :-1] if first.bank.projection is None else first.bank.prototypes,
    )
    other = replace(
        artifact, head=replace(artifact.head, members=(replace(first, bank=narrow), *artifact.head.members[1:]))
    )
    engine = FakeEngine()
    with pytest.raises(ParityError, match="another backbone"):
        ProductInspector(other, engine).check_probes(engine.embedder(other.graph), RoutingPass.on(engine))


def test_probes_same_engine_reproduces_them(enrolled: dict[str, Enrolment]) -> None:
    check(enrolled["disc"], FakeEngine())


def test_probes_engine_that_drifts_is_refused(enrolled: dict[str, Enrolment]) -> None:
    with pytest.raises(ParityError, match=r"can't be trusted|anchors"):
        check(enrolled["disc"], FakeEngine(drift=0.5))


def test_sources_name_the_image_of_each_prototype(enrolled: dict[str, Enrolment]) -> None:
    artifact = unpack(enrolled["disc"].artifact)
    for member in artifact.head.members:
        assert member.sources.shape == (len(member.bank.prototypes), 3)
        if member.bank.is_pooled or member.bank.is_placed or member.bank.unit_length:
            assert (member.sources == -1).all()  # a mean of patches comes from no single one
            continue
        assert member.sources[:, 0].min() >= 0
        assert member.sources[:, 0].max() < 8
        assert member.sources[:, 1:].max() < member.grid
        assert np.isfinite(member.bank.prototypes).all()
