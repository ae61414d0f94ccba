"""Starting a real Chroma server on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

from personal_data.errors import IndexUnavailable
from personal_data.index import ChromaIndex


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_chroma(folder: Path, port: int) -> subprocess.Popen[bytes]:
    """`chroma run` on loopback, ready to answer."""
    binary = Path(sys.executable).with_name("chroma")
    process = subprocess.Popen(
        [binary, "run", "--path", folder, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    give_up = time.monotonic() + 60
    while True:
        try:
            ChromaIndex(f"http://127.0.0.1:{port}").ping()
            return process
        except IndexUnavailable:
            if time.monotonic() > give_up or process.poll() is not None:
                process.kill()
                raise
            time.sleep(0.1)
