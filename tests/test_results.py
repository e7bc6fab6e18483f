"""Every result in every form: short in a console, a page in a notebook, tables and figures in files."""

import csv
import re

import numpy as np
import pyarrow.parquet as pq
import pytest

import goldpanner as gp
from goldpanner.interop import write_counts
from goldpanner.report.chart_style import PICTURES
from goldpanner.report.results import view
from goldpanner.report.table import WRITERS, ResultTable, write_csv, write_latex, write_markdown
from goldpanner.result import LETTERS
from goldpanner.types import Completion, Estimate, Outcome, Sample, Verdict
from test_cli import call

PROBLEMS, N = 60, 16


def drawn_counts(seed=0, factor=1.0):
    generator = np.random.default_rng(seed)
    p = np.clip(np.linspace(0, 0.9, PROBLEMS) * factor, 0, 1)
    return gp.Counts.of([N] * PROBLEMS, generator.binomial(N, p), [f"problem {i}" for i in range(PROBLEMS)])


@pytest.fixture(scope="module")
def results():
    base, rl = drawn_counts(0), drawn_counts(1, 1.6)
    return {
        "counts": base,
        "band": gp.curve(base),
        "profile": gp.profile(base),
        "comparison": gp.compare(base, rl),
        "series": gp.compare_series(base, {"sft": [rl], "rl": [rl, base]}),
        "plan": gp.plan(base),
    }


KINDS = ("counts", "band", "profile", "comparison", "series", "plan")


@pytest.mark.parametrize("kind", KINDS)
def test_every_table_and_figure_is_written_in_every_form(results, kind, tmp_path):
    result = results[kind]
    shown = view(result)
    for name in shown.tables:
        for ending in WRITERS:
            assert result.save(tmp_path / f"{name}{ending}").stat().st_size > 0
        with (tmp_path / f"{name}.csv").open(newline="") as file:
            rows = list(csv.reader(file))
        table = pq.read_table(tmp_path / f"{name}.parquet")
        frame = result.to_frame(name)
        assert rows[0] == table.column_names == list(frame.columns)
        assert len(rows) - 1 == len(table) == len(frame) == len(shown.table(name))
        assert len((tmp_path / f"{name}.md").read_text().splitlines()) == len(rows) + 1
        assert (tmp_path / f"{name}.tex").read_text().count(r"\\") == len(rows)
    heads = {".svg": b"<svg", ".pdf": b"%PDF", ".png": b"\x89PNG"}
    assert shown.figures
    for name in shown.figures:
        for ending in PICTURES:
            assert result.save(tmp_path / f"{name}{ending}").read_bytes().startswith(heads[ending])


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_is_short_in_a_console_and_a_page_in_a_notebook(results, kind):
    result = results[kind]
    assert len(repr(result)) <= LETTERS
    page = result._repr_html_()
    assert "<svg" in page
    assert "<table>" in page
    assert page.count("<tr>") <= 13
    assert len(page) < 60_000
    assert result.plot()._repr_svg_().startswith("<svg")
    assert len(repr(result.plot())) < LETTERS


def test_what_results_hold_is_short_too(results):
    profile, comparison, series = results["profile"], results["comparison"], results["series"]
    parts = (profile.boundary, profile.rates, profile.rates.judged, profile.rates.judged.mixture, comparison.changes)
    for part in (*parts, *series.stages, profile.rates.judged.grid):
        assert len(repr(part)) <= LETTERS


def test_numbers_in_files_are_those_of_the_result(results, tmp_path):
    comparison = results["comparison"]
    frame = comparison.to_frame("table").set_index("k")
    gap = comparison.difference.at(N)
    assert (frame.difference[N], frame.difference_low[N], frame.difference_high[N]) == (gap.value, gap.low, gap.high)
    problems = gp.to_frame(comparison, "problems")
    assert list(problems.rl_c) == comparison.changes.rl.c.tolist()
    assert results["counts"].to_frame().c.tolist() == results["counts"].c.tolist()
    curve = results["series"].to_frame("curve")
    assert sorted(set(curve.model)) == ["base", "rl", "sft"]
    assert f"{comparison.difference.at(1):+}" in comparison.save(tmp_path / "table.md").read_text().replace("\\", "")


