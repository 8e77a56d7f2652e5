"""Resumable downloads: a file arrives complete or not at all, and one that has not changed is not sent again.

Next to the target are `NAME.part` and `NAME.part.json` (an unfinished download, and which version of the file it is)
and `NAME.http.json` (which version the target is).
"""

import errno
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path

import httpx2

from riskmodel.errors import SourceUnavailable, VigieError
from riskmodel.home import atomic_write, sync
from riskmodel.sources.client import Client
from riskmodel.sources.responses import TransientFailure, check_size, http_date, refuse_web_page


@dataclass(frozen=True)
class DownloadedFile:
    """A file on disk: whether it differs from the one before, and when the provider changed it last (UTC)."""

    path: Path
    changed: bool
    last_modified: datetime | None


@dataclass(frozen=True)
class _Version:
    """Which version of a URL's content a file on disk is, in the provider's words."""

    url: str
    etag: str | None
    last_modified: str | None
    size: int

    @property
    def validator(self) -> str | None:
        """What identifies this version byte by byte. A weak ETag does not."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified


def download(
    client: Client,
    url: str,
    target: Path,
    *,
    headers: Mapping[str, str] | None = None,
    limit: int,
    md5: str | None = None,
    size: int | None = None,
) -> DownloadedFile:
    """Fetch a file of at most `limit` bytes to `target`.

    An unfinished download of an earlier call is continued. If `md5` (hexadecimal) is given and the target has it,
    nothing is requested. `size` [bytes] is what the provider announced elsewhere. Raises SourceUnavailable as `Client`
    does, and VigieError if the file cannot be written.
    """
    if md5 and target.is_file() and _md5(target) == md5.lower():
        return DownloadedFile(target, False, None)
    attempt = _Attempt(client, httpx2.URL(url), target, headers or {}, limit, md5, size)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return client.retry(attempt.url, attempt)
    except OSError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES):
            raise
        raise VigieError(f"cannot write to {target.parent}: {failure.strerror}") from failure


class _Attempt:
    """One attempt at a download; calling it again continues where the last one stopped."""

    def __init__(
        self,
        client: Client,
        url: httpx2.URL,
        target: Path,
        headers: Mapping[str, str],
        limit: int,
        md5: str | None,
        size: int | None,
    ) -> None:
        self.url = url
        self._client, self._target, self._headers = client, target, headers
        self._limit, self._md5, self._size = limit, md5, size
        self._part = target.with_name(target.name + ".part")
        self._part_version = target.with_name(target.name + ".part.json")
        self._target_version = target.with_name(target.name + ".http.json")

    def __call__(self) -> DownloadedFile:
        present, unfinished = self._present(), self._unfinished()
        sent = {**self._headers, **_conditions(present, unfinished)}
        with self._client.open("GET", self.url, sent, None, expected=(304, 416)) as response:
            if response.status_code == 304 and present and not unfinished:
                return DownloadedFile(self._target, False, http_date(present.last_modified))
            start = unfinished.size if unfinished and response.status_code == 206 else 0
            self._check_range(response, start, unfinished)
            announced = response.headers.get("content-length", "")
            total = start + int(announced) if announced.isdecimal() else None
            version = self._version(response, total or 0)
            if not start:
                self._discard()
                self._part_version.write_text(json.dumps(asdict(version)), encoding="utf-8")
            try:
                done = self._write(response, start, total)
            except SourceUnavailable:
                self._discard()
                raise
        self._check_content(done)
        sync(self._part)
        self._part.replace(self._target)
        with atomic_write(self._target_version) as written:
            written.write_text(json.dumps(asdict(replace(version, size=done))), encoding="utf-8")
        self._part_version.unlink(missing_ok=True)
        return DownloadedFile(self._target, True, http_date(version.last_modified))

    def _present(self) -> _Version | None:
        """The version of the target, if it is known and the file has the size noted for it."""
        version = self._read_version(self._target_version)
        target = self._target
        return version if version and target.is_file() and target.stat().st_size == version.size else None

    def _unfinished(self) -> _Version | None:
        """The version and size of an unfinished download, if it can be continued."""
        version = self._read_version(self._part_version)
        size = self._part.stat().st_size if self._part.is_file() else 0
        return replace(version, size=size) if size and version and version.validator else None

    def _read_version(self, path: Path) -> _Version | None:
        try:
            version = _Version(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None
        return version if version.url == self._public_url() else None

    def _version(self, response: httpx2.Response, size: int) -> _Version:
        headers = response.headers
        return _Version(self._public_url(), headers.get("etag"), headers.get("last-modified"), size)

    def _public_url(self) -> str:
        """The URL without the parts that can contain a token: it is written to the disk."""
        return str(self.url.copy_with(query=None, userinfo=b""))

    def _check_range(self, response: httpx2.Response, start: int, unfinished: _Version | None) -> None:
        """Raise TransientFailure, and begin again, unless the body begins where the unfinished download ends."""
        other_version = unfinished and start and response.headers.get("etag", unfinished.etag) != unfinished.etag
        if response.status_code not in (200, 206) or _first_byte(response) != start or other_version:
            self._discard()
            raise TransientFailure(f"it cannot continue a download ({response.status_code})", wait=0)

    def _write(self, response: httpx2.Response, start: int, total: int | None) -> int:
        """Append the body to the part file; return how many bytes that file has."""
        done = start
        check_size(self.url, total or 0, self._limit)
        with self._part.open("ab") as file:
            for chunk in self._client.chunks(response, response.iter_raw()):
                if not done:
                    refuse_web_page(self.url, response, chunk[:64])
                done += len(chunk)
                check_size(self.url, done, self._limit)
                file.write(chunk)
                self._client.watch(self._target.name, done, total)
        return done

    def _check_content(self, done: int) -> None:
        """Raise TransientFailure, and discard the part file, unless it is what the provider announced."""
        if not done:
            reason = "it sent an empty file"
        elif self._size is not None and done != self._size:
            reason = f"it sent {done:,} bytes where {self._size:,} were announced"
        elif self._md5 and _md5(self._part) != self._md5.lower():
            reason = "what it sent does not have the md5 that it published"
        else:
            return
        self._discard()
        raise TransientFailure(reason)

    def _discard(self) -> None:
        self._part.unlink(missing_ok=True)
        self._part_version.unlink(missing_ok=True)


def _conditions(present: _Version | None, unfinished: _Version | None) -> dict[str, str]:
    """Return the headers that ask for the rest of an unfinished file, or for nothing if the present one is current."""
    # A compressed body would not have the byte positions that a range counts.
    headers = {"Accept-Encoding": "identity"}
    if unfinished:
        headers |= {"Range": f"bytes={unfinished.size}-", "If-Range": str(unfinished.validator)}
    elif present:
        headers |= {"If-None-Match": present.etag} if present.etag else {}
        headers |= {"If-Modified-Since": present.last_modified} if present.last_modified else {}
    return headers


def _first_byte(response: httpx2.Response) -> int | None:
    """Return where in the file a body begins; None for a part that does not say so."""
    if response.status_code != 206:
        return 0
    unit, _, rest = response.headers.get("content-range", "").partition(" ")
    first = rest.partition("-")[0]
    return int(first) if unit == "bytes" and first.isdecimal() else None


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
