"""Segment files: whatever is cut off or overwritten, every whole record is still read, in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inspector.store.journal.segments import MARK, framed, scan

PAYLOADS = st.lists(st.one_of(st.binary(max_size=40), st.just(MARK), st.just(framed(b"inner"))), max_size=8)


def payloads(content: bytes) -> list[bytes]:
    return [record.payload for record in scan(content).records]


@given(PAYLOADS)
def test_scan_of_whole_records_gives_their_payloads(written: list[bytes]) -> None:
    content = b"".join(map(framed, written))
    found = scan(content)
    assert [record.payload for record in found.records] == written
    assert found.gaps == []
    assert found.end == len(content)


@given(PAYLOADS, st.data())
def test_scan_of_a_file_cut_anywhere_gives_every_record_before_the_cut(
    written: list[bytes], data: st.DataObject
) -> None:
    content = b"".join(map(framed, written))
    cut = data.draw(st.integers(0, len(content)))
    whole, end = [], 0
    for payload in written:
        if end + len(framed(payload)) > cut:
            break
        whole.append(payload)
        end += len(framed(payload))
    found = scan(content[:cut])
    # A record inside the payload of a torn one may come to light: never in the agent's JSON, where no mark can stand.
    if MARK not in content[end + 4 : cut]:
        assert [record.payload for record in found.records] == whole
        assert found.end == end


@given(st.lists(st.text(max_size=30).map(str.encode), min_size=3, max_size=6), st.data())
def test_scan_of_a_record_overwritten_gives_those_before_and_behind(written: list[bytes], data: st.DataObject) -> None:
    hurt = data.draw(st.integers(0, len(written) - 2))
    records = [framed(payload) for payload in written]
    records[hurt] = b"\x00" * len(records[hurt])
    content = b"".join(records)
    assert payloads(content) == written[:hurt] + written[hurt + 1 :]
    start = sum(map(len, records[:hurt]))
    assert scan(content).gaps == [(start, start + len(records[hurt]))]


@given(st.binary(max_size=300))
def test_scan_of_anything_never_raises(content: bytes) -> None:
    assert scan(content).end <= len(content)
