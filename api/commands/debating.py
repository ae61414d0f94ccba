"""society and debate."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from agents.messages import shortened
from api.commands.session import connect, form_of, show
from api.running import command
from personal_data.errors import BackendError

_RANKING = 2
"""The round of positions that rank the others' answers."""


def create(arguments: Namespace) -> None:
    """Found a society."""
    with connect(arguments) as client:
        society = client.create_society(arguments.slug, arguments.name)
    show(arguments, society, f"{society['slug']}: your agent is its first member; invite others by their handles")


def invite(arguments: Namespace) -> None:
    """Offer a seat."""
    with connect(arguments) as client:
        member = client.invite(arguments.slug, arguments.handle)
    show(arguments, member, f"{member['handle']}: {member['state']}")


def accept(arguments: Namespace) -> None:
    """Take an offered seat."""
    with connect(arguments) as client:
        client.accept(arguments.slug)
    show(arguments, {"ok": True}, f"your agent sits in {arguments.slug}")


def leave(arguments: Namespace) -> None:
    """Give a seat up."""
    with connect(arguments) as client:
        client.leave(arguments.slug)
    show(arguments, {"ok": True}, f"your agent has left {arguments.slug}")


def listing(arguments: Namespace) -> None:
    """The societies of the caller."""
    with connect(arguments) as client:
        societies = client.societies()
    lines = []
    for society in societies:
        members = ", ".join(f"{member['handle']} ({member['state']})" for member in society["members"])
        lines.append(f"{society['slug']}: {members}")
    show(arguments, societies, "\n".join(lines) or f"none yet: {command()} society create NAME")


def debate(arguments: Namespace) -> int:
    """Ask a society, show who has answered while it thinks, then its report; 1 when the debate failed."""
    form = None if arguments.save is None else form_of(arguments.save, "a transcript")
    with connect(arguments) as client:
        asked = client.ask(
            arguments.society,
            arguments.question,
            seed=arguments.seed,
            kind=arguments.kind,
            topic=arguments.topic,
            plan=_plan(arguments) or None,
        )
        for name, data in client.debate_events(asked["id"]):
            if not arguments.json:
                _show_event(name, data)
        report = client.debate(asked["id"])
        if form is not None:
            arguments.save.write_text(client.transcript(asked["id"], form), encoding="utf-8")
    if report["state"] != "done" and not arguments.json:
        raise BackendError(f"the debate {report['id']} {report['state']}: {report['error']}")
    show(arguments, report, f"\n{report['text']}\n\n{_who_said_what(report)}")
    return 0 if report["state"] == "done" else 1


def plan(arguments: Namespace) -> None:
    """Say how a society of one's own debates, and show it."""
    wanted = _plan(arguments)
    if arguments.panel_size is not None:
        wanted["panel_size"] = arguments.panel_size
    with connect(arguments) as client:
        society = client.change_society(arguments.slug, **wanted)
    told = society["plan"]
    show(arguments, told, "\n".join(f"  {name.replace('_', ' ')}: {value}" for name, value in told.items()))


def role(arguments: Namespace) -> None:
    """Let a member be asked, or only look on."""
    with connect(arguments) as client:
        member = client.give_role(arguments.slug, arguments.handle, arguments.role)
    show(arguments, member, f"{member['handle']}: {member['role']}")


def seat(arguments: Namespace) -> None:
    """Let one's agent look into what one shares with a society, or not."""
    with connect(arguments) as client:
        client.set_seat(arguments.slug, shares_memories=arguments.memories == "on")
    looks = "looks into what you share with it" if arguments.memories == "on" else "answers by what it knows alone"
    show(arguments, {"ok": True}, f"in {arguments.slug} your agent {looks}")


def _plan(arguments: Namespace) -> dict[str, Any]:
    told = {name: getattr(arguments, name) for name in ("rounds", "samples", "thrifty")}
    return {name: value for name, value in told.items() if value is not None}


def trust(arguments: Namespace) -> None:
    """Whom a society trusts."""
    with connect(arguments) as client:
        found = client.trust(arguments.slug)
    questions = "question" if found["resolved"] == 1 else "questions"
    lines = [f"decides by {found['rule']}, after {found['resolved']:,} {questions} whose outcome is known"]
    for member in found["members"]:
        right = "nothing known" if member["right"] is None else f"right {member['right']:.0%} of the time"
        topics = ", ".join(f"{topic} {value:.0%}" for topic, value in member["topics"].items())
        lines.append(f"  {member['handle']}: {right}{f' ({topics})' if len(member['topics']) > 1 else ''}")
    show(arguments, found, "\n".join(lines))


