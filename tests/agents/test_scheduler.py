"""The engine's thread: whose turn it is, what it frees, and what it does when something goes wrong."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from queue import Queue
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.adapters import Adapter, write_adapter
from agents.engine import residents
from agents.engine.base import load_base
from agents.engine.generation import Batch, Prompt, generate
from agents.engine.lora import AdapterStack
from agents.engine.residents import Registered, Residents
from agents.engine.scheduler import Job, Scheduler, Told
from agents.messages import SamplingParams
from personal_data.errors import BackendError, Overloaded
from tests.agents.test_lora import random_adapter


class FullMemory(AdapterStack):
    """A stack whose device has no memory left, while `full`."""

    full = True

    def load(self, slot: int, adapter: Adapter) -> None:
        if self.full:
            raise RuntimeError("out of memory")
        super().load(slot, adapter)


def ask(scheduler: Scheduler, adapter: Registered | None) -> Queue[Told]:
    told: Queue[Told] = Queue()
    prompt = Prompt(scheduler.batch.base, (5, 6, 7), SamplingParams(max_tokens=1))
    scheduler.submit(Job([prompt], adapter, told.put))
    return told


def test_an_unforeseen_fault_ends_one_job_and_keeps_its_slot(qwen3_folder: Path, adapters: dict[str, Path]) -> None:
    base = load_base(str(qwen3_folder))
    stack = FullMemory(base, slots=2, rank=8)
    residents = Residents(stack)
    residents.register("a", adapters["adapter-1"])
    scheduler = Scheduler(Batch(base, stack), residents)
    broken = [ask(scheduler, residents.find("a")) for _ in range(2)]
    behind = ask(scheduler, None)
    scheduler.start()
    try:
        for told in broken:
            with pytest.raises(BackendError, match="RuntimeError"):
                raise told.get(timeout=60)  # type: ignore[misc]
        [step] = behind.get(timeout=60)  # type: ignore[misc]
        assert step.finish_reason
        stack.full = False
        [step] = ask(scheduler, residents.find("a")).get(timeout=60)  # type: ignore[misc]
        assert step.finish_reason
    finally:
        scheduler.close()
    assert (scheduler.waiting, residents.resident, residents.pinned) == (0, 1, 0)


class Diary:
    """A scheduler on one thread, driven turn by turn, that notes who got a token in which turn."""

    def __init__(self, folder: Path, *, slots: int = 5, **limits: int) -> None:
        self.base = load_base(str(folder))
        self.stack = AdapterStack(self.base, slots=slots, ranks=(4, 8))
        self.residents = Residents(self.stack)
        self.scheduler = Scheduler(Batch(self.base, self.stack), self.residents, **limits)
        self.turns: list[list[str]] = []
        self.texts: dict[str, str] = {}

    def ask(
        self, name: str, *, adapter: str | None = None, tokens: int = 4, prompt: int = 3, n: int = 1, **job: int
    ) -> Job:
        """A request whose steps are noted under its name."""

        def tell(told: Told) -> None:
            assert not isinstance(told, Exception)
            for step in told:
                self.turns[-1].append(name)
                self.texts[name] = self.texts.get(name, "") + step.text

        ids = tuple(range(3, 3 + prompt))
        asked = Prompt(self.base, ids, SamplingParams(max_tokens=tokens), n=n, live=bool(job.get("live", True)))
        made = Job([asked], self.residents.find(adapter) if adapter else None, tell, **job)  # type: ignore[arg-type]
        self.scheduler.submit(made)
        return made

    def run(self, turns: int = 1000) -> list[list[str]]:
        """Take turns until nothing is left to do; who got tokens in each."""
        before = len(self.turns)
        while turns and (self.scheduler.waiting or self.scheduler._running):
            self.turns.append([])
            self.scheduler._turn()
            turns -= 1
        return self.turns[before:]

    def first(self, name: str) -> int:
        """The turn in which a request got its first token."""
        return next(turn for turn, names in enumerate(self.turns) if name in names)

    def empty(self) -> bool:
        batch = self.scheduler.batch
        held = self.scheduler.waiting, batch.rows, batch.promised, self.residents.pinned, len(batch._cache.lengths)
        return not any(held) and self.scheduler._waiting.idle


def counted(turns: list[list[str]]) -> Counter[str]:
    """How many tokens each got."""
    return Counter(name for names in turns for name in names)


def without_ends(diary: Diary) -> Diary:
    """Let every completion run to its limit: end tokens would make the order depend on the weights."""
    diary.base = dataclasses.replace(diary.base, eos_ids=frozenset())
    return diary


def test_a_long_prompt_does_not_stall_the_others(qwen3_folder: Path) -> None:
    diary = without_ends(Diary(qwen3_folder, piece=20))
    diary.ask("short", tokens=40)
    diary.run(3)
    diary.ask("long", prompt=200, tokens=2)
    diary.run(2)
    diary.ask("late", tokens=2)
    diary.run()
    long = diary.first("long")
    assert long >= 3 + 10
    assert all("short" in names for names in diary.turns[1:long])
    assert diary.first("late") <= 7
    assert diary.empty()


def test_prompts_of_half_a_piece_are_read_one_after_the_other(qwen3_folder: Path) -> None:
    """Two are read between two steps, each answered at once; the third waits for one step, not the first for the
    third."""
    diary = Diary(qwen3_folder, piece=16)
    for name in "abc":
        diary.ask(name, prompt=8)
    assert diary.run(2) == [["a", "b", "a", "b"], ["c", "a", "b", "c"]]


def test_short_prompts_are_read_together(qwen3_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    diary = Diary(qwen3_folder, piece=16)
    for name in "abc":
        diary.ask(name, prompt=2)
    batch, forwards = diary.scheduler.batch, []
    monkeypatch.setattr(batch, "prefill", lambda tokens, read=batch.prefill: forwards.append(tokens) or read(tokens))
    assert diary.run(1) == [["a", "b", "c", "a", "b", "c"]]
    assert len(forwards) == 1


def test_who_comes_while_a_prompt_is_read_need_not_wait_for_a_step(qwen3_folder: Path) -> None:
    diary = Diary(qwen3_folder, piece=16)
    first = diary.ask("a", prompt=8)
    tell = first.tell

    def meanwhile(told: Told) -> None:
        first.tell = tell
        tell(told)
        diary.ask("b", prompt=8)

    first.tell = meanwhile
    assert diary.run(1) == [["a", "b", "a", "b"]]


def test_one_agents_requests_do_not_stand_before_anothers(qwen3_folder: Path, adapters: dict[str, Path]) -> None:
    diary = without_ends(Diary(qwen3_folder, max_rows=2))
    for name in ("adapter-1", "adapter-2"):
        diary.residents.register(name, adapters[name])
    for number in range(6):
        diary.ask(f"many-{number}", adapter="adapter-1")
    diary.run(2)
    diary.ask("one", adapter="adapter-2")
    diary.run()
    assert diary.first("one") <= diary.first("many-2")
    assert diary.first("one") < diary.first("many-3")
    assert diary.empty()


def test_chat_goes_before_background_and_finds_room(qwen3_folder: Path) -> None:
    diary = without_ends(Diary(qwen3_folder, max_rows=8))
    for number in range(12):
        diary.ask(f"rollout-{number}", tokens=30, priority=1)
    diary.run(2)
    assert diary.scheduler.batch.rows == 6
    diary.ask("chat", tokens=2)
    diary.run(1)
    assert "chat" in diary.turns[-1]
    diary.run()
    assert diary.empty()


def test_two_long_prompts_share_an_idle_engine_with_a_short_one(qwen3_folder: Path) -> None:
    """No row decodes yet: prompts are read in pieces all the same, and none waits for another's whole prompt."""
    diary = without_ends(Diary(qwen3_folder, piece=20))
    diary.ask("long", prompt=80, tokens=2)
    diary.ask("longer", prompt=240, tokens=2)
    diary.ask("short", prompt=5, tokens=2)
    diary.run()
    assert diary.first("short") < diary.first("long") < diary.first("longer")
    assert diary.empty()


