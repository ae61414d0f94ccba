"""The OpenAI surface with the real SDK over a real socket: answers, every chunk, usage, errors, broken streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

import openai
import pytest
import sqlalchemy as sa

from tests.api.conftest import Person, Platform, user

CHUNK_KEYS = {"id", "object", "created", "model", "choices"}


@pytest.fixture
def sdk(platform: Platform, ada: Person) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{platform.url}/v1", api_key=ada.key, max_retries=0, http_client=platform.http)


def model_of(person: Person) -> str:
    return f"agent:{person.handle}"


def raw_chunks(platform: Platform, person: Person, text: str, **more: Any) -> list[str]:
    """The payloads of a stream as they came over the wire."""
    body = {"model": model_of(person), "messages": user(text), "stream": True, **more}
    headers = {"Authorization": f"Bearer {person.key}"}
    with platform.http.stream("POST", "/v1/chat/completions", json=body, headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        return [line.removeprefix("data: ") for line in answer.iter_lines() if line.startswith("data: ")]


def stored(person: Person) -> list[dict[str, Any]]:
    conversations = person.client.conversations()
    return [turn for conversation in conversations for turn in person.client.messages(conversation["id"])]


def test_models_are_the_callers_own(sdk: openai.OpenAI, ada: Person, ben: Person, platform: Platform) -> None:
    slug = platform.moot(ada, ben)
    assert [model.id for model in sdk.models.list()] == [model_of(ada), f"society:{slug}"]
    assert sdk.models.retrieve(model_of(ada)).owned_by == "folkmoot"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve(model_of(ben))


def test_an_answer_at_once(sdk: openai.OpenAI, ada: Person) -> None:
    answer = sdk.chat.completions.create(model=model_of(ada), messages=user("say good morning"))
    assert answer.object == "chat.completion" and answer.model == model_of(ada)
    assert answer.choices[0].message.content == "good morning"
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens == 9
    assert [turn["content"] for turn in stored(ada)] == ["say good morning", "good morning"]


def test_a_streamed_answer(sdk: openai.OpenAI, ada: Person) -> None:
    with sdk.chat.completions.create(model=model_of(ada), messages=user("say a b c"), stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "a b c"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None, None, None, None, "stop"]
    assert len({chunk.id for chunk in chunks}) == 1


def test_every_chunk_has_the_form_that_clients_expect(platform: Platform, ada: Person) -> None:
    *payloads, done = raw_chunks(platform, ada, "say a b")
    assert done == "[DONE]"
    chunks = [json.loads(payload) for payload in payloads]
    assert all(set(chunk) - {"folkmoot"} == CHUNK_KEYS for chunk in chunks)
    assert all(chunk["object"] == "chat.completion.chunk" for chunk in chunks)
    choices = [chunk["choices"][0] for chunk in chunks]
    assert all(set(choice) == {"index", "delta", "logprobs", "finish_reason"} for choice in choices)
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert [choice["delta"] for choice in choices[1:-1]] == [{"content": "a "}, {"content": "b"}]
    assert choices[-1]["delta"] == {} and choices[-1]["finish_reason"] == "stop"


def test_usage_comes_in_one_more_chunk_only_when_asked_for(platform: Platform, ada: Person) -> None:
    *payloads, done = raw_chunks(platform, ada, "say a b", stream_options={"include_usage": True})
    chunks = [json.loads(payload) for payload in payloads]
    assert done == "[DONE]"
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}


@pytest.mark.parametrize("base", ["", "/", "/v1", "/v1/"])
def test_the_base_url_may_end_as_people_write_it(platform: Platform, ada: Person, base: str) -> None:
    sdk = openai.OpenAI(base_url=platform.url + base, api_key=ada.key, max_retries=0, http_client=platform.http)
    answer = sdk.chat.completions.create(model=model_of(ada), messages=user("say yes"))
    assert answer.choices[0].message.content == "yes"


def test_memories_conversation_and_provenance(sdk: openai.OpenAI, ada: Person, platform: Platform) -> None:
    [memory_id] = ada.client.remember("My cat is called Miro.")
    raw = sdk.chat.completions.with_raw_response.create(
        model=model_of(ada), messages=user("What is my cat called?"), extra_headers={"Idempotency-Key": "one"}
    )
    told = json.loads(raw.text)["folkmoot"]
    assert told["memory_ids"] == [memory_id] == raw.headers["x-folkmoot-memories"].split(",")
    assert raw.headers["x-folkmoot-conversation"] == told["conversation_id"]
    assert "Miro" in platform.model.requests[-1]["messages"][0]["content"]
    again = ada.client.chat(user("And my dog?"), conversation_id=told["conversation_id"])
    assert again["folkmoot"]["conversation_id"] == told["conversation_id"]
    assert len(ada.client.messages(told["conversation_id"])) == 4
    last = list(ada.client.chat_stream(user("say bye"), conversation_id=told["conversation_id"]))[-1]
    assert last["folkmoot"]["message_id"] == ada.client.messages(told["conversation_id"])[-1]["id"]


def test_a_retried_request_gets_the_stored_answer_and_asks_no_model(
    sdk: openai.OpenAI, ada: Person, platform: Platform
) -> None:
    ada.client.remember("I count sheep.")
    ask: dict[str, Any] = {"model": model_of(ada), "messages": user("count"), "extra_headers": {"Idempotency-Key": "1"}}
    first = sdk.chat.completions.with_raw_response.create(**ask)
    asked = len(platform.model.requests)
    again = sdk.chat.completions.with_raw_response.create(**ask)
    with sdk.chat.completions.create(**ask, stream=True, stream_options={"include_usage": True}) as stream:
        chunks = list(stream)
    assert len(platform.model.requests) == asked
    content = first.parse().choices[0].message.content
    assert content == again.parse().choices[0].message.content == str(asked)
    assert content == "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == again.parse().choices[0].finish_reason == "stop"
    assert json.loads(first.text)["folkmoot"] == json.loads(again.text)["folkmoot"]
    assert json.loads(first.text)["folkmoot"] == (chunks[-1].model_extra or {})["folkmoot"]
    for header in ("x-folkmoot-conversation", "x-folkmoot-memories"):
        assert first.headers[header] == again.headers[header]
    assert len(stored(ada)) == 2


def test_a_key_of_another_question_or_conversation_is_a_conflict_before_any_model_is_asked(
    sdk: openai.OpenAI, ada: Person, ben: Person, platform: Platform
) -> None:
    key = {"Idempotency-Key": "one"}
    sdk.chat.completions.create(model=model_of(ada), messages=user("count"), extra_headers=key)
    other = ada.client.chat(user("say hello"))["folkmoot"]["conversation_id"]
    asked = len(platform.model.requests)
    for question, metadata in (("count again", {}), ("count", {"conversation_id": other})):
        for stream in (False, True):
            with pytest.raises(openai.ConflictError):
                sdk.chat.completions.create(
                    model=model_of(ada),
                    messages=user(question),
                    metadata=metadata,
                    stream=stream,
                    extra_headers=key,
                )
    assert len(platform.model.requests) == asked
    body = {"model": model_of(ben), "messages": user("count again")}
    answer = platform.http.post("/v1/chat/completions", json=body, headers={"api-key": ben.key, **key})
    assert answer.status_code == 200, "everybody's keys are their own"


def test_what_was_not_counted_is_left_out(sdk: openai.OpenAI, ada: Person) -> None:
    raw = sdk.chat.completions.with_raw_response.create(model=model_of(ada), messages=user("uncounted words"))
    assert "usage" not in json.loads(raw.text)
    assert raw.parse().choices[0].message.content == "words"
    assert raw.parse().usage is None
    with sdk.chat.completions.create(
        model=model_of(ada),
        messages=user("uncounted words"),
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        chunks = list(stream)
    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_model_that_dies_mid_stream_is_one_error_event_and_nothing_stored(
    sdk: openai.OpenAI, ada: Person, platform: Platform
) -> None:
    payloads = raw_chunks(platform, ada, "die after some words")
    assert "[DONE]" not in payloads
    assert json.loads(payloads[-1])["error"]["code"] == "model_unavailable"
    with pytest.raises(openai.APIError):
        list(sdk.chat.completions.create(model=model_of(ada), messages=user("die after a word"), stream=True))
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.chat.completions.create(model=model_of(ada), messages=user("die after a word"))
    assert caught.value.status_code == 503
    assert stored(ada) == []


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_models_server_refuses_reaches_the_sdk_with_the_servers_code(
    sdk: openai.OpenAI, ada: Person, stream: bool
) -> None:
    question = user("refuse context_length_exceeded")
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model=model_of(ada), messages=question, stream=stream)
    assert caught.value.code == "context_length_exceeded"
    assert caught.value.type == "invalid_request_error"
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert stored(ada) == []


def test_an_answer_that_cannot_be_stored_ends_in_an_error_event(platform: Platform, ada: Person) -> None:
    with platform.database.session() as session:
        session.execute(sa.text("ALTER TABLE messages RENAME TO messages_away"))
    try:
        payloads = raw_chunks(platform, ada, "say a b")
    finally:
        with platform.database.session() as session:
            session.execute(sa.text("ALTER TABLE messages_away RENAME TO messages"))
    assert "[DONE]" not in payloads
    assert json.loads(payloads[-1])["error"]["type"] == "server_error"
    assert stored(ada) == []


def test_a_model_that_is_away_is_a_status_even_for_streams(platform: Platform) -> None:
    eve = platform.add("eve", model="gone")
    for stream in (False, True):
        body = {"model": model_of(eve), "messages": user("hello"), "stream": stream}
        answer = platform.http.post("/v1/chat/completions", json=body, headers={"api-key": eve.key})
        assert answer.status_code == 503
        assert answer.json()["error"]["type"] == "server_error"
    assert stored(eve) == []


@pytest.mark.parametrize("name", ["agent:nobody", "agent:", "society:none", "society:", "gpt-4o", ""])
def test_an_unknown_model_is_404(sdk: openai.OpenAI, ada: Person, name: str) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.chat.completions.create(model=name, messages=user("hello"))
    assert caught.value.code == "model_not_found"
    assert caught.value.param == "model"
    assert stored(ada) == []


def test_somebody_elses_agent_or_conversation_is_404(sdk: openai.OpenAI, ada: Person, ben: Person) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        sdk.chat.completions.create(model=model_of(ben), messages=user("hello"))
    assert caught.value.code == "model_not_found"
    theirs = ben.client.chat(user("say mine"))["folkmoot"]["conversation_id"]
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model=model_of(ada), messages=user("hello"), metadata={"conversation_id": theirs})
    assert len(ben.client.messages(theirs)) == 2


def test_a_wrong_key_is_an_authentication_error(platform: Platform, ada: Person) -> None:
    sdk = openai.OpenAI(base_url=f"{platform.url}/v1", api_key="fm_wrong", max_retries=0, http_client=platform.http)
    with pytest.raises(openai.AuthenticationError) as caught:
        sdk.chat.completions.create(model=model_of(ada), messages=user("hello"))
    assert caught.value.code == "invalid_api_key"


UNSUPPORTED: list[tuple[str, Any]] = [
    ("n", 2),
    ("n", 10**9),
    ("tools", [{"type": "function", "function": {"name": "f", "parameters": {}}}]),
    ("tool_choice", "required"),
    ("response_format", {"type": "json_object"}),
    ("logit_bias", {"50256": -100}),
    ("presence_penalty", 0.5),
    ("top_logprobs", 3),
    ("reasoning_effort", "high"),
    ("functions", []),
    ("audio", {"voice": "alloy"}),
    ("no_such_parameter", 1),
]


@pytest.mark.parametrize(("name", "value"), UNSUPPORTED)
def test_what_is_not_implemented_is_refused_by_name(ada: Person, platform: Platform, name: str, value: Any) -> None:
    body = {"model": model_of(ada), "messages": user("hello"), name: value}
    answer = platform.http.post("/v1/chat/completions", json=body, headers={"api-key": ada.key})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "unsupported_parameter"
    assert answer.json()["error"]["param"] == name
    assert answer.headers["x-should-retry"] == "false"


INVALID: list[tuple[str, Any]] = [
    ("messages", []),
    ("messages", None),
    ("messages", "hello"),
    ("messages", [{"role": "user", "content": ""}]),
    ("messages", [{"role": "user", "content": "  \n"}]),
    ("messages", [{"role": "user", "content": None}]),
    ("messages", [{"role": "assistant", "content": "hello"}]),
    ("messages", [{"role": "tool", "content": "hello", "tool_call_id": "x"}]),
    ("messages", [{"role": "wizard", "content": "hello"}]),
    ("messages", [{"role": "user", "content": "x" * 2001}]),
    ("messages", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}]}]),
    ("messages", [{"role": "user", "content": "x"}] * 2001),
    ("max_tokens", 0),
    ("max_tokens", 10**12),
    ("temperature", 1e308),
    ("temperature", -1),
    ("top_p", 0),
    ("seed", 2**63),
    ("stop", ["x"] * 100_000),
    ("stop", ""),
    ("stop", ["x", ""]),
    ("stop", "x" * 201),
    ("stop", 7),
    ("stream", "perhaps"),
    ("metadata", {"conversation_id": 7}),
    ("model", None),
    ("model", "x" * 1000),
]


@pytest.mark.parametrize(("name", "value"), INVALID, ids=[f"{name}-{i}" for i, (name, _) in enumerate(INVALID)])
def test_what_makes_no_sense_is_400_and_stores_nothing(ada: Person, platform: Platform, name: str, value: Any) -> None:
    body = {"model": model_of(ada), "messages": user("hello"), name: value}
    answer = platform.http.post("/v1/chat/completions", json=body, headers={"api-key": ada.key})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(name)
    assert stored(ada) == []


@pytest.mark.parametrize(
    ("content", "param", "says"),
    [
        ([{"type": "text", "text": "see"}, {"type": "image_url", "image_url": {"url": "x"}}], "1.type", "'image_url'"),
        ([{"type": "text", "text": 7}], "0.text", "string"),
        ([{"text": "no type"}], "0.type", "required"),
        (["text"], "0", "dictionary"),
        (7, None, "list of parts"),
    ],
)
def test_a_part_that_is_no_text_is_named_as_the_client_sent_it(
    ada: Person, sdk: openai.OpenAI, content: Any, param: str | None, says: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model=model_of(ada), messages=[{"role": "user", "content": content}])
    assert caught.value.param == ".".join(filter(None, ["messages.0.content", param]))
    assert says in caught.value.message and "function" not in caught.value.message


def test_documented_no_ops_and_neutral_values_are_accepted(ada: Person, sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model=model_of(ada),
        messages=[
            {"role": "developer", "content": "Be brief."},
            {"role": "assistant", "content": None},
            {"role": "user", "content": [{"type": "text", "text": "say fine"}]},
        ],
        n=1,
        presence_penalty=0,
        response_format={"type": "text"},
        user="ada",
        store=False,
        metadata={"purpose": "test"},
        extra_body={"tools": None, "logit_bias": None},
    )
    assert answer.choices[0].message.content == "fine"


def test_half_a_character_from_either_side_is_replaced(ada: Person, platform: Platform) -> None:
    body = f'{{"model": "{model_of(ada)}", "messages": [{{"role": "user", "content": "say \\ud83d nul \\u0000"}}]}}'
    headers = {"api-key": ada.key, "Content-Type": "application/json"}
    answer = platform.http.post("/v1/chat/completions", content=body, headers=headers)
    assert answer.json()["choices"][0]["message"]["content"] == "\ufffd nul \ufffd"
    assert stored(ada)[0]["content"] == "say \ufffd nul \ufffd"
    from_model = ada.client.chat(user("surrogate"))
    assert from_model["choices"][0]["message"]["content"] == "half \ufffd a character"


def test_a_society_answers_as_a_model_in_both_modes(
    platform: Platform, ada: Person, ben: Person, sdk: openai.OpenAI
) -> None:
    name = f"society:{platform.moot(ada, ben)}"
    answer = sdk.chat.completions.create(model=name, messages=user("solve 6 x 7"))
    assert "42" in (answer.choices[0].message.content or "")
    assert answer.choices[0].finish_reason == "stop"
    with sdk.chat.completions.create(
        model=name, messages=user("solve 6 x 7"), stream=True, stream_options={"include_usage": True}
    ) as stream:
        *chunks, usage = list(stream)
    assert "42" in "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    told = "".join((chunk.choices[0].delta.model_extra or {}).get("reasoning_content", "") for chunk in chunks)
    assert told.startswith(f"asking {ada.handle}, {ben.handle}") and f"{ben.handle} has an answer" in told
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert answer.usage == usage.usage and answer.usage is not None
    assert answer.usage.completion_tokens == answer.usage.total_tokens == 4, "two members, two pieces each"


def test_a_society_whose_models_do_not_count_has_no_usage(platform: Platform, ada: Person, sdk: openai.OpenAI) -> None:
    name = f"society:{platform.moot(ada)}"
    assert sdk.chat.completions.create(model=name, messages=user("uncounted answer: 42")).usage is None


def test_how_a_society_samples_is_its_own_business(platform: Platform, ada: Person, sdk: openai.OpenAI) -> None:
    ask: dict[str, Any] = {"model": f"society:{platform.moot(ada)}", "messages": user("solve 6 x 7")}
    usual: dict[str, Any] = {"max_tokens": 1, "temperature": 1.5, "top_p": 0.1, "extra_body": {"top_k": 3}}
    assert "42" in (sdk.chat.completions.create(**ask, **usual).choices[0].message.content or "")
    for name, value in (("stop", "42"), ("logprobs", True)):
        with pytest.raises(openai.BadRequestError) as caught:
            sdk.chat.completions.create(**ask, **{name: value})
        assert (caught.value.code, caught.value.param) == ("unsupported_parameter", name)
    assert len(ada.client.debates()) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_debate_that_is_stopped_is_not_started_again_by_the_sdk(
    platform: Platform, ada: Person, stream: bool
) -> None:
    sdk = openai.OpenAI(base_url=f"{platform.url}/v1", api_key=ada.key, max_retries=2)
    name = f"society:{platform.moot(ada)}"
    caught: list[openai.APIError] = []

    def ask() -> None:
        with pytest.raises(openai.APIError) as told:
            list(sdk.chat.completions.create(model=name, messages=user("never answer"), stream=stream))
        caught.append(told.value)

    asker = threading.Thread(target=ask)
    asker.start()
    while not (debates := ada.client.debates()) and asker.is_alive():
        time.sleep(0.02)
    ada.client.cancel_debate(debates[0]["id"])
    asker.join(30)
    sdk.close()
    assert caught[0].code == "debate_failed" and debates[0]["id"] in caught[0].message
    assert len(ada.client.debates()) == 1


LITELLM = """
import json, os, sys
os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION")
import litellm
base, key, model = sys.argv[1:]
ask = dict(model=f"openai/{model}", api_base=base, api_key=key, num_retries=0,
           messages=[{"role": "user", "content": "say through litellm"}])
whole = litellm.completion(**ask)
pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(**ask, stream=True) if chunk.choices]
print(json.dumps({"whole": whole.choices[0].message.content, "usage": whole.usage.total_tokens,
                  "streamed": "".join(pieces)}))
"""


def test_litellm_as_a_client(platform: Platform, ada: Person) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LITELLM, f"{platform.url}/v1", ada.key, model_of(ada)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == {"whole": "through litellm", "usage": 9, "streamed": "through litellm"}
