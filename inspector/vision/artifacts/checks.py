"""What an artifact's parts must be for anything to run on them, checked once, where it is read.

Bytes from a file that was made elsewhere may be whole and still say nonsense. A threshold that is no number
would pass every part, a Gaussian as wide as the picture would hold the scorer for seconds.
The checks raise ArtifactError.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from inspector.errors import ArtifactError
from inspector.vision.heads.base import Readout
from inspector.vision.heads.prototype import Member
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.profile import routing_profile

MOST_DIGITS = 19
WIDEST_SIGMA = 1 / 8
"""Of the Gaussian over a map, in sides of the square."""


def parse_finite(text: str) -> Any:
    """JSON with every number finite and every whole number within about 64 bits. Raises ValueError."""
    return json.loads(text, parse_float=_parsed_float, parse_int=_parsed_int, parse_constant=_parsed_float)


def _parsed_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _parsed_int(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a whole number has {len(text)} digits")
    return int(text)


def finite(found: object) -> float:
    """The number that stands in a manifest; `float` would also take the text nan. Raises TypeError."""
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError(f"{found!r} is no number")
    return float(found)


def check_fit(graph: Graph, preparation: Preparation, readout: Readout, anchors: ProductAnchors) -> None:
    """The pass is of the prepared size, its grids have patches, scores can be read, anchors can be compared."""
    if graph.size_px != preparation.size_px:
        raise ArtifactError(f"The artifact's pass is of {graph.size_px} px, its preparation {preparation.size_px} px.")
    if not graph.embeddings or any(graph.grid(number) < 1 for number in range(len(graph.embeddings))):
        raise ArtifactError("The artifact's pass gives no patches.")
    if readout.reading not in ("top_share", "smoothed_max"):
        raise ArtifactError(f"The artifact's scores are read in an unknown way, {readout.reading!r}.")
    if not 0 < readout.top_share <= 1 or not 0 <= readout.sigma_px <= WIDEST_SIGMA * preparation.size_px:
        raise ArtifactError(
            "The artifact's scores are read from an impossible share or through an impossible Gaussian."
        )
    channels = len(routing_profile().mean)
    if any(len(each) < 1 or each.shape[1] != channels for each in (anchors.anchors, anchors.descriptors)):
        raise ArtifactError(f"The anchors of {anchors.product} are not of the routing profile's {channels} channels.")


def check_members(members: Sequence[Member], graph: Graph, *, is_alone: bool) -> None:
    """Every bank fits itself and its embedding; where no student decides (`is_alone`), some decide and some draw."""
    for number, member in enumerate(members):
        bank = member.bank
        width = bank.mean.shape[0] if bank.projection is None else bank.projection.shape[-1]
        fits = (
            0 <= member.embedding < len(graph.embeddings)
            and bank.mean.ndim == 1
            and (bank.projection is None or bank.projection.shape == (bank.mean.size, width))
            and bank.prototypes.ndim == 2
            and bank.prototypes.shape[1] == width > 0
            and member.sources.shape == (len(bank.prototypes), 3)
            and len(bank.prototypes) > 0
            and bank.covers > 0
            and len(bank.prototypes) % bank.covers == 0
        )
        if not fits or not np.issubdtype(member.sources.dtype, np.integer):
            raise ArtifactError(f"The artifact's bank {number} does not fit together.")
        if min(member.in_decision, member.in_map) < 0 or min(member.score_unit, member.map_unit) <= 0:
            raise ArtifactError(f"The artifact's bank {number} has an impossible weight or unit.")
    if is_alone and not (any(each.in_decision for each in members) and any(each.in_map for each in members)):
        raise ArtifactError("The artifact has no bank that decides, or none that draws the map.")
