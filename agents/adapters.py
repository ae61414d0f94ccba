"""Adapter versions: publish, verify, activate, roll back.

Doors: `AdapterStore` for the folder that holds every agent's adapters, `activate` and `roll_back` for the pointer in
SQL that readers follow; `read_adapter` and `write_adapter` (agents/adapter_files.py) for one folder. A published folder
never changes; it appears whole or not at all: temporary folder, fsync, verify, rename. No torch here, so that the api
process can import it.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.orm import Session

from agents.adapter_files import (
    MAX_BYTES,
    WEIGHTS,
    Adapter,
    read_adapter,
    read_regular,
    sync_folder,
    tensor_name,
    write_adapter,
)
from personal_data.errors import AdapterError, LeaseLost, NotFound, StorageError
from personal_data.records import AdapterVersion, Agent

__all__ = ["Adapter", "AdapterStore", "activate", "read_adapter", "roll_back", "tensor_name", "write_adapter"]

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TEMPORARY = re.compile(r"\.tmp-[A-Za-z0-9_-]+-(\d+)")


class AdapterStore:
    """The folder of all published adapters: `<root>/<agent>/<number>-<token>`, each complete and read-only."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def publish(self, agent_id: str, number: int, adapter: Adapter, *, job_id: str, token: int) -> tuple[str, str]:
        """Write an adapter so that it appears whole or not at all; return its path below the root and its SHA-256.

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
            sha256 = write_adapter(temporary, adapter)
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

    @staticmethod
    def _check_folder(folder: Path, sha256: str, base_sha256: str) -> None:
        found = hashlib.sha256(read_regular(folder / WEIGHTS, MAX_BYTES)).hexdigest()
        if found != sha256:
            raise AdapterError(f"adapter {folder.name} has digest {found[:12]}, expected {sha256[:12]}")
        read_adapter(folder, base_sha256=base_sha256)

    def collect_garbage(self, live_tokens: Collection[int], known_paths: Collection[str]) -> list[Path]:
        """Remove what no version row names and no live lease may still be writing; return the removed folders."""
        orphans = [folder for folder, token in self._folders(set(known_paths)) if token not in live_tokens]
        for folder in orphans:
            _remove_tree(folder)
        return orphans

    def _folders(self, known_paths: set[str]) -> Iterator[tuple[Path, int]]:
        for entry in sorted(self.root.iterdir()) if self.root.is_dir() else ():
            if match := _TEMPORARY.fullmatch(entry.name):
                yield entry, int(match[1])
            elif entry.is_dir() and not entry.name.startswith("."):
                for folder in sorted(entry.iterdir()):
                    token = folder.name.partition("-")[2]
                    if token.isdigit() and f"{entry.name}/{folder.name}" not in known_paths:
                        yield folder, int(token)


def activate(session: Session, *, agent_id: str, version: AdapterVersion, token: int) -> None:
    """Record a published version and make it the agent's live one, in the caller's transaction.

    Raises:
        LeaseLost: a later lease has published for this agent already.
    """
    fence = sa.update(Agent).where(Agent.id == agent_id, Agent.fence <= token).values(fence=token)
    if session.execute(fence.returning(Agent.id)).scalar() is None:
        raise LeaseLost(f"agent {agent_id}: a later job has published already")
    session.add(version)
    session.flush()
    session.execute(sa.update(Agent).where(Agent.id == agent_id).values(live_version_id=version.id))


def roll_back(session: Session, *, agent_id: str, number: int | None = None) -> AdapterVersion | None:
    """Make an earlier version live: the given number (0 is the bare base) or else the live one's parent.

    Returns the version that is live now, None for the bare base.

    Raises:
        NotFound: there is no such agent or version.
    """
    agent = session.get(Agent, agent_id, with_for_update=True)
    if agent is None:
        raise NotFound(f"no agent {agent_id}")
    live = session.get(AdapterVersion, agent.live_version_id) if agent.live_version_id else None
    target: AdapterVersion | None = None
    if number is None and live is not None and live.parent_id is not None:
        target = session.get(AdapterVersion, live.parent_id)
    elif number:
        target = session.scalar(sa.select(AdapterVersion).filter_by(agent_id=agent_id, number=number))
        if target is None:
            raise NotFound(f"agent {agent_id} has no adapter version {number}")
    agent.live_version_id = target.id if target else None
    session.flush()
    return target


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
