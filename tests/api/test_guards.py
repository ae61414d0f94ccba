"""What is refused before anything parses it: foreign Hosts, bodies without end; and that one error shape holds."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from api.client import Client
from api.guards import MAX_BODY_BYTES
from api.main import create_app
from personal_data.errors import BackendError, ConfigurationError
from personal_data.settings import Settings
from tests.api.conftest import Person, Platform


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:8420", "[::2]", "", "localhost."]
)
def test_a_foreign_host_is_421(platform: Platform, ada: Person, host: str) -> None:
    answer = platform.http.get("/api/me", headers={"Host": host, "api-key": ada.key})
    assert answer.status_code in (400, 421)
    if answer.status_code == 421:
        assert answer.json()["error"]["code"] == "wrong_host"


def test_a_client_that_is_not_welcome_hears_why(platform: Platform) -> None:
    with Client(platform.url) as client:
        assert client.ready() == {"database": True, "embedder": True, "index": True}
        client._http.headers["Host"] = "evil.example"
        with pytest.raises(BackendError, match="does not answer to that Host"):
            client.ready()


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8420", "[::1]:8420", "[::1]"])
def test_loopback_names_are_welcome(platform: Platform, host: str) -> None:
    assert platform.http.get("/health", headers={"Host": host}).status_code == 200


def test_binding_beyond_loopback_must_be_meant(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match="allow_remote"):
        create_app(settings.model_copy(update={"host": "0.0.0.0"}))
    create_app(settings.model_copy(update={"host": "0.0.0.0", "allow_remote": True}))


def test_a_body_that_says_it_is_too_large_is_413_unread(platform: Platform, ada: Person) -> None:
    address = (platform.http.base_url.host, platform.http.base_url.port or 0)
    length = f"Content-Length: {MAX_BODY_BYTES + 1}\r\nConnection: close"
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(f"POST /api/memories HTTP/1.1\r\nHost: localhost\r\n{length}\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(4096), b"")).decode()
    assert answer.startswith("HTTP/1.1 413")
    assert "request_too_large" in answer


def test_a_body_without_end_is_413_at_the_limit(platform: Platform, ada: Person) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(MAX_BODY_BYTES // 2**20 + 1):
            sent += 2**20
            yield b"x" * 2**20

    answer = platform.http.post("/api/memories", headers={"api-key": ada.key}, content=endless())
    assert answer.status_code == 413
    assert sent >= MAX_BODY_BYTES


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'"text"', b"[" * 100_000, b'{"text":' * 50_000, b"\xff\xfe", b'{"text": 1}']
)
def test_a_body_that_is_no_request_is_400(platform: Platform, ada: Person, content: bytes) -> None:
    headers = {"api-key": ada.key, "Content-Type": "application/json"}
    answer = platform.http.post("/api/memories", headers=headers, content=content)
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_a_name_given_twice_is_not_two_values(platform: Platform, ada: Person) -> None:
    headers = {"api-key": ada.key, "Content-Type": "application/json"}
    body = b'{"text": "My cat is called Miro.", "text": "My cat is called Lune."}'
    [memory_id] = platform.http.post("/api/memories", headers=headers, content=body).json()["ids"]
    assert [row["id"] for row in ada.client.memories()] == [memory_id]


def test_browsers_may_ask_from_elsewhere_but_only_with_a_key(platform: Platform, ada: Person) -> None:
    asked = {"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST"}
    answer = platform.http.options("/v1/chat/completions", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "access-control-allow-credentials" not in answer.headers


def test_every_error_in_the_document_has_the_one_shape(platform: Platform) -> None:
    for path in ("/nothing", "/v1/nothing", "/api/nothing"):
        answer = platform.http.get(path)
        assert answer.status_code in (401, 404)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert json.dumps("detail") not in platform.http.get("/nothing").text
