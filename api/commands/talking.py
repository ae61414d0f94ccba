"""chat, remember, recall."""

from __future__ import annotations

import sys
from argparse import Namespace
from typing import Any

from api.client import Client
from api.commands.session import connect, end_of, show
from personal_data.errors import FolkmootError, InvalidInput

Json = dict[str, Any]
_HELP = (
    "Say something. `/better TEXT` teaches what the last answer should have been, `/worse` that it was not good. "
    "Ctrl-D ends."
)


def chat(arguments: Namespace) -> None:
    """One message, or a conversation."""
    with connect(arguments) as client:
        talk = _Talk(client, arguments)
        if arguments.message is not None:
            talk.say(arguments.message)
        elif not sys.stdin.isatty():
            talk.say(sys.stdin.read())
        else:
            _converse(talk)


def remember(arguments: Namespace) -> None:
    """Remember one text."""
    with connect(arguments) as client:
        stored = client.remember(arguments.text, scope=arguments.scope, kind=arguments.kind)
    show(arguments, {"ids": stored, "scopes": stored.scopes}, f"remembered ({stored[0]}, {stored.scopes[0]})")


def recall(arguments: Namespace) -> None:
    """What the agent would recall, best first."""
    with connect(arguments) as client:
        hits = client.recall(arguments.query, k=arguments.k, as_of=end_of(arguments.as_of), kind=arguments.kind)
    lines = [f"{hit['score']:.4f}  {hit['speaker']}: {hit['text']}  [{hit['scope']}]" for hit in hits]
    show(arguments, hits, "\n".join(lines) or "nothing comes to mind")


class _Talk:
    """A conversation on a terminal: keeps the history, prints as the agent speaks."""

    def __init__(self, client: Client, arguments: Namespace) -> None:
        self._client = client
        self._arguments = arguments
        self._conversation_id: str | None = arguments.conversation
        self._history: list[Json] = []
        self._message_id: str | None = None
        if self._conversation_id is not None:
            stored = client.messages(self._conversation_id)
            self._history = [{"role": turn["role"], "content": turn["content"]} for turn in stored]

    def say(self, text: str) -> None:
        """Send one message and print the answer while it comes."""
        asked = [*self._history, {"role": "user", "content": text}]
        options = {"conversation_id": self._conversation_id, "max_tokens": self._arguments.max_tokens}
        if self._arguments.json:
            answer = self._client.chat(asked, **options)
            show(self._arguments, answer, "")
            return
        said: list[str] = []
        for chunk in self._client.chat_stream(asked, **options):
            for choice in chunk["choices"]:
                said.append(choice["delta"].get("content", ""))
                print(said[-1], end="", flush=True)
            self._note(chunk.get("folkmoot"))
        print()
        self._history = [*asked, {"role": "assistant", "content": "".join(said)}]

    def better(self, text: str) -> None:
        """Say what the last answer should have been; the next improvement learns from it."""
        if self._message_id is None:
            raise InvalidInput("there is no answer yet that could have been better")
        self._client.prefer(text, message_id=self._message_id)
        print("noted for the next improvement")

    def worse(self) -> None:
        """Say that the last answer was not good, without a better one."""
        if self._message_id is None:
            raise InvalidInput("there is no answer yet that could have been bad")
        self._client.prefer(rejected=self._history[-1]["content"], message_id=self._message_id)
        print("noted for an improvement that learns from single answers (loss kto)")

    def _note(self, provenance: Json | None) -> None:
        if provenance is not None:
            self._conversation_id = provenance["conversation_id"]
            self._message_id = provenance["message_id"]


def _converse(talk: _Talk) -> None:
    import readline  # noqa: F401 -- gives input() its line editing

    print(_HELP)
    while True:
        try:
            line = input("> ").strip()
        except EOFError:
            print()
            return
        try:
            if line.startswith("/better "):
                talk.better(line.removeprefix("/better ").strip())
            elif line == "/worse":
                talk.worse()
            elif line:
                talk.say(line)
        except FolkmootError as error:
            print(f"folkmoot: {error}", file=sys.stderr)
