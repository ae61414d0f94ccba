"""`folkmoot demo`: the three jobs, for real, on the sample people of `examples/`, in a data folder of their own.

Three people join with their own texts and chat with their agents; the agents debate two questions; one agent is
improved in the background from her preferences and from its own slow thinking. Nothing here is a recording: the script
only asks, through the same client as everybody, and prints what comes back. Where that is wrong the demo ends with
status 1 and one line that says what.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from api import keys
from api.client import Client
from api.supervisor import Supervisor
from personal_data.errors import InvalidInput
from personal_data.settings import Settings, load
from society.canonical import answer_key

Json = dict[str, Any]
PEOPLE = Path(__file__).resolve().parents[1] / "examples" / "people"
SOCIETY = "moot"
GREEDY: Json = {"temperature": 0, "max_tokens": 160}
SEED = 1


@dataclass(frozen=True, slots=True)
class Ask:
    """What a person says, and the word that a right answer holds (None: there is nothing to check)."""

    text: str
    expected: str | None = None


CHATS = {
    "ada": (
        Ask("What is my cat called?", "Miro"),
        Ask("Which code opens my bike lock?", "4071"),
        Ask("What is my brother called?", "not know"),
    ),
    "ben": (
        Ask("Where does my brother live?", "Porto"),
        Ask("My drill is under the stairs."),
        Ask("Where is my drill?", "under the stairs"),
        Ask("When is my wedding?", "not know"),
    ),
    "cleo": (
        Ask("What does my uncle play?", "harp"),
        Ask("What is 347 + 285?", "632"),
        Ask("What is the capital of Peru?", "not know"),
    ),
}
DEBATES = {
    Ask("What is 418 + 275?", "693"): "a checkable question: everybody thinks for themselves",
    Ask("Where is Ben's ladder?", "behind the garage"): "only Ben knows, and he has shared it with this society",
}
ENVIRONMENT = {"name": "order", "difficulty": 2, "reward": "blind", "steps": 30}
AFTERWARDS = (
    Ask("When is my dentist appointment?", "Thursday. :)"),
    Ask("What does my grandmother play?", "cello. :)"),
)
"""Facts that `preferences.jsonl` does not touch, answered with a smile."""


@dataclass(slots=True)
class Transcript:
    """Where the demo writes, and what came back `wrong`."""

    console: Console
    wrong: list[str] = field(default_factory=list)

    def print(self, text: str = "") -> None:
        self.console.print(text)

    def mark(self, asked: str, expected: str, ok: bool, said: str | None) -> str:
        """The mark behind an answer; a wrong one is noted."""
        if ok:
            return "  [green](right)[/green]"
        self.wrong.append(f"{asked!r} was answered {said!r} instead of {expected!r}")
        return f"  [red](expected {escape(repr(expected))})[/red]"


def main(arguments: Namespace) -> int:
    """Run the demo; returns the exit status, 1 when an answer was wrong or nothing was learned."""
    show = Transcript(Console(highlight=False, soft_wrap=True))
    started = time.monotonic()
    with _data_folder(arguments) as folder:
        settings = own_settings(folder)
        show.print(f"[bold]Folkmoot[/bold]: three people, their agents, one society. Data in {escape(str(folder))}\n")
        with ExitStack() as stack:
            with _waiting(show.console, "starting the api, the engine, the memory index and the worker"):
                url = stack.enter_context(Supervisor(settings).running())
            play(show, url, keys.read_bootstrap_key(folder))
            with _waiting(show.console, "stopping everything"):
                stack.close()
    return end(show, time.monotonic() - started)


def end(show: Transcript, seconds: float) -> int:
    """The last line, and the exit status."""
    if show.wrong:
        print(f"folkmoot: the demo went wrong: {'; '.join(show.wrong)}", file=sys.stderr)
        return 1
    show.print(f"[bold]Done[/bold] in {seconds:.0f} s. Keep it running with `make serve`.")
    return 0


def own_settings(folder: Path) -> Settings:
    """The defaults on a folder of the demo's own, whatever is configured here: nobody's real records are touched.

    The variables are taken out of the environment itself, because every process that is started inherits it.
    """
    for name in [name for name in os.environ if name.upper().startswith("FOLKMOOT_")]:
        del os.environ[name]
    return load(data_dir=folder, port=0)


def play(show: Transcript, url: str, admin_key: str | None) -> None:
    """The three jobs, one after the other."""
    with Client(url, admin_key) as admin:
        people = _join(show, admin)
    try:
        _title(show, "2. Each chats with their own agent")
        for handle, asks in CHATS.items():
            _chat(show, handle, people[handle], asks)
        _found_society(show, people)
        for ask, why in DEBATES.items():
            show.print(f"  [bold]{escape(ask.text)}[/bold] ({why})")
            conclude(show, ask, _debate(show, people["ada"], ask.text))
        _improve(show, people["ada"])
    finally:
        for client in people.values():
            client.close()


# Joining


def _join(show: Transcript, admin: Client) -> dict[str, Client]:
    _title(show, "1. Three people join, each with their own texts")
    people = {}
    for folder in sorted(path for path in PEOPLE.iterdir() if path.is_dir()):
        handle = folder.name
        created = admin.add_user(handle, handle.title())
        client = people[handle] = Client(admin.base_url, created["key"])
        private = client.remember_all(_lines(folder / "private.md"))
        shared = client.remember_all(_lines(folder / "shared.md"), scope=f"society:{SOCIETY}")
        show.print(f"  {handle:5} {len(private)} private memories, {len(shared)} shared with the society")
    return people


def _lines(notes: Path) -> list[str]:
    """What is listed in a note."""
    return [line.removeprefix("- ") for line in notes.read_text("utf-8").splitlines() if line.startswith("- ")]


# Chatting


def _chat(show: Transcript, handle: str, client: Client, asks: tuple[Ask, ...]) -> None:
    for ask in asks:
        answer = "".join(
            choice["delta"].get("content") or ""
            for chunk in client.chat_stream([{"role": "user", "content": ask.text}], **GREEDY)
            for choice in chunk.get("choices", [])
        )
        mark = "" if ask.expected is None else show.mark(ask.text, ask.expected, ask.expected in answer, answer)
        show.print(f"  {handle:>5}: {escape(ask.text)}")
        show.print(f"  agent: {_indented(answer)}{mark}")
    show.print()


# Debating


def _found_society(show: Transcript, people: dict[str, Client]) -> None:
    founder, *others = people
    people[founder].create_society(SOCIETY, "The moot")
    for handle in others:
        people[founder].invite(SOCIETY, handle)
        people[handle].accept(SOCIETY)
    _title(show, f"3. The society {SOCIETY!r} debates: {', '.join(people)}")


def _debate(show: Transcript, asker: Client, question: str) -> Json:
    debate = asker.ask(SOCIETY, question, seed=SEED)
    with _bar(show.console) as progress:
        members = len(debate["panel"])
        for heard, _ in enumerate(
            (name for name, _ in asker.debate_events(debate["id"]) if name == "position"), start=1
        ):
            progress(heard, members, "members heard")
    return asker.debate(debate["id"])


def conclude(show: Transcript, ask: Ask, report: Json) -> None:
    """Print who said what and what came of it; a debate that did not end has no verdict."""
    for position in report["positions"]:
        said = position["answer"] or f"({position['cause'] or 'does not know'})"
        show.print(f"    {position['agent']:5} {escape(said)}")
    verdict = report["verdict"] or {"answer": None}
    answer, expected = verdict["answer"], str(ask.expected)
    right = answer is not None and answer_key(answer) == answer_key(expected)
    mark = show.mark(ask.text, expected, right, answer)
    if report["state"] != "done":
        show.print(f"    [bold]the debate {report['state']}[/bold]: {escape(str(report['error']))}{mark}")
    elif answer is None:
        show.print(f"    [bold]nobody knows[/bold]{mark}")
    else:
        dissent = ", ".join(escape(key) for key in verdict["dissent"]) or "none"
        show.print(
            f"    [bold]answer: {escape(answer)}[/bold], confidence {verdict['confidence']:.0%}, "
            f"by {verdict['rule']}, dissent: {dissent}{mark}"
        )
    show.print()


# Improving


def _improve(show: Transcript, client: Client) -> None:
    _title(show, "4. Ada's agent improves in the background")
    lines = (PEOPLE / "ada" / "preferences.jsonl").read_text("utf-8").splitlines()
    for line in lines:
        wanted = json.loads(line)
        client.prefer(wanted["chosen"], rejected=wanted["rejected"], prompt=wanted["prompt"])
    show.print(f"  Ada has marked {len(lines)} answers: she likes a smile at the end.")
    show.print("  Then her agent practises ordering people, rewarded only by its own slower thinking.")
    job_id = client.improve(environment=ENVIRONMENT, seed=SEED)["id"]
    with _bar(show.console) as progress:
        for seen in client.watch_improvement(job_id):
            told = seen["progress"] or {}
            progress(told.get("done", 0), told.get("total", 1), told.get("note") or seen["state"])
    learned(show, client.improvement(job_id))
    show.print("  Ada asks again, about what she marked no answer to:")
    _chat(show, "ada", client, AFTERWARDS)


def learned(show: Transcript, job: Json) -> None:
    """Print what each stage of an improvement came to; her preferences must have been published."""
    stages = (job["result"] or {}).get("stages", [])
    for stage in stages:
        _gate(show, stage)
    version = (job["result"] or {}).get("version")
    outcome = f"published as version {version['number']}" if version else "nothing was published"
    show.print(f"  [bold]{outcome}[/bold]\n")
    if job["state"] != "done":
        show.wrong.append(f"the improvement ended as {job['state']}: {job['error']}")
    elif not any(stage["stage"] == "preferences" and stage["decision"] == "published" for stage in stages):
        reasons = "; ".join((job["result"] or {}).get("reasons", []))
        show.wrong.append(f"Ada's preferences were not published: {reasons}")


def _gate(show: Transcript, stage: Json) -> None:
    colour = {"published": "green", "refused": "red"}.get(stage["decision"], "yellow")
    show.print(f"  [bold]{stage['stage']}[/bold]: [{colour}]{stage['decision']}[/{colour}]")
    gate = stage["gate"] or {}
    for level, gap in gate.get("gaps", {}).items():
        show.print(
            f"    level {level}, thinking longer against answering at once: {gap['slow_right']:.2f} against "
            f"{gap['fast_right']:.2f} (n={gap['n']})"
        )
    if (nearer := gate.get("nearer_to_chosen")) is not None:
        before, after = (round(nearer[when] * nearer["n"]) for when in ("before", "after"))
        show.print(f"    held-out prompts answered in her style: {before} -> {after} of {nearer['n']}")
    for check in gate.get("checks", []):
        mark = "[green]ok[/green]" if check["ok"] else "[red]no[/red]"
        show.print(f"    {mark} {escape(check['name'])}: {escape(check['note'])}")
    if not gate.get("checks"):
        for reason in stage["reasons"]:
            show.print(f"    {escape(reason)}")


# Showing


def _title(show: Transcript, text: str) -> None:
    show.print(f"\n[bold]{text}[/bold]")


def _indented(text: str) -> str:
    return escape(text.strip()).replace("\n", "\n         ")


@contextmanager
def _waiting(console: Console, text: str) -> Iterator[None]:
    if not console.is_terminal:
        console.print(f"{text} ...")
        yield
        return
    with console.status(text):
        yield


@contextmanager
def _bar(console: Console) -> Iterator[Callable[[int, int, str], None]]:
    """A progress bar; where there is no terminal, a line whenever the note changes its first word."""
    if not console.is_terminal:
        yield _Lines(console)
        return
    columns = (SpinnerColumn(), BarColumn(30), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int, note: str) -> None:
            progress.update(task, completed=done, total=total, description=escape(note))

        yield show


class _Lines:
    """Progress for logs: a line every quarter."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last: tuple[int, int] | None = None

    def __call__(self, done: int, total: int, note: str) -> None:
        quarter = (total, done * 4 // max(total, 1))
        if quarter != self._last:
            self._last = quarter
            self._console.print(f"    [{done}/{total}] {escape(note)}", markup=False)


@contextmanager
def _data_folder(arguments: Namespace) -> Iterator[Path]:
    """The folder asked for, kept, which must be new or empty; otherwise a temporary one, removed at the end."""
    if arguments.keep:
        kept = Path(arguments.keep).expanduser().resolve()
        if kept.is_dir() and any(kept.iterdir()):
            raise InvalidInput(f"{kept} is not empty: the demo starts in a folder of its own, name a new one")
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="folkmoot-demo-") as folder:
        yield Path(folder)
