"""What was enrolled is what is loaded, or nothing is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.errors import ArtifactError, ParityError
from inspector.vision.anchors import routing_profile
from inspector.vision.artifact import digest_of, pack, read_manifest, unpack
from inspector.vision.enrolment import Enrolment
from inspector.vision.inspection import ProductInspector
from tests.unit.vision.drawings import FakeEngine


def check(enrolment: Enrolment, engine: FakeEngine) -> None:
    artifact = unpack(enrolment.artifact, enrolment.digest)
    inspector = ProductInspector(artifact, engine)
    inspector.check_probes(engine.embedder(artifact.graph), engine.embedder(routing_profile().graph))


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
    assert set(manifest["seconds"]) == {"engine", "read", "hygiene", "fit", "anchors_and_probes"}
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


def test_probes_same_engine_reproduces_them(enrolled: dict[str, Enrolment]) -> None:
    check(enrolled["disc"], FakeEngine())


def test_probes_engine_that_drifts_is_refused(enrolled: dict[str, Enrolment]) -> None:
    with pytest.raises(ParityError, match=r"can't be trusted|anchors"):
        check(enrolled["disc"], FakeEngine(drift=0.5))


def test_sources_name_the_image_of_each_prototype(enrolled: dict[str, Enrolment]) -> None:
    artifact = unpack(enrolled["disc"].artifact)
    for member in artifact.members:
        assert member.sources.shape == (len(member.bank.prototypes), 3)
        assert member.sources[:, 0].min() >= 0
        assert member.sources[:, 0].max() < 8
        assert member.sources[:, 1:].max() < member.grid
        assert np.isfinite(member.bank.prototypes).all()
