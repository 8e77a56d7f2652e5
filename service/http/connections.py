"""The open connections of a worker: one address cannot take all of them, and no client can leave a response unread.

No web server that runs Vigie limits the connections of one address. So the worker looks at the sockets of its own
process, and ends those that an address has beyond its limit, also those on which no request has come yet.
"""

import asyncio
import contextlib
import logging
import os
import socket
import stat
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from service.http.gate import Gate
from service.settings import Limits

CHECK_EVERY = 0.25
"""How often the connections are counted [s]. Under attack it is more often."""

NEARLY_FULL = 0.9
"""Share of all connections from which on each is closed after its response."""

UNREAD_SECONDS = 20
"""How long a client may read nothing of a response that waits for it [s]. The kernel ends the connection then."""

SEND_BUFFER = 256 * 1024
"""How much of its responses the kernel holds for a client [bytes]. Linux doubles it, and would allow 4 MB by itself."""

DESCRIPTORS = "/dev/fd"

log = logging.getLogger("vigie.web")


class Connections:
    """The connections of this process that clients have opened. The gate learns when they are nearly all."""

    def __init__(self, limits: Limits, gate: Gate) -> None:
        self._each = min(limits.connections_per_address, max(1, limits.connections // 2))
        self._full = NEARLY_FULL * limits.connections
        self._gate = gate
        self._ports: set[int] = set()
        # By inode, which the system does not reuse as it does descriptors; the oldest connection comes first.
        self._owners: dict[int, str | None] = {}
        self._others: set[int] = set()
        self._warned_at = 0.0

    async def watch(self) -> None:
        """Count until cancelled."""
        loop, thread = asyncio.get_running_loop(), ThreadPoolExecutor(1, thread_name_prefix="connections")
        while True:
            started = loop.time()
            try:
                ended = await loop.run_in_executor(thread, self.check)
            except Exception:
                ended = 0
                log.exception("the connections cannot be counted")
            # With thousands of connections, counting takes at most a twentieth of the time, and a fifth under attack.
            took = loop.time() - started
            await asyncio.sleep(4 * took if ended else max(CHECK_EVERY, 20 * took))

    def check(self) -> int:
        """Count the connections, and end those beyond the limit of their address: the newest ones. Return how many."""
        sockets = _open_sockets()
        self._owners = {inode: owner for inode, owner in self._owners.items() if inode in sockets}
        self._others &= sockets.keys()
        for inode, descriptor in sockets.items():
            if inode not in self._owners and inode not in self._others:
                with contextlib.suppress(OSError), _duplicate(descriptor, inode) as found:
                    self._add(inode, found)
        self._gate.nearly_full = len(self._owners) >= self._full
        count: Counter[str] = Counter()
        ended = 0
        for inode, owner in self._owners.items():
            if owner is None:
                continue
            count[owner] += 1
            if count[owner] > self._each:
                ended += 1
                with contextlib.suppress(OSError), _duplicate(sockets[inode], inode) as connection:
                    connection.shutdown(socket.SHUT_RDWR)
        if ended and time.monotonic() > self._warned_at + 60:
            self._warned_at = time.monotonic()
            log.warning("an address has more than %d connections; %d connections are ended", self._each, ended)
        return ended

    def _add(self, inode: int, found: socket.socket) -> None:
        """Note what a socket is. Raises OSError for one that is not connected, which is looked at again."""
        if found.family not in (socket.AF_INET, socket.AF_INET6):
            self._others.add(inode)
        elif found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            self._ports.add(found.getsockname()[1])
            self._others.add(inode)
            # Accepted connections inherit both.
            found.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
                found.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * UNREAD_SECONDS)
        elif self._ports:
            address = found.getpeername()[0]
            if found.getsockname()[1] in self._ports:
                self._owners[inode] = self._gate.owner_of_connections(address)
            else:
                self._others.add(inode)  # opened by this process: to the database


def _open_sockets() -> dict[int, int]:
    """Return the descriptors of the open sockets of this process, by inode."""
    sockets, is_socket, fstat = {}, stat.S_ISSOCK, os.fstat
    for name in os.listdir(DESCRIPTORS):  # noqa: PTH208 - a path for each of thousands would be slow
        try:
            status = fstat(descriptor := int(name))
        except OSError:
            continue  # closed since
        if is_socket(status.st_mode):
            sockets[status.st_ino] = descriptor
    return sockets


def _duplicate(descriptor: int, inode: int) -> socket.socket:
    """Return a socket by a descriptor of its own, so that it stays the same one. Raises OSError if it is closed."""
    copy = os.dup(descriptor)
    if os.fstat(copy).st_ino != inode:
        os.close(copy)
        raise OSError("the descriptor is that of another file now")
    return socket.socket(fileno=copy)
