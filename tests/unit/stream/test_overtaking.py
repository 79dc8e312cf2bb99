"""How old a frame may be that comes after the frame of a later part."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from inspector.stream.overtaking import REMEMBERED_FRAMES, ReceiptOrder


def test_frames_in_order_are_not_overtaken() -> None:
    order = ReceiptOrder()
    assert not any(order.note((1, count), count) for count in range(5))


def test_a_frame_after_the_frame_of_a_later_part_is_as_old_as_the_part_before_it() -> None:
    order = ReceiptOrder()
    for count, received_ns in ((1, 10), (2, 20), (5, 50)):
        order.note((1, count), received_ns)
    assert order.note((1, 4), 55)
    assert order.not_before_ns((1, 4)) == 20


def test_a_second_frame_of_the_same_part_is_not_overtaken_and_does_not_make_the_part_younger() -> None:
    order = ReceiptOrder()
    order.note((1, 1), 10)
    assert not order.note((1, 1), 30)
    order.note((1, 3), 40)
    assert order.note((1, 2), 45)
    assert order.not_before_ns((1, 2)) == 10


def test_an_overtaken_frame_without_an_earlier_part_of_its_epoch_has_no_bound() -> None:
    order = ReceiptOrder()
    order.note((1, 7), 10)
    order.note((2, 2), 20)
    assert order.note((2, 1), 30)
    assert order.not_before_ns((2, 1)) is None


def test_an_overtaken_frame_is_captured_in_order_only_if_the_same_clock_says_so() -> None:
    order, now = ReceiptOrder(), datetime(2025, 3, 1, tzinfo=UTC)
    order.note((1, 1), 10, now)
    order.note((1, 3), 30, now + timedelta(seconds=2))
    assert order.note((1, 2), 40, now + timedelta(seconds=1))
    assert order.is_captured_in_order(now + timedelta(seconds=1))
    assert not order.is_captured_in_order(now + timedelta(seconds=2)), "no part is taken when a later one is"
    order.note((1, 4), 50)
    assert not order.is_captured_in_order(now), "the later frame has no time"


def test_the_memory_of_frames_is_bounded() -> None:
    order = ReceiptOrder()
    for count in range(2 * REMEMBERED_FRAMES):
        order.note((1, count), count)
    assert order.not_before_ns((1, REMEMBERED_FRAMES)) is None
    assert order.not_before_ns((1, REMEMBERED_FRAMES + 1)) == REMEMBERED_FRAMES
