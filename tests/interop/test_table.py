"""Any table: whatever its shape and file, the same samples give the same counts."""

import csv
import gzip
import io
import json
import time
import weakref
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from goldpanner import interop
from goldpanner.errors import InputError
from goldpanner.types import Outcome, Verdict

ROWS = [
    {"id": p, "text": t, "correct": ok} for p, t, ok in (("a", "4", 1), ("a", "5", 0), ("b", "7", 1), ("b", "7", 1))
]
EXPECTED = {"a": (2, 1, 0), "b": (2, 2, 0)}


def tally(source, *args, **options):
    """Id -> (n, c, unjudged); the fast way (counts alone) and the slow one (sample by sample) must agree."""
    imported = interop.read(source, *args, **options)
    counts = imported.counts(pool_steps=True)
    fast = dict(zip(counts.ids, zip(counts.n.tolist(), counts.c.tolist(), counts.unjudged.tolist())))
    slow = {}
    for record in imported:
        own = (record.n, record.c, record.unjudged)
        slow[record.id] = tuple(map(sum, zip(slow.get(record.id, (0, 0, 0)), own)))
    assert fast == slow
    return fast


def written(folder, rows, name):
    """Write rows as the file that its name says."""
    path = folder / name
    ends = path.name.split(".", 1)[1]
    plain = io.StringIO()
    if ends.startswith(("csv", "tsv", "txt")):
        writer = csv.DictWriter(plain, list(rows[0]), delimiter="\t" if ends.startswith("tsv") else ",")
        writer.writeheader()
        writer.writerows(rows)
    elif ends.startswith("jsonl"):
        plain.write("".join(json.dumps(row) + "\n" for row in rows))
    elif ends.startswith("json"):
        json.dump(rows, plain, indent=1)
    data = plain.getvalue().encode()
    if ends == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif ends == "arrow":
        pa.feather.write_feather(pa.Table.from_pylist(rows), path)
    elif ends == "stream.arrow":
        table = pa.Table.from_pylist(rows)
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)
    elif ends.endswith(".gz"):
        path.write_bytes(gzip.compress(data))
    elif ends.endswith(".zst"):
        path.write_bytes(pa.compress(data, "zstd", asbytes=True))
    else:
        path.write_bytes(data)
    return path


FILES = [
    "x.csv", "x.tsv", "x.txt", "x.jsonl", "x.json", "x.parquet", "x.arrow", "x.stream.arrow", "x.csv.gz", "x.jsonl.gz",
    "x.csv.zst", "x.json.gz",
]  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_sample_a_row_in_every_kind_of_file(tmp_path, name):
    path = written(tmp_path, ROWS, name)
    assert interop.detect(path).name == "table"
    assert tally(path) == EXPECTED
    imported = interop.read(path)
    assert [s.completion.text for s in imported.samples(policy="p")] == ["4", "5", "7", "7"]
    assert imported.report.lines()[1] == "columns taken: id = id, correct = correct, text = text"


def as_rows(**columns):
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


SHAPES = {
    "words": (as_rows(problem_id=["a", "a", "b"], passed=["true", "False", "PASS"]), {"a": (2, 1, 0), "b": (1, 1, 0)}),
    "missing verdicts": (as_rows(id=["a", "a", "a"], correct=["1", "", "nan"]), {"a": (3, 1, 2)}),
    "rewards": (as_rows(id=[7, 7, 8], reward=[1.0, 0.0, 0.0]), {"7": (2, 1, 0), "8": (1, 0, 0)}),
    "leading zeros": (as_rows(id=["007", "07"], correct=[1, 0]), {"007": (1, 1, 0), "07": (1, 0, 0)}),
    "counts": (as_rows(id=["a", "b"], n=[4, 8], c=[1, 0]), {"a": (4, 1, 0), "b": (8, 0, 0)}),
    "counts by other names": (as_rows(task_id=["a"], num_samples=[4], num_correct=[3]), {"a": (4, 3, 0)}),
    "rates": (as_rows(id=["a", "b"], pass_rate=[0.25, 0.333333], n=[8, 3]), {"a": (8, 2, 0), "b": (3, 1, 0)}),
    "a matrix": (as_rows(id=["a", "b"], run_1=[1, 0], run_2=[1, 0], run_3=[0, 0]), {"a": (3, 2, 0), "b": (3, 0, 0)}),
}


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape(tmp_path, shape, name):
    rows, expected = SHAPES[shape]
    path = written(tmp_path, rows, name)
    if shape == "counts" and name == "x.jsonl":
        assert interop.detect(path).name == "counts"
    assert tally(path) == expected


