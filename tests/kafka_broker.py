"""A real Apache Kafka for tests: one node in KRaft mode on private ports, started once in a session.

Registered as a pytest plugin by tests/conftest.py. `KAFKA_BOOTSTRAP` names a cluster to use instead
(tests that kill it or need its passwords are then skipped), `KAFKA_HOME` a release that is there; else
the jars come from Maven into `.cache/kafka`, once. Three listeners: plain, SCRAM over TLS, and TLS with
a certificate that has expired. Each test makes topics of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from inspector.config.config import Config
from inspector.config.loading import parse
from tests.brokers import free_port
from tests.shared import locked

ROOT = Path(__file__).parent.parent
POM = ROOT / "tests" / "kafka" / "pom.xml"
CACHE = ROOT / ".cache" / "kafka"
START_TIMEOUT_S = 60.0
PORTS = ("plain", "secure", "expired", "proxied", "proxy", "controller")
CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
MAX_BYTES = 5 * 1024 * 1024

LOGGING = """
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%p %c{1} %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.server.name=kafka.server
logger.server.level=info
"""


class Kafka:
    """One broker on this machine. Its log survives `stop`, `kill` and `start`."""

    def __init__(self, folder: Path, jars: Path) -> None:
        self.folder = folder
        self._jars = jars
        self._ports = {name: free_port() for name in PORTS}
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        _make_certificates(folder)
        self._write_properties()
        cluster = uuid.uuid4().hex[:22]
        self._java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(folder / "server.properties"),
                   "--add-scram", "SCRAM-SHA-512=[name=agent,password=right]")  # fmt: skip
        self.start()

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._ports['plain']}"

    @property
    def secure(self) -> str:
        """SCRAM-SHA-512 over TLS; the certificate is for `localhost`, by `ca.pem`; user agent, password right."""
        return f"localhost:{self._ports['secure']}"

    @property
    def expired(self) -> str:
        """TLS with a certificate of yesterday."""
        return f"localhost:{self._ports['expired']}"

    @property
    def behind_proxy(self) -> int:
        """Port of a plain listener that sends its clients to `proxy_port`: a proxy of the test's stands there."""
        return self._ports["proxied"]

    @property
    def proxy_port(self) -> int:
        return self._ports["proxy"]

    def ensure_running(self) -> None:
        if self._process is None:
            self.start()

    def start(self) -> None:
        """Answering when it returns."""
        with (self.folder / "output.txt").open("ab") as output:
            self._process = subprocess.Popen(
                ["java", "-Xmx512m", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*",
                 f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}",
                 "kafka.Kafka", str(self.folder / "server.properties")],
                stdout=output, stderr=output,
            )  # fmt: skip
        deadline = time.monotonic() + START_TIMEOUT_S
        began_at = len(self.log)
        while "Kafka Server started" not in self.log[began_at:]:
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"Kafka did not start: {self.log[-3000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    @property
    def log(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")

    def allow(self, topic: str, *, is_group_allowed: bool = True) -> None:
        """User agent may read and write this topic, in the group that `kafka_config` makes of its name."""
        if is_group_allowed:
            self._acl("--group", f"g-{topic}", "--operation", "Read")
        self._acl("--topic", topic, "--operation", "Read", "--operation", "Write", "--operation", "Describe")

    def add_user(self, name: str, password: str) -> None:
        """A SCRAM user without any rights."""
        self._java("kafka.admin.ConfigCommand", "--bootstrap-server", self.bootstrap, "--alter",
                   "--entity-type", "users", "--entity-name", name,
                   "--add-config", f"SCRAM-SHA-512=[password={password}]")  # fmt: skip

    def tool(self, name: str, main_class: str) -> Path:
        """A program of Kafka's `bin` folder, which Maven does not bring."""
        file = self.folder / name
        options = f"-Xmx256m -XX:TieredStopAtLevel=1 -Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        file.write_text(f'#!/bin/sh\nexec java {options} -cp "{self._jars}/*" {main_class} "$@"\n')
        file.chmod(0o755)
        return file

    def produce_from_console(self, topic: str, lines: list[str]) -> None:
        """With Kafka's own console producer, a client that is not ours: `key:value` on each line."""
        self._java(
            "org.apache.kafka.tools.ConsoleProducer", "--bootstrap-server", self.bootstrap, "--topic", topic,
            "--reader-property", "parse.key=true", "--reader-property", "key.separator=:", stdin="\n".join(lines),
        )  # fmt: skip

    def _acl(self, *arguments: str) -> None:
        self._java("org.apache.kafka.tools.AclCommand", "--bootstrap-server", self.bootstrap,
                   "--add", "--allow-principal", "User:agent", *arguments)  # fmt: skip

    def _java(self, *arguments: str, stdin: str = "") -> None:
        command = ["java", "-Xmx256m", "-XX:TieredStopAtLevel=1", "-cp", f"{self._jars}/*", *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise RuntimeError(f"{arguments[0]} failed: {done.stdout[-2000:]} {done.stderr[-2000:]}")

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None

    def _write_properties(self) -> None:
        plain, secure, expired, proxied, proxy, controller = self._ports.values()
        files = self.folder
        lines = [
            "process.roles=broker,controller", "node.id=1", f"controller.quorum.voters=1@127.0.0.1:{controller}",
            f"listeners=PLAIN://127.0.0.1:{plain},SECURE://127.0.0.1:{secure},EXPIRED://127.0.0.1:{expired},"
            f"PROXIED://127.0.0.1:{proxied},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=PLAIN://127.0.0.1:{plain},SECURE://localhost:{secure},EXPIRED://localhost:{expired},"
            f"PROXIED://127.0.0.1:{proxy}",
            "listener.security.protocol.map=PLAIN:PLAINTEXT,SECURE:SASL_SSL,EXPIRED:SSL,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "controller.listener.names=CONTROLLER", "inter.broker.listener.name=PLAIN", f"log.dirs={files / 'data'}",
            "offsets.topic.replication.factor=1", "transaction.state.log.replication.factor=1",
            "transaction.state.log.min.isr=1", "share.coordinator.state.topic.replication.factor=1",
            "share.coordinator.state.topic.min.isr=1", "offsets.topic.num.partitions=3",
            "group.initial.rebalance.delay.ms=0", "auto.create.topics.enable=false",
            "group.min.session.timeout.ms=1000",
            f"message.max.bytes={MAX_BYTES}", f"replica.fetch.max.bytes={MAX_BYTES}",
            "broker.session.timeout.ms=2000", "broker.heartbeat.interval.ms=500",
            "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users=User:ANONYMOUS", "sasl.enabled.mechanisms=SCRAM-SHA-512",
            "listener.name.secure.scram-sha-512.sasl.jaas.config="
            "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        ]  # fmt: skip
        for listener, certificate in (("secure", "localhost"), ("expired", "expired")):
            lines += [
                f"listener.name.{listener}.ssl.keystore.type=PEM",
                f"listener.name.{listener}.ssl.keystore.location={files / f'{certificate}.keystore.pem'}",
                f"listener.name.{listener}.ssl.truststore.type=PEM",
                f"listener.name.{listener}.ssl.truststore.location={files / 'ca.pem'}",
            ]
        (files / "log4j2.properties").write_text(LOGGING)
        (files / "server.properties").write_text("\n".join(lines) + "\n")


def _make_certificates(folder: Path) -> None:
    """An authority `ca.pem`, another one nobody uses, and two keystores: for localhost, and one of yesterday."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    for authority in ("ca", "other"):
        openssl("req", "-x509", *CURVE, "-days", "2", "-subj", f"/CN={authority}",
                "-keyout", f"{authority}.key", "-out", f"{authority}.pem")  # fmt: skip
    (folder / "names").write_text("subjectAltName=DNS:localhost\n")
    for name, days in (("localhost", "2"), ("expired", "-1")):
        openssl("req", *CURVE, "-subj", "/CN=localhost", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", days, "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
        store = (folder / f"{name}.key").read_text() + (folder / f"{name}.pem").read_text()
        (folder / f"{name}.keystore.pem").write_text(store)


class KafkaTopics:
    """A cluster as tests see it: topics of their own, and a producer that is not ours."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    async def create(self, partitions: int = 1, **configs: str) -> str:
        """A new topic's name; it can be written to when this returns."""
        name = f"t-{uuid.uuid4().hex[:12]}"
        await self.create_named(name, partitions, **configs)
        return name

    async def create_named(self, name: str, partitions: int = 1, **configs: str) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        await admin.start()
        try:
            topic = NewTopic(name, partitions, 1, topic_configs=configs)
            await admin.create_topics([topic])
        finally:
            await admin.close()

    async def send(
        self, topic: str, value: bytes | None, key: str | None = None, partition: int | None = None, **headers: str
    ) -> None:
        """One record, acknowledged by the cluster. Header names with underscores for hyphens."""
        named = [(name.replace("_", "-"), text.encode()) for name, text in headers.items()]
        await self.send_raw(topic, value, named, key, partition)

    async def send_raw(
        self,
        topic: str,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        key: str | None = None,
        partition: int | None = None,
    ) -> None:
        async with AIOKafkaProducer(bootstrap_servers=self.bootstrap, max_request_size=MAX_BYTES) as producer:
            encoded = None if key is None else key.encode()
            await producer.send_and_wait(topic, value, key=encoded, partition=partition, headers=headers)


def find_jars() -> Path:
    """Where Kafka's jars are; fetched once where Maven is there. Skips what needs them where they can't be had."""
    if shutil.which("java") is None:
        pytest.skip("Kafka needs Java (Debian package: default-jre-headless), or KAFKA_BOOTSTRAP")
    if home := os.environ.get("KAFKA_HOME"):
        return Path(home) / "libs"
    with locked(CACHE):
        if not list(CACHE.glob("kafka_*.jar")):
            _fetch_jars()
    return CACHE


def _fetch_jars() -> None:
    if shutil.which("mvn") is None:
        pytest.skip("Kafka comes by Maven (Debian package: maven), KAFKA_HOME or KAFKA_BOOTSTRAP; none is here")
    fetched = subprocess.run(
        ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", "-DincludeScope=runtime",
         f"-DoutputDirectory={CACHE}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if fetched.returncode:
        pytest.skip(f"Maven could not fetch Kafka: {fetched.stdout[-500:]}")


def jars_of_our_own() -> Path:
    """As `find_jars`, for brokers that a test stops. Skips where another cluster is to be used."""
    if os.environ.get("KAFKA_BOOTSTRAP"):
        pytest.skip("KAFKA_BOOTSTRAP names a cluster that tests may not stop")
    return find_jars()


def own_kafka(folder: Path) -> Kafka:
    """A broker of our own, for what kills it or needs its passwords; started. Skips where it can't be had."""
    jars = jars_of_our_own()
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return Kafka(folder, jars)


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker of our own, running."""
    server = own_kafka(tmp_path_factory.mktemp("kafka") / "node")
    yield server
    server.kill()


@pytest.fixture
def kafka(request: pytest.FixtureRequest) -> KafkaTopics:
    """A cluster: the one `KAFKA_BOOTSTRAP` names, else our own."""
    named = os.environ.get("KAFKA_BOOTSTRAP")
    return KafkaTopics(named or request.getfixturevalue("kafka_server").bootstrap)


def kafka_config(kafka: KafkaTopics, topic: str, tmp_path: Path, **settings: object) -> Config:
    """Cameras cam1 and cam2 on that topic, quick to notice and to reconnect, in a group of the topic's own."""
    return parse(
        {
            "agent": {"name": "agent1", "prefix": "p/s", "state_dir": str(tmp_path / "state")},
            "kafka": {
                "bootstrap": kafka.bootstrap,
                "group": f"g-{topic}",
                "topics": [topic],
                "session_timeout_ms": 3000,
                "handover_ms": 500,
                "request_timeout_ms": 5000,
                "reconnect_min_s": 0.05,
                "reconnect_max_s": 0.3,
                **settings,
            },
            "camera": [
                {"name": name, "source": "kafka", "on_unjudged": "reject", "max_mib": 4} for name in ("cam1", "cam2")
            ],
        },
        None,
    )
