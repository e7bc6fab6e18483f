"""The house rules that a machine can hold us to."""

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import goldpanner

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "goldpanner"
MODULES = sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_and_functions_stay_readable(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 450, "which second thing does this module do?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            signature = node.body[0].lineno - node.lineno
            assert length - signature <= 70, f"{node.name} has {length} lines"


def test_the_words_kept_out_are_kept_out():
    banned = {"utils", "common", "helpers", "manager", "env", "agent", "trajectory"}
    assert not [p for p in MODULES if p.stem in banned]


def test_every_public_name_is_there_and_documented():
    assert goldpanner.__all__
    for name in goldpanner.__all__:
        thing = getattr(goldpanner, name)
        if not isinstance(thing, str):
            assert (thing.__doc__ or "").strip(), f"goldpanner.{name} has no docstring"


def rows_of_where_is():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("## Where is", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"\|[^|]+\|\s*`([\w/.]+)::([\w.]+)`\s*\|", table)


def test_where_is_table_has_rows():
    assert len(rows_of_where_is()) >= 12


@pytest.mark.parametrize(("file", "name"), rows_of_where_is())
def test_where_is_row_resolves(file, name):
    path = SOURCE / file
    module = importlib.import_module("goldpanner." + file.removesuffix(".py").replace("/", "."))
    assert path.is_file()
    thing = module
    for part in name.split("."):
        thing = getattr(thing, part)


def test_help_needs_neither_torch_nor_the_instrument():
    code = (
        "import sys; sys.argv=['goldpanner','--help']\n"
        "from goldpanner.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "assert not {'torch','transformers','scipy','duckdb','altair','pyarrow'} & set(sys.modules), 'heavy import'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "compare" in done.stdout


def test_the_instrument_imports_no_torch():
    code = (
        "import sys\n"
        "import goldpanner.measure.passk, goldpanner.measure.compare, goldpanner.measure.plan, goldpanner.store\n"
        "import goldpanner.interop, goldpanner.report, goldpanner.tasks, goldpanner.policies.scripted\n"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_nothing_names_this_workplace():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout.split()
    hosts = re.compile("|".join(["py" + "pi.org", "python" + "hosted", "registry." + "npmjs", "/wo" + "rk/main"]))
    for name in listed:
        path = ROOT / name
        if path.is_file() and path.suffix in {".py", ".md", ".toml", ".lock", ".yaml", ".json", ".jsonl", ""}:
            assert not hosts.search(path.read_text(encoding="utf-8", errors="ignore")), name


def test_public_names_stay_themselves_whatever_is_imported():
    """A module of the package with a public function's name would take its place once it is imported."""
    code = (
        "import pkgutil, importlib, goldpanner as gp\n"
        "before = {n: getattr(gp, n) for n in gp.__all__}\n"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(gp.__path__, 'goldpanner.')"
        " if not m.name.endswith('__main__')]\n"
        "assert all(getattr(gp, n) is thing for n, thing in before.items())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
