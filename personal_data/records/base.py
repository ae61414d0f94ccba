"""What all tables are made of: their base, ids and the time."""

from __future__ import annotations

import secrets
import threading
import time
from typing import Any, ClassVar

from sqlalchemy import JSON, Double, LargeBinary, MetaData
from sqlalchemy.orm import DeclarativeBase

_CROCKFORD = "0123456789abcdefghjkmnpqrstvwxyz"


def now() -> float:
    """Seconds since the epoch."""
    return time.time()


_LOCK = threading.Lock()
_last = (0, 0)
"""The time and the random part of the id made last."""


def new_id(prefix: str) -> str:
    """A sortable, unguessable id: prefix, 9 characters of milliseconds, 16 random characters (80 bits).

    Of two that one process makes, the later is the greater: within a millisecond the random part grows, by 48 bits.
    """
    global _last
    with _LOCK:
        stamp = max(int(time.time() * 1000), _last[0])
        tail = _last[1] + 1 + secrets.randbits(48) if stamp == _last[0] else secrets.randbits(79)
        _last = stamp, tail
    head = "".join(_CROCKFORD[(stamp >> shift) & 31] for shift in range(40, -1, -5))
    return f"{prefix}_{head}" + "".join(_CROCKFORD[(tail >> shift) & 31] for shift in range(75, -1, -5))


class Record(DeclarativeBase):
    """Base of all tables, with stable constraint names for migrations."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        float: Double(),
        dict[str, Any]: JSON(),
        list[Any]: JSON(),
        bytes: LargeBinary(),
    }