def test_chat_does_not_wait_for_backgrounds_prompts(qwen3_folder: Path) -> None:
    """Neither in one group with them nor in turns with them."""
    diary = without_ends(Diary(qwen3_folder, piece=20))
    for number in range(6):
        diary.ask(f"rollout-{number}", prompt=200, tokens=2, priority=1)
    diary.ask("chat", prompt=50, tokens=2)
    diary.run(4)
    assert diary.first("chat") <= 3
    diary.run()
    assert diary.empty()


def test_background_leaves_room_in_the_queue(qwen3_folder: Path) -> None:
    diary = Diary(qwen3_folder, max_waiting=8)
    for number in range(6):
        diary.ask(f"rollout-{number}", priority=1)
    with pytest.raises(Overloaded):
        diary.ask("one too many", priority=1)
    for number in range(2):
        diary.ask(f"chat-{number}")
    with pytest.raises(Overloaded):
        diary.ask("full")
    diary.run()
    assert diary.empty()


def test_who_comes_while_an_adapter_is_read_takes_nobodys_place(
    qwen3_folder: Path, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chat arrives between the choice of a background prompt and its start: both run, each once."""
    diary = without_ends(Diary(qwen3_folder))
    for name in ("adapter-1", "adapter-2"):
        diary.residents.register(name, adapters[name])
    read, arrivals = residents.read_adapter, ["chat"]

    def slowly(path: Path, *, base_sha256: str) -> Adapter:
        if arrivals:
            diary.ask(arrivals.pop(), adapter="adapter-2", tokens=3)
        return read(path, base_sha256=base_sha256)

    monkeypatch.setattr(residents, "read_adapter", slowly)
    diary.ask("rollout", adapter="adapter-1", tokens=3, priority=1)
    turns = diary.run()
    assert counted(turns)["chat"] == counted(turns)["rollout"] == 3
    assert diary.empty()


def test_a_prompt_whose_adapter_finds_no_slot_is_passed_over_but_not_for_ever(
    qwen3_folder: Path, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.engine.scheduler._PATIENCE", 2)
    diary = without_ends(Diary(qwen3_folder, slots=2))
    for name in ("adapter-1", "adapter-2"):
        diary.residents.register(name, adapters[name])
    diary.ask("holder", adapter="adapter-1", tokens=30)
    diary.run(1)
    diary.ask("blocked", adapter="adapter-2")
    for number in range(6):
        diary.ask(f"base-{number}", tokens=3)
        diary.run(1)
    assert set(counted(diary.turns)) == {"holder", "base-0", "base-1"}
    diary.run()
    assert counted(diary.turns)["base-5"] == 3
    assert diary.empty()


def test_a_listener_that_is_gone_ends_its_own_job_only(qwen3_folder: Path) -> None:
    diary = without_ends(Diary(qwen3_folder))

    def deaf(_: Told) -> None:
        raise RuntimeError("Event loop is closed")

    diary.scheduler.submit(Job([Prompt(diary.base, (5, 6), SamplingParams(max_tokens=50))], None, deaf))
    diary.ask("other", tokens=5)
    turns = diary.run()
    assert counted(turns)["other"] == 5
    assert len(turns) < 10
    assert diary.empty()


def test_a_failing_forward_ends_its_batch_and_nothing_more(
    qwen3_folder: Path, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two prompts of one job and another's row are told; what waited is served afterwards."""
    diary = without_ends(Diary(qwen3_folder, max_rows=3))
    diary.residents.register("a", adapters["adapter-1"])
    told: list[Told] = []
    both = [Prompt(diary.base, (5, 6, 7), SamplingParams(max_tokens=9)) for _ in range(2)]
    diary.scheduler.submit(Job(both, diary.residents.find("a"), told.append))
    diary.scheduler.submit(Job([Prompt(diary.base, (8, 9), SamplingParams(max_tokens=9))], None, told.append))
    diary.ask("waits", tokens=3)

    def broken(*_: object) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patched:
        patched.setattr(diary.scheduler.batch.decoder, "next_logits", broken)
        with pytest.raises(RuntimeError):
            diary.scheduler._turn()
    diary.scheduler._abandon(BackendError("the engine failed"))
    assert [str(item) for item in told] == ["the engine failed"] * 2
    assert counted(diary.run())["waits"] == 3
    assert diary.empty()


def test_a_background_request_larger_than_its_share_runs_at_last(qwen3_folder: Path) -> None:
    diary = without_ends(Diary(qwen3_folder, max_rows=8))
    diary.ask("chat", tokens=60)
    diary.run(1)
    diary.ask("group", n=7, priority=5)
    diary.run(3)
    assert "group" in diary.turns[-1]
    diary.run()
    assert diary.empty()


def test_jobs_that_are_not_live_are_told_once(qwen3_folder: Path) -> None:
    diary = without_ends(Diary(qwen3_folder))
    diary.ask("whole", tokens=9, live=False)
    diary.ask("stream", tokens=9)
    turns = diary.run()
    assert [names.count("whole") for names in turns if "whole" in names] == [9]
    assert len([names for names in turns if "stream" in names]) == 8  # the first two tokens come in one turn
    assert diary.texts["whole"] == diary.texts["stream"]


def test_a_thousand_cancellations_leave_nothing(qwen3_folder: Path, adapters: dict[str, Path]) -> None:
    """At every stage: waiting, half prefilled, decoding, some of a group; among others that go on undisturbed."""
    diary = Diary(qwen3_folder, slots=3, max_rows=6, piece=8)
    for name, path in adapters.items():
        diary.residents.register(name, path)
    rng = Random(7)
    jobs = []
    for number in range(1000):
        adapter = rng.choice([None, *adapters])
        jobs.append(diary.ask(f"{number}", adapter=adapter, tokens=6, prompt=rng.randint(1, 60), n=rng.randint(1, 2)))
        diary.run(rng.randint(0, 2))
        diary.scheduler.cancel(jobs.pop(rng.randrange(len(jobs))))
        assert diary.scheduler.waiting < 200
    diary.run()
    assert diary.empty()
    assert diary.residents.resident <= 2


ACTIONS = st.lists(st.tuples(st.sampled_from(["acquire", "release"]), st.integers(0, 7)), max_size=60)


@settings(max_examples=30, deadline=None)
@given(ACTIONS)
def test_pinned_adapters_sit_together_and_keep_their_weights(
    shelf: tuple[AdapterStack, dict[str, tuple[Path, Adapter]]], actions: list[tuple[str, int]]
) -> None:
    """Eight adapters, four slots a bank: whatever is pinned, released and evicted, each is found as it was loaded."""
    stack, made = shelf
    residents = Residents(stack)
    for name, (path, _) in made.items():
        residents.register(name, path)
    known = [residents.find(name) for name in made]
    pins = [0] * len(known)
    for action, number in actions:
        if action == "acquire" and residents.acquire(known[number]):
            pins[number] += 1
        elif action == "release" and pins[number]:
            residents.release(known[number])
            pins[number] -= 1
        assert residents.pinned == sum(map(bool, pins)) <= residents.resident <= 4
        places: dict[int, list[int]] = {0: [], 1: []}
        for one, count in zip(known, pins, strict=True):
            if count:
                slot = residents.slot(one)
                places[slot // stack.slots].append(slot % stack.slots)
                expected = made[one.name][1].tensors
                assert all((stack.export(slot).tensors[key] == expected[key]).all() for key in expected)
        assert all(sorted(taken) == list(range(1, len(taken) + 1)) for taken in places.values())


@pytest.fixture(scope="module")
def shelf(
    qwen3_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[AdapterStack, dict[str, tuple[Path, Adapter]]]:
    """A stack of two banks of four slots, and eight adapters on disk."""
    stack = AdapterStack(load_base(str(qwen3_folder)), slots=5, ranks=(2, 4))
    made = {}
    for seed in range(8):
        path = tmp_path_factory.mktemp("adapter")
        adapter = random_adapter(stack, rank=1 + seed % 4, seed=seed)
        write_adapter(path, adapter)
        made[f"a{seed}"] = path, adapter
    return stack, made


def test_a_slot_that_changes_owner_keeps_nothing(qwen3_folder: Path, adapters: dict[str, Path]) -> None:
    """One slot, three owners in turn, and a new version under an old name: each says what it says in a fresh engine."""
    diary = Diary(qwen3_folder, slots=2)
    for name, path in adapters.items():
        diary.residents.register(name, path)
    for name in adapters:
        diary.ask(name, adapter=name, tokens=12)
        diary.run()
    diary.residents.unregister("adapter-1")
    diary.residents.register("adapter-1", adapters["adapter-3"])
    diary.texts["new"] = ""
    diary.ask("new", adapter="adapter-1", tokens=12)
    diary.run()
    for name, path in adapters.items():
        fresh = Diary(qwen3_folder, slots=2)
        fresh.residents.register("only", path)
        fresh.ask("only", adapter="only", tokens=12)
        fresh.run()
        assert diary.texts[name] == fresh.texts["only"]
    assert diary.texts["new"] == diary.texts["adapter-3"] != diary.texts["adapter-1"]


def test_a_seed_does_not_depend_on_who_had_the_row_before(qwen3_folder: Path) -> None:
    diary = Diary(qwen3_folder)
    warm = SamplingParams(max_tokens=10, temperature=1.0, seed=3)
    for _ in range(2):
        asked = Prompt(diary.base, (5, 6, 7), warm)
        diary.scheduler.submit(Job([asked], None))
        diary.turns.append([])
        while diary.scheduler._running or diary.scheduler.waiting:
            diary.scheduler._turn()
        again = Prompt(diary.base, (5, 6, 7), warm)
        generate(Batch(diary.base, diary.stack), [again])
        assert asked.samples[0].token_ids == again.samples[0].token_ids
