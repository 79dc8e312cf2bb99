"""Every position is released exactly once, in the order it was opened, after all before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inspector.domain import Position
from inspector.stream.watermark import Watermark


def at(offset: int, stream: str = "s", generation: int = 1) -> Position:
    return Position(stream, generation, offset)


def test_finish_out_of_order_holds_back_until_the_oldest_is_done() -> None:
    mark: Watermark[str] = Watermark()
    for offset in (3, 5, 9):
        mark.open(at(offset))
    assert mark.finish(at(9), "c") == []
    assert mark.finish(at(3), "a")[0].value == "a"
    assert [r.position.offset for r in mark.finish(at(5), "b")] == [5, 9]
    assert mark.open_count == 0


def test_finish_in_another_generation_is_independent() -> None:
    mark: Watermark[int] = Watermark()
    mark.open(at(1))
    mark.open(at(1, generation=2))
    assert [r.position.generation for r in mark.finish(at(1, generation=2), 0)] == [2]
    assert mark.open_count == 1


def test_finish_twice_raises() -> None:
    mark: Watermark[int] = Watermark()
    mark.open(at(1))
    mark.open(at(2))
    mark.finish(at(2), 0)
    with pytest.raises(KeyError):
        mark.finish(at(2), 0)


def test_open_twice_raises() -> None:
    mark: Watermark[int] = Watermark()
    mark.open(at(1))
    with pytest.raises(ValueError, match="open already"):
        mark.open(at(1))


@given(st.data())
def test_watermark_releases_each_once_in_order_of_opening(data: st.DataObject) -> None:
    mark: Watermark[Position] = Watermark()
    todo: list[Position] = []
    opened: dict[tuple[str, int], list[Position]] = {}
    released: dict[tuple[str, int], list[Position]] = {}
    finished: set[Position] = set()
    next_offset = 0
    for _ in range(data.draw(st.integers(0, 60))):
        if todo and data.draw(st.booleans()):
            position = todo.pop(data.draw(st.integers(0, len(todo) - 1)))
            finished.add(position)
            for each in mark.finish(position, position):
                assert each.value == each.position
                released.setdefault((each.position.stream, each.position.generation), []).append(each.position)
        else:
            next_offset += data.draw(st.integers(1, 3))
            stream, generation = data.draw(st.sampled_from("ab")), data.draw(st.integers(1, 2))
            position = at(next_offset, stream, generation)
            mark.open(position)
            todo.append(position)
            opened.setdefault((stream, generation), []).append(position)
    for key, line in opened.items():
        out = released.get(key, [])
        assert out == line[: len(out)], "the released ones are a prefix of what was opened"
        assert set(out) <= finished
        assert len(out) == len(line) or line[len(out)] not in finished, "and the longest finished one"
