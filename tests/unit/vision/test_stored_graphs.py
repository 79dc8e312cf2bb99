"""The graphs that come with this software are those that it would make, and every profile finds its own among them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from inspector.training.enrol import EnrolmentOptions, enrol
from inspector.training.heads.factory import PROFILES
from inspector.vision.artifacts.format import unpack
from inspector.vision.engines import stored_graphs
from inspector.vision.engines.protocols import Bank
from inspector.vision.engines.search_graph import BankKind, search_graph
from inspector.vision.engines.stored_graphs import FOLDER, search_graph_name, stored_search_graph
from inspector.vision.heads.prototype import PrototypeModel
from tests.graphs import PLACED, graphs
from tests.unit.drawings import FakeEngine, good_images

RUN = "; run `python -m tests.graphs`"


def test_stored_graphs_are_those_that_would_be_made_now() -> None:
    made = graphs()
    stored = {file.name: file.read_bytes() for file in FOLDER.iterdir()}
    assert sorted(stored) == sorted(made), RUN
    for name, content in made.items():
        same = onnx.load_model_from_string(stored[name]) == onnx.load_model_from_string(content)
        assert same, name + RUN


@pytest.mark.parametrize("profile", PROFILES)
def test_every_search_of_a_profile_has_a_stored_graph(profile: str) -> None:
    made = enrol("disc", good_images("disc", 12), EnrolmentOptions(profile=profile), FakeEngine())
    head = unpack(made.artifact).head
    assert isinstance(head, PrototypeModel)
    deciding = [BankKind.of(member.bank) for member in head.members if member.in_decision]
    alone = [[BankKind.of(member.bank)] for member in head.members]
    names = {search_graph_name(kinds, "distance") for kinds in [deciding, *alone]}
    assert names <= {file.name for file in FOLDER.iterdir()}, RUN


def test_banks_of_no_profile_get_their_graph_made() -> None:
    kinds = (PLACED, BankKind(is_pooled=True, is_unit_length=True, is_centred=False, is_projected=False))
    assert not (FOLDER / search_graph_name(kinds, "distance")).exists()
    assert stored_search_graph(kinds, "distance") == search_graph(kinds, "distance")


def test_engine_searches_without_the_library_that_makes_graphs(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; import numpy as np;"
        "from inspector.vision.engines.onnx_runtime import OnnxEngine;"
        "from inspector.vision.engines.protocols import Bank;"
        f"engine = OnnxEngine(Path({str(tmp_path)!r}), 1);"
        "bank = Bank(np.ones(3, np.float32), None, np.eye(3, dtype=np.float32));"
        "print(engine.search(bank).distances(np.ones((1, 2, 3), np.float32)).tolist(), 'onnx' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.strip() == "[[[1.0, 1.0]]] False"


def test_graph_is_read_for_the_kind_of_its_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(stored_graphs, "_stored", asked.append)
    bank = Bank(np.zeros(4, np.float32), np.ones((4, 2), np.float32), np.ones((3, 2), np.float32), unit_length=True)
    stored_search_graph([BankKind.of(bank)], "index")
    assert asked == ["index-projected_unit.graph"]
