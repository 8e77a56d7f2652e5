"""The address that the web server listens on: whether it is free, and who can read there."""

import socket
import time
from contextlib import closing

from riskmodel.errors import Unavailable
from riskmodel.home import Home
from service.settings import Settings


def check_address(host: str, port: int, *, named: str = "--port", patience: float = 0.0) -> None:
    """Raise Unavailable if nothing can listen on this address within `patience` seconds.

    `named` is the option or setting that names the port.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    until = time.monotonic() + patience
    while True:
        with closing(socket.socket(family)) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError as failure:
                if time.monotonic() < until:
                    time.sleep(0.02)
                    continue
                text = f"cannot listen on {host}:{port} ({failure.strerror}); choose another {named}"
                raise Unavailable(text) from None
            return


def describe_access(home: Home, settings: Settings, host: str) -> str:
    """Return a line that says who can read on an address that other machines can reach."""
    if settings.allows_public_read(host):
        access = "everybody who can reach it can read (public_read = true)"
    else:
        access = (
            "reading needs a key (make one with vigie keys add --scope read --label NAME), "
            f"or set public_read = true in {home.settings}"
        )
    return (
        f"listening on {host}, which other machines can reach: {access}. "
        "Use TLS in front of it, or keys travel unencrypted"
    )
