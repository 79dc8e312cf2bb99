"""When a shadow version may score, and how many frames wait for it."""

from __future__ import annotations

from inspector.stream.shadow_line import REMEMBERED_FRAMES, SPARE_PASSES, Headroom, ShadowLine


def test_allows_without_any_deadline_is_always_so() -> None:
    assert Headroom().allows(10**12)


def test_allows_by_the_smallest_time_to_spare_not_by_the_last() -> None:
    headroom = Headroom()
    for spare_ns in (1000, 100, 1000):
        headroom.note(spare_ns)
    assert headroom.allows(100 // SPARE_PASSES)
    assert not headroom.allows(100 // SPARE_PASSES + 1)


def test_allows_nothing_after_a_late_frame_until_it_is_forgotten() -> None:
    headroom = Headroom()
    headroom.note(-1)
    assert not headroom.allows(1)
    for _ in range(REMEMBERED_FRAMES):
        assert not headroom.allows(1)
        headroom.note(1000)
    assert headroom.allows(1)


def test_put_beyond_the_bound_leaves_the_new_frame_out() -> None:
    line: ShadowLine[str] = ShadowLine(most_frames=2, most_bytes=100)
    assert [line.put(name, 10) for name in ("a", "b", "c")] == [True, True, False]
    assert [line.take(), line.take(), line.take()] == ["a", "b", None]
    assert line.put("d", 10)


def test_put_counts_bytes_and_gives_them_back() -> None:
    line: ShadowLine[str] = ShadowLine(most_frames=9, most_bytes=100)
    assert [line.put("a", 60), line.put("b", 60)] == [True, False]
    assert line.take() == "a"
    assert line.put("b", 60)
    assert len(line) == 1
