"""API keys: make, list, revoke, recognise. No web framework in here; `api/auth.py` asks this room.

A key is `fm_<id>_<secret>` with a 256-bit secret. Only the secret's SHA-256 is stored (a slow hash protects guessable
passwords; against 256 random bits it would only slow every request down) and it is compared in constant time.

The first key is the administrator's: `bootstrap` leaves it in a file of the data folder that only its owner can read.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import platform
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from personal_data.database import Database
from personal_data.errors import NotFound, StorageError, Unauthorized
from personal_data.records import Key, User, now

ADMIN_HANDLE = "admin"
BOOTSTRAP_FILE = "admin.key"
_KEY = re.compile(r"fm_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a valid key belongs to."""

    user_id: str
    key_id: str
    handle: str
    name: str
    admin: bool


def create_key(session: Session, user_id: str, label: str = "") -> tuple[Key, str]:
    """Add a key; the second value is the key itself, which nobody can read again."""
    kid, secret = secrets.token_hex(6), secrets.token_hex(32)
    key = Key(id=kid, user_id=user_id, label=label, secret_sha256=_digest(secret))
    session.add(key)
    session.flush()
    return key, f"fm_{kid}_{secret}"


def list_keys(session: Session, user_id: str) -> Sequence[Key]:
    """The person's keys, newest first, revoked ones included."""
    return session.scalars(select(Key).where(Key.user_id == user_id).order_by(Key.created_at.desc(), Key.id)).all()


def revoke_key(session: Session, user_id: str, key_id: str) -> Key:
    """Make a key useless from this transaction on.

    Raises:
        NotFound: no such key of this person.
    """
    key = session.get(Key, key_id)
    if key is None or key.user_id != user_id:
        raise NotFound(f"no key {key_id}")
    key.revoked_at = key.revoked_at or now()
    return key


def authenticate(session: Session, credential: str) -> Caller:
    """Whom a key belongs to.

    Raises:
        Unauthorized: it is malformed, unknown, wrong or revoked; the message does not say which.
    """
    parts = _KEY.fullmatch(credential)
    key = session.get(Key, parts[1]) if parts else None
    stored = key.secret_sha256 if key is not None else _digest("")
    right = hmac.compare_digest(stored, _digest(parts[2] if parts else ""))
    if parts is None or key is None or not right or key.revoked_at is not None:
        raise Unauthorized("this API key is not valid; ask the owner of this Folkmoot for one")
    user = session.get_one(User, key.user_id)
    return Caller(user.id, key.id, user.handle, user.name, user.admin)


def bootstrap(database: Database, data_dir: Path) -> Path:
    """See to it that the owner of the data folder has an admin key: a file in it that only they can read.

    A file that was deleted, or that this database does not know, is replaced, and the folder's lost key is revoked.
    Other folders on the same database keep theirs.

    Raises:
        StorageError: the file cannot be written.
    """
    path = data_dir / BOOTSTRAP_FILE
    if _opens(database, read_bootstrap_key(data_dir)):
        return path
    with database.session() as session:
        admin = session.scalar(select(User).where(User.handle == ADMIN_HANDLE, User.admin))
        if admin is None:
            admin = User(handle=ADMIN_HANDLE, name="Administrator", admin=True)
            session.add(admin)
            session.flush()
        label = _label(data_dir)
        for lost in session.scalars(select(Key).where(Key.user_id == admin.id, Key.label == label)):
            lost.revoked_at = lost.revoked_at or now()
        _, credential = create_key(session, admin.id, label)
    _write_private(path, credential + "\n")
    return path


def read_bootstrap_key(data_dir: Path) -> str | None:
    """The administrator's key, for whoever may read the data folder; None before the first start."""
    try:
        return (data_dir / BOOTSTRAP_FILE).read_text().strip()
    except OSError:
        return None


def _label(data_dir: Path) -> str:
    """Tells this folder's key from those of other folders and machines; of a long path the end tells most."""
    return f"bootstrap {platform.node()}:{data_dir.resolve()}"[-200:]


def _opens(database: Database, credential: str | None) -> bool:
    if credential is None:
        return False
    try:
        with database.reading() as session:
            return authenticate(session, credential).admin
    except Unauthorized:
        return False


def _write_private(path: Path, text: str) -> None:
    try:
        path.unlink(missing_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
