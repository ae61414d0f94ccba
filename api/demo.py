"""`folkmoot demo`: the three jobs, for real, on the sample people of `examples/`, in a data folder of their own.

Three people join with their own texts and chat with their agents; the agents debate two questions; one agent is
improved in the background from her preferences and from its own slow thinking. Nothing here is a recording: the script
only asks, through the same client as everybody, and prints what comes back.
"""

from __future__ import annotations

import json
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from api import keys
from api.client import Client
from api.supervisor import Supervisor
from personal_data.errors import ConfigurationError
from personal_data.settings import load

Json = dict[str, Any]
PEOPLE = Path(__file__).resolve().parents[1] / "examples" / "people"
SOCIETY = "moot"
GREEDY: Json = {"temperature": 0, "max_tokens": 160}
SEED = 7


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
DEBATES = (
    ("What is 418 + 275?", "a checkable question: everybody thinks for themselves"),
    ("Where is Ben's ladder?", "only Ben knows, and he has shared it with this society"),
)
ENVIRONMENT = {"name": "order", "difficulty": 1, "reward": "blind"}


def main(arguments: Namespace) -> int:
    """Run the demo; returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    started = time.monotonic()
    with _data_folder(arguments) as folder:
        settings = load(data_dir=folder, port=0)
        console.print(
            f"[bold]Folkmoot[/bold]: three people, their agents, one society. Data in {escape(str(folder))}\n"
        )
        with ExitStack() as stack:
            with _waiting(console, "starting the api, the engine, the memory index and the worker"):
                url = stack.enter_context(Supervisor(settings).running())
            _show(console, url, keys.read_bootstrap_key(folder))
            with _waiting(console, "stopping everything"):
                stack.close()
    console.print(f"[bold]Done[/bold] in {time.monotonic() - started:.0f} s. Keep it running with `make serve`.")
    return 0


def _show(console: Console, url: str, admin_key: str | None) -> None:
    with Client(url, admin_key) as admin:
        people = _join(console, admin)
    try:
        _title(console, "2. Each chats with their own agent")
        for handle, asks in CHATS.items():
            _chat(console, handle, people[handle], asks)
        _found_society(console, people)
        for question, why in DEBATES:
            _debate(console, people["ada"], question, why)
        _improve(console, people["ada"])
    finally:
        for client in people.values():
            client.close()


# Joining


def _join(console: Console, admin: Client) -> dict[str, Client]:
    _title(console, "1. Three people join, each with their own texts")
    people = {}
    for folder in sorted(path for path in PEOPLE.iterdir() if path.is_dir()):
        handle = folder.name
        created = admin.add_user(handle, handle.title())
        client = people[handle] = Client(admin.base_url, created["key"])
        private = client.import_texts({"private.md": (folder / "private.md").read_text("utf-8")})
        shared = client.import_texts(
            {"shared.md": (folder / "shared.md").read_text("utf-8")}, scope=f"society:{SOCIETY}"
        )
        console.print(f"  {handle:5} {len(private)} private memories, {len(shared)} shared with the society")
    return people


# Chatting


def _chat(console: Console, handle: str, client: Client, asks: tuple[Ask, ...]) -> None:
    for ask in asks:
        answer = "".join(
            choice["delta"].get("content") or ""
            for chunk in client.chat_stream([{"role": "user", "content": ask.text}], **GREEDY)
            for choice in chunk.get("choices", [])
        )
        console.print(f"  {handle:>5}: {escape(ask.text)}")
        console.print(f"  agent: {_indented(answer)}{_mark(ask, answer)}")
    console.print()


def _mark(ask: Ask, answer: str) -> str:
    if ask.expected is None:
        return ""
    return "  [green](right)[/green]" if ask.expected in answer else f"  [red](expected {ask.expected!r})[/red]"


# Debating


def _found_society(console: Console, people: dict[str, Client]) -> None:
    founder, *others = people
    people[founder].create_society(SOCIETY, "The moot")
    for handle in others:
        people[founder].invite(SOCIETY, handle)
        people[handle].accept(SOCIETY)
    _title(console, f"3. The society {SOCIETY!r} debates: {', '.join(people)}")


def _debate(console: Console, asker: Client, question: str, why: str) -> None:
    console.print(f"  [bold]{escape(question)}[/bold] ({why})")
    debate = asker.ask(SOCIETY, question, seed=SEED)
    with _bar(console) as show:
        members = len(debate["panel"])
        for heard, _ in enumerate(
            (name for name, _ in asker.debate_events(debate["id"]) if name == "position"), start=1
        ):
            show(heard, members, "members heard")
    report = asker.debate(debate["id"])
    for position in report["positions"]:
        said = position["answer"] or f"({position['cause'] or 'does not know'})"
        console.print(f"    {position['agent']:5} {escape(said)}")
    verdict = report["verdict"]
    if verdict["answer"] is None:
        console.print("    [bold]nobody knows[/bold]")
    else:
        dissent = ", ".join(escape(key) for key in verdict["dissent"]) or "none"
        console.print(
            f"    [bold]answer: {escape(verdict['answer'])}[/bold], confidence {verdict['confidence']:.0%}, "
            f"by {verdict['rule']}, dissent: {dissent}"
        )
    console.print()


# Improving


def _improve(console: Console, client: Client) -> None:
    _title(console, "4. Ada's agent improves in the background")
    lines = (PEOPLE / "ada" / "preferences.jsonl").read_text("utf-8").splitlines()
    for line in lines:
        wanted = json.loads(line)
        client.prefer(wanted["chosen"], rejected=wanted["rejected"], prompt=wanted["prompt"])
    console.print(f"  Ada has marked {len(lines)} answers: she likes whole sentences, and a smile at the end.")
    console.print("  Then her agent practises ordering people, rewarded only by its own slower thinking.")
    job_id = client.improve(environment=ENVIRONMENT, seed=SEED)["id"]
    with _bar(console) as show:
        for seen in client.watch_improvement(job_id):
            progress = seen["progress"] or {}
            show(progress.get("done", 0), progress.get("total", 1), progress.get("note") or seen["state"])
    job = client.improvement(job_id)
    if job["state"] != "done":
        raise ConfigurationError(f"the improvement ended as {job['state']}: {job['error']}")
    for stage in job["result"]["stages"]:
        _gate(console, stage)
    version = job["result"]["version"]
    outcome = f"published as version {version['number']}" if version else "nothing was published"
    console.print(f"  [bold]{outcome}[/bold]\n")
    console.print("  Ada asks again:")
    _chat_once(console, client, "When is my dentist appointment?")
    _chat_once(console, client, "How are you today?")


def _gate(console: Console, stage: Json) -> None:
    colour = {"published": "green", "refused": "red"}.get(stage["decision"], "yellow")
    console.print(f"  [bold]{stage['stage']}[/bold]: [{colour}]{stage['decision']}[/{colour}]")
    gate = stage["gate"] or {}
    if "gap" in gate:
        gap = gate["gap"]
        console.print(
            f"    thinking longer against answering at once: {gap['slow_right']:.2f} against {gap['fast_right']:.2f}"
            f" (n={gap['n']})"
        )
    for check in gate.get("checks", []):
        mark = "[green]ok[/green]" if check["ok"] else "[red]no[/red]"
        console.print(f"    {mark} {escape(check['name'])}: {escape(check['note'])}")
    if not gate.get("checks"):
        for reason in stage["reasons"]:
            console.print(f"    {escape(reason)}")


def _chat_once(console: Console, client: Client, text: str) -> None:
    answer = client.chat([{"role": "user", "content": text}], **GREEDY)["choices"][0]["message"]["content"]
    console.print(f"    ada: {escape(text)}\n  agent: {_indented(answer)}")


# Showing


def _title(console: Console, text: str) -> None:
    console.print(f"\n[bold]{text}[/bold]")


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
    """The folder asked for, kept; otherwise a temporary one, removed at the end."""
    if arguments.keep:
        yield Path(arguments.keep).resolve()
        return
    with tempfile.TemporaryDirectory(prefix="folkmoot-demo-") as folder:
        yield Path(folder)
