"""Kafka: frames by consumer group, verdict records, dead letters. The only room that knows aiokafka."""

from __future__ import annotations

import logging

# aiokafka logs every attempt of its own retries; the links here log each edge once, with its reason.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
