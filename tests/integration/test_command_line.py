"""The command line as a shell sees it: processes, exit codes, one sentence and never a traceback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.brokers import Mosquitto

ROOT = Path(__file__).parents[2]
COMMANDS = (
    [], ["init"], ["doctor"], ["simulate"], ["run"], ["demo"], ["enroll"], ["discover"], ["evaluate"],
    ["products"], ["products", "list"], ["products", "show"], ["products", "activate"], ["products", "rollback"],
    ["products", "remove"], ["products", "export"], ["products", "import"], ["products", "threshold"],
    ["results"], ["results", "list"], ["results", "show"], ["db"], ["db", "upgrade"], ["db", "check"],
    ["db", "prune"], ["db", "hold"], ["db", "hold", "add"], ["db", "hold", "list"], ["db", "hold", "release"],
)  # fmt: skip


def inspector(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inspector", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd), "PYTHONPATH": str(ROOT), "COLUMNS": "120"},
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_exits_0_with_an_example(command: list[str], tmp_path: Path) -> None:
    done = inspector(*command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert "Usage" in done.stdout
    assert not command or "Example" in done.stdout


def test_help_loads_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys, inspector.cli\n"
        "heavy = {'torch', 'onnxruntime', 'sqlalchemy', 'alembic', 'pydantic', 'cv2', 'numpy', 'paho', 'structlog'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_wrong_use_exits_2_and_wrong_configuration_78_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[agent]\nnmae = 'x'\n[mqtt]\nport = 0\n")
    unknown = inspector("inspect", cwd=tmp_path)
    wrong = inspector("results", "list", "--config", "wrong.toml", cwd=tmp_path)
    missing = inspector("results", "list", "--config", "none.toml", "--json", cwd=tmp_path)
    assert [done.returncode for done in (unknown, wrong, missing)] == [2, 78, 78]
    assert "agent.nmae" in wrong.stderr
    assert "mqtt.port" in wrong.stderr
    assert "inspector init" in missing.stderr
    for done in (unknown, wrong, missing):
        assert done.stdout == ""
        assert "Traceback" not in done.stderr


def test_first_steps_on_an_empty_machine(tmp_path: Path) -> None:
    assert inspector("init", cwd=tmp_path).returncode == 0
    outdated = inspector("db", "check", cwd=tmp_path)
    assert outdated.returncode == 1
    assert "inspector db upgrade" in outdated.stderr
    assert not (tmp_path / "state").exists()
    upgraded = inspector("db", "upgrade", "--json", cwd=tmp_path)
    assert json.loads(upgraded.stdout)["was"] is None
    assert json.loads(inspector("db", "check", "--json", cwd=tmp_path).stdout)["ok"]
    assert json.loads(inspector("products", "list", "--json", cwd=tmp_path).stdout) == []
    assert json.loads(inspector("results", "list", "--json", cwd=tmp_path).stdout) == []


def test_doctor_on_a_line_that_is_well_exits_0(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto()
    inspector("init", cwd=tmp_path)
    path = tmp_path / "inspector.toml"
    path.write_text(path.read_text().replace("port = 1883", f"port = {broker.port}"))
    inspector("db", "upgrade", cwd=tmp_path)
    done = inspector("doctor", "--json", cwd=tmp_path)
    findings = json.loads(done.stdout)
    assert [finding for finding in findings if finding["level"] == "fault"] == []
    assert done.returncode == 0
    assert {"subject", "ok", "level", "detail"} <= set(findings[0])
    parts = {finding["part"] for finding in findings}
    assert {"configuration", "state", "store", "products", "mqtt", "cameras", "gates", "engine", "clock"} <= parts


def test_simulate_reaches_a_client_that_is_not_ours(tmp_path: Path, mosquitto: Callable[..., Mosquitto]) -> None:
    broker = mosquitto()
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(3):
        (pictures / f"{number}.png").write_bytes(b"picture %d" % number)
    listener = broker.receive("-V", "mqttv5", "-t", "plant/site/area/line/cam1/frame", "-C", "3", "-F", "%p %P", "-v")
    _wait_for_subscription(broker)
    done = inspector(
        *("simulate", "pictures", "--camera", "cam1", "--rate", "50", "--trigger-start", "41", "--json"),
        *("--to", f"mqtt://127.0.0.1:{broker.port}"),
        cwd=tmp_path,
    )
    told = json.loads(done.stdout)
    assert (done.returncode, told["sent"], told["simulated"]) == (0, 3, True)
    output, _ = listener.communicate(timeout=30)
    lines = output.decode().splitlines()
    assert [line.split(" ")[0:2] for line in lines] == [["picture", str(number)] for number in range(3)]
    for number, line in enumerate(lines):
        assert f"trigger-id:{41 + number}" in line
        assert "simulated:true" in line
        assert "frame-id:" in line


def _wait_for_subscription(broker: Mosquitto) -> None:
    deadline = time.monotonic() + 10
    while "SUBSCRIBE" not in broker.log():
        assert time.monotonic() < deadline, broker.log()
        time.sleep(0.02)


@pytest.mark.parametrize("is_folder", [False, True], ids=["junk", "folder"])
def test_run_on_what_is_no_database_ends_with_one_sentence(tmp_path: Path, is_folder: bool) -> None:
    assert inspector("init", cwd=tmp_path).returncode == 0
    file = Path(tomllib.loads((tmp_path / "inspector.toml").read_text())["agent"]["state_dir"]) / "inspector.db"
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).mkdir() if is_folder else (tmp_path / file).write_text("this is no database " * 1000)
    for command in ("run", "results list", "db check", "db upgrade"):
        done = inspector(*command.split(), cwd=tmp_path)
        assert done.returncode == 1, command
        assert done.stderr.splitlines()[-1].startswith("The database file "), done.stderr
        assert "Traceback" not in done.stderr


def test_run_lists_every_missing_secret_and_a_missing_certificate_without_a_traceback(tmp_path: Path) -> None:
    config = tmp_path / "inspector.toml"
    config.write_text(
        '[agent]\nstate_dir = "state"\n[store]\npassword_secret = "s1"\n'
        '[mqtt]\nusername = "u"\npassword_secret = "s2"\n'
    )
    secrets = inspector("run", cwd=tmp_path)
    assert (secrets.returncode, [name in secrets.stderr for name in ("'s1'", "'s2'")]) == (78, [True, True])
    config.write_text('[agent]\nstate_dir = "state"\n[mqtt]\ntls = true\nca_file = "none.pem"\n')
    certificate = inspector("run", cwd=tmp_path)
    assert (certificate.returncode, "Traceback" in certificate.stderr) == (1, False)
    assert certificate.stderr.splitlines()[-1].endswith("there is no file none.pem.")
