"""Code of others: what it may do, what it may not, and what stands behind each wall."""

from __future__ import annotations

import ast
import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from society.checks import programs
from society.checks.whitelist import Unsupported, Whitelist

ROOT = Path(__file__).resolve().parents[3]


def ran(*steps: list[str]) -> list[Any]:
    return asyncio.run(programs.run(steps))


def printed(source: str) -> str | None:
    [result] = ran(["output", source])
    assert result is None or isinstance(result, str)
    return result


def passes(source: str) -> bool:
    try:
        Whitelist().examine(ast.parse(source))
    except Unsupported:
        return False
    return True


@pytest.mark.parametrize(
    ("source", "result"),
    [
        ("def fib(n):\n    return n if n < 2 else fib(n - 1) + fib(n - 2)\nprint(fib(15))", "610"),
        ("print([f(1) for f in [lambda x: x + i for i in range(3)]])", "[3, 3, 3]"),
        ("def f(x, seen=[]):\n    seen.append(x)\n    return seen\nf(1)\nprint(f(2))", "[1, 2]"),
        ("words = 'to be or not to be'.split()\nprint({w: words.count(w) for w in words})", None),
        (
            "total = 0\nfor n in range(10):\n    if n % 2:\n        continue\n    total += n\nelse:\n    print(total)",
            "20",
        ),
        ("i = 5\nwhile True:\n    i -= 1\n    if i < 2:\n        break\nprint(i, sep='-', end='!')", "1!"),
        ("print(f'{3.14159:.2f}|{\"a\":>3}|{5!r}')", "3.14|  a|5"),
        ("import math\nprint(math.gcd(12, 18), math.isqrt(17))", "6 4"),
        ("from math import comb\nprint(comb(5, 2))", "10"),
        ("a, *b = [1, 2, 3]\nprint(a, b[::-1])", "1 [3, 2]"),
        ("g = (n * n for n in range(3))\nprint(next(g), list(g))", "0 [1, 4]"),
        ("print(0.1 + 0.2)", "0.30000000000000004"),
        ("x = 1\ndef f():\n    global x\n    x = 2\nf()\nprint(x)", "2"),
        ("if __name__ == '__main__':\n    print('main')", "main"),
        ("print(len(set('mississippi')), sorted(set('hello')))", "4 ['e', 'h', 'l', 'o']"),
        ("seen = set()\nfor c in 'hello':\n    if c in seen:\n        print(c)\n    seen.add(c)", "l"),
        ("print(sorted({'b': 1, 'a': 2}.items(), key=lambda kv: kv[1]))", "[('b', 1), ('a', 2)]"),
    ],
)
def test_what_python_prints(source: str, result: str | None) -> None:
    assert printed(source) == (result or "{'to': 2, 'be': 2, 'or': 1, 'not': 1}")


@pytest.mark.parametrize(
    "source",
    [
        "print({'a', 'b', 'c'})",
        "print(list(set('hello')))",
        "for c in set('hello'):\n    print(c)",
        "a = {'x', 'y'}\nb = a | {'z'}\nprint(','.join(b))",
        "s = set('ab')\nprint(s.pop())",
        "s = set('ab')\nx, y = s\nprint(x)",
        "print(max(set('aabb'), key='aabb'.count))",
        "def f(s):\n    return list(s)\nprint(f({'a', 'b'}))",
        "print([*{'a', 'b'}])",
        "print(*set('ab'))",
        "l = []\nl += set('ab')\nprint(l)",
        "print(list(map(set, ['ab'])))",
        "print({'a': 1, 'b': 2}.keys() & {'b': 1, 'a': 2}.keys())",
        "a = {'a': 1}.keys()\nprint(a | a)",
        "d = {}\nd['x'] = set('ab')\nprint(d)",
        "print('%s' % set('ab'))",
        "print(f\"{set('ab')}\")",
        "print(lambda: 1)",
        "print(x for x in [1])",
        "print('a' is 'a')",
    ],
)
def test_what_has_no_one_result_is_not_told(source: str) -> None:
    assert printed(source) is None


