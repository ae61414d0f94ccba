"""improve, report, schedule, agent, adapters, evaluate."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

from api.client import Client
from api.commands.session import connect, follow, form_of, show
from personal_data.errors import BackendError, InvalidInput, NotFound

Json = dict[str, Any]
_EVALUATIONS = {
    "nursery": "training.nursery.evaluate",
    "recall": "agents.recall_evaluation",
    "society": "api.society_evaluation",
}


def improve(arguments: Namespace) -> int:
    """Start an improvement, show its progress, then what the gate decided; 1 when it did not end well."""
    with connect(arguments) as client:
        job = client.improve(stages=arguments.stage, environment=_environment(arguments), seed=arguments.seed)
        if arguments.no_wait:
            show(arguments, job, f"{job['id']} is {job['state']}")
            return 0
        job = follow(arguments, client.watch_improvement(job["id"]))
    if arguments.json:
        show(arguments, job, "")
    elif job["state"] != "done":
        raise BackendError(f"the improvement {job['id']} is {job['state']}: {job['error'] or 'stopped by its owner'}")
    else:
        _show_result(job)
    return 0 if job["state"] == "done" else 1


def report(arguments: Namespace) -> None:
    """Print the report of an improvement, or save it or its plots; without an id of the latest that is done."""
    form = "json" if arguments.json else "md"
    if arguments.save is not None:
        form = form_of(arguments.save, "a report")
    with connect(arguments) as client:
        job_id = arguments.job or _latest(client)
        told = client.report(job_id, form)
        written = [] if arguments.plots is None else _write_plots(client, job_id, arguments.plots)
    if arguments.plots is not None and arguments.save is None:
        text = f"{len(written)} plots of {job_id} are in {arguments.plots}"
        show(arguments, {"id": job_id, "plots": [str(path) for path in written]}, text)
    elif arguments.save is None:
        print(told.rstrip("\n"))
    else:
        arguments.save.write_text(told, encoding="utf-8")
        show(arguments, {"id": job_id, "saved": str(arguments.save)}, f"the report of {job_id} is in {arguments.save}")


def _write_plots(client: Client, job_id: str, folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in client.plots(job_id):
        path = folder / f"{Path(name).name}.svg"  # the name comes from elsewhere: it leads nowhere else
        path.write_text(client.plot(job_id, name), encoding="utf-8")
        written.append(path)
    return written


def _latest(client: Client) -> str:
    done = [job["id"] for job in client.improvements() if job["state"] == "done"]
    if not done:
        raise NotFound("no improvement is done yet: `folkmoot improve` starts one")
    return str(done[0])


def schedule(arguments: Namespace) -> None:
    """Improve every so many hours, or not."""
    hours = _hours(arguments.hours)
    with connect(arguments) as client:
        agent = client.schedule(hours)
    text = "no schedule: improve when asked" if hours is None else f"improves every {hours:g} hours from now on"
    show(arguments, agent, text)


def _hours(told: str) -> float | None:
    try:
        hours = None if told == "off" else float(told)
    except ValueError as error:
        raise InvalidInput(f"{told!r} is neither a number of hours nor `off`") from error
    if hours is not None and not math.isfinite(hours):
        raise InvalidInput(f"{told!r} hours is never: say `off` for no schedule")
    return hours


def agent(arguments: Namespace) -> None:
    """Show the agent and the models it could run on, after changing what was asked for."""
    with connect(arguments) as client:
        if arguments.model is None and arguments.instructions is None:
            found = client.agent()
        else:
            found = client.change_agent(model=arguments.model, instructions=arguments.instructions)
        models = [model["name"] for model in client.models()]
    lines = [f"agent:{found['handle']} on {found['model']} (there are: {', '.join(models)})"]
    show(arguments, found, "\n".join([*lines, *(f"  heeds: {text}" for text in found["instructions"])]))


def adapters(arguments: Namespace) -> None:
    """All versions, newest first."""
    with connect(arguments) as client:
        versions = client.adapters()
    lines = [f"{'*' if row['live'] else ' '} {row['number']:>3}  {row['id']}  {row['sha256'][:12]}" for row in versions]
    if not any(row["live"] for row in versions):
        lines.append("*   0  the bare model")
    show(arguments, versions, "\n".join(lines))


def rollback(arguments: Namespace) -> None:
    """Answer with an earlier version."""
    with connect(arguments) as client:
        agent = client.roll_back(arguments.number)
    show(arguments, agent, f"live now: {agent['live_version_id'] or 'the bare model'}")


def evaluate(arguments: Namespace) -> int:
    """Measure the built-in model, recall on labelled files, or a recorded society, in a process of its own.

    `-P`: whatever `training` lies in the working folder is not ours.
    """
    options = [option for option in arguments.rest if option != "--json"]  # after the name, `rest` takes all there is
    command = [sys.executable, "-P", "-m", _EVALUATIONS[arguments.name], *options]
    as_json = arguments.json or options != arguments.rest
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE if as_json else None, text=True)
    if as_json:
        figures = [_figure(line) for line in done.stdout.splitlines() if line.startswith("figure ")]
        print(json.dumps(figures, indent=2))
    return done.returncode


def _figure(line: str) -> Json:
    """A line `figure NAME VALUE TARGET` as data; the value is None where nothing was measured."""
    _, name, value, target = line.split()
    return {"name": name, "value": None if value == "none" else float(value), "target": target}


def _environment(arguments: Namespace) -> Json | None:
    wanted = {
        "name": arguments.environment,
        "difficulty": arguments.difficulty,
        "reward": arguments.reward,
        "steps": arguments.steps,
    }
    return {name: value for name, value in wanted.items() if value is not None} or None


def _show_result(job: Json) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("stage", "decision", "check", "", "what was measured", title=f"Improvement {job['id']}")
    for stage in job["result"].get("stages", []):
        checks = (stage.get("gate") or {}).get("checks", [])
        for check in checks:
            table.add_row(
                stage["stage"], stage["decision"], check["name"], "ok" if check["ok"] else "no", check["note"]
            )
        if not checks:
            table.add_row(stage["stage"], stage["decision"], "", "", "; ".join(stage["reasons"]))
    console = Console()
    console.print(table)
    version = job["result"].get("version")
    console.print(f"published as version {version['number']}" if version else "nothing was published")