def test_a_wrong_name_lists_what_there_is(results, tmp_path):
    with pytest.raises(gp.InputError, match=r"bogus\.csv names no table .* table, curve, difference, problems"):
        results["comparison"].save(tmp_path / "bogus.csv")
    with pytest.raises(gp.InputError, match=r"curve\.xls names no .*\.csv \.parquet \.tex \.md.*\.svg \.pdf \.png"):
        results["band"].save(tmp_path / "curve.xls")
    with pytest.raises(gp.InputError, match="no figure 'bogus'; there are curve, groups"):
        results["profile"].plot("bogus")
    with pytest.raises(gp.InputError, match="no table 'bogus'"):
        results["plan"].to_frame("bogus")
    with pytest.raises(gp.InputError, match="a dict has no tables"):
        gp.to_frame({})
    assert results["band"].save(tmp_path / "math-curve.csv").exists()


def test_a_frame_without_pandas_names_the_extra(results, monkeypatch):
    monkeypatch.setattr("goldpanner.errors.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"goldpanner\[frames\]"):
        results["counts"].to_frame()


def test_samples_are_a_frame(tmp_path):
    verdict = Verdict(Outcome.CORRECT, "exact@1")
    store = gp.Store(tmp_path)
    store.append([Sample("p", "base", "x", 0, i, Completion(f"text {i}"), verdict) for i in range(3)])
    frame = gp.to_frame(store.samples(policy="base"))
    assert frame.text.tolist() == ["text 0", "text 1", "text 2"]
    assert frame.outcome.tolist() == ["correct"] * 3


HOSTILE = ["a&b%c$d#e_f{g}h~i^j\\k", "<script>|`*[x](y)", "=1+1", "-2", "- 2", "@x", "two\nlines", "[0, 1]"]


def test_texts_are_escaped(tmp_path):
    table = ResultTable({"id": HOSTILE, "P": [Estimate(0.5, 0.25, 0.75, 0.95, "exact")] * len(HOSTILE)})
    write_latex(table, tmp_path / "t.tex")
    latex = (tmp_path / "t.tex").read_text().splitlines()
    assert latex[5].startswith(
        r"a\&b\%c\$d\#e\_f\{g\}h\textasciitilde{}i\textasciicircum{}j\textbackslash{}k & 0.500 {[}0.250"
    )
    assert latex[-3].startswith("{[}0, 1{]}")  # a bracket after \\ would be its optional argument
    write_markdown(table, tmp_path / "t.md")
    markdown = (tmp_path / "t.md").read_text().splitlines()
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in markdown} == {3}
    assert "<script>" not in "".join(markdown)
    assert "<script>" not in table.html(99)
    write_csv(table, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file)]
    assert ids == [*HOSTILE[:2], "'=1+1", "-2", "'- 2", "'@x", *HOSTILE[6:]]


def test_commands_save_what_file_names_say(tmp_path):
    base, rl = (write_counts(drawn_counts(i, 1 + i), tmp_path / f"{i}.jsonl") for i in range(2))
    files = [tmp_path / name for name in ("curve.pdf", "table.tex", "problems.csv")]
    saves = [part for file in files for part in ("--save", file)]
    for words in (["measure", base], ["compare", base, rl], ["compare", base, rl, base]):
        call(*words, *saves)
        for file in files:
            file.unlink()
    call("plan", base, "--save", tmp_path / "groups.svg")
    wrong = call("compare", base, rl, "--save", tmp_path / "x" / "curve.pdf", "--save", "groups.pdf", code=2)
    assert "figures curve, difference, problems" in wrong
    assert not (tmp_path / "x").exists(), "nothing is written where one name is wrong"


def test_a_saved_file_has_the_rights_of_any_other(tmp_path, results):
    other = tmp_path / "other"
    other.touch()
    assert results["band"].save(tmp_path / "curve.csv").stat().st_mode == other.stat().st_mode


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".jsonl"])
def test_exported_counts_are_what_their_ending_says_and_come_back(tmp_path, ending):
    store = gp.Store(tmp_path / "store")
    verdicts = [Verdict(outcome, "exact@1") for outcome in (Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED)]
    store.append(
        [Sample(f"p{p}", "base", "x", 0, i, Completion("t"), verdicts[min(p, i)]) for p in range(3) for i in range(3)]
    )
    path = tmp_path / f"counts{ending}"
    gp.export(store, "base", path)
    if ending == ".csv":
        assert path.read_text().startswith("id,n,c,unjudged")
    back, counts = gp.load_counts(path), store.counts("base")
    for name in ("ids", "n", "c", "unjudged", "truncated"):
        assert list(getattr(back, name)) == list(getattr(counts, name)), name
