"""A signature vouches for what judges and for nothing else."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.config.sections import SigningSection
from inspector.domain import ProductVersion, Signature, TrustedKey
from inspector.errors import UsageError
from inspector.signing.keys import PublicKey, SecretKey
from inspector.signing.statements import ThresholdStatement, VersionStatement, signed, signed_graphs
from inspector.signing.vouching import SignaturePolicy, SignatureState, vouched_for

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OWN, OTHER = SecretKey.made(), SecretKey.made()


def trusted(key: SecretKey, name: str = "plant-a") -> TrustedKey:
    return TrustedKey(name, key.public.text, key.public.fingerprint, True, NOW, "ada")


def version(**changed: Any) -> ProductVersion:
    """A signed version, as it was enrolled."""
    made = ProductVersion(
        product="disc",
        version=1,
        head="prototype",
        profile="fast",
        digest="d" * 64,
        size_bytes=9,
        created_at=NOW,
        created_by="ada",
        manifest={"threshold": 1.25},
        threshold=1.25,
        is_live=True,
        signature=signed(VersionStatement("disc", "d" * 64, 1.25, {"g": "1"}), OWN),
    )
    return replace(made, **changed)


def state_of(of: ProductVersion, *keys: TrustedKey) -> SignatureState:
    return SignaturePolicy.of(SigningSection(), keys or (trusted(OWN),)).vouched(of).state


def test_vouched_version_as_enrolled_is_signed_by_name() -> None:
    found = SignaturePolicy.of(SigningSection(), [trusted(OWN)]).vouched(version())
    assert (found.state, found.words, found.mark) == (SignatureState.SIGNED, "signed by plant-a", "by plant-a")
    assert state_of(version(version=7)) is SignatureState.SIGNED, "another line counts its versions by itself"


@pytest.mark.parametrize(
    ("changed", "state"),
    [
        ({"signature": None}, SignatureState.UNSIGNED),
        ({"product": "plate"}, SignatureState.BROKEN),
        ({"digest": "e" * 64}, SignatureState.BROKEN),
        ({"threshold": 1e308}, SignatureState.MOVED),
        ({"threshold": 1.2500001}, SignatureState.MOVED),
    ],
)
def test_vouched_version_that_was_changed_is_not_signed(changed: dict[str, Any], state: SignatureState) -> None:
    assert state_of(version(**changed)) is state


def test_vouched_version_of_a_stranger_is_foreign() -> None:
    assert state_of(version(), trusted(OTHER)) is SignatureState.FOREIGN


def test_vouched_statement_rewritten_under_its_signature_is_broken() -> None:
    signature = version().signature
    assert signature is not None
    text = signature.statement.replace("1.25", "9.5")
    assert state_of(version(threshold=9.5, signature=replace(signature, statement=text))) is SignatureState.BROKEN
    forged = signed(VersionStatement("disc", "d" * 64, 9.5, {}), OTHER)
    claimed = replace(forged, key=OWN.public.fingerprint)
    assert state_of(version(threshold=9.5, signature=claimed)) is SignatureState.BROKEN


def test_vouched_moved_threshold_needs_a_signature_of_its_own() -> None:
    moved = signed(ThresholdStatement("disc", "d" * 64, 1.5, "ada", "bo"), OWN)
    assert state_of(version(threshold=1.5, threshold_signature=moved)) is SignatureState.SIGNED
    assert state_of(version(threshold=1.6, threshold_signature=moved)) is SignatureState.MOVED
    assert state_of(version(threshold=1.25, threshold_signature=moved)) is SignatureState.SIGNED
    elsewhere = signed(ThresholdStatement("disc", "e" * 64, 1.5, "ada"), OWN)
    assert state_of(version(threshold=1.5, threshold_signature=elsewhere)) is SignatureState.MOVED
    stranger = signed(ThresholdStatement("disc", "d" * 64, 1.5, "eve"), OTHER)
    assert state_of(version(threshold=1.5, threshold_signature=stranger)) is SignatureState.MOVED
    assert state_of(version(threshold=1.5, signature=moved)) is SignatureState.BROKEN, "it is of another kind"


def test_refuses_only_what_was_signed_and_changed_unless_signatures_are_required() -> None:
    policy = SignaturePolicy.of(SigningSection(), [trusted(OWN)])
    required = SignaturePolicy.of(SigningSection(required=True), [trusted(OWN)])
    for changed, is_refused in (({}, False), ({"signature": None}, False), ({"threshold": 9.0}, True)):
        assert policy.refuses(policy.vouched(version(**changed))) is is_refused
    assert required.refuses(required.vouched(version(signature=None)))
    assert not required.refuses(required.vouched(version()))


def test_refuses_nothing_without_any_key() -> None:
    policy = SignaturePolicy.of(SigningSection(), ())
    assert not policy.refuses(policy.vouched(version(threshold=9.0)))


def test_keys_pinned_on_a_machine_are_the_only_ones_that_count() -> None:
    """So that a key that somebody wrote into the database is of no use."""
    pinned = SigningSection(keys=(OWN.public.fingerprint,))
    by_other = version(signature=signed(VersionStatement("disc", "d" * 64, 1.25, {}), OTHER))
    policy = SignaturePolicy.of(pinned, [trusted(OWN), trusted(OTHER, "eve")])
    assert policy.vouched(by_other).state is SignatureState.FOREIGN
    assert policy.vouched(version()).is_signed
    emptied = SignaturePolicy.of(pinned, ())
    assert emptied.refuses(emptied.vouched(version())), "also where somebody emptied the table"


def test_public_key_line_is_read_back_and_anything_else_refused() -> None:
    line = OWN.public.line("plant-a")
    assert PublicKey.of_line(f"  {line}\r\n") == OWN.public
    for odd in (
        "",
        line[:-20].replace("=", ""),
        "ssh-ed25519 AAAA",
        line.replace("ed25519", "rsa"),
        line + "\n" + line,
    ):
        with pytest.raises(UsageError, match="no public key"):
            PublicKey.of_line(odd)


def test_secret_key_is_read_back_and_no_other_kind_taken() -> None:
    assert SecretKey.of_pem(OWN.to_pem(), "f").public == OWN.public
    assert OWN.public.text not in repr(OWN)
    for odd in (b"", b"\x00" * 100, OWN.to_pem()[:60]):
        with pytest.raises(UsageError, match="no signing key"):
            SecretKey.of_pem(odd, "f")


def test_signed_graphs_of_any_statement_are_a_table() -> None:
    signature = version().signature
    assert signature is not None
    assert signed_graphs(signature) == {"g": "1"}
    for text in ("", "[]", "{}", '{"what": "version", "graphs": 5}', "[" * 100_000):
        assert signed_graphs(replace(signature, statement=text)) == {}


@given(
    st.builds(
        Signature,
        key=st.one_of(st.just(OWN.public.fingerprint), st.text(max_size=20)),
        statement=st.one_of(st.text(max_size=60), st.builds(json.dumps, st.dictionaries(st.text(), st.floats()))),
        value=st.one_of(st.text(max_size=90), st.binary(max_size=64).map(lambda raw: base64.b64encode(raw).decode())),
    )
)
def test_vouched_for_any_signature_is_never_signed(signature: Signature) -> None:
    for moved in (None, signature):
        found = vouched_for(("disc", "d" * 64, 1.25), signature, moved, [trusted(OWN)])
        assert found.state in (SignatureState.FOREIGN, SignatureState.BROKEN)
