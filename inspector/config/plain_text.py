"""Finds passwords that would leave this machine without encryption. Pure.

The configuration is not refused for them: a line that runs must not stand still after an upgrade. `inspector run` warns
at each start, and for `inspector doctor` each is a fault.
"""

from __future__ import annotations

from collections.abc import Iterator

from inspector.config.addresses import is_loopback
from inspector.config.config import Config
from inspector.config.store_url import holds_password, host_of


def plain_passwords(config: Config) -> Iterator[tuple[str, str]]:
    """The section, and a sentence that ends with what to do, for each password that is not encrypted on its way."""
    for section, words in (("mqtt", _of_mqtt(config)), ("kafka", _of_kafka(config)), ("store", _of_store(config))):
        if words is not None:
            yield section, words


def _of_mqtt(config: Config) -> str | None:
    mqtt = config.mqtt
    if mqtt.password_secret is None or mqtt.tls or is_loopback(mqtt.host):
        return None
    return (
        f"the password of {mqtt.username} crosses the network to {mqtt.host} in plain text, and so do frames and "
        "decisions. Set mqtt.tls = true, mqtt.ca_file and the broker's port for TLS (8883), then change the password."
    )


def _of_kafka(config: Config) -> str | None:
    kafka = config.kafka
    hosts = [address.rpartition(":")[0] for address in kafka.bootstrap.split(",")]
    away = [host for host in hosts if not is_loopback(host)]
    if kafka.security != "sasl_plaintext" or not away:
        return None
    return (
        f"nothing on the way to {away[0]} is encrypted: frames can be read and changed, and from the exchange of the "
        f'password of {kafka.username} it can be guessed at leisure. Set kafka.security = "sasl_ssl" and kafka.ca_file.'
    )


def _of_store(config: Config) -> str | None:
    store = config.store
    host = host_of(store.url)
    has_password = store.password_secret is not None or holds_password(store.url)
    if host is None or not has_password or store.tls or is_loopback(host):
        return None
    return (
        f"the password for the database on {host} is sent to whichever server answers there, encrypted only if that "
        "server wants it. Set store.tls = true, and store.ca_file to the server's authority."
        if store.tls is None
        else f"rows and the exchange of the password cross the network to {host} in plain text. Set store.tls = true, "
        "and store.ca_file to the server's authority."
    )
