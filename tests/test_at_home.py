"""In Python as on the command line: the same names, whatever holds counts, and our errors for what does not."""

import inspect
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import goldpanner as gp
from goldpanner.interop import write_counts
from goldpanner.sources import Log
from test_architecture import commands

IDS, N, BASE, RL = ["a", "b", "c"], 8, [1, 0, 8], [6, 2, 8]


def counts_of(c):
    return gp.Counts.of([N] * 3, c, IDS)


def sample_rows(c):
    return [{"id": i, "correct": j < right} for i, right in zip(IDS, c) for j in range(N)]


FORMS = {
    "counts": counts_of,
    "rows": sample_rows,
    "pandas": lambda c: pd.DataFrame(sample_rows(c)),
    "pandas counts": lambda c: pd.DataFrame({"id": IDS, "n": N, "c": c}),
    "arrow": lambda c: pa.Table.from_pylist(sample_rows(c)),
    "log": lambda c: gp.read_log(sample_rows(c)),
}


@pytest.mark.parametrize("form", FORMS)
def test_whatever_holds_counts_is_taken_where_counts_are(form):
    base, rl = FORMS[form](BASE), FORMS[form](RL)
    plain = gp.compare(counts_of(BASE), counts_of(RL))
    assert gp.compare(base, rl).summary == plain.summary
    assert gp.curve(base).at(8) == gp.curve(counts_of(BASE)).at(8)
    assert gp.profile(base).to_json() == gp.profile(counts_of(BASE)).to_json()
    assert gp.plan(base).to_json() == gp.plan(counts_of(BASE)).to_json()
    assert (
        gp.compare_series(base, {"rl": [rl]}).summary
        == gp.compare_series(counts_of(BASE), {"rl": [counts_of(RL)]}).summary
    )
    assert gp.load_counts(base, name="mine").name == "mine"


def test_paths_and_matrices_are_taken(tmp_path):
    path = write_counts(counts_of(BASE), tmp_path / "base.jsonl")
    assert gp.curve(str(path)).at(1) == gp.curve(path).at(1) == gp.curve(counts_of(BASE)).at(1)
    matrix = np.array([[j < right for j in range(N)] for right in BASE]).astype(int)
    assert gp.plan(matrix).recommended == gp.plan(counts_of(BASE)).recommended
    other = [{"name": row["id"], "passed": row["correct"]} for row in sample_rows(BASE)]
    assert gp.load_counts(other, log=Log(map="id=name,correct=passed")).c.tolist() == BASE


@pytest.mark.parametrize(
    "wrong",
    [None, 3, {"a": 1}, [1, 2], [], "no/such/file", object(), np.zeros(3), [{"x": 1}], pd.DataFrame()],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_no_counts_is_our_error(wrong):
    for function in (gp.curve, gp.profile, gp.plan, gp.load_counts, lambda x: gp.compare(counts_of(BASE), x)):
        with pytest.raises(gp.InputError):
            function(wrong)


@pytest.mark.parametrize(
    ("n", "c", "message"),
    [
        ([8.5], [1], "n holds 8.5; give whole numbers"),
        ([8], [0.25], "c holds 0.25"),
        ([8], [float("nan")], "c holds nan"),
        ([float("inf")], [1], "n holds inf"),
        (["eight"], [1], "n is"),
        ([8], [None], "c"),
        (8, 1, "shape"),
        ([[8]], [[1]], "shape"),
        ([8, [8]], [1, 1], "n is"),
        ([8], [1, 2], "shape"),
    ],
)
def test_counts_are_whole_numbers(n, c, message):
    with pytest.raises(gp.InputError, match=message):
        gp.Counts.of(n, c)


def test_whole_floats_are_counts():
    counts = gp.Counts.of(np.array([8.0, 8.0]), [1.0, 2.0], [1, 2])
    assert (counts.c.dtype, counts.ids) == (np.int64, ("1", "2"))


ONLY_IN_PYTHON = {
    "base": "an argument", "rl": "an argument", "models": "an argument", "counts": "an argument",
    "verifier": "--false-positive, --false-negative, --checked", "margin": "fixed on the command line",
    "params": "--params is the hash of those in the store",
}  # fmt: skip


@pytest.mark.parametrize(
    ("function", "command"),
    [("profile", "measure"), ("compare", "compare"), ("compare_series", "compare"), ("plan", "plan")],
)
def test_parameters_have_the_names_of_the_options(function, command):
    (options,) = (
        {option for each in one.get_params(context) for option in each.opts}
        for words, one, context in commands()
        if words == ["goldpanner", command]
    )
    names = set(inspect.signature(getattr(gp, function)).parameters) - set(ONLY_IN_PYTHON)
    assert {f"--{name.replace('_', '-')}" for name in names} <= options


def test_a_missing_extra_is_named_in_python_too(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("goldpanner.policies.local")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(gp.GoldpannerError, match=r"goldpanner\.LocalPolicy needs the 'lab' extra.*pip install"):
        _ = gp.LocalPolicy


def test_labels_break_a_profile_down(tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("a,easy\nb,hard\nc,easy\n")
    profile = gp.profile(counts_of(BASE), by=str(labels))
    assert {label: part.problems for label, part in profile.by.items()} == {"easy": 2, "hard": 1}
    assert profile.to_frame("labels").label.tolist() == ["easy", "hard"]
    assert set(profile.to_json()["by"]) == {"easy", "hard"}
