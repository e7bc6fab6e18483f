"""Reads test code: which names are the program's, what is checked. Its *text* runs inside, like that of `tester`."""

import ast
import builtins
import sys
from typing import Any

_PROGRAM = (
    "solution solutions main program submission answer candidate implementation your_module my_module module your_code "
    "my_solution __main__"
)
PROGRAM_MODULES = frozenset(_PROGRAM.split())
"""Names of modules by which tests import the program."""
LIBRARIES = ("pytest", "unittest")
CHECKS = ("assert", "raises", "fail", "exit")
"""What the names begin with of the functions by which test libraries check."""


def asked(tree: ast.AST) -> set[str]:
    """Return the names in test code that may be the program's: all but the builtins and modules of the library.

    A builtin's name is the program's in an assertion that names nothing else: `assert sum(10, 15) == 6`. The test alone
    decides: a program that could put its own `abs` or `len` into a test would pass it.
    """
    names = {name for name in _names(tree) if not hasattr(builtins, name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert) and len(alone := _names(node)) == 1:
            names |= alone
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names |= _imported(node).keys()
    return names - libraries(tree)


def libraries(tree: ast.AST) -> set[str]:
    """Return the modules of Python's library that a test uses without an import: `math` in `math.isclose(f(1), 2)`."""
    bases = {n.value.id for n in ast.walk(tree) if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name)}
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    return (bases - called) & (sys.stdlib_module_names | set(LIBRARIES))


def bound(tree: ast.AST) -> set[str]:
    """Return the names that test code gives a meaning itself, but for what it imports from the program."""
    names: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name) | ast.arg(arg=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.Import() | ast.ImportFrom():
                own = _imported(node)
                names |= {a.asname or a.name.partition(".")[0] for a in node.names} - own.keys()
    return names


def _names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _imported(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """Return the names that an import takes from the program, each with the program's own name ("": all of it)."""
    if isinstance(node, ast.Import):
        return {alias.asname or alias.name: "" for alias in node.names if alias.name in PROGRAM_MODULES}
    if node.level or node.module in PROGRAM_MODULES:
        return {alias.asname or alias.name: alias.name for alias in node.names if alias.name != "*"}
    return {}


class Prepared(ast.NodeTransformer):
    """Counts what is checked, marks calls whose value is not looked at, and takes out imports of the program."""

    def __init__(self) -> None:
        self.renamed: dict[str, str] = {}
        self.within = ""

    def visit(self, node: ast.AST) -> Any:
        """Return what takes the place of a part of the tree."""
        if isinstance(node, ast.ClassDef):
            self.within = f"{node.name}."
        node = self.generic_visit(node)
        if isinstance(node, ast.ClassDef):
            self.within = ""
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            node.body.insert(0, ast.copy_location(_call("__ran__", ast.Constant(self.within + node.name)), node))
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            own = _imported(node)
            self.renamed |= own
            node.names = [alias for alias in node.names if (alias.asname or alias.name) not in own]
            from_program = isinstance(node, ast.ImportFrom) and (node.level or node.module in PROGRAM_MODULES)
            return node if node.names and not from_program else ast.copy_location(ast.Pass(), node)
        if isinstance(node, ast.stmt) and _checks(node):
            return [ast.copy_location(_call("__checked__"), node), node]
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            call.args = [call.func, *call.args]
            call.func = ast.copy_location(ast.Name("__dropped__", ast.Load()), call)
        return node


def _call(name: str, *args: ast.expr) -> ast.Expr:
    return ast.Expr(ast.Call(ast.Name(name, ast.Load()), list(args), []))


def _checks(node: ast.stmt) -> bool:
    """Return whether a statement checks something: assert, what raises if a condition holds, a test library's call."""
    if isinstance(node, (ast.If, ast.Try, ast.While)):
        return any(isinstance(each, (ast.Raise, ast.Assert)) for each in ast.walk(node))
    calls = []
    if isinstance(node, ast.With):
        calls = [item.context_expr for item in node.items]
    elif isinstance(node, ast.Expr):
        calls = [node.value]
    return isinstance(node, ast.Assert) or any(
        isinstance(call, ast.Call)
        and (call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")).startswith(
            CHECKS
        )
        for call in calls
    )


def has_tests(tree: ast.AST) -> bool:
    """Return whether test code has what pytest or unittest would find, or uses one of them."""
    return any(
        (isinstance(node, ast.FunctionDef) and node.name.startswith("test"))
        or (isinstance(node, ast.ClassDef) and (node.name.startswith("Test") or bool(node.bases)))
        or (isinstance(node, ast.Import) and any(alias.name in LIBRARIES for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module in LIBRARIES)
        or (isinstance(node, ast.Name) and node.id in LIBRARIES)
        for node in ast.walk(tree)
    )


def caught(tree: ast.AST) -> set[str]:
    """Return the names that a test uses where exceptions stand."""
    places: list[ast.AST] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            places.append(node.type)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "").startswith(("raises", "assertRaises")):
            places += node.args[:1]
    return {name for place in places for name in _names(place)}
