"""All of one person's data as one archive: a zip of JSON lines, their adapters, and a manifest that comes last.

Door: `export`. What is in it, `tables.PARTS` says; no key and no other person's data is. Every file stands in the
manifest with its rows, bytes and SHA-256. It is one moment: a snapshot of the records is read from its first row to its
last.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import AdapterError, NotFound
from personal_data.portability.tables import OTHERS, PARTS, Owner, Part
from personal_data.records import AdapterVersion, Agent, Debate, Member, Society, User, now

FORMAT = "folkmoot"
VERSION = 1
MANIFEST = "manifest.json"
SETTINGS = "settings.json"
_AT_ONCE = 500


class AdapterFiles(Protocol):
    """Where the files of adapters are: `agents.adapters.AdapterStore`."""

    def files(self, version: AdapterVersion) -> dict[str, bytes]:
        """The files of a version, by name. Raises AdapterError where it is not as it was published."""

    def adopt(
        self, agent_id: str, number: int, files: Mapping[str, bytes], *, base_sha256: str, job_id: str, token: int
    ) -> tuple[str, str]:
        """Publish files that come from elsewhere. Raises AdapterError where they are not sound."""

    def verify(self, version: AdapterVersion) -> None:
        """Raise AdapterError unless the version is on disk as it was published."""


class _Archive:
    """A zip that is being written, and its manifest."""

    def __init__(self, target: BinaryIO) -> None:
        self._zip = zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=6)
        self._files: dict[str, dict[str, Any]] = {}
        self.left_out: list[str] = []

    def write(self, name: str, chunks: Iterator[bytes], *, rows: bool = False) -> None:
        digest, size, count = hashlib.sha256(), 0, 0
        with self._zip.open(name, "w", force_zip64=True) as member:
            for chunk in chunks:
                member.write(chunk)
                digest.update(chunk)
                size, count = size + len(chunk), count + 1
        self._files[name] = {"bytes": size, "sha256": digest.hexdigest()} | ({"rows": count} if rows else {})

    def close(self) -> dict[str, Any]:
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "created_at": now(),
            "files": self._files,
            "read_only": [part.name for part in PARTS if not part.restored],
            "stays_behind": dict(OTHERS),
            "left_out": self.left_out,
        }
        self._zip.writestr(MANIFEST, json.dumps(manifest, indent=2))
        self._zip.close()
        return manifest


def export(database: Database, adapters: AdapterFiles, user_id: str, target: BinaryIO) -> dict[str, Any]:
    """Write everything of one person to `target`, which need not be seekable; returns the manifest.

    Raises:
        NotFound: there is no such person.
    """
    archive = _Archive(target)
    with database.reading() as session:
        if not database.is_sqlite:
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        if (user := session.get(User, user_id)) is None:
            raise NotFound(f"no user {user_id}")
        agent = session.scalar(select(Agent).where(Agent.user_id == user_id))
        owner = Owner(user_id, agent.id if agent else "")
        archive.write(SETTINGS, iter([json.dumps(_settings(session, user, agent), indent=2).encode()]))
        for part in PARTS:
            archive.write(f"{part.name}.jsonl", (_line(row) for row in rows(session, part, owner)), rows=True)
        versions = select(AdapterVersion).where(AdapterVersion.agent_id == owner.agent_id)
        kept = versions.where(AdapterVersion.retired_at.is_(None)).order_by(AdapterVersion.number)
        for version in session.scalars(kept).all():
            _add_adapter(archive, adapters, version)
    return archive.close()


def rows(session: Session, part: Part, owner: Owner) -> Iterator[dict[str, Any]]:
    """The owner's rows of one part, as the archive tells them."""
    columns = [part.table.columns[name] for name in part.columns]
    query = select(*columns, *((Debate.question,) if part.with_question else ())).where(part.owned(owner))
    if part.with_question:
        query = query.join(Debate, Debate.id == part.table.columns["debate_id"])
    query = query.order_by(*(part.order or (part.table.columns["id"],)))
    names = [*part.columns, *(("question",) if part.with_question else ())]
    for row in session.execute(query.execution_options(yield_per=_AT_ONCE)):
        yield part.hides(owner, dict(zip(names, row, strict=True)))


def adapter_folder(number: int) -> str:
    """Where a version's files lie in an archive."""
    return f"adapters/{number}"


def _add_adapter(archive: _Archive, adapters: AdapterFiles, version: AdapterVersion) -> None:
    try:
        files = adapters.files(version)
    except AdapterError as error:
        archive.left_out.append(f"adapter version {version.number}: {error}")
        return
    for name, data in sorted(files.items()):
        archive.write(f"{adapter_folder(version.number)}/{name}", iter([data]))


def _settings(session: Session, user: User, agent: Agent | None) -> dict[str, Any]:
    told: dict[str, Any] = {"handle": user.handle, "name": user.name, "agent": None, "memberships": []}
    if agent is None:
        return told
    told["agent"] = {
        "id": agent.id,
        "model": agent.model,
        "live_version_id": agent.live_version_id,
        "instructions": agent.instructions,
        "improve_every_s": agent.improve_every_s,
    }
    seats = select(Society.slug, Society.name, Member.state).join(Member, Member.society_id == Society.id)
    for slug, name, state in session.execute(seats.where(Member.agent_id == agent.id).order_by(Society.slug)):
        told["memberships"].append({"slug": slug, "name": name, "state": state})
    return told


def _line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
