"""Clients that wait for changes of a running web server, and how soon each change reaches all of them.

Run `python benchmarks/waiting.py PORT`: it opens streams and long polls, prints `waiting` once all of them wait, and
then a line for each new snapshot: when the last client and the median client had it, on the monotonic clock [s].
`benchmarks/serve.py` starts it and issues the snapshots.
"""

import argparse
import asyncio
import json
import re
import resource
import statistics
import time
from collections import defaultdict

HEAD = "HTTP/1.1\r\nHost: localhost\r\n"
SNAPSHOT = re.compile(rb'"snapshot_id":(\d+)')


class Arrivals:
    """When each client has received each snapshot."""

    def __init__(self, clients: int) -> None:
        self._clients, self._received = clients, defaultdict[int, list[float]](list)

    def add(self, number: int) -> None:
        """Note that a client has received a snapshot."""
        times = self._received[number]
        times.append(time.monotonic())
        if len(times) == self._clients:
            line = {"snapshot_id": number, "last": max(times), "median": statistics.median(times)}
            print(json.dumps(line), flush=True)


async def stream(port: int, cursor: str, arrivals: Arrivals, ready: asyncio.Event) -> None:
    """Receive a stream; open it again where it ends, with its last id."""
    while True:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"GET /v1/stream {HEAD}Last-Event-ID: {cursor}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        ready.set()
        try:
            while line := await reader.readline():
                if line.startswith(b"id: "):
                    cursor = line[4:].decode().strip()
                elif line.startswith(b"data: ") and b'"kind":"snapshot"' in line:
                    arrivals.add(int(SNAPSHOT.findall(line)[0]))
        except OSError:
            pass
        writer.close()


async def long_poll(port: int, cursor: str, arrivals: Arrivals, ready: asyncio.Event) -> None:
    """Ask for changes again and again on one connection, each time waiting for them."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while True:
        writer.write(f"GET /v1/changes?since={cursor} {HEAD}Prefer: wait=30\r\n\r\n".encode())
        ready.set()
        head = await reader.readuntil(b"\r\n\r\n")
        (length,) = re.findall(rb"content-length: (\d+)", head, re.IGNORECASE)
        payload = json.loads(await reader.readexactly(int(length)))
        cursor = payload["next"]
        for change in payload["data"]:
            if change["kind"] == "snapshot":
                arrivals.add(change["snapshot_id"])


async def newest_cursor(port: int) -> str:
    """Return the cursor after all changes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/changes {HEAD}Connection: close\r\n\r\n".encode())
    body = (await reader.read()).partition(b"\r\n\r\n")[2]
    writer.close()
    return str(json.loads(body)["next"])


async def wait(port: int, streams: int, polls: int) -> None:
    """Wait with so many clients of each kind, until the process is ended."""
    cursor, arrivals, clients = await newest_cursor(port), Arrivals(streams + polls), []
    for kind, count in ((stream, streams), (long_poll, polls)):
        for _ in range(count):
            ready = asyncio.Event()
            clients.append(asyncio.create_task(kind(port, cursor, arrivals, ready)))
            if len(clients) % 50 == 0:
                await ready.wait()
    await asyncio.sleep(2)
    print("waiting", flush=True)
    await asyncio.gather(*clients)


def main() -> None:
    """Wait for changes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="the port of the web server on this machine")
    parser.add_argument("--streams", type=int, default=2000, help="how many clients of /v1/stream")
    parser.add_argument("--polls", type=int, default=2000, help="how many long polls of /v1/changes")
    arguments = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 20_000), hard))
    asyncio.run(wait(arguments.port, arguments.streams, arguments.polls))


if __name__ == "__main__":
    main()
