"""The tests of a problem with programs: what they look like, which names they ask for, what of the prompt is theirs."""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypedDict, cast

from goldpanner.types import Problem
from goldpanner.verify.answer_part import blocks
from goldpanner.verify.sandbox.testcode import asked, bound


class ProgramTest(TypedDict, total=False):
    """A test that is no Python text: `call` and `returns` or `accepts`, or `stdin` and `stdout`."""

    call: str
    """The function: `f`, `Solution().f`."""
    args: Sequence[object]
    kwargs: Mapping[str, object]
    returns: object
    accepts: Sequence[object]
    """Values of which any is right."""
    stdin: str
    stdout: str


_PYTHON = re.compile(r"py(?:thon)?[\d.]*")
_BARE = re.compile(r"^[ \t]*```[ \t]*\r?$", re.MULTILINE)
_JUDGES_HAVE = (
    "numpy scipy pandas sympy networkx sortedcontainers numba sklearn matplotlib mpmath gmpy2 more_itertools bitarray "
    "regex requests bs4 lxml PIL dateutil pytz tqdm shapely ortools pulp cvxpy statsmodels seaborn torch tensorflow "
    "jax nltk cv2 yaml attr pydantic polars igraph atcoder lightgbm xgboost joblib psutil pytest hypothesis"
)
JUDGES_HAVE = frozenset(_JUDGES_HAVE.split())
"""Modules beyond Python's library that some judge has: a sandbox that lacks one says nothing of the program."""


@dataclass(frozen=True)
class Tests:
    """The tests of one problem, by kind."""

    texts: tuple[str, ...]
    """Python that asserts, run together."""
    calls: tuple[ProgramTest, ...]
    scripts: tuple[ProgramTest, ...]
    checker: str | None
    """Python that defines `check(input, output, expected)`, for problems with several right outputs."""
    in_place: bool
    """Whether tests look at what a function did to its arguments."""


def tests_of(problem: Problem) -> Tests:
    """Return a problem's tests. Raises ValueError naming what is none."""
    meta = problem.meta if isinstance(problem.meta, Mapping) else {}
    tests, checker = meta.get("tests"), meta.get("checker")
    if not isinstance(tests, (list, tuple)) or not tests:
        raise ValueError("the problem has no meta['tests']")
    if checker is not None and not isinstance(checker, str):
        raise ValueError(f"meta['checker'] is {str(checker)[:80]!r}; give Python that defines check")
    texts, calls, scripts = [], [], []
    for test in tests:
        keys = set(test) if isinstance(test, Mapping) else set()
        if isinstance(test, str):
            texts.append(test)
        elif "stdin" in keys and ("stdout" in keys or checker):
            scripts.append(cast(ProgramTest, test))
        elif "call" in keys and ({"returns", "accepts"} & keys or checker):
            calls.append(cast(ProgramTest, test))
        else:
            raise ValueError(f"{str(test)[:80]!r} is no test; give stdin and stdout, call and returns, or Python text")
    if texts:
        texts = [helpers(prefix_of(problem)), *texts]
    return Tests(tuple(filter(None, texts)), tuple(calls), tuple(scripts), checker, bool(meta.get("in_place")))


def prefix_of(problem: Problem) -> str:
    """Return what the completion goes on from, "" for nothing."""
    prefix = problem.meta.get("prefix") if isinstance(problem.meta, Mapping) else None
    return prefix if isinstance(prefix, str) else ""


def helpers(prefix: str) -> str:
    """Return what a prefix defines in full before its last function: the test takes it from there.

    HumanEval/32 checks a root by the `poly` of its prompt: a program that had its own would decide its test.
    """
    tree = parsed(prefix) or parsed(prefix + "    pass\n")
    if tree is None:
        return ""
    whole = [node for node in tree.body if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and not _is_stub(node)]
    last = next((node for node in reversed(tree.body) if isinstance(node, (ast.FunctionDef, ast.ClassDef))), None)
    whole = [node for node in whole if node is not last]
    if not whole:
        return ""
    imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign))]
    return "\n".join(map(ast.unparse, [*imports, *whole])) + "\n"


