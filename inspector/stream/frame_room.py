"""Counts the bytes of the frames that an agent holds, and says which camera may add one. Pure.

A frame is held from when its source has its bytes until its picture is kept or let go, whatever becomes of its row.
All cameras share one bound. A camera has room as long as it holds no more than what is left free: one camera alone can
fill half, and n busy ones fill n parts of n + 1 each. So no camera takes the room of another one.
"""

from __future__ import annotations

from collections.abc import Callable

from inspector.domain import Position


class FrameRoom:
    """At most `most_bytes` over all cameras. A camera that holds nothing may always add one frame."""

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.held_bytes = 0
        self.peak_bytes = 0
        """The most that was held at once."""
        self.listeners: list[Callable[[], None]] = []
        """Called when room was given back. They must not wait and must not raise."""
        self._frames: dict[Position, tuple[str, int]] = {}
        self._by_camera: dict[str, int] = {}

    @property
    def is_over(self) -> bool:
        """Whether more is held than may be: a frame came that could not be held back."""
        return self.held_bytes > self.most_bytes

    def has_room(self, camera: str, size_bytes: int) -> bool:
        """Whether the camera may add a frame of that size."""
        held = self._by_camera.get(camera, 0)
        return not held or held + size_bytes <= self.most_bytes - self.held_bytes

    def holds(self, position: Position) -> bool:
        """Whether the delivery is counted already."""
        return position in self._frames

    def hold(self, position: Position, camera: str, size_bytes: int) -> None:
        """Count a delivery, whether or not there is room for it. Counted once, however often this is called."""
        if position in self._frames:
            return
        self._frames[position] = camera, size_bytes
        self._by_camera[camera] = self._by_camera.get(camera, 0) + size_bytes
        self.held_bytes += size_bytes
        self.peak_bytes = max(self.peak_bytes, self.held_bytes)

    def let_go(self, position: Position) -> None:
        """The bytes of the delivery are needed no more. Nothing happens where it is not counted."""
        camera, size_bytes = self._frames.pop(position, ("", 0))
        if not size_bytes:
            return
        self.held_bytes -= size_bytes
        left = self._by_camera[camera] - size_bytes
        if left:
            self._by_camera[camera] = left
        else:
            del self._by_camera[camera]
        for listener in self.listeners:
            listener()
