"""Whether the accepted parts of the live versions still look as their good images did, asked by a person."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inspector.agent.drift_watch import accepted_of, drifts_of
from inspector.config.config import Config
from inspector.domain import ProductVersion
from inspector.errors import RegistryError
from inspector.operation.opening import database_of, registry_of
from inspector.store.database import Database
from inspector.store.ledger.levels import LevelsWanted, level_groups
from inspector.vision.artifacts.drift import BINS, LEAST_PARTS, LEAST_SCORES, Accepted, Drift, Reference


@dataclass(frozen=True, slots=True)
class ProductDrift:
    """A live version with what was found at each camera. `why_not`: why nothing could be compared; empty if it could.

    `reference`: the good images that it is compared with. `accepted`: the parts of each camera.
    """

    version: ProductVersion
    reference: Reference | None
    accepted: tuple[Accepted, ...]
    cameras: tuple[Drift, ...]

    @property
    def why_not(self) -> str:
        if self.cameras:
            return ""
        if self.reference is None:
            return f"its manifest has fewer than {LEAST_SCORES} held-out scores to compare with"
        return f"no camera has {LEAST_PARTS} accepted parts in this time"

    @property
    def drifting(self) -> list[str]:
        """The cameras whose accepted parts have drifted."""
        return [drift.camera for drift in self.cameras if drift.is_found]

    @property
    def is_found(self) -> bool:
        return bool(self.drifting)

    def to_document(self) -> dict[str, Any]:
        reference = self.reference
        return {
            "product": self.version.product,
            "version": self.version.version,
            "why_not": self.why_not or None,
            "calibrated_by": None if reference is None else len(reference.levels),
            "mark": None if reference is None else reference.mark,
            "cameras": [
                {
                    "camera": drift.camera,
                    "parts": drift.parts,
                    "above": drift.above,
                    "expected": list(drift.expected),
                    "distance": drift.distance,
                    "distance_bound": drift.distance_bound,
                    "direction": drift.direction.value,
                    "cause": drift.cause or None,
                    "statement": drift.statement,
                }
                for drift in self.cameras
            ],
        }


async def drift_of_products(config: Config, since: datetime, product: str | None = None) -> list[ProductDrift]:
    """The live version of each product (or of one), by the rows of all agents. Raises RegistryError."""
    async with registry_of(config) as registry:
        live = [each for each in (await registry.live()).versions if product in (None, each.product)]
    if product is not None and not live:
        raise RegistryError(f"No version of {product} is live; see `inspector products list`.")
    async with database_of(config) as database:
        return await drifts_in(database, live, since, product)


async def drifts_in(
    database: Database, live: Sequence[ProductVersion], since: datetime, product: str | None = None
) -> list[ProductDrift]:
    """As `drift_of_products`, of these versions over an open database."""
    groups = await level_groups(database, LevelsWanted(since=since, product=product), BINS)
    found = []
    for version in live:
        own = [group for group in groups if (group.product, group.version) == (version.product, version.version)]
        accepted = tuple(accepted_of(version, own))
        found.append(ProductDrift(version, Reference.of(version.manifest), accepted, tuple(drifts_of(version, own))))
    return found
