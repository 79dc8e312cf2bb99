"""Checks the parts of an artifact once, when the artifact is read.

A file that was made elsewhere may be undamaged and still hold nonsense: with a threshold that is not a number, every
part would pass. The checks raise ArtifactError. The numbers of a head are checked by the reader of that head.
"""

from __future__ import annotations

import json
import math
from typing import Any

from inspector.errors import ArtifactError
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.profile import routing_profile

MOST_DIGITS = 19


def parse_finite(text: str) -> Any:
    """The value of a JSON text.

    Raises ValueError where a number is not finite or a whole number is beyond about 64 bits.
    """
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


def check_fit(graph: Graph, preparation: Preparation, anchors: ProductAnchors) -> None:
    """Check that the pass takes the prepared size, that its grids have patches, and that the anchors can be compared.

    Raises ArtifactError.
    """
    if graph.size_px != preparation.size_px:
        raise ArtifactError(f"The artifact's pass is of {graph.size_px} px, its preparation {preparation.size_px} px.")
    if not graph.embeddings or any(graph.grid(number) < 1 for number in range(len(graph.embeddings))):
        raise ArtifactError("The artifact's pass gives no patches.")
    channels = len(routing_profile().mean)
    if any(len(each) < 1 or each.shape[1] != channels for each in (anchors.anchors, anchors.descriptors)):
        raise ArtifactError(f"The anchors of {anchors.product} are not of the routing profile's {channels} channels.")