ESCAPES = [
    "().__class__.__base__.__subclasses__()",
    "print(().__class__)",
    "print('{0.__class__}'.format(1))",
    "f = '{0.__class__}'.format\nprint(f(1))",
    "print('{x.__class__}'.format_map({'x': 1}))",
    "print(f'{(1).__class__}')",
    "g = (x for x in [1])\nprint(g.gi_frame.f_back.f_globals)",
    "def f():\n    yield 1",
    "def f():\n    pass\nprint(f.__globals__)",
    "def f():\n    pass\nf.__code__ = 1",
    "print.__self__",
    "try:\n    1 / 0\nexcept Exception as e:\n    print(e.__traceback__.tb_frame)",
    "raise ValueError",
    "class A:\n    pass",
    "class A(metaclass=print):\n    pass",
    "@print\ndef f():\n    pass",
    "match 1:\n    case int(real=r):\n        print(r)",
    "with open('/etc/passwd') as f:\n    print(f)",
    "import os",
    "import os.path",
    "import math as m",
    "from math import sqrt as __builtins__",
    "from math import __loader__",
    "from . import math",
    "from os import system",
    "from math import *",
    "print(math.__loader__)",
    "__import__('os').system('true')",
    "__builtins__",
    "print(__builtins__['__import__'])",
    "global __builtins__",
    "def __f():\n    pass",
    "def f(__x):\n    pass",
    "dict(__class__=1)",
    "lambda __x: 1",
    "(y := 1)",
    "async def f():\n    await f()",
    "x = b'bytes'",
    "x = 1j",
    "x = ...",
    "a.b = 1",
    "del a.append",
    "'a'.encode()",
    "ｅval('1')",  # identifiers are normalised: this one is `eval`
]


@pytest.mark.parametrize("source", ESCAPES)
def test_no_way_out_through_syntax(source: str) -> None:
    assert not passes(source) or printed(source) is None


@pytest.mark.parametrize(
    "source",
    [
        *("eval('1')", "exec('1')", "compile('1', '', 'eval')", "open('/etc/passwd')", "getattr(1, 'real')", "type(1)"),
        *("vars()", "globals()", "locals()", "dir()", "input()", "id(1)", "hash('a')", "object()", "super()"),
        *("breakpoint()", "help()", "memoryview(1)", "setattr(1, 'a', 2)", "bytes(3)", "callable(1)", "exit()"),
        "print(1, file=1)",
        "import math\nprint(math.sin(1))",
    ],
)
def test_no_function_is_there_but_those_listed(source: str) -> None:
    assert printed(f"{source}\nprint('reached')") is None


@pytest.mark.parametrize(
    "source",
    [
        "while True:\n    pass",
        "10 ** 10 ** 10",
        "x = 9 ** 9 ** 7",
        "x = 1 << 10 ** 10",
        "'a' * 10 ** 10",
        "[0] * 10 ** 10",
        "'%1000000000000d' % 1",
        "f'{1:>10000000000}'",
        "'a'.ljust(10 ** 10)",
        "'a'.zfill(10 ** 11)",
        "[[[[0] * 1000 for a in range(1000)] for b in range(1000)] for c in range(1000)]",
        "sum(range(10 ** 12))",
        "list(range(10 ** 12))",
        "def f():\n    return f()\nf()",
        "f = lambda g: g(g)\nf(f)",
        "l = []\nfor i in range(10 ** 6):\n    l = [l]\nprint(l == l[0], l)",
        "x = 'a'\nwhile True:\n    x = x + x",
        "x = {}\nwhile True:\n    x[len(x)] = 'a' * 1000",
        "while True:\n    print('flood' * 100)",
        "print('x' * 5000)",
        "import math\nmath.factorial(10 ** 9)",
        "int('9' * 10 ** 7)",
        "pow(3, 10 ** 9)",
        f"print({'(' * 3000}1{')' * 3000})",
        f"print({'-' * 20000}1)",
        f"print({'[' * 150}1{']' * 150}{'[0]' * 150}, {'+'.join(['1'] * 8000)})",
        "print(1",
        "\0",
        "'\ud800'",
    ],
)
def test_nothing_bursts_it(source: str) -> None:
    assert printed(f"{source}\nprint('reached')") is None


def test_those_who_come_after_are_judged() -> None:
    steps = [["output", "1 / 0"], ["output", "import os"], ["output", "assert 0"], ["equal", "len('abc')", "3"]]
    assert ran(*steps) == [None, None, None, True]
    assert ran(["output", "while 1: pass"], ["value", "1"]) == [None, None], "they share a second"
    assert ran(["value", "1" * 40_000]) == [None], "too long to be sent"
    assert ran(*[["output", "print('é' * 3999)"]] * 16) == [None] * 16, "too long to be told"


