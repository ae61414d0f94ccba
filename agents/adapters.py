"""Adapter versions: publish, verify, activate, roll back.

Doors: `AdapterStore` for the folder that holds every agent's adapters, `activate` and `roll_back` for the pointer in
SQL that readers follow; `read_adapter` and `write_adapter` (agents/adapter_files.py) for one folder. A published folder
never changes; it appears whole or not at all: temporary folder, fsync, verify, rename. What a killed publisher leaves
is removed by `collect_garbage`. No torch here, so that the api process can import it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents.adapter_files import (
    CONFIG,
    MAX_BYTES,
    MAX_CONFIG_BYTES,
    WEIGHTS,
    Adapter,
    read_adapter,
    read_regular,
    sync_folder,
    tensor_name,
    write_adapter,
)
from personal_data.database import Database
from personal_data.errors import AdapterError, Conflict, LeaseLost, NotFound, StorageError
from personal_data.records import AdapterVersion, Agent, Job

__all__ = ["Adapter", "AdapterStore", "activate", "read_adapter", "roll_back", "tensor_name", "write_adapter"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEMPORARY = re.compile(r"\.tmp-[A-Za-z0-9_-]+-(\d+)")


class AdapterStore:
    """The folder of all published adapters: `<root>/<agent>/<number>-<token>`, each complete and read-only."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, agent_id: str, number: int, adapter: Adapter, *, job_id: str, token: int) -> tuple[str, str]:
        """Write an adapter so that it appears whole or not at all; return its path below the root and its digest.

        Publishing the same bytes twice under one token gives the same answer; other bytes are refused.

        Raises:
            AdapterError: the adapter is not sound, or another one was published under this token.
            StorageError: the disk refuses; nothing was published.
        """
        _check_ids(agent_id, job_id)
        target = self.root / agent_id / f"{number}-{token}"
        temporary = self.root / f".tmp-{job_id}-{token}"
        try:
            _remove_tree(temporary)
            temporary.mkdir(parents=True)
            target.parent.mkdir(exist_ok=True)
            write_adapter(temporary, adapter)
            sha256 = _digest(temporary)
            self._check_folder(temporary, sha256, adapter.base_sha256)
            if not target.exists():
                temporary.rename(target)
                sync_folder(target.parent)
                sync_folder(self.root)
            self._check_folder(target, sha256, adapter.base_sha256)
            _make_read_only(target)
        except OSError as error:
            raise StorageError(
                f"adapters folder {self.root}: {error.strerror or error}; nothing was published"
            ) from error
        finally:
            with suppress(OSError):
                _remove_tree(temporary)
        return f"{agent_id}/{target.name}", sha256

    def path(self, version: AdapterVersion) -> Path:
        """The folder of a version."""
        agent_id, _, name = version.path.partition("/")
        _check_ids(agent_id, name)
        return self.root / agent_id / name

    def verify(self, version: AdapterVersion) -> None:
        """Whether a version is on disk as it was published.

        Raises:
            AdapterError: missing, changed, or not sound.
        """
        self._check_folder(self.path(version), version.sha256, version.base_sha256)

    def remove(self, version: AdapterVersion) -> None:
        """Delete the files of a version that was retired; they may be gone already.

        Raises:
            StorageError: the disk refuses.
        """
        try:
            _remove_tree(self.path(version))
        except OSError as error:
            raise StorageError(f"adapters folder {self.root}: {error.strerror or error}") from error

    def remove_all(self, agent_id: str) -> None:
        """Delete every adapter of an agent that is no more.

        Raises:
            StorageError: the disk refuses.
        """
        _check_ids(agent_id)
        folder = self.root / agent_id
        try:
            for version in folder.iterdir() if folder.is_dir() else ():
                _remove_tree(version)
            _remove_tree(folder)
        except OSError as error:
            raise StorageError(f"adapters folder {self.root}: {error.strerror or error}") from error

    def files(self, version: AdapterVersion) -> dict[str, bytes]:
        """A version's two files, by name, to take along.

        Raises:
            AdapterError: missing, changed, or not sound.
        """
        self.verify(version)
        folder = self.path(version)
        return {
            WEIGHTS: read_regular(folder / WEIGHTS, MAX_BYTES),
            CONFIG: read_regular(folder / CONFIG, MAX_CONFIG_BYTES),
        }

    def adopt(
        self, agent_id: str, number: int, files: Mapping[str, bytes], *, base_sha256: str, job_id: str, token: int
    ) -> tuple[str, str]:
        """Publish files that come from elsewhere. They are read as hostile ones and written anew: not a byte of a
        stranger's config is kept.

        Raises:
            AdapterError: they are no sound adapter for this base, or another one was published under this token.
            StorageError: the disk refuses; nothing was published.
        """
        if set(files) != {WEIGHTS, CONFIG}:
            raise AdapterError(f"an adapter is {WEIGHTS} and {CONFIG}, not {', '.join(sorted(files)) or 'nothing'}")
        with tempfile.TemporaryDirectory(prefix="folkmoot-") as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            adapter = read_adapter(Path(folder), base_sha256=base_sha256)
        return self.publish(agent_id, number, adapter, job_id=job_id, token=token)

    @staticmethod
    def _check_folder(folder: Path, sha256: str, base_sha256: str) -> None:
        if (found := _digest(folder)) != sha256:
            raise AdapterError(f"adapter {folder.name} has digest {found[:12]}, expected {sha256[:12]}")
        read_adapter(folder, base_sha256=base_sha256)

    def collect_garbage(self, database: Database) -> list[Path]:
        """Remove what no version row names and no live lease may still be writing; return the removed folders.

        Safe beside publishers: folders, leases and rows are read in this order, so that one that is being published
        has its lease when that is looked for, or else its row.

        Raises:
            StorageError: a folder cannot be removed.
        """
        found = list(self._folders())
        with database.reading() as session:
            leased = set(session.scalars(sa.select(Job.token).where(Job.state == "leased")))
            known = set(session.scalars(sa.select(AdapterVersion.path).where(AdapterVersion.retired_at.is_(None))))
        orphans = [
            folder
            for folder, token in found
            if token not in leased and folder.relative_to(self.root).as_posix() not in known
        ]
        try:
            for folder in orphans:
                _remove_tree(folder)
        except OSError as error:
            raise StorageError(f"adapters folder {self.root}: {error.strerror or error}") from error
        return orphans

    def _folders(self) -> Iterator[tuple[Path, int]]:
        """What publishers write, finished or not, each with its token."""
        for entry in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if match := _TEMPORARY.fullmatch(entry.name):
                yield entry, int(match[1])
            elif entry.is_dir() and not entry.name.startswith("."):
                for folder in sorted(entry.iterdir()):
                    token = folder.name.partition("-")[2]
                    if token.isdigit():
                        yield folder, int(token)


