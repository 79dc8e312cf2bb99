"""Translates Kafka's errors into sentences for the operator. No I/O."""

from __future__ import annotations

import ssl
from typing import Final

from aiokafka import errors

from inspector.errors import BrokerRefused, BrokerUnavailable, InspectorError

_CERTIFICATE: Final = {
    10: "shows a certificate that has expired; renew it",
    9: "shows a certificate that is not valid yet; check the clocks",
    62: "shows a certificate for another host; use the name in the certificate in kafka.bootstrap",
    64: "shows a certificate for another address; use the name in the certificate in kafka.bootstrap",
}
"""Sentences by OpenSSL's verification error. Every other error means an unknown issuer."""

_UNKNOWN_ISSUER: Final = "shows a certificate of an unknown issuer; check kafka.ca_file"

_REFUSALS: Final[tuple[tuple[type[Exception], str], ...]] = (
    (
        errors.SaslAuthenticationFailed,
        "does not accept the user name or password; check kafka.username and kafka.password_secret",
    ),
    (errors.UnsupportedSaslMechanismError, "does not offer SCRAM-SHA-512"),
    (errors.IllegalSaslStateError, "wants another kafka.security than is configured"),
    (errors.GroupAuthorizationFailedError, "does not let this user into the consumer group; check its access list"),
    (errors.ClusterAuthorizationFailedError, "does not let this user write as a producer; check its access list"),
    (errors.InconsistentGroupProtocolError, "has a consumer group of that name with members of another kind"),
    (errors.MessageSizeTooLargeError, "does not take a record of this size; raise message.max.bytes"),
    (errors.RecordListTooLargeError, "does not take a record of this size; raise message.max.bytes"),
)


def translated(error: BaseException, address: str) -> InspectorError:
    """The error as BrokerRefused if only a person can change its cause, else as BrokerUnavailable."""
    if isinstance(error, InspectorError):
        return error
    where = f"The Kafka broker at {address}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerRefused(f"{where} {_CERTIFICATE.get(error.verify_code, _UNKNOWN_ISSUER)}.")
    if isinstance(error, ssl.SSLError):
        reason = (error.reason or "no reason given").lower().replace("_", " ")
        return BrokerRefused(f"{where} does not speak TLS as configured ({reason}); check kafka.security.")
    if isinstance(error, errors.TopicAuthorizationFailedError):
        topics = ", ".join(_names(error)) or "a topic"
        return BrokerRefused(f"{where} does not let this user use {topics}; check its access list.")
    for kind, sentence in _REFUSALS:
        if isinstance(error, kind):
            return BrokerRefused(f"{where} {sentence}.")
    return BrokerUnavailable(f"There is no connection to the Kafka broker at {address}: {_reason(error)}.")


def _names(error: BaseException) -> list[str]:
    names: list[str] = []
    for argument in error.args:
        names += [argument] if isinstance(argument, str) else sorted(map(str, argument))
    return names


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, errors.KafkaConnectionError | ConnectionResetError | EOFError):
        return "it closed the connection; check that kafka.security is what it speaks there"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
