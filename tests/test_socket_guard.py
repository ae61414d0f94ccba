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


def test_a_server_on_uvicorn_is_found_out(socket_attempts: Path) -> None:
    """On asyncio's own loop; uvloop, which uvicorn takes where it can, raises no audit events."""
    code = (
        "import asyncio, uvicorn\n"
        "async def app(scope, receive, send):\n"
        f"    try: await asyncio.open_connection('{OUTSIDE}', 443)\n"
        "    except BaseException: pass\n"
        "    raise SystemExit\n"
        "uvicorn.run(app, port=0, lifespan='on', loop='asyncio', log_level='critical')"
    )
    subprocess.run([sys.executable, "-c", code], timeout=60, capture_output=True)
    assert OUTSIDE in socket_attempts.read_text()
    socket_attempts.write_text("")


@pytest.mark.parametrize("when", ["start", "end"])
def test_an_attempt_of_a_fixture_that_outlives_its_tests_fails_the_run(tmp_path: Path, when: str) -> None:
    attempt = f"    try: socket.create_connection(('{OUTSIDE}', 443), 1)\n    except BaseException: pass\n"
    (tmp_path / "conftest.py").write_text("from tests.conftest import _guarded_children, socket_attempts\n")
    (tmp_path / "test_inner.py").write_text(
        "import socket, pytest\n"
        "@pytest.fixture(scope='module')\n"
        f"def server():\n{attempt if when == 'start' else ''}    yield\n{attempt if when == 'end' else ''}"
        "def test_it(server): pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and OUTSIDE in done.stdout, done.stdout


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
