"""Checks the parts of an artifact once, when the artifact is read.

A file that was made elsewhere may be undamaged and still hold nonsense: with a threshold that is not a number, every
part would pass. The checks raise ArtifactError. The numbers of a head are checked by the reader of that head.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from inspector.errors import ArtifactError
from inspector.vision.images.preparation import Preparation
from inspector.vision.networks.graphs import Graph
from inspector.vision.routing.anchors import ProductAnchors
from inspector.vision.routing.profile import routing_profile

MOST_DIGITS = 19

MOST_DEPTH = 100
"""Lists and tables within each other. Writers of JSON give up at about 250."""

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def parse_finite(text: str) -> Any:
    """The value of a JSON text, which every database of this software can store.

    Raises ValueError where a number is not finite or a whole number is beyond 64 bits, where a text holds a NUL or half
    a character, and where values are nested deeper than `MOST_DEPTH`.
    """
    value = json.loads(text, parse_float=_parsed_float, parse_int=_parsed_int, parse_constant=_parsed_float)
    _ensure_storable(value)
    return value


def _parsed_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _parsed_int(text: str) -> int:
    if len(text.lstrip("-")) > MOST_DIGITS:
        raise ValueError(f"a whole number has {len(text)} digits")
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(f"{text} has more than 64 bits")
    return number


def _ensure_storable(value: Any) -> None:
    """Raises ValueError for a text that no database takes, and for values nested too deep."""
    left = [(value, 0)]
    while left:
        each, depth = left.pop()
        if isinstance(each, str) and _UNSTORABLE.search(each):
            raise ValueError("a text holds a NUL or half a character")
        if isinstance(each, dict | list):
            if depth >= MOST_DEPTH:
                raise ValueError(f"values are nested more than {MOST_DEPTH} deep")
            children = [*each, *each.values()] if isinstance(each, dict) else each
            left += [(child, depth + 1) for child in children]


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
