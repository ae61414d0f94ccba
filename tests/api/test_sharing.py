"""Grants through the API and the command line: given, seen in the preview, withdrawn."""

from __future__ import annotations

from argparse import Namespace

import pytest

from api.commands import sharing as commands
from personal_data.errors import InvalidInput
from tests.api.conftest import Person, Platform


def asked(platform: Platform, **options: object) -> Namespace:
    empty = {"about": None, "including": None, "until": None, "question": None}
    return Namespace(url=platform.url, **{"json": False, **empty, **options})


def test_a_grant_is_seen_in_the_preview_until_it_is_withdrawn(
    platform: Platform, ada: Person, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    ada.client.remember("My boat is green.")
    ada.client.remember("My harp is red.", scope="society:moot")
    commands.grant(asked(platform, audience="society:moot", about=["boat"], until="2999-01-31"))
    given = capsys.readouterr().out
    assert "society:moot: about boat until 2999-02-01" in given
    commands.shown_to(asked(platform, audience="society:moot", question="Which colour has the boat?"))
    told = capsys.readouterr().out
    assert "would see 2 of your memories" in told and told.count("My boat is green.") == 2
    [one] = ada.client.grants()
    commands.withdraw(asked(platform, id=one["id"]))
    assert "(withdrawn)" in capsys.readouterr().out
    after = ada.client.shown_to("society:moot", question="Which colour has the boat?")
    assert (after["count"], after["hidden"]) == (1, {"private": 1})
    assert [hit["text"] for hit in after["recalled"]] == ["My harp is red."]
    commands.grants(asked(platform))
    assert one["id"] in capsys.readouterr().out


def test_what_cannot_be_granted_is_told(platform: Platform, ada: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOLKMOOT_KEY", ada.key)
    with pytest.raises(InvalidInput, match="no day"):
        commands.grant(asked(platform, audience="public", about=["boat"], until="soon"))
    with pytest.raises(InvalidInput, match="no sensitive kind is called 'gossip'"):
        ada.client.grant("public", kinds=["gossip"])
