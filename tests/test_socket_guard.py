"""The guard itself: tests, and the processes they start, cannot leave this machine unseen."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import require_server
from tests.guard.sitecustomize import BeyondLoopback, is_loopback

OUTSIDE = "192.0.2.1"  # TEST-NET-1 (RFC 5737): routed nowhere, should the guard ever fail


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "", None, b"127.0.0.1"])
def test_loopback_is_recognised(host: object) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", [OUTSIDE, "example.org", "2001:db8::1", "127.0.0.1.example.org", "0.0.0.0"])
def test_everything_else_is_outside(host: object) -> None:
    assert not is_loopback(host)


def test_connects_lookups_and_datagrams_beyond_loopback_fail(socket_attempts: Path) -> None:
    with pytest.raises(BeyondLoopback):
        socket.create_connection((OUTSIDE, 443), timeout=1)
    with pytest.raises(BeyondLoopback):
        socket.getaddrinfo("example.org", 443)
    with pytest.raises(BeyondLoopback), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        datagram.sendto(b"x", (OUTSIDE, 53))
    with pytest.raises(BeyondLoopback):
        asyncio.run(asyncio.open_connection(OUTSIDE, 443))
    assert len(socket_attempts.read_text().splitlines()) == 4
    socket_attempts.write_text("")


def test_a_child_process_that_hides_its_attempt_is_still_found_out(socket_attempts: Path) -> None:
    code = f"import socket\ntry: socket.create_connection(('{OUTSIDE}', 443), 1)\nexcept BaseException: pass"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert OUTSIDE in socket_attempts.read_text()
    socket_attempts.write_text("")


def test_loopback_is_open() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()


def test_an_absent_server_skips_a_test_but_fails_it_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        monkeypatch.delenv("CI", raising=False)
        with pytest.raises(pytest.skip.Exception, match=f"no Thing on 127.0.0.1:{port}"):
            require_server("Thing", port)
        monkeypatch.setenv("CI", "true")
        with pytest.raises(pytest.fail.Exception):
            require_server("Thing", port)
