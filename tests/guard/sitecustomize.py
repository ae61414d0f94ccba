"""The socket guard: Python code of the tests, and of every Python process they start, reaches nothing beyond loopback.

An audit hook sees each connect, datagram and name look-up below whatever library makes it, asyncio's included, and
cannot be taken off again. It raises, and also writes the attempt down, because libraries like to swallow errors.
conftest puts this folder on PYTHONPATH, so that child processes load it as `sitecustomize` before anything else.
It does not see sockets of C libraries (libpq, Chroma's Rust server); those get loopback addresses only.
"""

from __future__ import annotations

import ipaddress
import os
import sys
from pathlib import Path
from typing import Any

RECORD = "TEST_SOCKET_RECORD"
"""Variable that names the file in which attempts are written down, one a line."""
_ADDRESS_AT = {
    "socket.connect": 1,
    "socket.sendto": 1,
    "socket.sendmsg": 1,
    "socket.getaddrinfo": 0,
    "socket.gethostbyname": 0,
    "socket.gethostbyaddr": 0,
}


class BeyondLoopback(AssertionError):
    """A test, or something it started, tried to leave this machine."""


def is_loopback(host: Any) -> bool:
    """Whether a host, as socket functions take it, stays on this machine; None and "" mean the wildcard of a bind."""
    if isinstance(host, bytes):
        host = host.decode("ascii", "replace")
    if host in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def guard(event: str, arguments: tuple[Any, ...]) -> None:
    """The audit hook."""
    if event not in _ADDRESS_AT:
        return
    address = arguments[_ADDRESS_AT[event]]
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if not isinstance(address, tuple):  # a UNIX socket's path, or sendmsg on a connected socket
            return
        address = address[0]
    if not is_loopback(address):
        with Path(os.environ.get(RECORD, os.devnull)).open("a") as record:
            record.write(f"{event} {address!r} by {sys.argv[0] if hasattr(sys, 'argv') else sys.executable}\n")
        raise BeyondLoopback(f"{event} to {address!r}: tests reach nothing beyond loopback")


sys.addaudithook(guard)
