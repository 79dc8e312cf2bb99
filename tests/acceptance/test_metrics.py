"""A real agent shows its figures to a real Prometheus, and to the client library's own parser."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
import sys
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.agents import Agent, inspector
from tests.brokers import Mosquitto, free_port
from tests.parts import encoded

pytestmark = pytest.mark.acceptance

DEPLOY = Path(__file__).parents[2] / "deploy"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")

LINE = """
[mqtt]
port = {port}
[metrics]
listen = "127.0.0.1:{metrics}"
[[camera]]
name = "cam1"
on_unjudged = "pass"
trigger_from = "topic"
[[gate]]
name = "gate1"
cameras = ["cam1"]
window_ms = 30000
"""


def send(broker: Mosquitto, folder: Path, trigger: int, payload: bytes) -> None:
    file = folder / "frame.bin"
    file.write_bytes(payload)
    broker.publish("-t", f"t/cam1/frame/{trigger}", "-f", str(file), "-q", "1")


def fetch(port: int, path: str = "/metrics") -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def figures(port: int) -> dict[str, float]:
    """The samples of one scrape, by `name{label="value",...}` with sorted labels."""
    status, text = fetch(port)
    assert status == 200
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


@pytest.fixture
def line(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto], tmp_path: Path
) -> tuple[Agent, Mosquitto, int]:
    """An agent that has judged a good part, a bad one, and bytes that are no picture; its broker; its metrics' port."""
    broker, port = mosquitto(), free_port()
    running = agent(LINE.format(port=broker.port, metrics=port)).start()
    for trigger, payload in enumerate((encoded("disc", 900), encoded("bar", 901, is_good=False), b"no picture"), 1):
        send(broker, tmp_path, trigger, payload)
    running.has_rows(3)
    return running, broker, port


def test_run_figures_say_what_became_of_frames_and_gates(line: tuple[Agent, Mosquitto, int]) -> None:
    running, _, port = line
    verdicts, decisions = 'inspector_verdicts_total{camera="cam1"', 'inspector_decisions_total{action="'
    running.until(lambda: figures(port).get("inspector_rows_spooled") == 0, 30, "all rows are written")
    running.until(lambda: figures(port).get("inspector_agent_taking_frames") == 1, 30, "the agent is shown")
    found = figures(port)
    assert found[verdicts + ',cause="ok",outcome="pass"}'] == 1
    assert found[verdicts + ',cause="anomaly",outcome="reject"}'] == 1
    assert found[verdicts + ',cause="undecodable",outcome="unjudged"}'] == 1
    assert found[decisions + 'pass",gate="gate1",told="in_time"}'] == 2
    assert found[decisions + 'reject",gate="gate1",told="in_time"}'] == 1
    assert found['inspector_unjudged_passes_total{gate="gate1"}'] == 1, "on_unjudged of this camera lets it pass"
    assert found['inspector_frame_latency_seconds_count{camera="cam1"}'] == 3
    assert found['inspector_stage_seconds_count{stage="publish"}'] == 3
    assert found['inspector_stage_seconds_count{stage="record"}'] >= 1
    assert found['inspector_level_ratio_bucket{le="1.0",product="disc"}'] == 1
    assert found['inspector_level_ratio_bucket{le="1.0",product="bar"}'] == 0
    assert found['inspector_product_live{product="disc",version="1"}'] == 1
    assert found["inspector_database_up"] == 1
    assert found['inspector_link_up{link="gates"}'] == 1
    assert found['inspector_camera_connected{camera="cam1"}'] == 1
    assert found['inspector_gate_mode{gate="gate1",mode="auto"}'] == 1
    assert found["inspector_state_disk_free_bytes"] > 0
    assert found["process_resident_memory_bytes"] > 50e6
    assert "event=metrics_served" in running.log
    assert running.end() == 0


def test_run_every_figure_is_in_the_document_and_follows_the_rules_of_prometheus(
    line: tuple[Agent, Mosquitto, int],
) -> None:
    _, text = fetch(line[2])
    shown = set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE))
    documented = set(re.findall(r"^\| `((?:inspector|process)_\w+)` \|", DOCUMENT, re.MULTILINE))
    assert shown == documented
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian package: prometheus)")
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_run_figures_of_a_broker_and_a_held_gate_follow_what_happens(line: tuple[Agent, Mosquitto, int]) -> None:
    running, broker, port = line
    running.until(lambda: figures(port)['inspector_camera_connected{camera="cam1"}'] == 1, 30, "the camera is there")
    broker.kill()
    running.until(lambda: figures(port)['inspector_camera_connected{camera="cam1"}'] == 0, 60, "the link is shown down")
    found = figures(port)
    assert found['inspector_link_up{link="records"}'] == 0
    assert found['inspector_gate_ready{gate="gate1"}'] == 0
    broker.start()
    running.until(lambda: figures(port)['inspector_link_up{link="records"}'] == 1, 60, "the link is shown up again")


def test_run_figures_are_there_while_the_agent_waits_for_its_database(
    agent: Callable[[str], Agent], mosquitto: Callable[..., Mosquitto]
) -> None:
    broker, port, nobody = mosquitto(), free_port(), free_port()
    store = f'[store]\nurl = "postgresql+asyncpg://127.0.0.1:{nobody}/none"\n'
    running = agent(LINE.format(port=broker.port, metrics=port) + store).start(wait=False)
    running.until(lambda: "ledger_down" in running.log, 60, "the agent waits for its database")
    found = figures(port)
    assert found["inspector_agent_taking_frames"] == 0
    assert found["inspector_database_up"] == 0
    assert found['inspector_events_total{kind="ledger_down",severity="alarm"}'] == 1


