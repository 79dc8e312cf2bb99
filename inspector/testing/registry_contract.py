"""The contract suite of registries, which the registry in memory and the SQL registries pass.

A subclass provides the fixture `registry` (entered, empty) and the method `audited`.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from inspector.domain import ExportedGraph, ProductVersion, Provenance, Signature, content_name
from inspector.errors import RegistryError, UsageError
from inspector.ports import Registry

MANIFEST: dict[str, Any] = {"head": "prototype", "profile": "fast", "threshold": 1.25, "images": ["a", "b"]}
UNSIGNED_HERE = "threshold 1.25, unsigned, enrolled here"
SIGNATURE = Signature("0123456789abcdef", '{"what": "version"}', "c2lnbmVk")
Audited = tuple[str, str, str | None, str | None, str]
"""User, object, old, new, reason."""


async def enrol(
    registry: Registry,
    product: str = "bolt",
    artifact: bytes = b"bytes",
    *,
    activate: bool = True,
    shadow: bool = False,
) -> ProductVersion:
    """A version, which goes live at once unless an argument says otherwise."""
    return await registry.add_version(product, artifact, MANIFEST, by="anna", activate=activate, shadow=shadow)


def graph_of(key: str = "0123456789abcdef", content: bytes = b"graph") -> ExportedGraph:
    """A graph of one pass; any bytes do, because a registry checks their digest alone."""
    return ExportedGraph(key, content, {"backbone": "lite0", "embeddings": [{"strides": [8]}]}, 4, {"torch": "2.9"})


async def live_names(registry: Registry) -> list[tuple[str, int]]:
    return [(version.product, version.version) for version in (await registry.live()).versions]


class RegistryContract:
    """The tests of the suite. A test module subclasses it as `Test...`, so that pytest collects it."""

    async def audited(self, registry: Registry) -> list[Audited]:
        raise NotImplementedError

    async def test_live_of_a_new_registry_is_empty(self, registry: Registry) -> None:
        live = await registry.live()
        assert live.versions == live.shadows == ()
        assert live.revision == await registry.revision() == "r0"

    async def test_add_version_gives_what_was_stored(self, registry: Registry) -> None:
        version = await enrol(registry, artifact=b"weights")
        assert (version.product, version.version, version.is_live, version.is_shadow) == ("bolt", 1, True, False)
        assert (version.head, version.profile, version.threshold) == ("prototype", "fast", 1.25)
        assert version.digest == hashlib.sha256(b"weights").hexdigest()
        assert (version.size_bytes, version.created_by) == (7, "anna")
        assert dict(version.manifest) == MANIFEST
        assert await registry.products() == [version]
        assert await registry.artifact("bolt", 1) == b"weights"

    async def test_add_version_live_says_why_in_the_audit(self, registry: Registry) -> None:
        await enrol(registry)
        why = "enrolled (insisted on although it is blind)"
        await registry.add_version("bolt", b"blind", MANIFEST, by="anna", activate=True, provenance=Provenance(why))
        live = [reason for _, what, _, _, reason in await self.audited(registry) if what == "product/bolt/live"]
        assert live == ["enrolled", why]

    async def test_add_version_signed_keeps_its_signature_and_says_so_when_it_goes_live(
        self, registry: Registry
    ) -> None:
        made = await registry.add_version(
            "bolt", b"bytes", MANIFEST, by="anna", activate=True, provenance=Provenance(signature=SIGNATURE)
        )
        assert (made.signature, made.threshold_signature) == (SIGNATURE, None)
        assert [version.signature for version in (await registry.live()).versions] == [SIGNATURE]
        (told,) = [new for _, what, _, new, _ in await self.audited(registry) if what == "product/bolt/live"]
        assert told == "version 1: threshold 1.25, signed by key 0123456789abcdef, enrolled here"

    async def test_sign_puts_a_signature_to_a_version_and_moves_the_revision(self, registry: Registry) -> None:
        await enrol(registry)
        await enrol(registry)
        before = await registry.revision()
        signed = await registry.sign("bolt", 1, SIGNATURE, by="ben", reason="looked at it")
        assert (signed.version, signed.signature) == (1, SIGNATURE)
        assert [version.signature for version in await registry.products()] == [SIGNATURE, None]
        assert await registry.revision() != before
        assert (await self.audited(registry))[-1] == (
            "ben", "product/bolt/version 1/signature", None, SIGNATURE.key, "looked at it"
        )  # fmt: skip
        other = replace(SIGNATURE, key="f" * 16)
        assert (await registry.sign("bolt", 1, other, by="ben", reason="a new key")).signature == other
        with pytest.raises(RegistryError, match="7"):
            await registry.sign("bolt", 7, SIGNATURE, by="ben", reason="x")

    async def test_move_threshold_keeps_the_signature_of_the_newest_threshold_alone(self, registry: Registry) -> None:
        await enrol(registry)
        moved = await registry.move_threshold("bolt", 1, 1.5, by="ben", reason="x", signature=SIGNATURE)
        assert (moved.signature, moved.threshold_signature) == (None, SIGNATURE)
        assert (await registry.move_threshold("bolt", 1, 1.75, by="ben", reason="x")).threshold_signature is None

    async def test_signing_keys_of_a_new_registry_are_none(self, registry: Registry) -> None:
        assert await registry.signing_keys() == ()

    async def test_add_version_numbers_each_product_for_itself(self, registry: Registry) -> None:
        numbers = [(await enrol(registry, product)).version for product in ("bolt", "bolt", "nut", "bolt")]
        assert numbers == [1, 2, 1, 3]
        listed = [(version.product, version.version) for version in await registry.products()]
        assert listed == [("bolt", 1), ("bolt", 2), ("bolt", 3), ("nut", 1)]

    async def test_add_version_leaves_other_products_as_they_are(self, registry: Registry) -> None:
        before = await enrol(registry, "nut", b"of the nut")
        await enrol(registry, "bolt", b"of the bolt")
        assert before in await registry.products()
        assert await registry.artifact("nut", 1) == b"of the nut"

    async def test_add_version_not_activated_changes_nothing_live(self, registry: Registry) -> None:
        await enrol(registry)
        revision = await registry.revision()
        assert not (await enrol(registry, activate=False)).is_live
        assert await live_names(registry) == [("bolt", 1)]
        assert await registry.revision() == revision

    async def test_add_version_as_shadow_is_beside_the_live_one(self, registry: Registry) -> None:
        await enrol(registry)
        revision = await registry.revision()
        assert (await enrol(registry, activate=False, shadow=True)).is_shadow
        live = await registry.live()
        assert [version.version for version in live.versions] == [1]
        assert [version.version for version in live.shadows] == [2]
        assert live.revision != revision

    @pytest.mark.parametrize("name", ["", "../etc", "a b", "-bolt", "x" * 65, "bolt\n"])
    async def test_add_version_of_a_name_that_can_be_none_is_refused(self, registry: Registry, name: str) -> None:
        with pytest.raises(UsageError):
            await enrol(registry, name)
        assert await registry.products() == []

    async def test_add_version_live_and_shadow_at_once_is_refused(self, registry: Registry) -> None:
        with pytest.raises(UsageError, match="at once"):
            await enrol(registry, activate=True, shadow=True)

    async def test_activate_moves_the_pointer_and_the_revision(self, registry: Registry) -> None:
        await enrol(registry)
        await enrol(registry, activate=False)
        before = await registry.revision()
        assert (await registry.activate("bolt", 2, by="ben", reason="better")).is_live
        assert await live_names(registry) == [("bolt", 2)]
        assert await registry.revision() == (await registry.live()).revision != before

    async def test_activate_what_is_live_changes_nothing(self, registry: Registry) -> None:
        await enrol(registry)
        before = await registry.revision()
        assert (await registry.activate("bolt", 1, by="ben", reason="again")).is_live
        assert await registry.revision() == before

    async def test_activate_a_shadow_makes_it_live_only(self, registry: Registry) -> None:
        await enrol(registry, activate=False, shadow=True)
        version = await registry.activate("bolt", 1, by="ben", reason="proved")
        assert (version.is_live, version.is_shadow) == (True, False)

    async def test_set_shadow_moves_one_pointer_and_says_so_in_the_audit(self, registry: Registry) -> None:
        for activate in (True, False, False):
            await enrol(registry, activate=activate)
        before = await registry.revision()
        chosen = await registry.set_shadow("bolt", 2, by="ben", reason="new lamp")
        assert chosen is not None
        assert (chosen.version, chosen.is_shadow, chosen.is_live) == (2, True, False)
        assert await registry.revision() != before
        await registry.set_shadow("bolt", 3, by="ben", reason="newer lamp")
        assert [version.version for version in (await registry.live()).shadows] == [3]
        after = await registry.revision()
        await registry.set_shadow("bolt", 3, by="ben", reason="again")
        assert await registry.revision() == after
        assert await registry.set_shadow("bolt", None, by="carl", reason="worse") is None
        assert (await registry.live()).shadows == ()
        assert [entry for entry in await self.audited(registry) if entry[1] == "product/bolt/shadow"] == [
            ("ben", "product/bolt/shadow", None, "version 2", "new lamp"),
            ("ben", "product/bolt/shadow", "version 2", "version 3", "newer lamp"),
            ("carl", "product/bolt/shadow", "version 3", None, "worse"),
        ]

    async def test_set_shadow_refuses_the_live_version_and_unknown_ones(self, registry: Registry) -> None:
        await enrol(registry)
        with pytest.raises(RegistryError, match="live"):
            await registry.set_shadow("bolt", 1, by="ben", reason="x")
        with pytest.raises(RegistryError, match="7"):
            await registry.set_shadow("bolt", 7, by="ben", reason="x")
        with pytest.raises(RegistryError, match="screw"):
            await registry.set_shadow("screw", 1, by="ben", reason="x")

    async def test_rollback_goes_back_one_by_one(self, registry: Registry) -> None:
        for _ in range(3):
            await enrol(registry)
        assert (await registry.rollback("bolt", by="ben", reason="overkill")).version == 2
        assert (await registry.rollback("bolt", by="ben", reason="overkill")).version == 1
        with pytest.raises(RegistryError, match=r"Version 1 .*is live.* no earlier one"):
            await registry.rollback("bolt", by="ben", reason="overkill")
        assert await live_names(registry) == [("bolt", 1)]

    async def test_rollback_after_activate_goes_back_once_and_then_says_what_is_live(self, registry: Registry) -> None:
        await enrol(registry)
        await enrol(registry, activate=False)
        await registry.activate("bolt", 2, by="ben", reason="better")
        assert (await registry.rollback("bolt", by="ben", reason="worse")).version == 1
        with pytest.raises(RegistryError, match=r"Version 1 .*is live.* no earlier one") as refused:
            await registry.rollback("bolt", by="ben", reason="once more")
        assert "was live" not in str(refused.value)  # version 2 was
        assert await live_names(registry) == [("bolt", 1)]

    async def test_rollback_of_a_product_that_never_was_live_says_so(self, registry: Registry) -> None:
        await enrol(registry, activate=False)
        with pytest.raises(RegistryError, match="No version of bolt was live"):
            await registry.rollback("bolt", by="ben", reason="x")

    async def test_remove_takes_it_out_and_keeps_its_versions(self, registry: Registry) -> None:
        await enrol(registry, "nut")
        await enrol(registry)
        await enrol(registry, activate=False, shadow=True)
        await registry.remove("bolt", by="ben", reason="out of production")
        live = await registry.live()
        assert [version.product for version in live.versions] == ["nut"]
        assert live.shadows == ()
        assert len(await registry.products()) == 3
        with pytest.raises(RegistryError, match="not live"):
            await registry.remove("bolt", by="ben", reason="again")
        assert (await registry.rollback("bolt", by="ben", reason="by mistake")).version == 1

    async def test_move_threshold_changes_that_version_alone_and_the_revision(self, registry: Registry) -> None:
        await enrol(registry)
        await enrol(registry)
        before = await registry.revision()
        moved = await registry.move_threshold("bolt", 2, 12.5, by="ben", reason="too many scratches pass")
        assert (moved.threshold, moved.is_live) == (12.5, True)
        (live,) = (await registry.live()).versions
        assert live.threshold == 12.5
        assert next(iter(await registry.products())).threshold != 12.5
        after = await registry.revision()
        assert after != before
        await registry.move_threshold("bolt", 2, 12.5, by="ben", reason="again")
        assert await registry.revision() == after
        user, what, _, new, reason = (await self.audited(registry))[-1]
        assert (user, what, new) == ("ben", "product/bolt/version 2/threshold", "12.5")
        assert reason == "too many scratches pass"

    async def test_what_is_not_there_is_refused_by_name(self, registry: Registry) -> None:
        await enrol(registry)
        with pytest.raises(RegistryError, match="screw"):
            await registry.activate("screw", 1, by="ben", reason="x")
        with pytest.raises(RegistryError, match="7"):
            await registry.activate("bolt", 7, by="ben", reason="x")
        with pytest.raises(RegistryError, match="7"):
            await registry.artifact("bolt", 7)
        with pytest.raises(RegistryError, match="7"):
            await registry.move_threshold("bolt", 7, 1.0, by="ben", reason="x")
        with pytest.raises(RegistryError, match="screw"):
            await registry.rollback("screw", by="ben", reason="x")
        with pytest.raises(RegistryError, match="screw"):
            await registry.remove("screw", by="ben", reason="x")

    async def test_every_change_is_audited(self, registry: Registry) -> None:
        await enrol(registry)
        await enrol(registry, activate=False)
        await registry.activate("bolt", 2, by="ben", reason="better")
        await registry.rollback("bolt", by="carl", reason="worse")
        await registry.remove("bolt", by="dora", reason="done")
        assert [(user, what, old, new) for user, what, old, new, _ in await self.audited(registry)] == [
            ("anna", "product/bolt", None, "version 1"),
            ("anna", "product/bolt/live", None, f"version 1: {UNSIGNED_HERE}"),
            ("anna", "product/bolt", None, "version 2"),
            ("ben", "product/bolt/live", "version 1", f"version 2: {UNSIGNED_HERE}"),
            ("carl", "product/bolt/live", "version 2", f"version 1: {UNSIGNED_HERE}"),
            ("dora", "product/bolt/live", "version 1", None),
        ]
        assert [reason for *_, reason in await self.audited(registry)][3:] == ["better", "worse", "done"]

    async def test_add_graph_gives_what_was_stored(self, registry: Registry) -> None:
        assert await registry.graph_keys() == frozenset()
        assert await registry.graph("0123456789abcdef") is None
        await registry.add_graph(graph_of())
        assert await registry.graph_keys() == {"0123456789abcdef", content_name("0123456789abcdef", graph_of().sha256)}
        assert await registry.graph("0123456789abcdef") == graph_of()

    async def test_add_graph_of_a_known_key_keeps_the_first(self, registry: Registry) -> None:
        """Two machines export the same pass to different bytes; agents must not change over and back."""
        await registry.add_graph(graph_of())
        await registry.add_graph(graph_of(content=b"of another torch"))
        assert await registry.graph("0123456789abcdef") == graph_of()

    async def test_graphs_of_one_key_are_each_given_by_their_content(self, registry: Registry) -> None:
        first, second = graph_of(), graph_of(content=b"of another torch")
        for graph in (first, second, second):
            await registry.add_graph(graph)
        for graph in (first, second):
            assert await registry.graph(content_name(graph.key, graph.sha256)) == graph
        names = {content_name(graph.key, graph.sha256) for graph in (first, second)}
        assert await registry.graph_keys() == {first.key, *names}
        assert await registry.graph(content_name(first.key, "0" * 64)) is None

    async def test_graph_that_is_kept_apart_is_not_given_by_its_key(self, registry: Registry) -> None:
        apart = graph_of(content=b"of a file that nobody vouches for")
        await registry.add_graph(apart, is_apart=True)
        assert await registry.graph(apart.key) is None
        assert await registry.graph(content_name(apart.key, apart.sha256)) == apart
        await registry.add_graph(graph_of())
        assert await registry.graph(apart.key) == graph_of()

    async def test_add_graph_changes_no_revision(self, registry: Registry) -> None:
        before = await registry.revision()
        await registry.add_graph(graph_of())
        assert await registry.revision() == before
