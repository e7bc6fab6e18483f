"""The house rules that a machine can hold us to."""

import ast
import collections
import graphlib
import importlib
import inspect
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from typer.main import get_command

import goldpanner
from goldpanner.cli import application

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "goldpanner"
MODULES = sorted(SOURCE.rglob("*.py"))

LINES_OF_A_MODULE, LINES_OF_A_FUNCTION = 420, 60
"""Without docstrings; the signature counts."""

ONE_NAME_IN_SEVERAL_MODULES = {
    "main": "the entry of a process: the command line, and the scripts that run in a sandbox or a worker",
}
"""Public names that may stand in two modules, each with its reason."""

ONE_OPTION_IN_SEVERAL_FORMS = {
    "--engine": "samples are drawn by Ray, and models trained by TRL: each command lists its own engine",
}
"""Options that may be shown in two forms, each with its reason."""

LETTERS_OF_A_SUMMARY = 45
"""So that no terminal of 80 columns cuts or wraps it."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name_of(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def code_lines(node: ast.AST) -> int:
    """Lines from the first to the last, less those of docstrings."""
    docstrings = 0
    for inner in ast.walk(node):
        if isinstance(inner, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(inner) is not None:
            first = inner.body[0]
            docstrings += (first.end_lineno or 0) - first.lineno + 1
    body = node.body if isinstance(node, ast.Module) else [node]
    return (body[-1].end_lineno or 0) - body[0].lineno + 1 - docstrings if body else 0


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_and_functions_stay_readable(path):
    assert code_lines(tree(path)) <= LINES_OF_A_MODULE, "which second thing does this module do?"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not is_command(node):
            assert code_lines(node) <= LINES_OF_A_FUNCTION, f"{node.name} has {code_lines(node)} lines"


def is_command(node: ast.FunctionDef) -> bool:
    """Whether a function is a command: its signature is a list of options, a line each."""
    return any("command" in ast.unparse(decorator) for decorator in node.decorator_list)


def imports(path: Path) -> set[str]:
    """The modules of the package that a module imports, inside its functions too; not those for type checkers only."""
    modules = {name_of(p) for p in MODULES}
    result = set()

    class Visitor(ast.NodeVisitor):
        def visit_If(self, node):
            if "TYPE_CHECKING" not in ast.dump(node.test):
                self.generic_visit(node)

        def visit_Import(self, node):
            result.update(alias.name for alias in node.names if alias.name in modules)

        def visit_ImportFrom(self, node):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                result.update({full} if full in modules else {node.module} & modules)

    Visitor().visit(tree(path))
    return result - {name_of(path)}


def test_no_import_circle():
    graph = {name_of(path): imports(path) for path in MODULES}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_only_the_command_line_knows_the_terminal():
    for path in MODULES:
        if "cli" not in path.relative_to(SOURCE).parts:
            names = {
                alias.name.split(".")[0]
                for node in ast.walk(tree(path))
                if isinstance(node, ast.Import)
                for alias in node.names
            } | {(node.module or "").split(".")[0] for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom)}
            assert not names & {"typer", "rich", "click"}, f"{path.relative_to(SOURCE)} prints to a terminal"


def test_a_public_name_stands_in_one_module():
    homes = collections.defaultdict(list)
    for path in MODULES:
        for node in tree(path).body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(str(path.relative_to(SOURCE)))
    twice = {name: places for name, places in homes.items() if len(places) > 1}
    assert not {n: p for n, p in twice.items() if n not in ONE_NAME_IN_SEVERAL_MODULES}
    assert not set(ONE_NAME_IN_SEVERAL_MODULES) - set(twice), "a reason for a name that stands in one module"


def test_locals_are_nouns():
    participles = {"found", "said", "told", "drawn", "asked", "kept", "known"}
    bound = [
        f"{path.relative_to(SOURCE)}:{node.lineno} {node.id}"
        for path in MODULES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in participles
    ]
    assert len(bound) < 25, bound


def commands(width=None):
    """Every command as (words, command, context): `goldpanner`, its commands, and theirs."""

    def below(words, command, parent):
        settings = {"resilient_parsing": True, "terminal_width": width}
        context = command.make_context(words[-1], [], parent=parent, **settings)
        yield words, command, context
        for name, inner in getattr(command, "commands", {}).items():
            yield from below([*words, name], inner, context)

    return list(below(["goldpanner"], get_command(application()), None))


def test_an_option_means_one_thing():
    forms = collections.defaultdict(lambda: collections.defaultdict(list))
    for words, command, context in commands():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                shown, _ = parameter.get_help_record(context)
                for option in (*parameter.opts, *parameter.secondary_opts):
                    forms[option][shown, parameter.help].append(" ".join(words))
    several = {option: dict(places) for option, places in forms.items() if len(places) > 1}
    assert not {o: places for o, places in several.items() if o not in ONE_OPTION_IN_SEVERAL_FORMS}
    assert not set(ONE_OPTION_IN_SEVERAL_FORMS) - set(several), "a reason for an option with one form"
    for option in ONE_OPTION_IN_SEVERAL_FORMS:
        assert len({text for _, text in several[option]}) == 1, f"{option} has several meanings"


def test_a_summary_stands_on_one_line_of_80_columns():
    for words, command, context in commands(width=78):
        lines = [line.strip() for line in command.get_help(context).splitlines()]
        for name, inner in getattr(command, "commands", {}).items():
            summary = inner.get_short_help_str(limit=200)
            assert len(summary) <= LETTERS_OF_A_SUMMARY, f"{' '.join(words)} {name}: {summary}"
            assert any(line.split("  ", 1)[0] == name and line.endswith(f"  {summary}") for line in lines)


def test_every_help_fits_100_columns_and_has_an_example_that_parses():
    for words, command, context in commands(width=98):
        text = command.get_help(context)
        assert max(map(len, text.splitlines())) <= 100, words
        examples = re.findall(r"^ *Example: (.*)$", command.help, re.MULTILINE)
        assert examples, f"{' '.join(words)} --help has no example"
        for example in examples:
            assert example.startswith(" ".join(words)), example
            assert f"  Example: {example}" in text.splitlines(), f"{example} is cut into two lines"
            assert_parses(example)


def assert_parses(line):
    """A command line has the arguments and options that its command takes."""
    command, context = get_command(application()), None
    words = shlex.split(line)
    while hasattr(command, "commands"):
        context = command.make_context(words[0], [], parent=context, resilient_parsing=True)
        command = command.commands[words[1]]
        words = words[1:]
    command.make_context(words[0], words[1:], parent=context)


def test_the_words_kept_out_are_kept_out():
    banned = {"utils", "common", "helpers", "manager", "env", "agent", "trajectory"}
    assert not [p for p in MODULES if p.stem in banned]


def test_every_public_name_is_there_and_documented():
    assert goldpanner.__all__
    for name in goldpanner.__all__:
        thing = getattr(goldpanner, name)
        if not isinstance(thing, str):
            assert (thing.__doc__ or "").strip(), f"goldpanner.{name} has no docstring"


def public_functions():
    """Every function that is reached through the package's public names: `name`, or `Class.method`."""
    for name in goldpanner.__all__:
        thing = getattr(goldpanner, name)
        if inspect.isfunction(thing):
            yield name, thing
        elif inspect.isclass(thing):
            for method, function in vars(thing).items():
                function = getattr(function, "__func__", function)  # of a classmethod
                foreign = any(method in vars(base) for base in thing.__mro__[1:])  # documented where it comes from
                if inspect.isfunction(function) and not method.startswith("_") and not foreign:
                    yield f"{name}.{method}", function


def test_a_public_function_says_what_each_parameter_is():
    for name, function in public_functions():
        text = inspect.getdoc(function) or ""
        parameters = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
        missing = [each for each in parameters if not re.search(rf"\b{each}\b", text)]
        assert not missing, f"goldpanner.{name} does not say what {', '.join(missing)} is"
        assert len(parameters) < 3 or "Args:" in text, f"goldpanner.{name}: list its parameters under Args"


def rows_of_where_is():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = page.split("## Where is", 1)[1].split("\n## ", 1)[0]
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


def test_every_link_and_command_of_the_readme_is_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(readme.splitlines()) <= 120
    for target in re.findall(r"\]\(([^)#]+)\)", readme):
        assert (ROOT / target).is_file(), target
    blocks = "\n".join(re.findall(r"^```\n(.*?)^```", readme, re.MULTILINE | re.DOTALL))
    lines = re.findall(r"^(goldpanner .*?)(?:  +#.*)?$", blocks, re.MULTILINE)
    assert len(lines) >= 15
    for line in lines:
        assert_parses(line)


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
