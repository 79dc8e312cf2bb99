"""Certificates for tests of TLS, made by openssl for 127.0.0.1 and localhost."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificates(folder: Path) -> Path:
    """In `folder`: ca.pem; server and client (.pem, .key) signed by it; elsewhere, for another host; other.pem, a
    foreign authority; locked.key, the client's with a passphrase. Skips where openssl is not installed.
    """
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    (folder / "here").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    (folder / "away").write_text("subjectAltName=DNS:elsewhere.example\n")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for authority in ("ca", "other"):
        openssl("req", "-x509", *curve, "-days", "2", "-subj", f"/CN={authority}", "-keyout", f"{authority}.key",
                "-out", f"{authority}.pem")  # fmt: skip
    for name, names in (("server", "here"), ("client", "here"), ("elsewhere", "away")):
        openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial",
                "-days", "2", "-extfile", names, "-out", f"{name}.pem")  # fmt: skip
    openssl("ec", "-in", "client.key", "-aes256", "-passout", "pass:secret", "-out", "locked.key")
    return folder
