"""serve, doctor, status, user add."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

from api.client import Client
from api.commands.session import connect_as_administrator, named, show
from api.running import command, read_running
from personal_data.errors import BackendError
from personal_data.settings import load

Json = dict[str, Any]


def serve(arguments: Namespace) -> None:
    """Run the platform until Ctrl-C."""
    from api.supervisor import serve as run

    given = {name: getattr(arguments, name) for name in ("host", "port", "allow_remote")}
    run(load(**{name: value for name, value in given.items() if value is not None}))


def doctor(arguments: Namespace) -> int:
    """Check everything; 1 when something is wrong."""
    from api.doctor import examine

    findings = examine(load())
    if arguments.json:
        print(json.dumps([finding.as_dict() for finding in findings], indent=2))
    else:
        for finding in findings:
            print(f"{'ok ' if finding.ok else 'BAD'}  {finding.what}: {finding.found}")
    return 0 if all(finding.ok for finding in findings) else 1


def status(arguments: Namespace) -> int:
    """What there is, what runs, and whether each part answers; 1 when nothing runs, is silent or has just ended."""
    url = named(arguments)
    told: Json = _here() if url is None else {"url": url}
    told["parts"] = _parts(told["url"]) if told["url"] else {}
    show(arguments, told, "\n".join(_lines(told)))
    whole = told["parts"] and all(told["parts"].values()) and None not in told.get("processes", {}).values()
    return 0 if whole else 1


def _here() -> Json:
    """This data folder, the models that its settings name, and what its supervisor has written down."""
    settings = load()
    models = {name: model.base or model.model or model.url for name, model in settings.models.items()}
    running = read_running(settings.data_dir) or {"url": None}
    return {"data_dir": str(settings.data_dir), "models": models, **running}


def _parts(url: str) -> Json:
    with Client(url) as client:
        try:
            return client.ready()
        except BackendError as error:
            print(f"folkmoot: {error}", file=sys.stderr)
            return {"api": False}


def _lines(told: Json) -> Iterator[str]:
    yield f"Folkmoot at {told['url']}" if told["url"] else f"nothing runs; start it: {command()} serve"
    if "data_dir" in told:
        yield f"  data     {told['data_dir']}"
    for name, what in told.get("models", {}).items():
        yield f"  model    {name} ({what})"
    for part, answers in told["parts"].items():
        yield f"  {'answers ' if answers else 'SILENT  '} {part}"
    for name, pid in told.get("processes", {}).items():
        times = told["restarts"].get(name, 0)
        again = f", started again {times} times" if times else ""
        yield f"  process  {name} ({'has just ended' if pid is None else pid}){again}"


def user_add(arguments: Namespace) -> None:
    """Add a person; the key is shown here and never again."""
    with connect_as_administrator(arguments) as client:
        created = client.add_user(arguments.handle, arguments.name or arguments.handle.title(), model=arguments.model)
    text = (
        f"{created['user']['name']} has an agent: agent:{created['user']['handle']}\n"
        f"The key is shown once; whoever has it is {created['user']['name']}:\n\n"
        f"  export FOLKMOOT_KEY={created['key']}\n\n"
        f'Then: {command()} remember "My cat is called Miro." && {command()} chat "What is my cat called?"'
    )
    show(arguments, created, text)
