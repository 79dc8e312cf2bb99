"""Deliveries against rows, rejects on the wire against rows. Believes nothing the agent says of itself."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

Key = tuple[str, str | None, str]
"""A distinct frame: camera, frame id, SHA-256 of its bytes."""

Row = dict[str, Any]


def key_of(camera: str, frame_id: str | None, payload: bytes) -> Key:
    return camera, frame_id, hashlib.sha256(payload).hexdigest()


class Account:
    """What was delivered, and what a subscriber of its own heard. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._delivered: dict[Key, None] = {}
        self._heard: list[tuple[str, dict[str, Any]]] = []

    def deliver(self, key: Key) -> None:
        """This frame is the agent's to answer for. The same one again is no new delivery."""
        with self._lock:
            self._delivered[key] = None

    def hear(self, topic: str, body: dict[str, Any]) -> None:
        with self._lock:
            self._heard.append((topic, body))

    @property
    def deliveries(self) -> list[Key]:
        """Distinct frames, in the order they were first taken over."""
        with self._lock:
            return list(self._delivered)

    def heard(self, ending: str) -> list[dict[str, Any]]:
        """Messages on topics with this ending, in the order they came."""
        with self._lock:
            return [body for topic, body in self._heard if topic.endswith(ending)]

    def missing(self, rows: Sequence[Row]) -> list[Key]:
        """Deliveries without a row."""
        written = {key_of_row(row) for row in rows}
        return [key for key in self.deliveries if key not in written]

    def double_rows(self, rows: Sequence[Row]) -> int:
        """Rows beyond the first of each frame."""
        return sum(times - 1 for times in Counter(key_of_row(row) for row in of_frames(rows)).values())

    def rejects_without_row(self, rows: Sequence[Row]) -> int:
        """Reject records and reject decisions on the wire that no row stands for."""
        rejected = {row["result_id"] for row in rows if row["outcome"] == "reject"}
        told = {(row["gate"], row["epoch"], row["trigger_id"]) for row in rows if row["action"] == "reject"}
        records = sum(body["result_id"] not in rejected for body in self.heard("/reject"))
        with self._lock:
            decisions = [(topic.split("/")[-2], body) for topic, body in self._heard if topic.endswith("/decision")]
        return records + sum(
            (gate, body["ep"], body["trig"]) not in told for gate, body in decisions if body["act"] == 2
        )

    def broken_on_wire(self, rows: Sequence[Row]) -> list[str]:
        """What else was wrong on the wire: a frame under two ids, a verdict whose row says something else."""
        ids: dict[Key, set[str]] = {}
        for body in self.heard("/verdict"):
            if body["frame_sha256"] is None:
                continue
            ids.setdefault((body["camera"], body["frame_id"], body["frame_sha256"]), set()).add(body["result_id"])
        broken = [
            f"{key[1]} of {key[0]} is on the wire under {len(set_)} ids" for key, set_ in ids.items() if len(set_) > 1
        ]
        outcomes = {row["result_id"]: row["outcome"] for row in rows}
        for body in self.heard("/verdict"):
            said, written = body["outcome"], outcomes.get(body["result_id"])
            if said != written:
                broken.append(f"{body['frame_id']} is {said} on the wire, its row says {written}")
        return broken


def of_frames(rows: Sequence[Row]) -> list[Row]:
    """Rows that a frame stands behind, none simulated or in shadow."""
    return [row for row in rows if row["frame_sha256"] and not row["simulated"] and not row["shadow"]]


def key_of_row(row: Row) -> Key:
    """The frame that a row stands for."""
    return row["camera"], row["frame_id"], row["frame_sha256"]
