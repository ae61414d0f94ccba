"""Who sees what: every route of the OpenAPI document, asked without a key, with a dead one, and with somebody else's.

A new route has no rule here and so fails these tests until somebody has thought about it.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from tests.api.conftest import Person, Platform, user

CANARY = "canary-7f3a"
OPEN = {("GET", "/health"), ("GET", "/ready"), ("GET", "/metrics")}
ADMIN_ONLY = {("POST", "/api/users")}
BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/api/users"): {"handle": "mallory", "name": "Mallory"},
    ("POST", "/api/keys"): {},
    ("PATCH", "/api/agent"): {"instructions": ["Be brief."]},
    ("PUT", "/api/schedule"): {"every_hours": None},
    ("POST", "/api/adapters/rollback"): {"number": 0},
    ("POST", "/api/feedback"): {"message_id": "{message_id}", "chosen": "better"},
    ("POST", "/api/memories"): {"text": "Mallory was here."},
    ("PUT", "/api/memories/{memory_id}/scope"): {"scope": "public"},
    ("PUT", "/api/memories/{memory_id}"): {"text": "Mallory was here."},
    ("POST", "/api/grants"): {"audience": "public", "about": ["boats"]},
    ("POST", "/api/memories/batch"): {"memories": [{"text": "Mallory has a boat."}]},
    ("POST", "/api/imports/{import_id}/run"): {},
    ("POST", "/api/erase"): {"memory": "{memory_id}"},
    ("POST", "/api/societies"): {"slug": "mallorys"},
    ("POST", "/api/societies/{slug}/invitations"): {"handle": "{handle}"},
    ("POST", "/api/debates"): {"society": "{slug}", "question": "Who?"},
    ("POST", "/api/debates/{debate_id}/outcome"): {"answer": "42"},
    ("PATCH", "/api/societies/{slug}"): {"rounds": 1},
    ("PUT", "/api/societies/{slug}/members/{handle}"): {"role": "observer"},
    ("PUT", "/api/societies/{slug}/seat"): {"shares_memories": False},
    ("POST", "/api/societies/{slug}/outcomes"): {
        "questions": [{"question": "?", "right": "4", "answers": {"{handle}": "4"}}]
    },
    ("POST", "/api/improvements"): {},
    ("POST", "/v1/chat/completions"): {"model": "agent:{handle}", "messages": user("hello")},
}
PARAMS = {
    ("GET", "/api/memories/recall"): {"q": CANARY},
    ("POST", "/api/imports"): {"name": "notes.md"},
    ("GET", "/api/sharing/preview"): {"audience": "public", "q": CANARY},
}
OWN = {  # routes without an id in them: a stranger gets an answer, about the stranger
    ("GET", "/api/me"),
    ("POST", "/api/keys"),
    ("GET", "/api/keys"),
    ("GET", "/api/agent"),
    ("PATCH", "/api/agent"),
    ("GET", "/api/models"),
    ("PUT", "/api/schedule"),
    ("GET", "/api/adapters"),
    ("POST", "/api/adapters/rollback"),
    ("GET", "/api/conversations"),
    ("GET", "/api/feedback"),
    ("POST", "/api/memories"),
    ("GET", "/api/memories"),
    ("GET", "/api/memories/recall"),
    ("GET", "/api/memories/health"),
    ("GET", "/api/grants"),
    ("POST", "/api/grants"),
    ("GET", "/api/sharing/preview"),
    ("POST", "/api/memories/rebuild"),
    ("POST", "/api/memories/batch"),
    ("GET", "/api/imports"),
    ("POST", "/api/imports"),
    ("GET", "/api/disclosures"),
    ("POST", "/api/societies"),
    ("GET", "/api/societies"),
    ("GET", "/api/debates"),
    ("POST", "/api/improvements"),
    ("GET", "/api/improvements"),
    ("POST", "/api/reflections"),
    ("GET", "/api/reflections"),
    ("GET", "/api/profile"),
    ("GET", "/api/export"),
    ("POST", "/api/restore"),
    ("GET", "/v1/models"),
}
FOREIGN = {  # these name something of Ada's, in the path or in the body: a stranger gets 404
    ("DELETE", "/api/keys/{key_id}"),
    ("GET", "/api/conversations/{conversation_id}/messages"),
    ("POST", "/api/feedback"),
    ("PUT", "/api/memories/{memory_id}/scope"),
    ("PUT", "/api/memories/{memory_id}"),
    ("POST", "/api/memories/{memory_id}/undo"),
    ("GET", "/api/memories/{memory_id}/history"),
    ("DELETE", "/api/memories/{memory_id}"),
    ("DELETE", "/api/grants/{grant_id}"),
    ("GET", "/api/imports/{import_id}"),
    ("POST", "/api/imports/{import_id}/run"),
    ("DELETE", "/api/imports/{import_id}"),
    ("POST", "/api/erase"),
    ("GET", "/api/erasures/{erasure_id}"),
    ("POST", "/api/societies/{slug}/invitations"),
    ("POST", "/api/societies/{slug}/accept"),
    ("POST", "/api/societies/{slug}/leave"),
    ("POST", "/api/debates"),
    ("GET", "/api/debates/{debate_id}"),
    ("GET", "/api/debates/{debate_id}/events"),
    ("POST", "/api/debates/{debate_id}/cancel"),
    ("POST", "/api/debates/{debate_id}/outcome"),
    ("GET", "/api/debates/{debate_id}/transcript"),
    ("PATCH", "/api/societies/{slug}"),
    ("PUT", "/api/societies/{slug}/members/{handle}"),
    ("PUT", "/api/societies/{slug}/seat"),
    ("POST", "/api/societies/{slug}/outcomes"),
    ("GET", "/api/societies/{slug}/trust"),
    ("GET", "/api/societies/{slug}/health"),
    ("GET", "/api/improvements/{improvement_id}"),
    ("GET", "/api/improvements/{improvement_id}/report"),
    ("GET", "/api/improvements/{improvement_id}/plots"),
    ("GET", "/api/improvements/{improvement_id}/plots/{name}.svg"),
    ("GET", "/api/reflections/{reflection_id}"),
    ("POST", "/api/reflections/{reflection_id}/cancel"),
    ("POST", "/api/reflections/{reflection_id}/undo"),
    ("POST", "/api/improvements/{improvement_id}/cancel"),
    ("GET", "/v1/models/{model_id}"),
    ("POST", "/v1/chat/completions"),
}


@dataclass(frozen=True)
class World:
    """Ada with one of everything, and the ids of it."""

    ada: Person
    stranger: Person
    ids: dict[str, str]
    archive: bytes = b""
    """What the stranger has taken along."""


@pytest.fixture(scope="module")
def world(platform: Platform, tmp_path_factory: pytest.TempPathFactory) -> World:
    ada, stranger = platform.add("ada"), platform.add("stranger")
    answer = ada.client.chat(user(f"say {CANARY}"))["folkmoot"]
    slug = platform.moot(ada)
    debate = ada.client.ask(slug, f"solve {CANARY}")
    ada.client.debate_end(debate["id"])
    ids = {
        "handle": ada.handle,
        "key_id": ada.client.api_keys()[0]["id"],
        "conversation_id": answer["conversation_id"],
        "message_id": answer["message_id"],
        "memory_id": ada.client.remember(f"The word is {CANARY}.", scope=f"society:{slug}")[0],
        "slug": slug,
        "debate_id": debate["id"],
        "improvement_id": ada.client.improve()["id"],
        "reflection_id": ada.client.reflect()["id"],
        "grant_id": ada.client.grant(f"society:{slug}", about=[CANARY])["id"],
        "import_id": ada.client.upload(f"{CANARY}.txt", io.BytesIO(CANARY.encode()))["id"],
        "model_id": f"agent:{ada.handle}",
        "name": "environment-reward",
    }
    ada.client.prefer(f"{CANARY}!", prompt="Say it.", rejected="no")
    passing = ada.client.remember("Soon nobody will know that the lighthouse was striped.")[0]
    ids["erasure_id"] = ada.client.erased(ada.client.erase(memory=passing))["id"]
    archive = tmp_path_factory.mktemp("out") / "stranger.zip"
    stranger.client.export(archive)
    return World(ada, stranger, ids, archive.read_bytes())


def routes(platform: Platform) -> list[tuple[str, str]]:
    paths = platform.http.get("/api/openapi.json").json()["paths"]
    return [(method.upper(), path) for path, methods in paths.items() for method in methods]


def call(platform: Platform, world: World, route: tuple[str, str], headers: dict[str, str]) -> httpx.Response:
    method, path = route
    body = _filled(BODIES.get(route), world.ids)
    return platform.http.request(
        method,
        path.format(**world.ids),
        headers=headers,
        json=body,
        content=world.archive if path == "/api/restore" else None,
        params=PARAMS.get(route),
    )


def _filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"\{(\w+)\}", lambda match: ids[match[1]], value)
    if isinstance(value, dict):
        return {key: _filled(item, ids) for key, item in value.items()}
    return [_filled(item, ids) for item in value] if isinstance(value, list) else value


def test_every_route_has_a_rule(platform: Platform) -> None:
    assert set(routes(platform)) == OPEN | ADMIN_ONLY | OWN | FOREIGN


def test_without_a_valid_key_every_route_is_401(platform: Platform, world: World) -> None:
    dead = world.stranger.client.add_key("dead")
    world.stranger.client.revoke_key(dead["id"])
    credentials = [{}, {"Authorization": f"Bearer {dead['key']}"}, {"Authorization": f"Bearer fm_{'a' * 80}"}]
    for route in sorted(set(routes(platform)) - OPEN):
        for headers in credentials:
            answer = call(platform, world, route, headers)
            assert answer.status_code == 401, (route, headers)
            assert answer.json()["error"]["code"] == "invalid_api_key"


def test_open_routes_tell_nothing_of_anybody(platform: Platform, world: World) -> None:
    for route in sorted(OPEN):
        answer = call(platform, world, route, {})
        assert answer.status_code in (200, 503)
        assert not _leaks(answer.text, world)


def test_with_somebody_elses_key_what_is_named_is_404(platform: Platform, world: World) -> None:
    for route in sorted(FOREIGN | ADMIN_ONLY):
        answer = call(platform, world, route, {"Authorization": f"Bearer {world.stranger.key}"})
        assert answer.status_code == 404, (route, answer.text)
        assert CANARY not in answer.text


def test_what_is_not_there_and_what_is_not_theirs_read_the_same(platform: Platform, world: World) -> None:
    headers = {"Authorization": f"Bearer {world.stranger.key}"}
    guesses = {name: "x" + value[1:] for name, value in world.ids.items()}
    guessed = replace(world, ids={**guesses, "model_id": f"agent:{guesses['handle']}"})
    for route in sorted(FOREIGN):
        theirs, nobodys = call(platform, world, route, headers), call(platform, guessed, route, headers)
        assert nobodys.status_code == 404, route
        assert _shape(theirs.json(), world.ids) == _shape(nobodys.json(), guessed.ids), route


def test_with_somebody_elses_key_lists_hold_nothing_of_ada(platform: Platform, world: World) -> None:
    headers = {"Authorization": f"Bearer {world.stranger.key}"}
    for route in sorted(OWN):
        answer = call(platform, world, route, headers)
        assert answer.status_code < 300, (route, answer.text)
        assert not _leaks(answer.text, world), route


@pytest.mark.parametrize(
    "path",
    ["//api/me", "/api//me", "/api/me/", "/%2e%2e/api/me", "/v1/../api/me", "/api/users/", "/API/ME", "/api/nothing"],
)
def test_odd_paths_lead_nowhere(platform: Platform, world: World, path: str) -> None:
    request = platform.http.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    answer = platform.http.send(request)
    assert answer.status_code in (401, 404)
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_no_header_overrides_the_method(platform: Platform, world: World) -> None:
    headers = {"Authorization": f"Bearer {world.ada.key}", "X-HTTP-Method-Override": "DELETE"}
    assert platform.http.get("/api/keys", headers=headers).status_code == 200
    answer = platform.http.put("/api/keys", headers=headers)
    assert answer.status_code == 405 and answer.json()["error"]["code"] == "method_not_allowed"


def _leaks(text: str, world: World) -> list[str]:
    return [name for name, value in {**world.ids, "canary": CANARY}.items() if value in text]


def _shape(data: Any, ids: dict[str, str]) -> str:
    text = str(data)
    for name, value in sorted(ids.items(), key=lambda item: -len(item[1])):
        text = text.replace(value, f"<{name}>")
    return text
