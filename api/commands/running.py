"""serve, doctor, status, user add."""

from __future__ import annotations

import json
from argparse import Namespace

from api.commands.session import connect, show
from api.running import read_running
from personal_data.errors import BackendError
from personal_data.settings import load


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
    """What is running, and whether each part answers; 1 when one does not."""
    with connect(arguments) as client:
        try:
            parts = client.ready()
        except BackendError as error:
            parts = {"api": False}
            if not arguments.json:
                print(error)
        running = read_running(load().data_dir) or {}
        text = [f"Folkmoot at {client.base_url}"]
        text += [f"  {'answers ' if answers else 'SILENT  '} {part}" for part, answers in parts.items()]
        text += [f"  process  {name} ({pid})" for name, pid in running.get("processes", {}).items()]
        show(arguments, {"url": client.base_url, "parts": parts, **running}, "\n".join(text))
    return 0 if all(parts.values()) else 1


def user_add(arguments: Namespace) -> None:
    """Add a person; the key is shown here and never again."""
    with connect(arguments) as client:
        created = client.add_user(arguments.handle, arguments.name or arguments.handle.title(), model=arguments.model)
    text = (
        f"{created['user']['name']} has an agent: agent:{created['user']['handle']}\n"
        f"The key is shown once; whoever has it is {created['user']['name']}:\n\n"
        f"  export FOLKMOOT_KEY={created['key']}\n\n"
        'Then: folkmoot remember "My cat is called Miro." && folkmoot chat "What is my cat called?"'
    )
    show(arguments, created, text)