@pytest.mark.parametrize("name", ["x.jsonl", "x.parquet", "x.arrow", "x.json"])
def test_a_list_of_samples_a_row(tmp_path, name):
    rows = [
        {
            "idx": 0,
            "score": [True, False, True],
            "responses": ["x", "y", "z"],
            "finish_reason": ["stop", "length", ""],
        },
        {"idx": 1, "score": [False, False], "responses": ["x", "y"], "finish_reason": ["stop", "eos"]},
        {"idx": 2, "score": [], "responses": [], "finish_reason": []},
    ]
    path = written(tmp_path, rows, name)
    assert tally(path) == {"0": (3, 2, 0), "1": (2, 0, 0)}
    imported = interop.read(path)
    counts = imported.counts()
    assert (counts.truncated.tolist(), counts.finish_unknown.tolist()) == ([1, 0], [1, 0])
    assert [s.count for s in imported.report.skipped.values()] == [1]
    rows[0]["responses"].pop()
    with pytest.raises(InputError, match=r"'responses' has 2 entries here, and 'score' has 3"):
        list(interop.read(written(tmp_path, rows, name)).samples(policy="p"))


def test_a_matrix_without_a_header(tmp_path):
    path = tmp_path / "matrix.csv"
    np.savetxt(path, [[1, 0, 1], [0, 0, 0]], fmt="%d", delimiter=",")
    assert tally(path) == {"1": (3, 2, 0), "2": (3, 0, 0)}
    assert tally(np.array([[1, 0, 1], [0, 0, 0]])) == {"1": (3, 2, 0), "2": (3, 0, 0)}


