"""Kafka: frames by consumer group, verdict records, dead letters. The only room that uses aiokafka."""

from __future__ import annotations

import logging

# aiokafka logs each of its own retries. The links of this package log each loss and each return once, with the reason.
logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
