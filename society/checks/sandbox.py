"""The process that runs code of others. Door: `main`, a job on stdin, what came of it on stdout.

Between the code and the machine are three walls. A whitelist (`whitelist.py`): what is not listed is not run. Limits: a
second of CPU, memory, no descriptor that could be opened. And seccomp, on Linux: what the process may still ask of the
kernel is to read and write what is open, memory, and its end. Who breaks one stands before the next.

A result that is not told is None: the code is not listed, fails, or prints an object's address, which is another one
each time. It imports nothing beyond the standard library and its own room.
"""

from __future__ import annotations

import ast
import builtins
import ctypes
import io
import json
import math
import os
import resource
import struct
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from society.checks.whitelist import FUNCTIONS, MATH, Unsupported, Whitelist

_CPU_S = 1
_MEMORY = 256 << 20
_LONGEST = 4_000
"""Characters of a result."""
_MOST_TOLD = 32_768
"""Bytes of all results: so much a pipe takes at once."""
_FAULTS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    NameError,
    RuntimeError,
    StopIteration,
    SyntaxError,
    TypeError,
    ValueError,
)
"""What code without `raise` may end with; at anything else the process ends, and nothing is told."""


class Session:
    """One namespace, in which one piece of code is run after another."""

    def __init__(self) -> None:
        self._whitelist, self._printed = Whitelist(), io.StringIO()
        exact = SimpleNamespace(**{name: getattr(math, name) for name in MATH})
        given = {name: getattr(builtins, name) for name in FUNCTIONS}
        given |= {"print": self._print, "__import__": lambda *_: exact}
        self._names: dict[str, Any] = {"__builtins__": given, "__name__": "__main__"}
        self._steps: dict[str, Callable[..., Any]] = {
            "output": self._output,
            "value": self._value,
            "claims": self._claims,
            "equal": self._equal,
            "shows": self._shows,
        }

    def done(self, step: list[str]) -> Any:
        """What came of one step of a job; None where it cannot be told."""
        self._taken()
        kind, *texts = step
        try:
            return self._steps[kind](*texts)
        except _FAULTS:
            return None

    def _output(self, source: str) -> str | None:
        """What a program prints."""
        self._run(source)
        return _told(self._taken().rstrip("\n"))

    def _value(self, source: str) -> str | None:
        """What an expression comes to."""
        return _told(repr(self._evaluated(source)))

    def _claims(self, source: str) -> list[tuple[str, bool]]:
        """A program's statements that assert something, and whether they hold, up to what cannot be run."""
        found: list[tuple[str, bool]] = []
        tree = ast.parse(source)
        self._whitelist.examine(tree)
        for statement in tree.body:
            asserts = any(isinstance(node, ast.Assert) for node in ast.walk(statement))
            passed = True
            try:
                self._execute(ast.Module([statement], []))
            except AssertionError:
                passed = False
            except _FAULTS:
                break
            if not passed or (asserts and not isinstance(statement, ast.FunctionDef)):
                found.append((ast.unparse(statement), passed))
        return found

    def _equal(self, left: str, right: str) -> bool | None:
        """Whether what is called comes to what is written. "`n` == `0`" may be a condition that is spoken of."""
        tree = ast.parse(left, mode="eval")
        called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
        if any(isinstance(node, ast.Name) and node not in called for node in ast.walk(tree)):
            return None
        return _same(self._evaluated(left, compared=True), self._evaluated(right, compared=True), right)

    def _shows(self, source: str, expected: str) -> bool | None:
        """Whether an interpreter answers as it is written, be it what is printed or a value. More may be written below;
        of what is only begun there nothing is said."""
        value = None
        try:
            value = self._evaluated(source)
        except SyntaxError:
            self._run(source)
        found = self._taken() + ("" if value is None else repr(value))
        if not expected.strip() or _told(found) is None:
            return None
        written = _lines(expected)
        if any(lines and written[: len(lines)] == lines for lines in (_lines(found), _lines(str(value)))):
            return True
        if _lines(found)[: len(written)] == written:
            return None
        try:
            return value is not None and _same(value, ast.literal_eval(written[0]), written[0])
        except _FAULTS:
            return False

    def _run(self, source: str) -> None:
        tree = ast.parse(source)
        self._whitelist.examine(tree)
        self._execute(tree)

    def _execute(self, tree: ast.Module) -> None:
        exec(compile(tree, "code", "exec", dont_inherit=True), self._names)  # noqa: S102  it has passed the list

    def _evaluated(self, source: str, *, compared: bool = False) -> Any:
        tree = ast.parse(source.strip(), mode="eval")
        self._whitelist.examine(tree, compared=compared)
        return eval(compile(tree, "code", "eval", dont_inherit=True), self._names)  # noqa: S307  it has passed the list

    def _print(self, *values: Any, sep: str | None = None, end: str | None = None) -> None:
        print(*values, sep=sep, end=end, file=self._printed)
        if self._printed.tell() > _LONGEST:
            raise Unsupported("more than is told")

    def _taken(self) -> str:
        text = self._printed.getvalue()
        self._printed.seek(0)
        self._printed.truncate()
        return text


