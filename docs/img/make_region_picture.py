"""Take the picture of the region page that the README shows: `python docs/img/make_region_picture.py`.

The script runs `vigie up` over an empty folder, so that the page shows the history that ships with Vigie. It needs
Chromium, and takes a minute or two.
"""

import argparse
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

WIDTH, HEIGHT = 1200, 880
"""Size of the picture [pixels]: down to the second country of the table."""
START_SECONDS = 600
"""How long the service may need to train a model and issue its first snapshot [s]."""
BYTES_PER_PIXEL = 3
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def main() -> None:
    """Run the service, take the picture, write it next to this script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8765, help="a free port of this machine")
    port = parser.parse_args().port
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        sys.exit("needs Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"VIGIE_HOME": f"{folder}/home"}
        command = [Path(sys.executable).with_name("vigie"), "up", "--port", str(port)]
        service = subprocess.Popen(command, env=environment)  # noqa: S603 - our own command
        try:
            url = f"http://127.0.0.1:{port}/en/"
            if "SIMULATED" in wait_for_page(url):
                sys.exit("the page is simulated: unset VIGIE_SIMULATED and VIGIE_DATABASE_URL, and try again")
            picture = screenshot(chromium, url, Path(folder))
        finally:
            service.send_signal(signal.SIGINT)
            service.wait()
    target = Path(__file__).with_name("region.png")
    target.write_bytes(recompressed(picture))
    print(f"{target}: {target.stat().st_size / 1000:.0f} kB")


def wait_for_page(url: str) -> str:
    """Return the page as soon as the service has one. Raises TimeoutError if it has none in time."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url) as response:  # noqa: S310 - our own service
                return str(response.read().decode())
        except (urllib.error.URLError, ConnectionError):  # not listening yet, or no snapshot yet
            time.sleep(1)
    raise TimeoutError(f"no page at {url} after {START_SECONDS} s")


def screenshot(chromium: str, url: str, folder: Path) -> bytes:
    """Return the top of a page in the light colour scheme, as PNG."""
    picture = folder / "page.png"
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run"]
    command += ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]
    command += [f"--user-data-dir={folder / 'profile'}", "--blink-settings=preferredColorScheme=1"]
    command += [f"--window-size={WIDTH},{HEIGHT}", f"--screenshot={picture}", url]
    subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - a program that is installed here
    return picture.read_bytes()


def recompressed(png: bytes) -> bytes:
    """Compress Chromium's picture again without row filters: pages are flat, so that saves a quarter of the bytes."""
    header, packed, position = b"", b"", len(PNG_SIGNATURE)
    while position < len(png):
        (length,) = struct.unpack(">I", png[position : position + 4])
        kind, data = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        header = data if kind == b"IHDR" else header
        packed += data if kind == b"IDAT" else b""
        position += length + 12
    if struct.unpack(">IIBBBBB", header) != (WIDTH, HEIGHT, 8, 2, 0, 0, 0):
        raise ValueError("expected a picture in RGB with 8 bits a channel")
    rows = b"".join(b"\0" + row for row in unfiltered_rows(zlib.decompress(packed)))
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in ((b"IHDR", header), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    )


def unfiltered_rows(filtered: bytes) -> list[bytes]:
    """Undo the row filters of PNG (ISO/IEC 15948, section 9)."""
    stride = WIDTH * BYTES_PER_PIXEL
    rows, above = [], bytes(stride)
    for start in range(0, len(filtered), stride + 1):
        method, row = filtered[start], bytearray(filtered[start + 1 : start + 1 + stride])
        for i in range(stride):
            left, up = (row[i - BYTES_PER_PIXEL], above[i]) if i >= BYTES_PER_PIXEL else (0, above[i])
            corner = above[i - BYTES_PER_PIXEL] if i >= BYTES_PER_PIXEL else 0
            row[i] = (row[i] + predicted(method, left, up, corner)) % 256
        above = bytes(row)
        rows.append(above)
    return rows


def predicted(method: int, left: int, up: int, corner: int) -> int:
    """Return what a filter predicts for a byte from its neighbours."""
    if method == 4:  # Paeth: the neighbour that is closest to left + up - corner
        target = left + up - corner
        return min((left, up, corner), key=lambda value: abs(target - value))
    return (0, left, up, (left + up) // 2)[method]


if __name__ == "__main__":
    main()
