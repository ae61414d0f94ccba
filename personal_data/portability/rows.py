"""One row of an archive, checked field by field before it may become a record.

Door: `Checker`. Types, lengths and vocabularies are those of the tables; text holds no NUL and no lone surrogate,
numbers are finite. A column that the archive lacks gets the table's default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError
from sqlalchemy import JSON, BigInteger, Boolean, Column, Double, Integer, String

from personal_data.errors import InvalidInput
from personal_data.memory import MAX_CHARS
from personal_data.portability.tables import Part
from personal_data.sensitive import KINDS
from personal_data.sharing import check_scope

_MAX_TEXT = 2_000_000
_LARGEST = 2**31 - 1
"""Tokens of leases and all else that counts: next to the largest of a database a ledger could not go on."""


_Turn = Annotated[dict[Literal["role", "content"], str], Field(min_length=2)]
_SHAPES: Mapping[str, TypeAdapter[Any]] = {
    **dict.fromkeys(
        ("sources", "memory_ids", "panel", "supporters", "dissent", "reasons", "about", "kinds"), TypeAdapter(list[str])
    ),
    **dict.fromkeys(("units", "steps"), TypeAdapter(list[dict[str, Any]])),
    "prompt": TypeAdapter(list[_Turn]),
    "verdict": TypeAdapter(list[str | float | None]),
}
"""Lists; every other JSON column is an object."""
_OBJECT = TypeAdapter(dict[str, Any])


class Checker:
    """The rows of one part."""

    def __init__(self, part: Part) -> None:
        self._part = part
        self._columns = [part.table.columns[name] for name in part.columns]

    def checked(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The row's values for the columns of its part; fields that this version does not know are passed over.

        Raises:
            InvalidInput: a value does not fit.
        """
        values = {column.key: self._value(column, row) for column in self._columns}
        for name, words in self._part.words.items():
            if values[name] not in words:
                raise self._odd(name)
        if self._part.name == "memories":
            check_scope(values["scope"])
            if not values["text"].strip() or len(values["text"]) > MAX_CHARS:
                raise self._odd("text")
        if self._part.name == "grants":
            check_scope(values["audience"])
            if not set(values["kinds"]) <= set(KINDS):
                raise self._odd("kinds")
        return values

    def _value(self, column: Column[Any], row: Mapping[str, Any]) -> Any:
        if column.key not in row and column.default is not None and column.default.is_scalar:
            return column.default.arg  # type: ignore[attr-defined]
        value = row.get(column.key)
        if value is None and column.nullable:
            return None
        if not _fits(column, value):
            raise self._odd(column.key)
        return value

    def _odd(self, name: str) -> InvalidInput:
        return InvalidInput(
            f"this archive cannot be restored: {self._part.name}.jsonl holds a {name!r} that does not fit",
            param="archive",
        )


def _fits(column: Column[Any], value: Any) -> bool:
    kind = column.type
    if isinstance(kind, JSON):
        return _shaped(column.key, value) and _clean(value)
    if isinstance(kind, Boolean):
        return type(value) is bool
    if isinstance(kind, Integer | BigInteger):
        return type(value) is int and 0 <= value <= _LARGEST
    if isinstance(kind, Double):
        return type(value) in (int, float) and math.isfinite(value)
    assert isinstance(kind, String), kind
    return isinstance(value, str) and len(value) <= (kind.length or _MAX_TEXT) and _clean(value)


def _shaped(name: str, value: Any) -> bool:
    try:
        _SHAPES.get(name, _OBJECT).validate_python(value, strict=True)
    except ValidationError:
        return False
    return True


def _clean(value: Any) -> bool:
    """Whether all text in it can be stored, and every number is one."""
    if isinstance(value, str):
        return _encodes(value)
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, dict):
        return all(_clean(name) and _clean(one) for name, one in value.items())
    return not isinstance(value, list) or all(_clean(one) for one in value)


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
