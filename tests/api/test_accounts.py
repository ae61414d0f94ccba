"""People and keys: shown once, stored as a hash, revoked at once; the owner comes from the credential only."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from api import keys
from api.client import Client
from personal_data.database import Database
from personal_data.errors import Conflict, InvalidInput, NotFound, Unauthorized
from personal_data.records import Key, Model
from tests.api.conftest import Person, Platform


def test_the_first_key_is_a_private_file_that_outlives_restarts(platform: Platform) -> None:
    path = platform.settings.data_dir / keys.BOOTSTRAP_FILE
    before = path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    keys.bootstrap(platform.database, platform.settings.data_dir)
    assert path.read_text() == before
    assert platform.admin.me()["admin"] is True


def test_a_lost_first_key_is_replaced_and_revoked(database: Database, data_dir: Path) -> None:
    lost = keys.bootstrap(database, data_dir).read_text().strip()
    (data_dir / keys.BOOTSTRAP_FILE).unlink()
    found = keys.bootstrap(database, data_dir).read_text().strip()
    with database.reading() as session:
        assert keys.authenticate(session, found).admin
        with pytest.raises(Unauthorized):
            keys.authenticate(session, lost)


def test_a_first_key_that_the_database_does_not_know_is_replaced(database: Database, data_dir: Path) -> None:
    (data_dir / keys.BOOTSTRAP_FILE).write_text(f"fm_{'0' * 12}_{'0' * 64}\n")
    found = keys.bootstrap(database, data_dir).read_text().strip()
    with database.reading() as session:
        assert keys.authenticate(session, found).admin


def test_two_folders_on_one_database_keep_their_first_keys(database: Database, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        keys.bootstrap(database, folder)
    before = [keys.read_bootstrap_key(folder) for folder in (here, there)]
    (here / keys.BOOTSTRAP_FILE).unlink()
    for folder in (here, there):
        keys.bootstrap(database, folder)
    after = [keys.read_bootstrap_key(folder) for folder in (here, there)]
    assert before[1] == after[1] and before[0] != after[0]
    with database.reading() as session:
        assert all(keys.authenticate(session, str(key)).admin for key in after)
        with pytest.raises(Unauthorized):
            keys.authenticate(session, str(before[0]))


def test_a_new_person_has_a_key_and_an_agent(platform: Platform, ada: Person) -> None:
    assert ada.client.me()["handle"] == ada.handle
    assert ada.client.agent()["model"] == "scripted"
    with platform.database.reading() as session:
        stored = session.query(Key).all()
    assert all(ada.key.split("_")[2] not in str(vars(row)) for row in stored)


def test_only_the_administrator_adds_people(platform: Platform, ada: Person) -> None:
    with pytest.raises(NotFound):
        ada.client.add_user("eve", "Eve")
    with pytest.raises(Conflict):
        platform.admin.add_user(ada.handle, "Another Ada")
    with pytest.raises(InvalidInput):
        platform.admin.add_user("Ada Lovelace", "Ada")


def test_a_model_that_is_configured_no_more_takes_nobody_in(platform: Platform) -> None:
    with platform.database.session() as session:
        session.add(Model(name="sold", kind="engine", base="a/b", lineage="a/b"))
    with pytest.raises(InvalidInput, match=r"there are: gone, .*scripted"):
        platform.admin.add_user("eve", "Eve", model="sold")


def test_a_revoked_key_opens_nothing_from_that_moment(platform: Platform, ada: Person) -> None:
    second = ada.client.add_key("phone")
    with Client(platform.url, second["key"]) as phone:
        assert phone.me()["handle"] == ada.handle
        ada.client.revoke_key(second["id"])
        with pytest.raises(Unauthorized):
            phone.me()
    assert [key["label"] for key in ada.client.api_keys() if key["revoked_at"] is None] == ["first"]


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Authorization", "Bearer fm_000000000000_" + "0" * 64)],
        [("Authorization", "Bearer nonsense")],
        [("Authorization", "Basic YWRhOmFkYQ==")],
        [("Authorization", "Bearer {key}"), ("Authorization", "Bearer {key}")],
        [("Authorization", "Bearer {key}"), ("api-key", "{key}")],
        [("X-Forwarded-User", "admin"), ("X-Original-URL", "/api/me")],
    ],
)
def test_every_other_credential_is_401(platform: Platform, ada: Person, headers: list[tuple[str, str]]) -> None:
    sent = [(name, value.format(key=ada.key)) for name, value in headers]
    answer = platform.http.get("/api/me", headers=sent)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a_wrong_secret_with_a_right_id_is_401(platform: Platform, ada: Person) -> None:
    kid = ada.key.split("_")[1]
    with Client(platform.url, f"fm_{kid}_{'0' * 64}") as guess, pytest.raises(Unauthorized):
        guess.me()


def test_the_key_may_come_as_api_key(platform: Platform, ada: Person) -> None:
    assert platform.http.get("/api/me", headers={"api-key": ada.key}).json()["handle"] == ada.handle
