"""The graphs that come with this software. `python -m tests.graphs` writes them into the package.

Run it after a change to a graph, and after a profile got other banks. A test fails until it has been run again.
"""

from __future__ import annotations

from typing import Final

from inspector.vision.engines.search_graph import BankKind, search_graph
from inspector.vision.engines.stored_graphs import search_graph_name, student_graph_name
from inspector.vision.networks.student_graph import student_graph

PLAIN: Final = BankKind(is_pooled=False, is_unit_length=False, is_centred=True, is_projected=False)
UNIT: Final = BankKind(is_pooled=False, is_unit_length=True, is_centred=False, is_projected=False)
UNIT_PROJECTED: Final = BankKind(is_pooled=False, is_unit_length=True, is_centred=False, is_projected=True)
PROJECTED: Final = BankKind(is_pooled=False, is_unit_length=False, is_centred=True, is_projected=True)
PLACED: Final = BankKind(is_pooled=False, is_unit_length=False, is_centred=True, is_projected=True, is_placed=True)
POOLED: Final = BankKind(is_pooled=True, is_unit_length=False, is_centred=True, is_projected=True)

TOGETHER: Final = (
    (PLAIN, PLAIN, UNIT, PLACED, POOLED),  # fast
    (PLAIN, PLAIN, PLAIN, UNIT_PROJECTED, PLACED, POOLED),  # standard
    (PLAIN, PLAIN, PLAIN, UNIT, PLACED, POOLED),  # fine
)
"""The banks that decide, by profile, in the order of the head's members. Products without places have none of these."""

ALONE: Final = (PLAIN, UNIT, UNIT_PROJECTED, PROJECTED, PLACED, POOLED)
"""The banks that are also searched by themselves, for a map that is shown."""


def graphs() -> dict[str, bytes]:
    """Every graph by the name of its file, made now."""
    without_places = [tuple(kind for kind in kinds if kind != PLACED) for kinds in TOGETHER]
    searches = [*((kind,) for kind in ALONE), *TOGETHER, *without_places]
    made = {search_graph_name(kinds, "distance"): search_graph(kinds, "distance") for kinds in searches}
    return made | {student_graph_name(is_coded=coded): student_graph(is_coded=coded) for coded in (False, True)}