def _is_stub(node: ast.FunctionDef | ast.ClassDef) -> bool:
    return all(isinstance(each, ast.Pass) or (isinstance(each, ast.Expr) and isinstance(each.value, ast.Constant))
               for each in node.body)  # fmt: skip


def parsed(text: str) -> ast.Module | None:
    """Return the tree of a Python text, None if it is none."""
    with suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        return ast.parse(text)
    return None


def wanted(tests: Any) -> set[str]:
    """Return the names that tests expect of a program."""
    names: set[str] = set()
    for test in tests if isinstance(tests, (list, tuple)) else ():
        if isinstance(test, str):
            names |= _open_names(test)
        elif isinstance(test, Mapping) and "call" in test:
            names.add(str(test["call"]).partition(".")[0].removesuffix("()"))
    return names


@lru_cache(maxsize=4096)
def _open_names(text: str) -> frozenset[str]:
    tree = parsed(text)
    return frozenset() if tree is None else frozenset(asked(tree) - bound(tree))


def fault(tests: Tests) -> str | None:
    """Return why tests can judge no program, whatever it is; None if they may."""
    return _fault(tests.texts, tests.checker)


@lru_cache(maxsize=4096)
def _fault(texts: tuple[str, ...], checker: str | None) -> str | None:
    if checker is not None:
        tree = parsed(checker)
        if tree is None or not any(isinstance(node, ast.FunctionDef) and node.name == "check" for node in tree.body):
            return "the checker is no Python that defines a function check"
    for text in texts:
        if parsed(text) is None:
            return f"a test is no Python: {text[:60]!r}"
    if texts and not wanted(["\n".join(texts)]):
        return "the tests ask nothing of the program: they name nothing that they do not define themselves"
    return None


def extract(text: str, problem: Problem) -> str | None:
    """Return the one program that is judged, None if there is none; docs/programs.md states the rule.

    A text without a fence, or a block that begins indented, goes on from the problem's prefix. Before any other block
    only the prefix's imports are put.
    """
    prefix = prefix_of(problem)
    candidates = _programs(text)
    if candidates is None:
        return prefix + text if text.strip() else None
    imports = "".join(line + "\n" for line in prefix.splitlines() if line.startswith(("import ", "from ")))
    programs = [(prefix if code.lstrip("\r\n")[:1] in " \t" else imports) + code for code in candidates if code.strip()]
    meta = problem.meta if isinstance(problem.meta, Mapping) else {}
    names = "|".join(map(re.escape, wanted(meta.get("tests"))))
    defines = re.compile(rf"^(?:(?:async +)?def +|class +)(?:{names})\b|^(?:{names}) *=(?!=)", re.MULTILINE)
    able = [program for program in programs if names and defines.search(program)] or programs
    return able[-1] if able else None


def _programs(text: str) -> list[str] | None:
    """Return the blocks tagged as Python, else those without a tag; None of a text without a fence.

    A single bare fence either ends a block that the prompt began or begins one: both sides of it are blocks.
    """
    bare = _BARE.search(text)
    if bare and text.count("```") == 1:
        return [text[: bare.start()], text[bare.end() :]]
    fenced = blocks(text)
    if not fenced:
        return [] if "```" in text else None
    tags = [(block.info.lower().split()[:1], block.text) for block in fenced]
    python = [code for tag, code in tags if tag and _PYTHON.fullmatch(tag[0].strip("{.}"))]
    return python or [code for tag, code in tags if not tag]


def lacking(program: str, missing: str) -> str | None:
    """Return the module that only this machine lacks: one that judges have and the program really imports."""
    name = missing.partition(".")[0]
    tree = parsed(program) if name in JUDGES_HAVE else None
    return name if tree is not None and name in set(_imports(tree)) else None


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