def test_run_port_in_use_ends_the_start_with_one_sentence_and_doctor_says_it_beforehand(
    line: tuple[Agent, Mosquitto, int], agent: Callable[[str], Agent]
) -> None:
    running, broker, port = line
    second = agent(LINE.format(port=broker.port, metrics=port).replace("gate1", "gate2"))
    second.config.write_text(second.config.read_text().replace('name = "agent"', 'name = "other"'))
    second.start(wait=False)
    second.until(second.has_ended, 60, "the second agent ends")
    assert second.process is not None
    assert second.process.returncode == 1
    (said,) = [text for text in second.log.splitlines() if "metrics.listen" in text]
    assert f"127.0.0.1:{port} (Address already in use)" in said
    assert "Traceback" not in second.log
    for each, is_ok in ((running, True), (second, False)):
        findings = json.loads(inspector("doctor", "--config", each.config, "--json").stdout)
        (finding,) = [finding for finding in findings if finding["part"] == "metrics"]
        assert finding["ok"] is is_ok, finding


class Prometheus:
    """A real server with the rules of deploy/, that scrapes one agent every second."""

    def __init__(self, folder: Path, target: int) -> None:
        self.port = free_port()
        shutil.copy(DEPLOY / "prometheus" / "inspector.rules.yml", folder)
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
        config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{target}"]
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
        options = {
            "config.file": folder / "prometheus.yml",
            "storage.tsdb.path": folder / "data",
            "web.listen-address": f"127.0.0.1:{self.port}",
        }
        self._log = (folder / "prometheus.log").open("wb")
        command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)

    def asked(self, path: str, **parameters: str) -> Any:
        """The data of an answer of its API. None: it does not answer yet."""
        try:
            status, text = fetch(self.port, f"/api/v1/{path}?{urllib.parse.urlencode(parameters)}")
        except OSError:
            return None
        if status == 503:
            return None
        answer = json.loads(text)
        assert answer["status"] == "success", (parameters, answer)
        return answer["data"]

    def value(self, query: str) -> float | None:
        data = self.asked("query", query=query)
        return float(data["result"][0]["value"][1]) if data and data["result"] else None

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)
        self._log.close()


@pytest.fixture
def prometheus(line: tuple[Agent, Mosquitto, int], tmp_path: Path) -> Iterator[Prometheus]:
    if shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed (Debian package: prometheus)")
    folder = tmp_path / "prometheus"
    folder.mkdir()
    server = Prometheus(folder, line[2])
    yield server
    server.close()


def dashboard_expressions() -> Iterator[str]:
    """With the values that Grafana would put in for its variables."""
    dashboard = json.loads((DEPLOY / "grafana" / "inspector.json").read_text(encoding="utf-8"))
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", "1m")
            yield filled.replace("$instance", ".*").replace("$product", ".*")


def test_run_real_prometheus_scrapes_the_agent_and_evaluates_alerts_and_dashboard(
    line: tuple[Agent, Mosquitto, int], prometheus: Prometheus
) -> None:
    running, _, _ = line
    running.until(lambda: prometheus.value('up{job="inspector"}') == 1, 60, "Prometheus has scraped the agent")
    judged = 'sum(inspector_verdicts_total{camera="cam1",cause!~"not_received"})'
    running.until(lambda: prometheus.value(judged) == 3, 60, "it has all three verdicts")
    assert prometheus.value('inspector_unjudged_passes_total{gate="gate1"}') == 1
    quantile = "histogram_quantile(0.5, sum by (le) (inspector_frame_latency_seconds_bucket))"
    assert 0 < (prometheus.value(quantile) or 0) <= 0.5

    def rules() -> list[dict[str, Any]]:
        groups = (prometheus.asked("rules") or {"groups": []})["groups"]
        return [rule for group in groups for rule in group["rules"]]

    running.until(
        lambda: bool(rules()) and all(rule["health"] != "unknown" for rule in rules()), 60, "all rules were evaluated"
    )
    assert {rule["health"] for rule in rules()} == {"ok"}
    for expression in dashboard_expressions():
        assert prometheus.asked("query", query=expression) is not None
    targets = prometheus.asked("targets")["activeTargets"]
    assert [target["lastError"] for target in targets] == [""]
    assert running.end() == 0
    running.until(lambda: prometheus.value('up{job="inspector"}') == 0, 60, "an agent that has ended is shown as down")


def test_run_agent_judges_on_while_clients_misuse_its_figures(
    line: tuple[Agent, Mosquitto, int], tmp_path: Path
) -> None:
    running, broker, port = line
    misuse = subprocess.Popen(
        [sys.executable, "-c", MISUSE, str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for trigger in range(4, 24):
            send(broker, tmp_path, trigger, encoded("disc", 900 + trigger))
            time.sleep(0.05)
        rows = running.has_rows(23)
    finally:
        misuse.kill()
        misuse.wait()
    assert [row["cause"] for row in rows[3:]] == ["ok"] * 20
    assert all(row["published"] == 1 for row in rows)
    running.until(lambda: fetch(port)[0] == 200, 30, "the figures are there again")
    assert running.end() == 0


MISUSE = """
import random, socket, sys, itertools
kept = []
for number in itertools.count():
    try:
        client = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5)
        client.sendall(random.choice([b"GET /metrics HTTP/1.1\\r\\n\\r\\n", random.randbytes(5000), b"GET ", b""]))
        kept.append(client)
        if len(kept) > 40:
            kept.pop(0).close()
    except OSError:
        pass
"""
