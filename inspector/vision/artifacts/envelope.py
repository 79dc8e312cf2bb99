"""An exported version as one file that carries its own digest: the artifact's bytes, then one line with their SHA-256.

    <the artifact, as the registry holds it>inspector-sha256:<64 hex digits>\n

The exported graphs that the version runs on may come between the two, with a line of their own:

    <the artifact><graphs>inspector-graphs:<bytes of the graphs, 12 digits>:<their SHA-256>\ninspector-sha256:...\n

The last line shows whether the file was damaged on its way, even where the file with the digest was left behind. It
does not prove where the artifact comes from: anyone who changes the artifact on purpose can write a new line. The
signature proves it, which stands with the graphs. Files that older versions exported have neither.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from inspector.domain import ExportedGraph, Signature
from inspector.errors import ArtifactError, UsageError
from inspector.files import NotOpened, open_regular
from inspector.vision.artifacts.checks import parse_finite

MOST_BYTES = 512 * 1024 * 1024
"""The largest file that is read, in bytes. A database may refuse a larger value."""

MOST_HEADER_BYTES = 64 * 1024 * 1024
"""The largest manifest with its table of tensors that is read."""

FORMAT = "inspector-artifact"
"""The key of the manifest in the bytes of an artifact."""

MOST_SIGNATURE_CHARS = 64 * 1024
"""The longest statement that is read; it names a product, an artifact and a few graphs."""

_LENGTH_BYTES = 8
_LABEL = b"inspector-sha256:"
_LINE = re.compile(rb"inspector-sha256:([0-9a-f]{64})\n\Z")
_LINE_BYTES = len(_LABEL) + 64 + 1
_GRAPHS_LABEL = b"inspector-graphs:"
_GRAPHS_LINE = re.compile(rb"inspector-graphs:([0-9]{12}):([0-9a-f]{64})\n\Z")
_GRAPHS_LINE_BYTES = len(_GRAPHS_LABEL) + 12 + 1 + 64 + 1
_GRAPHS_KEY = "graphs"
_SIGNATURE_KEY = "signature"


@dataclass(frozen=True, slots=True)
class Sealed:
    """An artifact read from an exported file.

    `artifact`: the bytes without the lines and the graphs. `file_sha256`: digest of the whole file. `is_sealed`:
    whether the file had the line. `graphs`: the exported graphs in it, not checked yet to be what they say, nor is the
    `signature`.
    """

    artifact: bytes
    artifact_sha256: str
    file_sha256: str
    is_sealed: bool
    graphs: tuple[ExportedGraph, ...] = ()
    signature: Signature | None = None

    def has_digest(self, expected: str) -> bool:
        """Whether `expected` is the digest of the file, as `sha256sum` prints it, or the registry's of the artifact."""
        return expected.lower() in (self.file_sha256, self.artifact_sha256)


def seal(artifact: bytes, graphs: Sequence[ExportedGraph] = (), signature: Signature | None = None) -> bytes:
    """The content of the file that an artifact is exported as: its bytes, its graphs, and the lines with the digests.

    Without graphs and signature it is a file that any earlier software reads too.
    """
    line = _LABEL + hashlib.sha256(artifact).hexdigest().encode("ascii") + b"\n"
    return artifact + (_packed(graphs, signature) if graphs or signature else b"") + line


def unseal(content: bytes) -> Sealed:
    """The artifact in a file, sealed or not.

    Raises ArtifactError where the bytes do not have the digest in the line.
    """
    found = _LINE.search(content, max(0, len(content) - _LINE_BYTES))
    artifact, packed = _parted(content if found is None else content[: found.start()])
    artifact_sha256 = hashlib.sha256(artifact).hexdigest()
    is_torn = found is None and _LABEL in content[-_LINE_BYTES:]
    if is_torn or (found is not None and found[1].decode("ascii") != artifact_sha256):
        raise ArtifactError("it was damaged on its way: its bytes do not have the SHA-256 that stands at its end.")
    file_sha256 = hashlib.sha256(content).hexdigest()
    graphs, signature = _unpacked(packed) if packed else ((), None)
    return Sealed(artifact, artifact_sha256, file_sha256, found is not None, graphs, signature)


