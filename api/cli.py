"""`folkmoot`: the command line. Door: `main`. Only the standard library is imported before a command is chosen.

Every command is one function in `api/commands/`, named here as `module:function`. Whatever we raise on purpose becomes
one line on stderr and a non-zero exit status, never a traceback.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

OUR_NAMES = ("agents", "society", "personal_data", "training")


def main(argv: list[str] | None = None) -> int:
    """Run one command; the result is the exit status."""
    if (stranger := _stranger()) is not None:
        print(f"folkmoot: {stranger}", file=sys.stderr)
        return 1
    arguments = _parser().parse_args(argv)
    if "run" not in arguments:
        arguments.of.print_help()
        return 2
    from personal_data.errors import FolkmootError

    module, _, function = arguments.run.partition(":")
    try:
        return int(getattr(importlib.import_module(module), function)(arguments) or 0)
    except FolkmootError as error:
        from api.running import command

        print(f"folkmoot: {str(error).replace('`folkmoot ', f'`{command()} ')}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()
    return 1


def _stranger() -> str | None:
    """Who owns one of our import names here, if it is not us (`openai-agents` installs a package `agents`)."""
    root = Path(__file__).resolve().parent.parent
    for name in OUR_NAMES:
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        if found is None or not found.is_relative_to(root / name):
            return f"the import name {name!r} belongs to {_owner(name, found)} here; uninstall it and try again"
    return None


def _owner(name: str, found: Path | None) -> str:
    import importlib.metadata

    owners = importlib.metadata.packages_distributions().get(name, [])
    others = sorted(set(owners) - {"folkmoot"})
    return others[0] if others else str(found)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="folkmoot",
        description="Personal agents that remember, meet in a society, and improve themselves.",
        epilog="FOLKMOOT_KEY says who you are, FOLKMOOT_URL which Folkmoot (default: the one of your data folder).",
    )
    parser.set_defaults(of=parser)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    _add_running(commands)
    _add_talking(commands)
    _add_data(commands)
    _add_sharing(commands)
    _add_leaving(commands)
    _add_societies(commands)
    _add_learning(commands)
    return parser


def _command(commands: Commands, name: str, run: str, help: str, *, client: bool = True) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=help, description=help)
    command.set_defaults(run=f"api.commands.{run}" if "." not in run else run)
    if client:
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument("--url", help="which Folkmoot")
    return command


def _group(commands: Commands, name: str, help: str) -> Commands:
    """A word that other commands stand behind; alone it shows them."""
    group = commands.add_parser(name, help=help, description=help)
    group.set_defaults(of=group)
    return group.add_subparsers(title="commands", metavar="COMMAND")


def _add_running(commands: Commands) -> None:
    serve = _command(commands, "serve", "running:serve", "run the platform until Ctrl-C", client=False)
    serve.add_argument("--port", type=int, help="port of the API (0: any free one)")
    serve.add_argument("--host", help="address to bind (anything but loopback needs --allow-remote)")
    serve.add_argument("--allow-remote", action="store_true", default=None, help="let other machines in")
    demo = _command(commands, "demo", "api.demo:main", "see the three jobs on sample people", client=False)
    demo.add_argument("--keep", metavar="FOLDER", help="keep the demo's data in this folder")
    doctor = _command(commands, "doctor", "running:doctor", "check this installation and its data", client=False)
    doctor.add_argument("--json", action="store_true", help="print JSON")
    _command(commands, "status", "running:status", "what is there, what runs, and whether it answers")
    people = _group(commands, "user", "people")
    add = _command(people, "add", "running:user_add", "add a person with their agent; prints their key")
    add.add_argument("handle")
    add.add_argument("--name", help="how the agent calls its owner")
    add.add_argument("--model", help="the model that their agent runs on")


def _add_talking(commands: Commands) -> None:
    chat = _command(commands, "chat", "talking:chat", "talk to your agent")
    chat.add_argument("message", nargs="?", help="one message (without it: a conversation)")
    chat.add_argument("--conversation", metavar="ID", help="continue this one")
    chat.add_argument("--max-tokens", type=int, default=256)
    remember = _command(commands, "remember", "talking:remember", "tell your agent a fact")
    remember.add_argument("text")
    remember.add_argument("--scope", help="private, public or society:<slug>")
    remember.add_argument("--kind", choices=("fact", "preference"), help="a preference is heeded in every reply")
    recall = _command(commands, "recall", "talking:recall", "see what your agent recalls")
    recall.add_argument("query")
    recall.add_argument("-k", type=int, default=8, help="how many")
    recall.add_argument("--as-of", metavar="DAY", help="as if it were asked at the end of this day, as 2027-01-31")
    recall.add_argument("--kind", action="append", help="only turns, facts, documents or preferences")
    reflect = _command(commands, "reflect", "reflecting:reflect", "let your agent draw facts from what you said")
    reflect.add_argument("--no-wait", action="store_true", help="print the job and return")
    reflect.add_argument("--undo", metavar="ID", help="take back what this reflection added")
    _command(commands, "profile", "reflecting:profile", "what every prompt of yours shows")


def _add_data(commands: Commands) -> None:
    bring = _command(commands, "import", "importing:bring", "bring in exports, notes and documents")
    bring.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help="a file, a zip as it was downloaded, a folder"
    )
    bring.add_argument("--me", action="append", metavar="NAME", help="a speaker in it who is you")
    bring.add_argument("--scope", help="private, public or society:<slug>")
    bring.add_argument("--timezone", metavar="ZONE", help="where times without a zone were written: Europe/Berlin")
    bring.add_argument("--date-order", choices=("dmy", "mdy", "ymd"), help="what comes first in its dates")
    bring.add_argument("--dry-run", action="store_true", help="look, and import nothing")
    bring.add_argument("--yes", action="store_true", help="ask nothing")
    memory = _group(commands, "memory", "what your agent remembers")
    listed = _command(memory, "list", "remembering:listing", "all of it, newest first")
    listed.add_argument("--kind", help="turn, fact, document or preference")
    listed.add_argument("--speaker", help="what this one said")
    listed.add_argument("--holds", metavar="TEXT", help="what holds this text")
    listed.add_argument("--limit", type=int, default=50)
    for name, help in (("correct", "let a memory say something else"), ("undo", "take its last correction back"),
                       ("history", "what it said before"), ("forget", "forget it")):  # fmt: skip
        action = _command(memory, name, f"remembering:{name}", help)
        action.add_argument("id", metavar="ID")
        if name == "correct":
            action.add_argument("text")
    _command(memory, "verify", "remembering:verify", "whether the index holds and finds it")
    _command(memory, "rebuild", "remembering:rebuild", "fill the index anew")
    actions = _group(commands, "imports", "what was brought in")
    _command(actions, "list", "importing:listing", "all of it")
    report = _command(actions, "show", "importing:report", "how each part fared")
    report.add_argument("id", metavar="ID")
    undo = _command(actions, "undo", "importing:undo", "forget what it brought")
    undo.add_argument("id", metavar="ID")


def _add_leaving(commands: Commands) -> None:
    out = _command(commands, "export", "leaving:export", "all of your data as one zip")
    out.add_argument("file", type=Path, metavar="FILE.zip")
    back = _command(commands, "restore", "leaving:restore", "bring in what `folkmoot export` wrote")
    back.add_argument("file", type=Path, metavar="FILE.zip")
    erase = _command(commands, "erase", "leaving:erase", "erase for good, down to the bytes on the disk")
    what = erase.add_mutually_exclusive_group(required=True)
    what.add_argument("--memory", metavar="ID", help="one memory")
    what.add_argument("--source", metavar="S", help="an import, a conversation, or how the sources of memories begin")
    what.add_argument("--everything", action="store_true", help="your account and all that is yours")
    erase.add_argument("--yes", action="store_true", help="do not ask")


def _add_sharing(commands: Commands) -> None:
    grant = _command(commands, "grant", "sharing:grant", "let a society, or everybody here, see more of you")
    grant.add_argument("audience", help="society:<slug> or public")
    grant.add_argument("--about", action="append", metavar="WORDS", help="memories that hold these words")
    grant.add_argument("--including", action="append", metavar="KIND", help="sensitive memories of this kind")
    grant.add_argument("--until", metavar="DAY", help="the last day, as 2027-01-31")
    _command(commands, "grants", "sharing:grants", "what you have granted")
    withdraw = _command(commands, "withdraw", "sharing:withdraw", "take a grant back")
    withdraw.add_argument("id", metavar="ID")
    shown = _command(commands, "shown-to", "sharing:shown_to", "what an audience would see of you")
    shown.add_argument("audience", help="society:<slug> or public")
    shown.add_argument("--question", help="and what would be recalled for it")


def _add_societies(commands: Commands) -> None:
    actions = _group(commands, "society", "societies and seats")
    for name, help in (("create", "found one"), ("invite", "offer a seat"), ("accept", "take it"), ("leave", "leave")):
        action = _command(actions, name, f"debating:{name}", help)
        action.add_argument("slug")
        if name == "create":
            action.add_argument("--name", default="")
        if name == "invite":
            action.add_argument("handle")
    _command(actions, "list", "debating:listing", "yours")
    debate = _command(commands, "debate", "debating:debate", "ask a society")
    debate.add_argument("society")
    debate.add_argument("question")
    debate.add_argument("--seed", type=int)
    _add_plan(debate)
    debate.add_argument(
        "--kind",
        choices=("closed", "open", "opinion"),
        help="closed: one answer is right (default); open: texts, the best one wins; opinion: nobody is right",
    )
    debate.add_argument("--topic", help="what trust is learnt apart for")
    debate.add_argument("--save", type=Path, metavar="FILE", help="the transcript, as .json, .md or .html")
    plan = _command(actions, "plan", "debating:plan", "how your society debates where a question does not say")
    plan.add_argument("slug")
    _add_plan(plan)
    plan.add_argument("--panel-size", type=int, help="seats, for those that it trusts most")
    role = _command(actions, "role", "debating:role", "let a member be asked, or only look on")
    role.add_argument("slug")
    role.add_argument("handle")
    role.add_argument("role", choices=("member", "observer"))
    seat = _command(actions, "seat", "debating:seat", "whether your agent looks into what you share there")
    seat.add_argument("slug")
    seat.add_argument("memories", choices=("on", "off"))
    trust = _command(actions, "trust", "debating:trust", "whom a society trusts, and by which rule it decides")
    trust.add_argument("slug")
    health = _command(actions, "health", "debating:health", "how a society is doing, by its debates")
    health.add_argument("slug")


def _add_plan(command: argparse.ArgumentParser) -> None:
    command.add_argument("--rounds", type=int, choices=(0, 1, 2), help="of talk after the blind one")
    command.add_argument("--samples", type=int, help="so many times each member thinks")
    thrifty = argparse.BooleanOptionalAction
    command.add_argument("--thrifty", action=thrifty, help="ask no more than may change the answer")


def _add_learning(commands: Commands) -> None:
    improve = _command(commands, "improve", "learning:improve", "improve your agent in the background")
    stages = ("texts", "preferences", "memories", "debates", "environment")
    improve.add_argument("--stage", action="append", choices=stages, help="only this stage; may be given again")
    improve.add_argument("--environment", metavar="NAME", help="what to practise")
    improve.add_argument("--difficulty", type=int)
    improve.add_argument("--reward", metavar="NAME", help="who says what is right (blind); a wrong name lists them all")
    improve.add_argument("--steps", type=int)
    improve.add_argument("--seed", type=int)
    improve.add_argument("--no-wait", action="store_true", help="print the job and return")
    report = _command(commands, "report", "learning:report", "what an improvement did, step by step")
    report.add_argument("job", nargs="?", metavar="JOB", help="its id (default: the latest that is done)")
    report.add_argument("--save", type=Path, metavar="FILE", help="as .json, .md or .html, which draws it")
    report.add_argument("--plots", type=Path, metavar="FOLDER", help="write each plot there as a file of its own (SVG)")
    schedule = _command(commands, "schedule", "learning:schedule", "improve every so many hours")
    schedule.add_argument("hours", help="a number, or off")
    agent = _command(commands, "agent", "learning:agent", "see your agent, or change it")
    agent.add_argument("--model", metavar="NAME", help="the model that it runs on (without a live adapter)")
    agent.add_argument("--instructions", nargs="*", metavar="TEXT", help="what it should always heed; none: nothing")
    actions = _group(commands, "adapters", "versions of your agent")
    _command(actions, "list", "learning:adapters", "all of them")
    rollback = _command(actions, "rollback", "learning:rollback", "answer with an earlier one")
    rollback.add_argument("number", nargs="?", type=int, help="0 is the bare model; default: the version before")
    evaluate = _command(
        commands, "evaluate", "learning:evaluate", "measure the built-in model, recall, or a society", client=False
    )
    evaluate.add_argument("--json", action="store_true", help="print the figures as JSON")
    evaluate.add_argument("name", choices=("nursery", "recall", "society"))
    evaluate.add_argument(
        "rest", nargs=argparse.REMAINDER, help="passed on: for recall the labelled files, for society the recorded one"
    )


if __name__ == "__main__":
    raise SystemExit(main())
