"""What is installed: typed names, metadata that agree with each other."""

import ast
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import goldpanner

ROOT = Path(__file__).parent.parent

USER_SCRIPT = """
import goldpanner as gp

base = gp.Counts.of([64, 64], [3, 0])
rl = gp.load_counts("rl.jsonl")
comparison = gp.compare(base, rl, level=0.9)
reveal_type(comparison.summary)
reveal_type(comparison.difference.at(64).low)
reveal_type(gp.profile(base).curve.largest)
reveal_type(gp.plan(base).recommended)
reveal_type(gp.task("world/d3").id)
gp.no_such_name
"""


def test_type_checkers_see_every_public_name_and_no_other():
    tree = ast.parse((ROOT / "src" / "goldpanner" / "__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    exported = {a.asname for node in block.body if isinstance(node, ast.ImportFrom) for a in node.names if a.asname}
    exported |= {target.id for node in block.body if isinstance(node, ast.Assign) for target in node.targets}
    assert exported == set(goldpanner.__all__) - {"__version__"}
    assert (ROOT / "src" / "goldpanner" / "py.typed").exists()


def test_versions_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == goldpanner.__version__
    assert citation["license"] == project["license"]
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (
        f"Programming Language :: Python :: {sys.version_info.major}.{sys.version_info.minor}" in project["classifiers"]
    )


@pytest.mark.slow
def test_a_users_script_has_no_any(tmp_path):
    from mypy import api

    script = tmp_path / "script.py"
    script.write_text(USER_SCRIPT, encoding="utf-8")
    out, _, _ = api.run(["--strict", "--config-file", str(ROOT / "pyproject.toml"), str(script)])
    lines = [line.split("script.py:")[1] for line in out.splitlines() if "script.py:" in line]
    revealed = [line.split('"')[1] for line in lines if "Revealed type" in line]
    assert revealed == ["str", "float", "int", "int", "str"], out
    assert [line for line in lines if "error" in line] == [
        '12: error: Module has no attribute "no_such_name"  [attr-defined]'
    ]