def _packed(graphs: Sequence[ExportedGraph], signature: Signature | None) -> bytes:
    described: dict[str, Any] = {
        graph.key: {"described": graph.described, "exporter": graph.exporter, "versions": graph.versions}
        for graph in graphs
    }
    tensors = {graph.key: np.frombuffer(graph.content, np.uint8) for graph in graphs}
    if signature is not None:
        described[_SIGNATURE_KEY] = asdict(signature)  # no key of a graph, so that earlier software passes over it
    packed = save_tensors(tensors, {_GRAPHS_KEY: json.dumps(described, sort_keys=True, default=dict)})
    return packed + b"%b%012d:%b\n" % (_GRAPHS_LABEL, len(packed), hashlib.sha256(packed).hexdigest().encode())


def _parted(content: bytes) -> tuple[bytes, bytes]:
    """The artifact and the packed graphs behind it, which may be none. Raises ArtifactError for damaged graphs."""
    found = _GRAPHS_LINE.search(content, max(0, len(content) - _GRAPHS_LINE_BYTES))
    if found is None:
        return content, b""
    start = found.start() - int(found[1])
    packed = content[max(0, start) : found.start()]
    if start < 0 or hashlib.sha256(packed).hexdigest() != found[2].decode("ascii"):
        raise ArtifactError("it was damaged on its way: its graphs do not have the SHA-256 that stands behind them.")
    return content[:start], packed


def _unpacked(packed: bytes) -> tuple[tuple[ExportedGraph, ...], Signature | None]:
    try:
        length = int.from_bytes(packed[:8], "little")
        described = parse_finite(json.loads(packed[8 : 8 + length])["__metadata__"][_GRAPHS_KEY])
        graphs = tuple(
            ExportedGraph(
                str(key),
                array.tobytes(),
                dict(described[key]["described"]),
                _counted(described[key]["exporter"]),
                {str(name): str(version) for name, version in described[key]["versions"].items()},
            )
            for key, array in load_tensors(packed).items()
        )
        return graphs, _signature_in(described.get(_SIGNATURE_KEY))
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
        raise ArtifactError("its graphs can't be read; export it again.") from error


def _signature_in(stored: object) -> Signature | None:
    """Raises TypeError or ValueError where something else stands in the place of a signature."""
    if stored is None:
        return None
    if not isinstance(stored, dict) or set(stored) != {each.name for each in fields(Signature)}:
        raise ValueError("a signature has other members")
    if not all(isinstance(each, str) and len(each) <= MOST_SIGNATURE_CHARS for each in stored.values()):
        raise ValueError("a signature is text")
    return Signature(**stored)


def _counted(stored: object) -> int:
    """The number of an exporter. Raises ValueError for what is none."""
    if type(stored) is not int or not 0 <= stored < 2**31:
        raise ValueError("the exporter has no number")
    return stored


def read_bounded(path: Path, most_bytes: int = MOST_BYTES) -> bytes:
    """The content of a regular file.

    Raises UsageError, before a byte is read, where the path is not a regular file or has more than `most_bytes`.
    """
    with _opened(path, most_bytes) as file:
        return file.read(most_bytes)


def read_artifact_file(path: Path) -> bytes:
    """The content of a file that begins as an artifact does; of any other file no more than the beginning is read.

    Raises UsageError as `read_bounded`, ArtifactError for another beginning.
    """
    with _opened(path, MOST_BYTES) as file:
        beginning = file.read(_LENGTH_BYTES)
        length = int.from_bytes(beginning, "little")
        if len(beginning) < _LENGTH_BYTES or length > MOST_HEADER_BYTES:
            raise ArtifactError("The bytes are no artifact of this software.")
        beginning += file.read(length)
        if FORMAT.encode() not in beginning:
            raise ArtifactError("The bytes are no artifact of this software.")
        return beginning + file.read(MOST_BYTES - len(beginning))


@contextlib.contextmanager
def _opened(path: Path, most_bytes: int) -> Iterator[IO[bytes]]:
    """A regular file of at most so many bytes. Raises UsageError, also where reading it fails."""
    try:
        with open_regular(path, follows_links=True) as file:  # a person names it
            size_bytes = os.fstat(file.fileno()).st_size
            if size_bytes > most_bytes:
                raise UsageError(
                    f"{path} has {size_bytes / 2**20:.0f} MiB; an exported version has at most {most_bytes >> 20}."
                )
            yield file
    except NotOpened as error:
        if error.kind == "folder":
            raise UsageError(f"{path} is a folder; name the file that `inspector products export` wrote.") from error
        raise UsageError(f"{path} is no file but a {error.kind}.") from error
    except OSError as error:
        raise UsageError(f"{path} can't be read ({error.strerror}).") from error
