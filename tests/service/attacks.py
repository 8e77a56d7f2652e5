"""Hostile clients. Run as a program, it attacks a server in one way until it is ended.

`attacks.py URL KIND COUNT SOURCE KEY`: with so many connections from this address, and with an API key.
"""

import asyncio
import contextlib
import itertools
import ssl
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

END = "Host: localhost\r\n\r\n"
LANGUAGES = "fr-ML;q=0.5," * 2_600
"""31 kB of an `Accept-Language` header."""

Attack = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]


async def one_cheap_request_each_14_s(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: int) -> None:
    """Keep a connection with hardly any work."""
    while True:
        writer.write(f"GET /healthz HTTP/1.1\r\n{END}".encode())
        await until_closed(reader, 14)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _: int) -> None:
    """Send a header that never ends."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
    for number in itertools.count():
        writer.write(f"X-{number}: 1\r\n".encode())
        await until_closed(reader, 2)


async def pipeline(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: int) -> None:
    """Send requests and never read a response."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    while True:
        writer.write(f"GET / HTTP/1.1\r\n{END}".encode() * 20)
        await writer.drain()
        await asyncio.sleep(0.2)


async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """Wait for changes, with an empty body."""
    body = ("Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")[number % 2]
    target = ("/v1/stream", "/v1/changes")[number // 2 % 2]
    writer.write(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nPrefer: wait=30\r\n{body}".encode())
    await until_closed(reader, 20)


async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """Open a stream and leave it."""
    writer.write(f"GET /v1/stream HTTP/1.1\r\n{END}".encode())
    await until_closed(reader, 0.1 * (number % 10))


async def read_no_stream(_: asyncio.StreamReader, writer: asyncio.StreamWriter, __: int) -> None:
    """Open a stream of all changes and read nothing of it."""
    writer.transport.pause_reading()  # type: ignore[attr-defined]
    writer.write(f"GET /v1/stream?since=start HTTP/1.1\r\n{END}".encode())
    await asyncio.sleep(60)


async def long_languages(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """Send 31 kB of languages, each time others."""
    for round_ in itertools.count():
        writer.write(f"GET / HTTP/1.1\r\nAccept-Language: {LANGUAGES}x{number}x{round_}\r\n{END}".encode())
        await until_closed(reader, 1)


async def unique_queries(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """Request the same resources with ever other queries: ignored, valid and unknown ones."""
    for round_ in itertools.count():
        unique = 1_000_000 * number + round_
        target = (f"/?utm_source={unique}", f"/v1/runs?cursor={unique}", f"/?x={unique}")[round_ % 3]
        writer.write(f"GET {target} HTTP/1.1\r\n{END}".encode())
        await until_closed(reader, 0.05)


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """Send what is no request, and half a request."""
    raw = [
        b"\x16\x03\x01\x02\x00\x01\x00\xff",
        b"\0" * 300,
        b"GET / HTTP/9.9\r\n\r\n",
        b"FOO!$ / HTTP/1.1\r\n" + END.encode(),
    ]
    raw += [b"POST /v1/whatif HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: localhost\r\n\r\nzz\r\n", b"GET / HT"]
    writer.write(raw[number % len(raw)])
    await until_closed(reader, 1)


async def nested(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """Send a body of 60,000 brackets, in part without a key."""
    key = f"Authorization: Bearer {KEY}\r\n" if number % 2 else ""
    head = f"POST /v1/whatif HTTP/1.1\r\n{key}Content-Type: application/json\r\nContent-Length: 60000\r\n{END}"
    writer.write(head.encode() + b"[" * 60_000)
    await until_closed(reader, 1)


async def write_bodies(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
    """Ask for computations with a key."""
    key = f"Authorization: Bearer {KEY}\r\n"
    body = b'{"location_code":"MLI"}'
    head = f"POST /v1/whatif HTTP/1.1\r\n{key}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n{END}"
    writer.write(head.encode() + body)
    await until_closed(reader, 10)


KINDS: dict[str, Attack] = {
    kind.__name__: kind
    for kind in (
        one_cheap_request_each_14_s,
        drip,
        pipeline,
        wait,
        leave,
        read_no_stream,
        long_languages,
        unique_queries,
        garbage,
        nested,
        write_bodies,
    )
}
KEY = ""


async def until_closed(reader: asyncio.StreamReader, seconds: float) -> None:
    """Read what comes for some time. Raises ConnectionError once the server has closed the connection."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while await reader.read(65_536):
                pass
            raise ConnectionResetError


async def attack(url: str, kind: Attack, count: int, source: str) -> None:
    """Attack with so many connections. Those that the server closes are opened again."""
    parts = urlsplit(url)
    tls = ssl.create_default_context() if parts.scheme == "https" else None
    if tls:
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE

    async def one(number: int) -> None:
        await asyncio.sleep(number / 2_000)
        while True:
            writer = None
            try:
                reader, writer = await asyncio.open_connection(
                    parts.hostname, parts.port, ssl=tls, local_addr=(source, 0)
                )
                await kind(reader, writer, number)
            except OSError:
                await asyncio.sleep(0.5)
            finally:
                if writer:
                    writer.transport.abort()

    await asyncio.gather(*(one(number) for number in range(count)))


@contextmanager
def attacking(url: str, kind: str, count: int, source: str = "127.0.0.1", key: str = "") -> Iterator[None]:
    """An attack by another process as long as the block lasts."""
    line = [sys.executable, str(Path(__file__)), url, kind, str(count), source, key]
    process = subprocess.Popen(line, stderr=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, "the attack has ended"
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    KEY = sys.argv[5]
    asyncio.run(attack(sys.argv[1], KINDS[sys.argv[2]], int(sys.argv[3]), sys.argv[4]))
