"""A Prometheus Alertmanager on loopback, of Debian's package `prometheus-alertmanager`."""

import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CONFIGURATION = """
route: {receiver: duty, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers: [{name: duty, webhook_configs: [{url: "%s", send_resolved: true}]}]
"""


class Alertmanager:
    """A running Alertmanager."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that it shows as firing."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=20) as response:  # noqa: S310 - loopback
            found: list[dict[str, Any]] = json.load(response)
            return found


@contextmanager
def alertmanager(folder: Path, receiver: str) -> Iterator[Alertmanager]:
    """Run an Alertmanager that notifies a URL. Skips the test if it is not installed."""
    program = shutil.which("prometheus-alertmanager")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs prometheus-alertmanager (apt-get install)")
    folder.mkdir(exist_ok=True)
    (folder / "alertmanager.yml").write_text(CONFIGURATION % receiver)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = (f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address=", f"--storage.path={folder}")
    command = [program, f"--config.file={folder}/alertmanager.yml", *options, "--log.level=error"]
    with subprocess.Popen(command) as process:
        running = Alertmanager(port)
        try:
            until = time.monotonic() + 30
            while True:
                try:
                    running.alerts()
                    break
                except OSError:
                    assert time.monotonic() < until, "Alertmanager does not start"
                    time.sleep(0.05)
            yield running
        finally:
            process.terminate()
