"""Open a published file (plain, gzip or zip, by its first bytes), within limits, and digest its content."""

import codecs
import contextlib
import gzip
import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa

from riskmodel.errors import BadInput

LARGEST = 16 << 30
"""The largest uncompressed content that is read [bytes]."""

LARGEST_RATIO = 200
"""The largest ratio of uncompressed to compressed size that is read; it stops zip bombs. Tables reach 30."""

ALWAYS_READ = 64 << 20
"""Content of at most this size is read whatever its ratio [bytes]."""


_BLOCK = 1 << 20

_LONGEST_LETTER = 4
"""The most bytes that a letter has in UTF-8."""

_SPREADSHEETS = {"[Content_Types].xml", "mimetype"}
"""Names that stand in the zip of an .xlsx and an .ods file."""


class DigestingStream(io.RawIOBase):
    """A stream that computes the SHA-256 of what has been read. Raises BadInput if it has more than `limit` bytes."""

    def __init__(self, path: Path, source: IO[bytes] | gzip.GzipFile, limit: int) -> None:
        self._path, self._source, self._limit = path, source, limit
        self.size = 0
        self.last_byte = b""
        self._digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._source.read(len(buffer))
        self.last_byte = data[-1:] or self.last_byte
        self.size += len(data)
        check_size(self._path, self.size, self._limit)
        buffer[: len(data)] = data
        self._digest.update(data)
        return len(data)

    def sha256(self) -> str:
        """Return the digest so far, as hexadecimal digits."""
        return self._digest.hexdigest()


class Utf8Stream(io.RawIOBase):
    """The text of a stream as UTF-8. What is no letter of its encoding becomes U+FFFD: then `replaced` is true."""

    def __init__(self, source: DigestingStream, encoding: str) -> None:
        self.replaced = False
        self._source, self._is_utf8 = source, encoding == "utf-8"
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._carried = self._ready = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        if self._is_utf8 and not self._ready:
            return self._read_utf8(view)
        while not self._ready:
            block = self._source.read(_BLOCK) or b""
            self._ready = self._decoded(block, final=not block)
            if not block:
                break
        return self._serve(view)

    def _read_utf8(self, view: memoryview) -> int:
        """Read letters and check them in place, without a copy: nearly all files are UTF-8."""
        size = len(self._carried)
        view[:size] = self._carried
        read = self._source.readinto(view[size:])
        size += read
        tail = _last_letter(view[max(0, size - _LONGEST_LETTER) : size]) if read else 0
        self._carried, size = bytes(view[size - tail : size]), size - tail
        if read and not size:
            return self.readinto(view)
        try:
            ends = pa.py_buffer(np.array([0, size], dtype=np.int32))
            pa.Array.from_buffers(pa.binary(), 1, [None, ends, pa.py_buffer(view[:size])]).cast(pa.string())
        except pa.ArrowInvalid:
            self._ready = self._decoded(bytes(view[:size]), final=True)
            return self._serve(view)
        return size

    def _serve(self, view: memoryview) -> int:
        part, self._ready = self._ready[: len(view)], self._ready[len(view) :]
        view[: len(part)] = part
        return len(part)

    def _decoded(self, block: bytes, *, final: bool) -> bytes:
        text = self._decoder.decode(block, final=final)
        self.replaced |= "\ufffd" in text
        return text.encode()


def _last_letter(end: memoryview) -> int:
    """Return how many bytes the last letter of UTF-8 has so far; 0 if it is of ASCII."""
    for length, byte in enumerate(reversed(end), start=1):
        if byte < 0x80:
            return length - 1
        if byte >= 0xC0:
            return length
    return 0


@contextlib.contextmanager
def opened(path: Path) -> Iterator[DigestingStream]:
    """Yield the uncompressed content of a file. Raises BadInput if it is missing, empty, cut off, broken or locked."""
    try:
        with contextlib.ExitStack() as stack:
            raw = stack.enter_context(path.open("rb"))
            magic = raw.read(4)
            raw.seek(0)
            content: IO[bytes] | gzip.GzipFile = raw
            if not magic:
                raise BadInput(f"{path}: the file is empty")
            if magic.startswith(b"\x1f\x8b"):
                content = stack.enter_context(gzip.open(raw))
            elif magic.startswith(b"PK\x03\x04"):
                content = _only_table(path, stack.enter_context(zipfile.ZipFile(raw)), stack)
            yield DigestingStream(path, content, LARGEST if content is raw else plausible(path))
    except FileNotFoundError:
        raise BadInput(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise BadInput(f"{path}: this is a folder, not a file") from None
    except PermissionError:
        raise BadInput(f"{path}: you have no right to read it") from None
    except EOFError:
        raise BadInput(f"{path}: the file is cut off: its compressed content ends too early") from None
    except (gzip.BadGzipFile, zipfile.BadZipFile, zlib.error) as broken:
        raise BadInput(f"{path}: the compressed file is broken: {broken}") from None


def plausible(path: Path) -> int:
    """Return the largest content that a compressed file can have and still be a table [bytes]."""
    return min(LARGEST, max(ALWAYS_READ, LARGEST_RATIO * path.stat().st_size))


def check_size(path: Path, size: int, limit: int) -> None:
    """Raise BadInput if content is larger than its limit [bytes]."""
    if size > limit:
        raise BadInput(f"{path}: it unpacks to far more than a table of its size does; it is not read further")


def _only_table(path: Path, zipped: zipfile.ZipFile, stack: contextlib.ExitStack) -> IO[bytes]:
    """Return the only CSV table in a zip."""
    if not _SPREADSHEETS.isdisjoint(zipped.namelist()):
        raise BadInput(f"{path}: this is a spreadsheet: save it as CSV, and take that in")
    tables = [name for name in zipped.namelist() if name.lower().endswith(".csv") and not name.startswith("__MACOSX/")]
    if len(tables) != 1:
        raise BadInput(f"{path}: a zip must contain one CSV table; this one contains {len(tables)}")
    if zipped.getinfo(tables[0]).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        # zipfile unpacks any other method without a limit on its memory.
        raise BadInput(f"{path}: the zip is packed by a method that Vigie does not read; use the usual one (deflate)")
    try:
        return stack.enter_context(zipped.open(tables[0]))
    except (RuntimeError, NotImplementedError) as locked:
        raise BadInput(f"{path}: the zip cannot be unpacked: {locked}") from None
