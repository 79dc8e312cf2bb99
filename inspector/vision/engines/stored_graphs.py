"""The small graphs beside the pass, as bytes: those that came with this software, else made now.

To make one takes the library onnx: 12 MiB and tens of milliseconds of an agent's start, for graphs that are the same
each time. What the profiles need therefore lies in the folder `graphs`. A head with other banks, such as one of an
older artifact, gets its graph made.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from inspector.vision.engines.protocols import Answer
from inspector.vision.engines.search_graph import BankKind, search_graph
from inspector.vision.networks.student_graph import student_graph

FOLDER: Final = Path(__file__).with_name("graphs")


def stored_search_graph(kinds: Sequence[BankKind], answer: Answer) -> bytes:
    """What `search_graph` gives."""
    return _stored(search_graph_name(kinds, answer)) or search_graph(kinds, answer)


def stored_student_graph(*, is_coded: bool) -> bytes:
    """What `student_graph` gives."""
    return _stored(student_graph_name(is_coded=is_coded)) or student_graph(is_coded=is_coded)


def search_graph_name(kinds: Sequence[BankKind], answer: Answer) -> str:
    """The file of a graph, for example `distance-centred.centred_projected.graph`."""
    return f"{answer}-{'.'.join(kind.name for kind in kinds)}.graph"


def student_graph_name(*, is_coded: bool) -> str:
    """The file of a student's graph."""
    return f"student-{'coded' if is_coded else 'plain'}.graph"


def _stored(name: str) -> bytes | None:
    try:
        return (FOLDER / name).read_bytes()
    except FileNotFoundError:
        return None