AFTER_A_BREAK = """
import ctypes, os, signal, socket, sys
sys.path.append(sys.argv[1])
from society.checks import sandbox
if sys.argv[2] == "limits alone":
    sandbox._CALLS.clear()
attempts = {
    "open": lambda: open("/etc/passwd"),
    "write": lambda: os.open("/tmp/made", os.O_CREAT | os.O_WRONLY),
    "socket": lambda: socket.socket(),
    "pair": lambda: os.pipe(),
    "kill": lambda: os.kill(os.getppid(), 0),
    "fork": lambda: os.fork() or os._exit(0),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "priority": lambda: os.setpriority(os.PRIO_PROCESS, 0, 5),
    "unlink": lambda: os.unlink("/tmp/folkmoot-no-such-file"),
    "chmod": lambda: os.fchmod(2, 0o600),
    "memory": lambda: bytearray(1 << 30),
}
sandbox.wall_in()
told = []
for name in sys.argv[3].split():
    try:
        attempts[name]()
        told.append(name + " done")
    except (OSError, MemoryError) as error:
        told.append(name + " " + type(error).__name__ + " " + str(getattr(error, "errno", "")))
os.write(1, "\\n".join(told).encode())
os._exit(0)
"""


def broken_out(walls: str, *attempts: str) -> dict[str, str]:
    """What a process may still do whose whitelist has failed, by attempt."""
    command = [sys.executable, "-s", "-P", "-S", "-c", AFTER_A_BREAK, str(ROOT), walls, " ".join(attempts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_behind_the_whitelist_is_the_kernel() -> None:
    refused = ("open", "write", "socket", "pair", "kill", "fork", "exec", "priority", "unlink", "chmod")
    found = broken_out("all", *refused, "memory")
    assert found == dict.fromkeys(refused, "PermissionError 1") | {"memory": "MemoryError "}


def test_where_the_kernel_has_no_filters_nothing_can_be_opened() -> None:
    found = broken_out("limits alone", "open", "write", "socket", "pair", "memory")
    assert set(found) == {"open", "write", "socket", "pair", "memory"}
    assert all(told == "OSError 24" for name, told in found.items() if name != "memory"), found
    assert found["memory"] == "MemoryError "


def test_a_process_sees_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_THE_PARENT", "canary")
    seen: list[Any] = []
    start = subprocess.Popen.__init__

    def watched(self: subprocess.Popen[bytes], *args: Any, **how: Any) -> None:
        seen.append((args, how))
        start(self, *args, **how)

    monkeypatch.setattr(subprocess.Popen, "__init__", watched)
    assert printed("print(1)") == "1"
    [(_, how)] = seen
    assert how["env"] == {"PYTHONHASHSEED": "0"} and how["start_new_session"] and how["cwd"] == "/"


def test_the_event_loop_is_free_meanwhile() -> None:
    async def both() -> list[str]:
        order: list[str] = []

        async def computes() -> None:
            await programs.run([["output", "while True:\n    pass"]])
            order.append("computed")

        async def ticks() -> None:
            for _ in range(20):
                await asyncio.sleep(0.001)
            order.append("ticked")

        await asyncio.gather(computes(), ticks())
        return order

    assert asyncio.run(both()) == ["ticked", "computed"]


def test_a_process_that_says_something_else_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    for said in ("not json", "{}", "[1, 2, 3]", ""):
        monkeypatch.setattr(programs, "_COMMAND", (sys.executable, "-c", f"print({said!r}, end='')"))
        assert ran(["value", "1"]) == [None]
    monkeypatch.setattr(programs, "_COMMAND", (sys.executable, "-c", "while True: print('flood')"))
    monkeypatch.setattr(programs, "_PATIENCE_S", 0.5)
    assert ran(["value", "1"]) == [None]


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="()[]{}.,:=+-*_ \nabfgis'\"0129@", max_size=60))
def test_what_passes_the_list_names_nothing_hidden(source: str) -> None:
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return
    if passes(source):
        names = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name)]
        names += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        assert not any(name.startswith("_") and name != "_" for name in names)
