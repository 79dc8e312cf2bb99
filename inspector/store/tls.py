"""The TLS context for PostgreSQL, made from the keys of the section `store`."""

from __future__ import annotations

import ssl
from pathlib import Path

from inspector.config.sections import StoreSection
from inspector.errors import ConfigError


def client_context(section: StoreSection) -> ssl.SSLContext:
    """A context that checks the server's certificate and name.

    Raises ConfigError, which names the key, if a file can't be used.
    """
    keys = ("ca_file", "cert_file", "key_file")
    faults = [fault for key in keys if (fault := _unreadable(key, getattr(section, key)))]
    if faults:
        raise ConfigError(faults)
    try:
        context = ssl.create_default_context(cafile=section.ca_file)
    except ssl.SSLError:
        raise ConfigError([f"store.ca_file: {section.ca_file} holds no certificate in PEM form"]) from None
    if section.cert_file is not None:
        try:
            # Without this empty passphrase OpenSSL would ask for one at the terminal.
            context.load_cert_chain(section.cert_file, section.key_file, password=lambda: "")
        except ssl.SSLError:
            files = f"{section.cert_file} and {section.key_file}"
            reason = "are no certificate and its key in PEM form, or the key has a passphrase"
            raise ConfigError([f"store.cert_file and store.key_file: {files} {reason}"]) from None
    return context


def _unreadable(key: str, file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        with file.open("rb"):
            return None
    except OSError as error:
        return f"store.{key}: {file} can't be read: {error.strerror}"
