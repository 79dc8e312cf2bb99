"""The broker of `configs/mosquitto/`: its own files, with a free port and a folder of the test's in place of /etc.

The two scripts make its certificates, users and passwords, as a plant does. The test adds one user, `witness`, who may
read and write everything, to see what arrives and to send what others should hear.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.brokers import Mosquitto

FILES = Path(__file__).parents[1] / "configs" / "mosquitto"
PREFIX = "acme/hamburg/filling/line1"
WITNESS = "witness"
END = "end/of/the/test"
"""A topic that every user may read, so that a listener knows when everything before it has come."""


class PlantBroker(Mosquitto):
    """Running when made, over TLS only."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.files = folder / "etc"
        (self.files / "data").mkdir(parents=True)
        _run(FILES / "certificates.sh", self.files / "certs", "localhost,127.0.0.1", *users())
        extra = f"\nuser {WITNESS}\ntopic readwrite #\n\npattern read {END}\n"
        (self.files / "access-list").write_text((FILES / "access-list").read_text(encoding="utf-8") + extra)
        (self.files / "access-list").chmod(0o600)
        _run(FILES / "users.sh", self.files / "access-list", self.files)
        super().__init__(folder)

    def _basics(self, is_persistent: bool, saves_each_change: bool) -> list[str]:
        ours = [
            line for line in super()._basics(is_persistent, saves_each_change) if line.startswith(("user", "log_type"))
        ]
        text = (FILES / "mosquitto.conf").read_text(encoding="utf-8")
        for theirs, tests in (
            ("listener 8883", f"listener {self.port} {self.host}"),
            ("/var/lib/mosquitto", str(self.files / "data")),
            ("/var/log/mosquitto/mosquitto.log", str(self._log)),
            ("/etc/mosquitto", str(self.files)),
        ):
            assert theirs in text
            text = text.replace(theirs, tests)
        return [*text.splitlines(), *ours]

    @property
    def authority(self) -> Path:
        return self.files / "certs" / "ca.pem"

    def password(self, user: str) -> str:
        return (self.files / "secrets" / user).read_text()

    def client(self, program: str, user: str, *arguments: str) -> list[str]:
        """The command line of mosquitto_pub or mosquitto_sub as this user."""
        where = [program, "-h", self.host, "-p", str(self.port), "--cafile", str(self.authority), "-V", "5", "-q", "1"]
        return [*where, "-u", user, "-P", self.password(user), *arguments]

    def say(self, user: str, topic: str, payload: str, *more: str) -> str:
        """Publish below the prefix. Returns what mosquitto_pub has printed with -d."""
        command = self.client("mosquitto_pub", user, "-d", "-t", f"{PREFIX}/{topic}", "-m", payload, *more)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout + done.stderr

    def show(self, user: str, topic: str, file: Path, *more: str) -> None:
        """Publish a file below the prefix."""
        command = self.client("mosquitto_pub", user, "-t", f"{PREFIX}/{topic}", "-f", str(file), *more)
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    def listener(self, user: str, *topics: str) -> PlantListener:
        return PlantListener(self, user, topics or ("#",))


class PlantListener:
    """A mosquitto_sub of one user; subscribed when made."""

    def __init__(self, broker: PlantBroker, user: str, topics: Sequence[str]) -> None:
        self._broker = broker
        named = [argument for topic in (*topics, END) for argument in ("-t", topic)]
        command = broker.client("mosquitto_sub", user, "-F", "%t %p", *named)
        known = broker.log().count(f"{END} (QoS 1)")
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while broker.log().count(f"{END} (QoS 1)") == known:
            assert self._process.poll() is None, self._process.communicate()
            assert time.monotonic() < deadline, broker.log()[-3000:]
            time.sleep(0.02)

    def heard(self) -> set[tuple[str, str]]:
        """Topic below the prefix, or whole where it is elsewhere, and payload of all messages so far; then it ends."""
        command = self._broker.client("mosquitto_pub", WITNESS, "-t", END, "-m", "over")
        subprocess.run(command, check=True, timeout=60)
        heard: set[tuple[str, str]] = set()
        assert self._process.stdout is not None
        for line in self._process.stdout:
            topic, _, payload = line.rstrip("\n").partition(" ")
            if topic == END:
                break
            heard.add((topic.removeprefix(f"{PREFIX}/"), payload))
        self.close()
        return heard

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def users() -> list[str]:
    """The users of the access list, in its order."""
    return re.findall(r"^user (.+)$", (FILES / "access-list").read_text(encoding="utf-8"), re.MULTILINE)


def _run(*command: Path | str) -> None:
    done = subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def plant_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlantBroker]:
    for program in ("mosquitto_passwd", "mosquitto_sub", "openssl"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")
    broker = PlantBroker(tmp_path_factory.mktemp("plant") / "broker")
    yield broker
    broker.kill()
