"""Which code may be run at all, by its syntax tree. Door: `Whitelist.examine`.

What is not listed here is not run: no import but of exact functions of `math`, no class, exception, decorator or
generator function, no name or attribute with an underscore in front, no method that reads attributes (`str.format`),
and no function that opens, evaluates or looks into objects. Nor is what has more than one result: where the order in a
set would be seen, or whether two values happen to be one object.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


FUNCTIONS = _words(
    "abs all any bin bool chr dict divmod enumerate filter float hex int isinstance iter len list map max min next oct "
    "ord pow range repr reversed round set sorted str sum tuple zip"
)
"""Python's own that code is given; beside them `print`."""
MATH = _words("ceil comb copysign e fabs factorial floor fmod gcd inf isclose isqrt lcm nan perm pi prod sqrt")
"""What IEEE arithmetic fixes to the last digit on every machine; sines and logarithms it does not."""
_NODES = frozenset(
    getattr(ast, name)
    for name in _words(
        "Module Expression Expr Assign AugAssign AnnAssign Delete If For While Break Continue Pass Return FunctionDef "
        "Assert Import ImportFrom alias Global Nonlocal BoolOp BinOp UnaryOp Compare Call IfExp Lambda ListComp "
        "SetComp DictComp GeneratorExp comprehension Constant Name Attribute Subscript Slice Tuple List Dict Set "
        "Starred JoinedStr FormattedValue keyword arguments arg Load Store Del And Or Not Invert UAdd USub Add Sub "
        "Mult Div FloorDiv Mod Pow LShift RShift BitOr BitXor BitAnd Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn"
    )
)
_OF_SETS = _words("difference intersection symmetric_difference union")
"""Methods that come to a set, and that nothing else has."""
_SET_METHODS = _OF_SETS | _words(
    "add clear copy difference_update discard intersection_update isdisjoint issubset issuperset remove "
    "symmetric_difference_update update"
)
_ATTRIBUTES = (
    MATH
    | _SET_METHODS
    | _words(
        "append bit_count bit_length capitalize casefold center count endswith extend find get index insert is_integer "
        "isalnum isalpha isdecimal isdigit islower isnumeric isspace istitle isupper items join keys ljust lower "
        "lstrip partition pop popitem removeprefix removesuffix replace reverse rfind rindex rjust rpartition rsplit "
        "rstrip setdefault sort split splitlines startswith strip swapcase title upper values zfill"
    )
)
_PLAIN = frozenset({"_", "__name__"})
"""Names with an underscore in front that do no harm."""
_ORDER_FREE = _words("all any bool len max min set sorted sum")
"""What makes nothing of the order of what it is given."""
_GIVEN = FUNCTIONS | {"print"}


class Unsupported(ValueError):
    """Not a thing that is run here."""