def test_columns_are_named_by_the_user(tmp_path):
    rows = [
        {"pb": "a", "ok": 1, "meta": {"score": 0, "who": "m"}},
        {"pb": "a", "ok": 1, "meta": {"score": 1, "who": "m"}},
    ]
    for name in ("x.jsonl", "x.parquet"):
        path = written(tmp_path, rows, name)
        assert tally(path, map="id=pb,correct=ok") == {"a": (2, 2, 0)}
        assert tally(path, map={"id": "pb", "correct": "meta.score", "policy": "meta.who"}) == {"a": (2, 1, 0)}
    path = written(tmp_path, as_rows(p=["a", "b"], s1=[1, 0], s2=[1, 1], other=[5, 5]), "x.csv")
    assert tally(path, map="id=p,correct=s*") == {"a": (2, 2, 0), "b": (2, 1, 0)}
    path = written(tmp_path, as_rows(id=["a", "b"], pass_rate=[0.5, 0.25]), "x.csv")
    assert tally(path, map="n=64") == {"a": (64, 32, 0), "b": (64, 16, 0)}


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (as_rows(id=["a"], correct=[1], reward=[1]), {}, "'correct' and 'reward' may both be the correct"),
        (as_rows(id=["a"], problem_id=["b"], correct=[1]), {}, "'id' and 'problem_id' may both be the id"),
        (as_rows(id=["a"], correct=[3], n=[4]), {}, "may be a verdict a row, or the number correct"),
        (as_rows(name=["a"], foo=[1]), {}, "its columns are name, foo; needed are"),
        (as_rows(id=["a"], correct=[1]), {"map": "id=id,correct=ok"}, "has no column 'ok' to be the correct"),
        (as_rows(id=["a"], correct=[1]), {"map": "verdict=correct"}, "'verdict' is nothing that a column can be"),
        (as_rows(id=["a"], correct=[1]), {"map": "id="}, "'id' has no column"),
        (as_rows(id=["a", "b"], correct=["1", "maybe"]), {}, "row 2: correct is 'maybe'; expected 0, 1"),
        (as_rows(id=["a", "b"], reward=[1, 0.25]), {}, "row 2: reward is 0.25, neither 0 nor 1"),
        (as_rows(id=["a", ""], correct=[1, 0]), {}, "row 2: the id is ''; expected the problem's name"),
        (as_rows(id=["a"], pass_rate=[0.3], n=[8]), {}, "the rate 0.3 is no whole number of n = 8"),
        (as_rows(id=["a"], pass_rate=[1.3], n=[8]), {}, "expected a number from 0 to 1"),
        (as_rows(id=["a", "a"], n=[8, 8], c=[1, 1]), {}, "row 2: problem 'a' stands twice"),
        (as_rows(id=["a"], n=[8], c=[9]), {}, "c = 9 is more than n = 8"),
        (as_rows(id=["a"], n=["many"], c=[9]), {}, "'n' is 'many'; expected a whole number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, rows, options, message):
    path = written(tmp_path, rows, "x.csv")
    with pytest.raises(InputError) as error:
        interop.read(path, **options).counts()
    assert message in str(error.value)
    assert "x.csv" in str(error.value) or "--map" in str(error.value)


def test_optional_columns_that_may_be_two_are_left_out_by_name(tmp_path):
    path = written(tmp_path, as_rows(id=["a"], correct=[1], response=["x"], output=["y"]), "x.csv")
    imported = interop.read(path)
    assert [s.completion.text for s in imported.samples(policy="p")] == [""]
    assert any("response and output may both be the text" in warning for warning in imported.report.warnings)
    assert [s.completion.text for s in interop.read(path, map="text=output").samples(policy="p")] == ["y"]


def test_policies_and_steps_are_kept_apart(tmp_path):
    path = written(tmp_path, as_rows(id=["a", "a"], correct=[1, 0], model=["base", "rl"]), "x.csv")
    with pytest.raises(InputError, match="different models"):
        interop.read(path).counts()
    assert len({s.policy for s in interop.read(path).samples()}) == 2
    path = written(tmp_path, as_rows(id=["a", "a"], correct=[1, 0], step=[1, 2]), "x.csv")
    with pytest.raises(InputError, match="several training steps"):
        interop.read(path).counts()
    assert interop.read(path, step=2).counts().c.tolist() == [0]


def test_a_problem_is_known_by_its_prompt_where_it_has_no_id(tmp_path):
    rows = as_rows(prompt=["1 + 1 =", "1 + 1 =", "2 + 2 ="], correct=[1, 0, 1])
    path = written(tmp_path, rows, "x.jsonl")
    assert sorted(tally(path).values()) == [(1, 1, 0), (2, 1, 0)]
    imported = interop.read(path)
    imported.counts()
    assert sorted(q.prompt for q in imported.questions.values()) == ["1 + 1 =", "2 + 2 ="]
    assert set(imported.problems()) == set(imported.counts().ids)


def test_texts_are_judged_anew(tmp_path):
    def is_seven(problem, completion):
        return Verdict(Outcome.CORRECT if completion.text == "7" else Outcome.WRONG, "seven@1")

    path = written(tmp_path, ROWS, "x.csv")
    assert tally(path, verifier=is_seven) == {"a": (2, 0, 0), "b": (2, 2, 0)}
    path = written(tmp_path, as_rows(id=["a"], correct=[1]), "y.csv")
    with pytest.raises(InputError, match="holds no texts for a verifier to read"):
        interop.read(path, verifier=is_seven).counts()


def test_tables_in_memory_and_standard_input(tmp_path, monkeypatch):
    frame = pd.DataFrame(ROWS)
    for source in (frame, pa.Table.from_pylist(ROWS), ROWS):
        assert tally(source) == EXPECTED
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(written(tmp_path, ROWS, "x.csv").read_bytes())))
    imported = interop.read("-")
    assert imported.counts().n.tolist() == [2, 2]
    place = Path(imported.report.files[0])
    assert place.exists()
    gone = weakref.ref(imported)
    del imported
    assert gone() is None
    assert not place.exists()
    for source in (object(), np.zeros(3), [{"id": object()}]):
        with pytest.raises(InputError, match="give a file|give problems by samples"):
            interop.read(source)


def test_a_table_of_counts_holds_no_samples(tmp_path):
    path = written(tmp_path, as_rows(id=["a"], n=[4], c=[1]), "x.csv")
    with pytest.raises(InputError, match="holds no samples, only their numbers"):
        list(interop.read(path).samples(policy="p"))


def test_map_is_for_tables(tmp_path):
    path = tmp_path / "1.jsonl"
    path.write_text(json.dumps({"input": "q", "output": "a", "score": 1, "step": 1}) + "\n")
    with pytest.raises(InputError, match="verl is a format of its own"):
        interop.read(path, "verl", map="id=input")
    assert tally(path, map="prompt=input,correct=score").values()


def test_a_million_rows_take_a_second(tmp_path):
    n = 1_000_000
    rng = np.random.default_rng(0)
    ids, verdicts = rng.integers(0, 5000, n), rng.integers(0, 2, n)
    table = pa.table({"id": ids, "text": ["some text"] * n, "correct": verdicts})
    path = tmp_path / "big.csv"
    pa.csv.write_csv(table, path)
    started = time.process_time()
    counts = interop.read(path).counts()
    assert time.process_time() - started < 3
    assert counts.n.sum() == n
    assert counts.c.sum() == verdicts.sum()
