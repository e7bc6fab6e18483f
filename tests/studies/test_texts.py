"""The words of the studies: whole in both languages, and filled from numbers alone."""

import ast
import re
from pathlib import Path

import pytest

from goldpanner.errors import InputError
from goldpanner.studies import claims
from goldpanner.studies.study import fill, read_text, show
from goldpanner.types import Estimate

FOLDER = Path(claims.__file__).parent
THERE = [name for name in claims.NAMES if (FOLDER / f"{name.replace('-', '_')}.yaml").is_file()]


@pytest.mark.parametrize("name", THERE)
def test_texts_are_whole_in_both_languages(name):
    text = read_text(name)
    asked = [sorted(re.findall(r"{(\w+)}", words)) for words in (text.found.en, text.found.zh)]
    assert set(asked[0]) == set(asked[1])
    assert asked[0], "what was found quotes no number"
    pairs = [text.title, text.question, text.method, text.found, *text.conditions.values(), *text.plots.values()]
    pairs += [prediction.text for prediction in text.predictions.values()]
    for pair in pairs:
        assert re.search(r"[\u4e00-\u9fff]", pair.zh), pair.zh
        assert not re.search(r"[\u4e00-\u9fff]", pair.en), pair.en


@pytest.mark.parametrize("name", THERE)
def test_a_study_reads_in_one_go(name):
    """The method has about 200 lines at most, beside the classes that say what its results are, and docstrings."""
    text = (FOLDER / f"{name.replace('-', '_')}.py").read_text(encoding="utf-8")
    docstrings = [
        node.body[0].end_lineno - node.body[0].lineno
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node)
    ]
    shapes = [
        node.end_lineno - node.lineno + 3  # with the blank lines around it
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef) and [ast.unparse(base) for base in node.bases] == ["TypedDict"]
    ]
    assert len(text.splitlines()) - sum(shapes) - sum(docstrings) <= 205
    assert claims.load_study(name).name == name


@pytest.mark.parametrize("name", THERE)
def test_predictions_bear_on_something(name):
    named = [s for p in read_text(name).predictions.values() for s in (*p.supports, *p.against)]
    assert named, "the study bears on no sentence of the mission"


def test_an_unknown_study_names_those_there_are():
    with pytest.raises(InputError, match="sharpen-or-expand"):
        claims.load_study("no-such")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Estimate(0.1234, 0.1, 0.15, 0.95, "t"), "0.123 [0.100, 0.150]"),
        (Estimate(0.5, 0.5, 0.5, 0.95, "t"), "0.500"),
        (Estimate.undefined("t"), "–"),
        (3e-22, "3e-22"),
        (0.0, "0"),
        (12345.6, "12,346"),
        (float("inf"), "∞"),
        (1234, "1,234"),
        ([0.5, 1e-5], "0.500 / 1e-05"),
        ({"d3": 0.25}, "d3 0.250"),
        (True, "True"),
    ],
)
def test_show(value, shown):
    assert show(value) == shown


def test_a_text_that_asks_for_more_than_the_finding_has_is_refused():
    assert fill("{a} of {b}", {"a": 1, "b": [1, 2]}) == "1 of 1 / 2"
    with pytest.raises(InputError, match="'c'"):
        fill("{c}", {"a": 1})
