"""A client of Folkmoot's HTTP API: what the command line, the demo, the tests and other people's programs use.

Answers are the JSON of `api/schemas.py` as dictionaries. A refusal raises the same error that the server raised, with
its message; a server that is not there raises `BackendUnavailable`. Chat may as well be had with the `openai` SDK.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import httpx

from api.wire import content, events, raise_for, told_plainly

Json = dict[str, Any]
_POLL_S = 0.3
_ENDED = ("done", "failed", "dead", "cancelled")


class Stored(list[str]):
    """The ids of what was stored, in order; `scopes` says who may see each of them now."""

    def __init__(self, answer: Json) -> None:
        super().__init__(answer["ids"])
        self.scopes: list[str] = answer["scopes"]


class Client:
    """One person's view of one Folkmoot. `key` decides whose."""

    def __init__(self, base_url: str, key: str | None = None, *, timeout_s: float = 300.0) -> None:
        self.base_url = base_url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        timeout = httpx.Timeout(timeout_s, connect=5.0)
        certificates = self.base_url.startswith("https:")  # loading them takes longer than most answers
        self._http = httpx.Client(
            base_url=self.base_url, headers=headers, timeout=timeout, trust_env=False, verify=certificates
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    # People and keys

    def add_user(self, handle: str, name: str, *, model: str | None = None) -> Json:
        """Add a person (admin only); `key` in the answer is shown once."""
        return self._post("/api/users", _given(handle=handle, name=name, model=model))

    def me(self) -> Json:
        return self._get("/api/me")

    def api_keys(self) -> list[Json]:
        return self._list("/api/keys")

    def add_key(self, label: str = "") -> Json:
        return self._post("/api/keys", {"label": label})

    def revoke_key(self, key_id: str) -> Json:
        return self._send("DELETE", f"/api/keys/{key_id}")

    # The agent

    def agent(self) -> Json:
        return self._get("/api/agent")

    def change_agent(self, *, instructions: Sequence[str] | None = None, model: str | None = None) -> Json:
        wanted = _given(instructions=None if instructions is None else list(instructions), model=model)
        return self._send("PATCH", "/api/agent", json=wanted)

    def models(self) -> list[Json]:
        return self._list("/api/models")

    def schedule(self, every_hours: float | None) -> Json:
        return self._send("PUT", "/api/schedule", json={"every_hours": every_hours})

    def adapters(self) -> list[Json]:
        return self._list("/api/adapters")

    def roll_back(self, number: int | None = None) -> Json:
        return self._post("/api/adapters/rollback", _given(number=number))

    # Chat

    def chat(self, messages: Sequence[Json], *, conversation_id: str | None = None, **params: Any) -> Json:
        """One answer of the caller's agent (or of `model="society:<slug>"`) as an OpenAI chat completion."""
        return self._post("/v1/chat/completions", self._chat_body(messages, conversation_id, params))

    def chat_stream(
        self, messages: Sequence[Json], *, conversation_id: str | None = None, **params: Any
    ) -> Iterator[Json]:
        """The same answer as OpenAI chunks, while it is thought of."""
        body = {**self._chat_body(messages, conversation_id, params), "stream": True}
        with self._stream("POST", "/v1/chat/completions", json=body) as answer:
            for _, data in events(answer):
                yield data

    def _chat_body(self, messages: Sequence[Json], conversation_id: str | None, params: Json) -> Json:
        model = params.pop("model", None) or f"agent:{self.me()['handle']}"
        body = {"model": model, "messages": list(messages), **params}
        return body if conversation_id is None else {**body, "metadata": {"conversation_id": conversation_id}}

    def conversations(self) -> list[Json]:
        return self._list("/api/conversations")

    def messages(self, conversation_id: str) -> list[Json]:
        return self._list(f"/api/conversations/{conversation_id}/messages")

    def prefer(
        self,
        chosen: str | None = None,
        *,
        rejected: str | None = None,
        prompt: str | None = None,
        message_id: str | None = None,
    ) -> Json:
        """Say which answer was better, to a prompt or to a stored answer; `rejected` alone: that it was not good."""
        body = _given(chosen=chosen, rejected=rejected, prompt=prompt, message_id=message_id)
        return self._post("/api/feedback", body)

    def feedback(self) -> list[Json]:
        """What was preferred so far, newest first."""
        return self._list("/api/feedback")

    # Memory

    def remember(
        self, text: str, *, speaker: str | None = None, scope: str | None = None, kind: str | None = None
    ) -> Stored:
        """What was stored. Private, or as it was where it is known, without `scope`; a fact without `kind`."""
        return Stored(self._post("/api/memories", _given(text=text, speaker=speaker, scope=scope, kind=kind)))

    def remember_all(self, texts: Iterable[str], *, scope: str | None = None, kind: str | None = None) -> Stored:
        """Many texts at once, 500 at most; all of them or none."""
        told = [_given(text=text, scope=scope, kind=kind) for text in texts]
        return Stored(self._post("/api/memories/batch", {"memories": told}))

    def memories(
        self,
        *,
        limit: int = 100,
        before: str | None = None,
        kind: str | None = None,
        speaker: str | None = None,
        holds: str | None = None,
    ) -> list[Json]:
        """Newest first; only those of a kind, of a speaker, or that hold a text, where that is asked for."""
        asked = _given(limit=limit, before=before, kind=kind, speaker=speaker, holds=holds)
        return self._list("/api/memories", asked)

    def correct(self, memory_id: str, text: str) -> None:
        """Let a memory say something else."""
        self._send("PUT", f"/api/memories/{memory_id}", json={"text": text})

    def undo_correction(self, memory_id: str) -> None:
        self._post(f"/api/memories/{memory_id}/undo")

    def memory_history(self, memory_id: str) -> list[Json]:
        return self._list(f"/api/memories/{memory_id}/history")

    def recall(
        self, query: str, *, k: int = 8, as_of: float | None = None, kind: Sequence[str] | None = None
    ) -> list[Json]:
        """What bears on a question; with `as_of`, in seconds since the epoch, as if it were asked then."""
        return self._list("/api/memories/recall", _given(q=query, k=k, as_of=as_of, kind=kind))

    def reflect(self, *, request_id: str | None = None) -> Json:
        """Start drawing facts from what was said of late."""
        return self._post("/api/reflections", request_id=request_id)

    def reflections(self) -> list[Json]:
        return self._list("/api/reflections")

    def watch_reflection(self, job_id: str) -> Iterator[Json]:
        """The reflection again and again until it has ended; the last one has ended."""
        return self._watched(f"/api/reflections/{job_id}")

    def undo_reflection(self, job_id: str) -> Json:
        """Forget what a reflection added."""
        return self._post(f"/api/reflections/{job_id}/undo")

    def profile(self) -> Json:
        """What every prompt shows of its owner's wishes."""
        return self._get("/api/profile")

    def share(self, memory_id: str, scope: str) -> None:
        self._send("PUT", f"/api/memories/{memory_id}/scope", json={"scope": scope})

    def forget(self, memory_id: str) -> None:
        self._send("DELETE", f"/api/memories/{memory_id}")

    def verify_memory(self) -> Json:
        """Whether the index holds the caller's memories and finds them."""
        return self._get("/api/memories/health")

    def rebuild_memory(self) -> Json:
        """Fill the caller's part of the index anew."""
        return self._post("/api/memories/rebuild")

    def export(self, path: Path) -> None:
        """Write all of one's data to a file, as one zip."""
        with self._stream("GET", "/api/export") as answer, path.open("wb") as file:
            for piece in answer.iter_bytes():
                file.write(piece)

    def restore(self, path: Path) -> Json:
        """Bring in what such a file holds: `added`, and what was `left_out`."""
        with path.open("rb") as file:
            return self._send("POST", "/api/restore", content=file, headers={"Content-Type": "application/zip"})

    def erase(
        self, *, memory: str | None = None, source: str | None = None, everything: bool = False, confirm: str = ""
    ) -> Json:
        """Begin to erase; of everything (confirmed with one's handle) the answer is the last that this key gets."""
        wish = _given(memory=memory, source=source, everything=everything or None, confirm=confirm or None)
        return self._post("/api/erase", wish)

    def erasure(self, erasure_id: str) -> Json:
        return self._get(f"/api/erasures/{erasure_id}")

    def erased(self, erasure: Json) -> Json:
        """Wait for the end of an erasure and return its receipt."""
        while erasure["state"] != "done":
            time.sleep(_POLL_S)
            erasure = self.erasure(erasure["id"])
        return erasure

    def grant(
        self, audience: str, *, about: Sequence[str] = (), kinds: Sequence[str] = (), until: float | None = None
    ) -> Json:
        """Let an audience see what is about something, or sensitive kinds within what its scope shows."""
        body = _given(audience=audience, about=list(about), kinds=list(kinds), until=until)
        return self._post("/api/grants", body)

    def grants(self) -> list[Json]:
        return self._list("/api/grants")

    def withdraw(self, grant_id: str) -> Json:
        return self._send("DELETE", f"/api/grants/{grant_id}")

    def shown_to(
        self, audience: str, *, question: str | None = None, limit: int = 100, before: str | None = None
    ) -> Json:
        """What an audience would see of the caller."""
        return self._get("/api/sharing/preview", _given(audience=audience, q=question, limit=limit, before=before))

    def disclosures(self) -> list[Json]:
        return self._list("/api/disclosures")

    # Imports

    def upload(self, name: str, content: BinaryIO | Iterable[bytes], **options: str | None) -> Json:
        """Send an export to be looked at; `options` are `timezone` and `date_order`."""
        return self._send("POST", "/api/imports", params=_given(name=name, **options), content=content)

    def imports(self) -> list[Json]:
        return self._list("/api/imports")

    def import_(self, import_id: str) -> Json:
        return self._get(f"/api/imports/{import_id}")

    def run_import(self, import_id: str, *, me: Sequence[str] = (), **choice: str | None) -> Json:
        """Import it; `choice` is `scope`, `timezone` and `date_order`."""
        return self._post(f"/api/imports/{import_id}/run", _given(me=list(me), **choice))

    def undo_import(self, import_id: str) -> Json:
        return self._send("DELETE", f"/api/imports/{import_id}")

    def watch_import(self, import_id: str) -> Iterator[Json]:
        """The import again and again until nothing happens to it any more; the last one waits or has ended."""
        while True:
            begun = self.import_(import_id)
            yield begun
            if begun["state"] not in ("looking", "running"):
                return
            time.sleep(_POLL_S)

    # Societies and debates

    def create_society(self, slug: str, name: str = "") -> Json:
        return self._post("/api/societies", {"slug": slug, "name": name})

    def societies(self) -> list[Json]:
        return self._list("/api/societies")

    def invite(self, slug: str, handle: str) -> Json:
        return self._post(f"/api/societies/{slug}/invitations", {"handle": handle})

    def accept(self, slug: str) -> None:
        self._post(f"/api/societies/{slug}/accept")

    def leave(self, slug: str) -> None:
        self._post(f"/api/societies/{slug}/leave")

    def change_society(self, slug: str, **plan: Any) -> Json:
        """How it debates where a question does not say: `rounds`, `samples`, `panel_size`, `thrifty` and so on."""
        return self._send("PATCH", f"/api/societies/{slug}", json=plan)

    def give_role(self, slug: str, handle: str, role: str) -> Json:
        return self._send("PUT", f"/api/societies/{slug}/members/{handle}", json={"role": role})

    def set_seat(self, slug: str, *, shares_memories: bool) -> None:
        self._send("PUT", f"/api/societies/{slug}/seat", json={"shares_memories": shares_memories})

    def bring_outcomes(self, slug: str, questions: Sequence[Json]) -> Json:
        """Teach it whom to trust: each a `question`, what was `right`, `answers` by handle, and perhaps a `topic`."""
        return self._post(f"/api/societies/{slug}/outcomes", {"questions": list(questions)})

    def trust(self, slug: str) -> Json:
        """What it has learnt of its members."""
        return self._get(f"/api/societies/{slug}/trust")

    def society_health(self, slug: str) -> Json:
        """How it is doing, by its finished debates."""
        return self._get(f"/api/societies/{slug}/health")

    def ask(
        self,
        society: str,
        question: str,
        *,
        seed: int | None = None,
        kind: str | None = None,
        topic: str | None = None,
        plan: Json | None = None,
        request_id: str | None = None,
    ) -> Json:
        """Start a debate; follow it with `debate_events` or wait with `debate_end`."""
        body = _given(society=society, question=question, seed=seed, kind=kind, topic=topic, plan=plan)
        return self._post("/api/debates", body, request_id=request_id)

    def debate(self, debate_id: str) -> Json:
        return self._get(f"/api/debates/{debate_id}")

    def debates(self) -> list[Json]:
        return self._list("/api/debates")

    def debate_events(self, debate_id: str, *, last_event_id: str | None = None) -> Iterator[tuple[str, Json]]:
        """(name, data) of what happens, until the debate has ended: opened, position..., done or failed."""
        headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
        with self._stream("GET", f"/api/debates/{debate_id}/events", headers=headers) as answer:
            yield from events(answer)

    def debate_end(self, debate_id: str) -> Json:
        """Wait for the end of a debate and return it."""
        for _ in self.debate_events(debate_id):
            pass
        return self.debate(debate_id)

    def transcript(self, debate_id: str, form: str = "json") -> str:
        """The whole debate as `json`, `md` or `html`."""
        return self._file(f"/api/debates/{debate_id}/transcript", form)

    def cancel_debate(self, debate_id: str) -> Json:
        return self._post(f"/api/debates/{debate_id}/cancel")

    def set_outcome(self, debate_id: str, answer: str) -> Json:
        return self._post(f"/api/debates/{debate_id}/outcome", {"answer": answer})

    # Improvement

    def improve(self, *, request_id: str | None = None, **recipe: Any) -> Json:
        """Start an improvement; `recipe` is `stages`, `seed`, and each stage's settings by its name."""
        return self._post("/api/improvements", _given(**recipe), request_id=request_id)

    def improvement(self, job_id: str) -> Json:
        return self._get(f"/api/improvements/{job_id}")

    def improvements(self) -> list[Json]:
        return self._list("/api/improvements")

    def report(self, job_id: str, form: str = "json") -> str:
        """The whole improvement as `json`, `md` or `html`."""
        return self._file(f"/api/improvements/{job_id}/report", form)

    def plots(self, job_id: str) -> list[str]:
        """The names of an improvement's drawings."""
        return [str(name) for name in content(self._request("GET", f"/api/improvements/{job_id}/plots"))]

    def plot(self, job_id: str, name: str) -> str:
        """One of them, as SVG."""
        return self._file(f"/api/improvements/{job_id}/plots/{name}.svg")

    def cancel_improvement(self, job_id: str) -> Json:
        return self._post(f"/api/improvements/{job_id}/cancel")

    def watch_improvement(self, job_id: str) -> Iterator[Json]:
        """The improvement again and again until it has ended; the last one has ended."""
        return self._watched(f"/api/improvements/{job_id}")

    def _watched(self, path: str) -> Iterator[Json]:
        while True:
            job = self._get(path)
            yield job
            if job["state"] in _ENDED:
                return
            time.sleep(_POLL_S)

    # Health

    def ready(self) -> Json:
        """Each part and whether it answers; raises as all else does, but not because one does not."""
        parts = content(self._request("GET", "/ready"), besides=503)
        return {part: answers is True for part, answers in parts.items()}

    # The wire

    def _get(self, path: str, params: Json | None = None) -> Json:
        return self._send("GET", path, params=params)

    def _post(self, path: str, json: Json | None = None, *, request_id: str | None = None) -> Json:
        headers = {"Idempotency-Key": request_id} if request_id else {}
        return self._send("POST", path, json=json, headers=headers)

    def _list(self, path: str, params: Json | None = None) -> list[Json]:
        return list(content(self._request("GET", path, params=params)))

    def _file(self, path: str, form: str | None = None) -> str:
        answer = self._request("GET", path, params=None if form is None else {"form": form})
        raise_for(answer)
        return answer.text

    def _send(self, method: str, path: str, **options: Any) -> Json:
        return dict(content(self._request(method, path, **options)))

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        with told_plainly(self.base_url):
            return self._http.request(method, path, **options)

    @contextmanager
    def _stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        with told_plainly(self.base_url), self._http.stream(method, path, **options) as answer:
            if answer.status_code >= 400:
                answer.read()
                raise_for(answer)
            yield answer


def _given(**values: Any) -> Json:
    return {name: value for name, value in values.items() if value is not None}