class Whitelist:
    """The list, and which names the code that passed it has given sets."""

    def __init__(self) -> None:
        self._sets: set[str] = set()
        self._parents: dict[ast.AST, ast.AST] = {}

    def examine(self, tree: ast.AST, *, compared: bool = False) -> None:
        """Let a tree pass. `compared`: its value will only be compared, so that it may be a set.

        Raises:
            Unsupported: there is something in it that is not listed.
        """
        nodes = list(ast.walk(tree))
        self._parents = {child: node for node in nodes for child in ast.iter_child_nodes(node)}
        for node in nodes:
            _examine(node)
        while self._learn(nodes):
            pass
        for node in nodes:
            if not (compared and self._parents.get(node) is tree):
                self._examine_order(node)

    def _learn(self, nodes: list[ast.AST]) -> bool:
        """Find the names that are given sets; whether some were not known."""
        known = len(self._sets)
        for node in nodes:
            if not isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign) or node.value is None:
                continue
            if self._is_set(node.value):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                self._sets |= {one.id for one in targets if isinstance(one, ast.Name)}
        return len(self._sets) > known

    def _is_set(self, node: ast.AST) -> bool:
        if isinstance(node, ast.Name):
            return node.id in self._sets
        if isinstance(node, ast.BinOp):
            of_sets = isinstance(node.op, ast.BitOr | ast.BitAnd | ast.BitXor | ast.Sub)
            return of_sets and (self._is_set(node.left) or self._is_set(node.right))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            copied = node.func.attr == "copy" and self._is_set(node.func.value)
            return copied or node.func.attr in _OF_SETS
        return isinstance(node, ast.Set | ast.SetComp) or _calls(node, "set")

    def _examine_order(self, node: ast.AST) -> None:
        """Nothing may go through a set, nor make one of a dictionary's views behind our back."""
        parent = self._parents.get(node)
        if isinstance(node, ast.Name) and node.id == "set":
            if not isinstance(parent, ast.Call) or (parent.func is not node and not _calls(parent, "isinstance")):
                raise Unsupported("set as a value")
        elif self._is_set(node) and not self._hides_order(node, parent):
            raise Unsupported("the order in a set")
        elif _is_view(node) and not _goes_through(parent):
            raise Unsupported("a view of a dictionary as a value")

    def _hides_order(self, node: ast.AST, parent: ast.AST | None) -> bool:
        match parent:
            case ast.Assign(targets=targets):
                return all(isinstance(target, ast.Name) for target in targets)
            case ast.AugAssign(target=target) | ast.AnnAssign(target=target):
                return isinstance(target, ast.Name)
            case ast.Attribute(attr=attribute):
                return attribute in _SET_METHODS
            case ast.Call(func=ast.Attribute(value=owner, attr=attribute)):
                return attribute in _SET_METHODS and self._is_set(owner)
            case ast.Call(keywords=[]):
                return _calls(parent, *_ORDER_FREE)
            case ast.BinOp():
                return self._is_set(parent)
            case ast.If(test=test) | ast.While(test=test) | ast.Assert(test=test):
                return test is node
            case _:
                return isinstance(parent, ast.Compare | ast.Expr)


def _examine(node: ast.AST) -> None:
    if type(node) not in _NODES:
        raise Unsupported(type(node).__name__)
    for name in _names_in(node):
        if not name.isascii() or (name.startswith("_") and name not in _PLAIN):
            raise Unsupported(name)
    match node:
        case ast.FunctionDef(decorator_list=[_, *_]):
            raise Unsupported("decorators")
        case ast.Attribute(attr=name, ctx=context) if name not in _ATTRIBUTES or not isinstance(context, ast.Load):
            raise Unsupported(name)
        case ast.Constant(value=value) if value is not None and not isinstance(value, int | float | str):
            raise Unsupported("constants of other kinds")
        case ast.Compare(ops=operators, comparators=values) if not all(map(_has_one_result, operators, values)):
            raise Unsupported("whether two values are one object")
        case ast.Import(names=names) if any(one.name != "math" or one.asname for one in names):
            raise Unsupported("imports")
        case ast.ImportFrom(module=module, names=names, level=level):
            if module != "math" or level or any(one.name not in MATH or one.asname for one in names):
                raise Unsupported("imports")


def _names_in(node: ast.AST) -> Iterator[str]:
    """Every identifier that a node itself holds."""
    for field in ("id", "name", "arg", "attr", "asname", "names", "module"):
        value = getattr(node, field, None)
        yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str))


def _has_one_result(operator: ast.cmpop, right: ast.expr) -> bool:
    """Which equal values are one object is a matter of the compiler."""
    constant = isinstance(right, ast.Constant) and (right.value is None or isinstance(right.value, bool))
    return constant or not isinstance(operator, ast.Is | ast.IsNot)


def _calls(node: ast.AST, *names: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in names


def _is_view(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("items", "keys")


def _goes_through(parent: ast.AST | None) -> bool:
    """Whether a view is read, and not kept: two of them together come to a set."""
    if isinstance(parent, ast.Call):
        return isinstance(parent.func, ast.Attribute) or _calls(parent, *_GIVEN)
    return isinstance(parent, ast.For | ast.comprehension | ast.Compare)