def _told(text: str) -> str | None:
    """A result, where it is one, and the same in every process."""
    return text if text.strip() and len(text) <= _LONGEST and " at 0x" not in text else None


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.strip().splitlines()]


def _same(found: Any, written: Any, text: str) -> bool:
    """Whether a value is the one that is written, where that may be a rounded fraction."""
    shown = len(text.strip().partition(".")[2])
    if isinstance(found, float) and isinstance(written, float) and shown:
        return found == written or round(found, shown) == written
    return bool(found == written)


def wall_in() -> None:
    """From here on this process computes and writes its results, and no more."""
    for limit, most in (
        (resource.RLIMIT_CPU, _CPU_S),
        (resource.RLIMIT_AS, _MEMORY),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(limit, (most, most))
    if sys.platform == "linux" and (known := _CALLS.get(os.uname().machine)) is not None:
        _refuse_calls(*known)


_CALLS = {
    "x86_64": (0xC000003E, (0, 1, 9, 11, 12, 15, 25, 28, 60, 202, 231)),
    "aarch64": (0xC00000B7, (63, 64, 222, 215, 214, 139, 216, 233, 93, 98, 94)),
}
"""AUDIT_ARCH of linux/audit.h, and by their numbers: read, write, mmap, munmap, brk, rt_sigreturn, mremap, madvise,
exit, futex, exit_group."""
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2  # linux/prctl.h, linux/seccomp.h
_LOAD, _IF_EQUAL, _RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h
_ALLOW, _KILL, _REFUSE = 0x7FFF0000, 0x80000000, 0x00050001  # refused is an error, EPERM
_NUMBER, _ARCHITECTURE = 0, 4  # where they stand in struct seccomp_data


def _refuse_calls(architecture: int, allowed: tuple[int, ...]) -> None:
    """Refuse all other system calls, by a filter in classic BPF; where a kernel has none the other walls stand."""
    program = [(_LOAD, 0, 0, _ARCHITECTURE), (_IF_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _KILL)]
    program += [(_LOAD, 0, 0, _NUMBER)]
    program += [(_IF_EQUAL, len(allowed) - place, 0, number) for place, number in enumerate(allowed)]
    program += [(_RETURN, 0, 0, _REFUSE), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in program))
    filters = ctypes.create_string_buffer(struct.pack("HP", len(program), ctypes.addressof(code)))
    libc, none = ctypes.CDLL(None), ctypes.c_ulong(0)
    libc.prctl(_NO_NEW_PRIVILEGES, ctypes.c_ulong(1), none, none, none)
    libc.prctl(_SECCOMP, ctypes.c_ulong(_FILTER), ctypes.c_void_p(ctypes.addressof(filters)), none, none)


def main() -> None:
    """Run one job, a JSON list of steps, and write what came of each as a JSON list."""
    steps = json.loads(sys.stdin.buffer.read())
    wall_in()
    session = Session()
    told = json.dumps([session.done(step) for step in steps]).encode()
    if len(told) <= _MOST_TOLD:
        os.write(1, told)
    os._exit(0)