def health(arguments: Namespace) -> None:
    """How a society is doing."""
    with connect(arguments) as client:
        found = client.society_health(arguments.slug)
    text = "\n".join([*_measures(found["health"]), *map(_drifted, found["drift"])])
    show(arguments, found, text + ("\n?: there is nothing yet to measure it from" if "?" in text else ""))


def _measures(told: dict[str, Any]) -> list[str]:
    """Who was right how often, then one line a measure; of a number that was not measured it says so."""
    talk, variety = told["talk"], told["variety"]
    lines = [
        f"{told['debates']:,} debates; the outcome of {told['resolved']:,} is known",
        f"{'':14}{'n':>6}  {'accuracy (95 %)':24}{'Brier':>7}{'ECE':>7}",
    ]
    for name in ("society", "best_member", "majority"):
        score = told[name]
        brier, ece = (_number(score[kind], ".3f") for kind in ("brier", "ece"))
        accuracy = _interval(score["accuracy"], ".1%")
        lines.append(f"{name.replace('_', ' '):14}{score['accuracy']['of']:>6}  {accuracy:24}{brier:>7}{ece:>7}")
    rows = {
        "lead over the best member": _interval(told["lead_over_best"], "+.1%"),
        "lead over the majority": _interval(told["lead_over_majority"], "+.1%"),
        "somebody was right": _of(told["oracle"]),
        "  and was not believed": _of(told["missed"]),
        "one alone was right": _of(told["single_solver"]),
        "nobody was right": f"{_of(told['nobody_right'])}; claimed {_number(told['nobody_right_claimed'], '.1%')}",
        "changed their answer": _of(talk["changed"]),
        "  to the most given, unfounded": _of(talk["conformed"]),
        "left the right answer": _of(talk["right_to_wrong"]),
        "left a wrong one for it": _of(talk["wrong_to_right"]),
        "lineages heard": _number(variety["lineages"], ".2f"),
        "independent members": _number(variety["members"], ".2f"),
        "calls per answer": _number(told["calls_per_answer"], ".1f"),
        "calls per right answer": _number(told["calls_per_right_answer"], ".1f"),
        "trust that was heard": _number(told["coverage"], ".1%"),
        "degraded": _of(told["degraded"]),
    }
    return [*lines, *(f"{name:32}{value}" for name, value in rows.items())]


def _drifted(drift: dict[str, Any]) -> str:
    before, now = (_number(drift[name], ".0%") for name in ("before", "now"))
    return f"{drift['member']} is right {now} with its adapter of now, {before} with the one before"


def _number(value: float | None, form: str) -> str:
    return "?" if value is None else format(value, form)


def _interval(told: dict[str, Any], form: str) -> str:
    if told["value"] is None:
        return "?"
    return f"{told['value']:{form}} ({told['low']:{form}} to {told['high']:{form}})"


def _of(told: dict[str, Any]) -> str:
    return "?" if told["value"] is None else f"{_interval(told, '.1%')} of {told['of']:,}"


def _show_event(name: str, data: dict[str, Any]) -> None:
    if name == "opened":
        print(f"asking {', '.join(data['panel'])} ...", flush=True)
    elif name == "position":
        answered = "has an answer" if data["round"] < _RANKING else "has ranked them"
        said = {"answered": answered, "abstained": "does not know"}.get(data["status"], data["cause"])
        print(f"  {data['agent']} {said}", flush=True)
    elif name == "review":
        print(f"  {data['agent']} checks {shortened(data['hypothesis'])!r}: {data['verdict']}", flush=True)


def _who_said_what(report: dict[str, Any]) -> str:
    lines = ["who said what:"]
    for position in report["positions"]:
        if position["round"] == _RANKING:
            lines.append(f"  {position['agent']}: {_ranking(report, position)}")
            continue
        lines.append(f"  {position['agent']}: {position['answer'] or position['cause'] or 'does not know'}")
        if position["argument"] != position["answer"]:
            lines += [f"      {line}" for line in (position["argument"] or "").splitlines()]
    return "\n".join(lines)


def _ranking(report: dict[str, Any], position: dict[str, Any]) -> str:
    if position["status"] != "answered":
        return f"has not ranked them ({position['cause']})"
    wording = {hypothesis["key"]: hypothesis["answer"] for hypothesis in report["hypotheses"]}
    return "ranks " + " > ".join(repr(shortened(wording.get(key, key), 40)) for key in position["alternatives"])