def activate(session: Session, version: AdapterVersion) -> None:
    """Record a published version and make it its agent's live one, in the caller's transaction.

    Raises:
        LeaseLost: a later lease has published for this agent already.
        Conflict: since its training began the agent was given another version or another model; nothing was written.
    """
    agent = _locked(session, version.agent_id)
    if agent.fence > version.token:
        raise LeaseLost(f"agent {agent.id}: a later job has published already")
    if agent.model != version.model:
        raise Conflict(
            f"the agent moved to model {agent.model!r} while this was trained for {version.model!r}: try again"
        )
    if agent.live_version_id != version.parent_id:
        raise Conflict("another version was made live while this one was trained on top of the old one: try again")
    session.add(version)
    session.flush()
    agent.fence, agent.live_version_id = version.token, version.id


def roll_back(session: Session, *, agent_id: str, number: int | None = None) -> AdapterVersion | None:
    """Make an earlier version live: the given number (0 is the bare base) or else the live one's parent.

    Returns the version that is live now, None for the bare base.

    Raises:
        NotFound: there is no such agent or version.
        Conflict: the version was made for another model than the agent has now.
    """
    agent = _locked(session, agent_id)
    live = session.get(AdapterVersion, agent.live_version_id) if agent.live_version_id else None
    target: AdapterVersion | None = None
    if number is None and live is not None:
        target = _parent(session, live)
    elif number:
        target = session.scalar(sa.select(AdapterVersion).filter_by(agent_id=agent_id, number=number))
        if target is None:
            raise NotFound(f"agent {agent_id} has no adapter version {number}")
    if target is not None and target.retired_at is not None:
        raise Conflict(f"version {target.number} was retired: it was trained on what its owner has erased")
    if target is not None and target.model != agent.model:
        raise Conflict(f"version {target.number} is for model {target.model!r}; this agent is on {agent.model!r} now")
    agent.live_version_id = target.id if target else None
    session.flush()
    return target


def _parent(session: Session, version: AdapterVersion) -> AdapterVersion | None:
    """The version that one was trained on top of, or the first before that one that was not retired."""
    found = session.get(AdapterVersion, version.parent_id) if version.parent_id else None
    while found is not None and found.retired_at is not None:
        found = session.get(AdapterVersion, found.parent_id) if found.parent_id else None
    return found


def _locked(session: Session, agent_id: str) -> Agent:
    """The agent's row as it is now, locked until the caller's transaction ends."""
    agent = session.get(Agent, agent_id, with_for_update=True, populate_existing=True)
    if agent is None:
        raise NotFound(f"no agent {agent_id}")
    return agent


def _digest(folder: Path) -> str:
    """SHA-256 over the SHA-256 digests of the weights file and of the config file, in this order."""
    files = ((WEIGHTS, MAX_BYTES), (CONFIG, MAX_CONFIG_BYTES))
    digests = (hashlib.sha256(read_regular(folder / name, limit)).digest() for name, limit in files)
    return hashlib.sha256(b"".join(digests)).hexdigest()


def _check_ids(*names: str) -> None:
    if bad := [name for name in names if not _ID.fullmatch(name)]:
        raise AdapterError(f"{bad[0][:40]!r} cannot name an adapter folder")


def _make_read_only(folder: Path) -> None:
    for entry in folder.iterdir():
        entry.chmod(0o400)
    folder.chmod(0o500)


def _remove_tree(folder: Path) -> None:
    if folder.is_dir() and not folder.is_symlink():
        folder.chmod(0o700)
        shutil.rmtree(folder)
