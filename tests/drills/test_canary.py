"""A canary in everybody's memory never shows to anybody else: not in recall, prompts, answers, streams, debates, jobs,
or on the disk beside the database.

Everybody asks for everybody else's canary by its very word: 72 probes in `make test`, 10,100 in `make drills`. A second
canary of each, shared with a society, shows that the drill would see one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select

from personal_data.records import Job
from tests.api.conftest import Person, Platform, user


@dataclass(frozen=True)
class Bird:
    """Somebody with a canary that nobody may see, and one that a society may."""

    person: Person
    private: str
    shared: str


@pytest.fixture
def flock(platform: Platform, request: pytest.FixtureRequest) -> list[Bird]:
    people = 101 if request.config.getoption("--long") else 9
    birds = [Bird(platform.add("bird"), f"kanari{n:04}privat", f"kanari{n:04}geteilt") for n in range(people)]
    slug = platform.moot(birds[0].person, *(bird.person for bird in birds[1:6]))
    for bird in birds:
        bird.person.client.remember(f"My secret word is {bird.private}.")
        bird.person.client.remember(f"My open word is {bird.shared}.", scope=f"society:{slug}")
    return birds


def foreign(birds: list[Bird], asker: Bird, told: Any) -> list[str]:
    """Other people's private canaries in something."""
    text = told if isinstance(told, str) else json.dumps(told)
    return [bird.private for bird in birds if bird is not asker and bird.private in text]


def prompts(platform: Platform, since: int) -> Iterator[str]:
    return (json.dumps(asked["messages"]) for asked in platform.model.requests[since:])


def test_nobody_sees_anybody_elses_canary(
    platform: Platform, flock: list[Bird], caplog: pytest.LogCaptureFixture
) -> None:
    probes = 0
    for asker in flock:
        own = asker.person.client.recall(f"Which secret word is {asker.private}?", k=3)
        assert asker.private in own[0]["text"]
        for other in flock:
            if other is not asker:
                hits = asker.person.client.recall(f"Which secret word is {other.private}?", k=10)
                assert foreign(flock, asker, hits) == []
                probes += 1
    assert probes == len(flock) * (len(flock) - 1)
    for asker, other in zip(flock, flock[1:] + flock[:1], strict=True):
        since = len(platform.model.requests)
        question = user(f"What is the secret word of {other.person.handle}?")
        answer = asker.person.client.chat(question)
        streamed = list(asker.person.client.chat_stream(question))
        asked = list(prompts(platform, since))
        assert any(asker.private in prompt for prompt in asked), "the prompt holds no memory: the drill shows nothing"
        assert foreign(flock, asker, [answer, streamed, asked]) == []
    assert "kanari" not in caplog.text


def test_a_debate_sees_what_was_shared_and_nothing_else(platform: Platform, flock: list[Bird]) -> None:
    since = len(platform.model.requests)
    asker = flock[0].person.client
    [society] = [one for one in asker.societies() if one["slug"].startswith("moot-")]
    debate = asker.ask(society["slug"], "What are your secret word and your open word?")
    seen: list[Any] = list(asker.debate_events(debate["id"]))
    seen += [asker.debate(debate["id"]), list(prompts(platform, since))]
    text = json.dumps(seen)
    assert sum(bird.shared in text for bird in flock) >= 2, "nothing was shown: the drill shows nothing"
    assert [bird.private for bird in flock if bird.private in text] == []


def test_no_job_and_no_file_beside_the_database_holds_one(platform: Platform, flock: list[Bird]) -> None:
    flock[0].person.client.improve()
    with platform.database.reading() as session:
        jobs = [json.dumps([job.payload, job.progress, job.result, job.error]) for job in session.scalars(select(Job))]
    assert len(jobs) > 0
    for told in jobs:
        assert "kanari" not in told
    files = [
        path for path in platform.settings.data_dir.rglob("*") if path.is_file() and "folkmoot.db" not in path.name
    ]
    assert files
    for path in files:
        assert b"kanari" not in path.read_bytes(), path
