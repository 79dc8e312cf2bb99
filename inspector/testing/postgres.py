"""A PostgreSQL server for one test, from the installed binaries, in a folder that is removed afterwards.

It runs as the user `postgres` when the caller is root (PostgreSQL refuses root), on a free port of
127.0.0.1, without Unix sockets. With `durable=False` it skips fsync: no test needs the data to survive a
crash of the machine.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Self

_SUPERUSER = "postgres"


def binaries() -> Path | None:
    """The folder of the newest installed server, or None if PostgreSQL is not installed."""
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    return installed[-1].parent if installed else None


class PostgresServer:
    """Answers once it is entered. `stop(at_once=True)` is a crash; `start()` brings it back with its data."""

    def __init__(self, bin_dir: Path, *, durable: bool = False) -> None:
        self._bin_dir = bin_dir
        self._durable = durable
        self._folder = Path()
        self.port = 0

    def __enter__(self) -> Self:
        # Not below pytest's own folder, because the server's user may not enter it.
        self._folder = Path(tempfile.mkdtemp(prefix="inspector-postgres-"))
        if os.geteuid() == 0:
            shutil.chown(self._folder, _SUPERUSER, _SUPERUSER)
        self._run("initdb", "-D", str(self._data_dir), "-U", _SUPERUSER, "-A", "trust", "-E", "UTF8", "--no-sync")
        self.port = _free_port()
        self.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop(at_once=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql+asyncpg://{_SUPERUSER}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Returns when the server answers."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        if not self._durable:
            options += " -c fsync=off -c full_page_writes=off"
        self._pg_ctl("start", "-w", "-l", str(self._folder / "log"), "-o", options)

    def ensure_running(self) -> None:
        """Start the server if it is down."""
        if not (self._data_dir / "postmaster.pid").exists():
            self.start()

    def require_tls(self, certificate: Path, key: Path, client_authority: Path | None = None) -> None:
        """Refuse clients without TLS from now on, and clients without a certificate if `client_authority` is set."""
        settings = {"ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": client_authority}
        lines = ["ssl = on"]
        for name, source in settings.items():
            if source is not None:
                copy = self._data_dir / f"{name}.pem"
                copy.write_bytes(source.read_bytes())
                copy.chmod(0o600)
                if os.geteuid() == 0:
                    shutil.chown(copy, _SUPERUSER, _SUPERUSER)
                lines.append(f"{name} = '{copy}'")
        with (self._data_dir / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(["", *lines, ""]))
        wanted = " clientcert=verify-ca" if client_authority is not None else ""
        entry = f"hostssl all all 127.0.0.1/32 trust{wanted}\n"
        (self._data_dir / "pg_hba.conf").write_text(entry, encoding="utf-8")
        self.stop()
        self.start()

    def stop(self, *, at_once: bool = False) -> None:
        """End the server; `at_once`: without a checkpoint, as a crash does. Does nothing if it is down."""
        if (self._data_dir / "postmaster.pid").exists():
            self._pg_ctl("stop", "-w", "-m", "immediate" if at_once else "fast")

    @property
    def _data_dir(self) -> Path:
        return self._folder / "data"

    def _pg_ctl(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", str(self._data_dir), *arguments)

    def _run(self, program: str, *arguments: str) -> None:
        as_user: dict[str, Any] = (
            {"user": _SUPERUSER, "group": _SUPERUSER, "extra_groups": []} if os.geteuid() == 0 else {}
        )
        # Output goes to a file: the server would inherit a pipe and keep it open for ever.
        with (self._folder / "commands").open("ab") as output:
            subprocess.run(
                [str(self._bin_dir / program), *arguments],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self._folder,
                timeout=60,
                **as_user,
            )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
