"""Damage on purpose: bytes, images, text and JSON, changed at random but the same for the same generator.

Each mutator takes a generator and one good input and gives a bad, odd or still good one. Those that know a
format mend its lengths and checksums afterwards, so that the damage gets past the first check.
"""

from __future__ import annotations

import json
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any

Mutator = Callable[[random.Random, bytes], bytes]

_EDGES = (0, 1, 2, 0x7F, 0x80, 0xFF)
_WIDE_EDGES = (0, 1, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
_TEXTS = (
    "", " ", "0", "-1", "1e999", "NaN", "18446744073709551616", "9" * 5000, "x" * 1025, "a" * 129, "\x00", "\x1b[2J",
    "\u202e", "é" * 600, "😀", "../../etc", "%s%n", "a\nb", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59",
    "2026-03-01T12:00:00Z", "2026-02-30T12:00:00Z", "true", "x-property-fault", "trigger-id", "image",
)  # fmt: skip
_NUMBERS = (0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, 10**400, 0.0, -0.0, 1e308, 1e-320, float("inf"))


def any_text(rng: random.Random) -> str:
    """A text that has broken parsers before, or a random short one."""
    if rng.random() < 0.7:
        return rng.choice(_TEXTS)
    return "".join(chr(rng.choice((rng.randrange(32, 127), rng.randrange(0xD7FF)))) for _ in range(rng.randrange(12)))


def mutate_bytes(rng: random.Random, data: bytes) -> bytes:
    """One to eight small changes anywhere: bits, edge values, stretches removed, doubled, moved, the end cut off."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at = rng.randrange(len(out) + 1)
        length = min(rng.choice((1, 2, 4, 16, 64, 512)), len(out) - at)
        match rng.randrange(8):
            case 0 if at < len(out):
                out[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(out):
                out[at] = rng.choice(_EDGES)
            case 2:
                width = rng.choice((2, 4))
                value = rng.choice(_WIDE_EDGES) & (256**width - 1)
                out[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))
            case 3:
                del out[at : at + length]
            case 4:
                out[at:at] = out[at : at + length] * rng.choice((1, 1, 2, 40))
            case 5:
                out[at:at] = rng.randbytes(rng.choice((1, 4, 32)))
            case 6 if rng.random() < 0.3:
                del out[at:]
            case _:
                start = rng.randrange(len(out) + 1)
                out[at : at + length] = out[start : start + length]
    return bytes(out)


# ---------------------------------------------------------------- PNG


def png_chunk(name: bytes, body: bytes) -> bytes:
    """The chunk with its length and checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def mutate_png(rng: random.Random, data: bytes) -> bytes:
    """Chunks, header fields, palette or scan lines changed, with every checksum right again; or plain damage."""
    if rng.random() < 0.25:
        return mutate_bytes(rng, data)
    chunks = _png_chunks(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change_png(rng, chunks)
    whole = data[:8] + b"".join(png_chunk(name, body) for name, body in chunks)
    return whole[: rng.randrange(len(whole) + 1)] if rng.random() < 0.05 else whole


def _png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks


def _change_png(rng: random.Random, chunks: list[tuple[bytes, bytes]]) -> None:
    if not chunks:
        return
    at = rng.randrange(len(chunks))
    name, body = chunks[at]
    match rng.randrange(9):
        case 0:
            chunks[0] = (chunks[0][0], _other_png_header(rng, chunks[0][1]))
        case 1:
            del chunks[at]
        case 2:
            chunks[at:at] = [chunks[at]] * rng.choice((1, 2, 200))
        case 3:
            other = rng.randrange(len(chunks))
            chunks[at], chunks[other] = chunks[other], chunks[at]
        case 4:
            odd = rng.choice((b"iCCP", b"zTXt", b"tRNS", b"gAMA", b"eXIf", b"acTL", b"fdAT", b"PLTE", b"ABCD", b"cHRM"))
            inner = (
                b"name\0\0" + zlib.compress(bytes(rng.choice((9, 5000)))) if rng.random() < 0.5 else rng.randbytes(9)
            )
            chunks.insert(at, (odd, inner))
        case 5 if name == b"IDAT":
            chunks[at] = (name, _other_scan_lines(rng, body))
        case 6 if name == b"IDAT" and len(body) > 2:
            size = rng.choice((1, 7, 100))
            chunks[at : at + 1] = [(name, body[start : start + size]) for start in range(0, min(len(body), 300), size)]
        case 7 if name == b"PLTE":
            chunks[at] = (name, body[: 3 * rng.randrange(len(body) // 3 + 1)])
        case _:
            chunks[at] = (name, mutate_bytes(rng, body))


def _other_png_header(rng: random.Random, body: bytes) -> bytes:
    fields = list(struct.unpack(">IIBBBBB", body.ljust(13, b"\0")[:13]))
    which = rng.randrange(7)
    if which < 2:
        fields[which] = rng.choice((*_WIDE_EDGES, 30, 31, 29, 4000, 32767, 32768))
    else:
        fields[which] = rng.choice((0, 1, 2, 3, 4, 6, 8, 16, 255))
    return struct.pack(">IIBBBBB", *fields)


def _other_scan_lines(rng: random.Random, body: bytes) -> bytes:
    try:
        raw = zlib.decompress(body)
    except zlib.error:
        return mutate_bytes(rng, body)
    kind = rng.randrange(4)
    if kind == 0:
        raw = raw[: rng.randrange(len(raw) + 1)]
    elif kind == 1:
        raw += bytes(rng.choice((1, 100, 1_000_000)))
    else:
        raw = mutate_bytes(rng, raw)
    return zlib.compress(raw, rng.choice((0, 1, 9)))


# ---------------------------------------------------------------- JPEG


def mutate_jpeg(rng: random.Random, data: bytes) -> bytes:
    """Segments changed, with their lengths right again; or plain damage, mostly behind the headers."""
    if rng.random() < 0.4:
        return mutate_bytes(rng, data)
    parts = _jpeg_parts(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change_jpeg(rng, parts)
    return b"\xff\xd8" + b"".join(parts)


def _jpeg_parts(data: bytes) -> list[bytes]:
    """Segments from their marker to the next; a scan with its entropy-coded data."""
    parts, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            while end + 1 < len(data) and not (data[end] == 0xFF and data[end + 1] not in (0, *range(0xD0, 0xD8))):
                end += 1
        parts.append(data[at:end])
        at = end
    return [*parts, data[at:]]


def _change_jpeg(rng: random.Random, parts: list[bytes]) -> None:
    if not parts:
        return
    at = rng.randrange(len(parts))
    part = parts[at]
    match rng.randrange(7):
        case 0:
            del parts[at]
        case 1:
            parts[at:at] = [part] * rng.choice((1, 2, 40))
        case 2:
            other = rng.randrange(len(parts))
            parts[at], parts[other] = parts[other], part
        case 3 if len(part) > 9 and part[1] in (0xC0, 0xC1, 0xC2):
            field, width = rng.choice(((5, 2), (7, 2), (4, 1), (9, 1)))
            value = rng.choice((*_WIDE_EDGES, 3, 4, 8, 16, 4000)) & (256**width - 1)
            parts[at] = part[:field] + value.to_bytes(width, "big") + part[field + width :]
        case 4:
            marker = rng.choice((0xFE, 0xE0, 0xE1, 0xEE, 0xDB, 0xC4, 0xDD, 0xDC, 0xDA, 0xC0, 0xC2))
            body = rng.randbytes(rng.choice((0, 2, 6, 64)))
            parts.insert(at, bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body)
        case 5 if len(part) > 4:
            body = mutate_bytes(rng, part[4:])[:60_000]
            parts[at] = part[:2] + struct.pack(">H", len(body) + 2) + body
        case _:
            parts[at] = mutate_bytes(rng, part)


# ---------------------------------------------------------------- text, JSON


def mutate_text(rng: random.Random, data: bytes) -> bytes:
    """Lines moved, doubled or removed, words replaced by odd ones; or plain damage."""
    if rng.random() < 0.3:
        return mutate_bytes(rng, data)
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            del lines[at]
        case 1:
            lines.insert(rng.randrange(len(lines) + 1), lines[at])
        case 2:
            lines[at] = lines[at] * rng.choice((2, 300))
        case 3:
            lines[at] = rng.choice((b"[", b"{", b'"', b"a.", b"=", b"[[")) * rng.choice((1, 40, 1500)) + lines[at]
        case _:
            key, sign, value = lines[at].partition(b"=")
            odd = json.dumps(_any_value(rng, 0), ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
            lines[at] = key + sign + b" " + odd if sign else odd + value
    return b"\n".join(lines)


def mutate_json(rng: random.Random, data: bytes) -> bytes:
    """Values, keys and nesting of a JSON document changed; or its text damaged."""
    kind = rng.random()
    if kind < 0.3:
        return mutate_bytes(rng, data)
    if kind < 0.35:
        depth = rng.choice((10, 1000, 100_000))
        return rng.choice((b"[", b'{"a":')) * depth + data
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(rng, data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        tree = change_value(rng, tree)
    return json.dumps(tree, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")


def change_value(rng: random.Random, tree: Any) -> Any:
    """The tree with one place of it changed."""
    if isinstance(tree, dict) and tree and rng.random() < 0.95:
        key = rng.choice(list(tree))
        if rng.random() < 0.15:
            return {name: value for name, value in tree.items() if name != key}
        if rng.random() < 0.1:
            return {**tree, any_text(rng): tree[key]}
        return {**tree, key: change_value(rng, tree[key])}
    if isinstance(tree, list) and tree and rng.random() < 0.8:
        at = rng.randrange(len(tree))
        if rng.random() < 0.2:
            return tree[:at] + tree[at + 1 :] if rng.random() < 0.5 else tree + [tree[at]] * rng.choice((1, 50))
        return [*tree[:at], change_value(rng, tree[at]), *tree[at + 1 :]]
    return _any_value(rng, 0)


def _any_value(rng: random.Random, depth: int) -> Any:
    match rng.randrange(8 if depth < 3 else 5):
        case 0:
            return rng.choice((None, True, False))
        case 1:
            return rng.choice(_NUMBERS)
        case 2:
            return rng.randrange(-300, 70_000) / rng.choice((1, 1, 7))
        case 3 | 4:
            return any_text(rng)
        case 5:
            return [_any_value(rng, depth + 1) for _ in range(rng.randrange(4))]
        case 6:
            return {any_text(rng): _any_value(rng, depth + 1) for _ in range(rng.randrange(4))}
        case _:
            return float("nan")
