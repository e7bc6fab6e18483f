"""Whatever a file holds, an importer gives counts or an InputError that names the file: nothing else comes out."""

import json
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from goldpanner import interop
from goldpanner.errors import InputError
from goldpanner.types import Outcome, Verdict

FIXTURES = Path(__file__).parent / "fixtures"
SETTINGS = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
TEXT = st.text(st.characters(), max_size=8) | st.sampled_from(["1", "a_0_1", "\ud800", "none", "x" * 200])
SCALAR = st.none() | st.booleans() | st.integers() | st.floats() | TEXT | st.sampled_from([0, 1, 1.0, 10**400, 1e308])
VALUE = st.recursive(SCALAR, lambda v: st.lists(v, max_size=3) | st.dictionaries(TEXT, v, max_size=3), max_leaves=6)
MESSAGES = st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": VALUE}), max_size=2)
SCORE = st.sampled_from([0, 1, 0.0, 1.0, True, None, float("nan")]) | VALUE
TRACE = st.fixed_dictionaries(
    {
        "nodes": st.lists(st.fixed_dictionaries({"message": VALUE, "sampled": st.booleans()}), max_size=2) | VALUE,
        "task": st.fixed_dictionaries({"data": VALUE, "key": VALUE}) | VALUE,
        "rewards": st.dictionaries(TEXT, st.fixed_dictionaries({"score": SCORE, "weight": SCORE}) | VALUE, max_size=2),
        "ok": st.booleans(),
    },
    optional={"calls": st.lists(st.dictionaries(TEXT, VALUE, max_size=2), max_size=2) | VALUE, "errors": VALUE},
)
ROWS = {
    "counts": {"id": TEXT | VALUE, "n": st.integers(0, 5) | VALUE, "c": st.integers(0, 3) | VALUE, "unjudged": VALUE},
    "lm-eval": {
        "doc_id": st.integers(0, 3) | VALUE, "doc": VALUE, "target": VALUE, "filter": TEXT,
        "arguments": st.just({"gen_args_0": {"arg_0": "q", "arg_1": {"temperature": 0.5}}}) | VALUE,
        "resps": st.lists(st.lists(TEXT, max_size=3), min_size=1, max_size=1) | VALUE,
        "filtered_resps": VALUE, "metrics": st.just(["m"]) | VALUE, "m": SCORE, "pass@1": SCORE,
    },
    "verl": {
        "input": TEXT | VALUE, "output": TEXT | VALUE, "score": SCORE, "step": st.integers(0, 2) | VALUE,
        "gts": VALUE, "uid": TEXT | VALUE, "goldpanner_id": st.none() | VALUE,
    },
    "verifiers": {
        "example_id": VALUE, "prompt": TEXT | MESSAGES | VALUE, "completion": MESSAGES | VALUE, "reward": SCORE,
        "answer": VALUE, "error": st.none() | VALUE, "info": VALUE,
    },
    "verifiers-traces": {"task": VALUE, "ok": VALUE, "traces": st.lists(TRACE, max_size=2) | VALUE, "run": VALUE},
    "open-instruct": {
        "prompt_tokens": st.lists(st.integers(0, 9), max_size=3) | VALUE,
        "response_tokens": st.lists(st.integers(0, 9), max_size=3) | VALUE, "reward": SCORE,
        "sample_idx": VALUE, "prompt_idx": st.integers(0, 3) | VALUE, "step": st.integers(0, 2) | VALUE,
        "logprobs": st.lists(st.floats(), max_size=3) | VALUE, "finish_reason": VALUE, "dataset": VALUE,
    },
    "table": {
        "id": TEXT | st.integers(0, 3) | VALUE, "correct": SCORE | st.lists(SCORE, max_size=3) | TEXT,
        "text": TEXT | MESSAGES | VALUE, "finish": VALUE, "model": VALUE, "prompt": TEXT | MESSAGES | VALUE,
        "step": st.integers(0, 2) | VALUE, "n": st.integers(0, 5) | VALUE, "c": VALUE, "pass_rate": SCORE,
    },
    "human-eval": {
        "task_id": TEXT | VALUE, "completion": TEXT | VALUE, "passed": st.booleans() | VALUE, "result": TEXT | VALUE,
    },
}  # fmt: skip


def exact(problem, completion):
    return Verdict(Outcome.CORRECT if completion.text == problem.answer else Outcome.WRONG, "exact@1")


def consume(path, name, **options):
    """Read a file in every way. Counts must obey their own rules; else InputError, naming the file."""
    with suppress(InputError):
        imported = interop.read(path, name, **options)
        counts = imported.counts(pool_steps=True)
        assert ((counts.c + counts.unjudged) <= counts.n).all()
        assert imported.report.samples == counts.n.sum()
        assert json.dumps(imported.report.to_json())
        assert imported.report.lines()
        if imported.has_samples:
            keys = [s.key for s in imported.samples(policy="p")]
            assert len(set(keys)) == len(keys) == counts.n.sum()


@pytest.mark.parametrize("name", ROWS)
def test_arbitrary_rows(name, tmp_path):
    @SETTINGS
    @given(
        st.lists(
            st.fixed_dictionaries({}, optional=ROWS[name]) | st.fixed_dictionaries(ROWS[name]), min_size=1, max_size=4
        ),
        st.sampled_from([{}, {"threshold": 0.5}, {"verifier": exact}, {"score": "m"}, {"filter": "none"}, {"step": 1}]),
    )
    def check(rows, options):
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        consume(path, name, **options)

    check()


@pytest.mark.parametrize("name", interop.FORMATS)
def test_arbitrary_bytes(name, tmp_path):
    starts = st.sampled_from(
        [b"", b"{", b"PK\x03\x04", b"PAR1", b"\x1f\x8b", b'{"id": "a", "n": 1, "c": ', b"\xff\xfe{", b"[" * 9000]
    )

    @SETTINGS
    @given(starts, st.binary(max_size=60), st.sampled_from([".jsonl", ".json", ".eval", ".parquet"]))
    def check(start, rest, end):
        path = tmp_path / f"data{end}"
        path.write_bytes(start + rest)
        for format_name in (name, None):
            with pytest.raises(InputError, match="data"):
                interop.read(path, format_name).counts()

    check()


CELL = st.sampled_from(
    ["1", "0", "true", "", "nan", "a", "b", "1e999", "0.5", "stop", "length", '"', '""', "\x00", "é"]
)
HEADER = st.sampled_from(
    ["id,correct", "id,correct,finish", "id,n,c", "id,pass_rate,n", "1,0", "prompt,reward", "id;acc"]
)


@SETTINGS
@given(
    HEADER,
    st.lists(st.lists(CELL, min_size=1, max_size=4).map(",".join), max_size=4),
    st.booleans(),
    st.binary(max_size=3),
)
def test_arbitrary_csv(tmp_path_factory, header, lines, carriage, rest):
    path = tmp_path_factory.getbasetemp() / "rows.csv"
    path.write_bytes(("\r\n" if carriage else "\n").join([header, *lines, ""]).encode() + rest)
    for options in ({}, {"threshold": 0.5}, {"map": "id=id,correct=correct,n=4"}, {"map": "prompt=id,correct=c*"}):
        consume(path, "table", **options)


TABLE = {
    "id": TEXT | st.integers(0, 3), "correct": st.lists(st.sampled_from([0, 1, None]), max_size=3),
    "finish": st.lists(TEXT, max_size=3), "prompt": TEXT, "step": st.none() | st.integers(0, 2), "n": st.integers(0, 3),
}  # fmt: skip


@SETTINGS
@given(
    st.lists(st.fixed_dictionaries({}, optional=TABLE), min_size=1, max_size=4), st.sampled_from(["parquet", "arrow"])
)
def test_arbitrary_columns(tmp_path_factory, rows, end):
    path = tmp_path_factory.getbasetemp() / f"rows.{end}"
    try:
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, path) if end == "parquet" else pa.feather.write_feather(table, path)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return
    for options in ({}, {"map": "id=id,correct=correct"}, {"map": "id=prompt,correct=n"}):
        consume(path, "table", **options)


@SETTINGS
@given(st.integers(0, 9000), st.integers(0, 255), st.booleans(), st.sampled_from(["parquet", "arrow"]))
@example(place=1124, byte=128, cut=False, end="parquet")
def test_damaged_columns(tmp_path_factory, place, byte, cut, end):
    path = tmp_path_factory.getbasetemp() / f"damaged.{end}"
    table = pa.table({"id": ["a", "b"] * 40, "correct": [[1, 0]] * 80})
    pq.write_table(table, path) if end == "parquet" else pa.feather.write_feather(table, path)
    data = bytearray(path.read_bytes())
    place %= len(data)
    data[place] = byte
    path.write_bytes(data[:place] if cut else data)
    consume(path, "table")


COMPLETION = {"step": st.integers(0, 2), "prompt": TEXT, "completion": TEXT, "advantage": st.floats(), "r": SCORE}


@SETTINGS
@given(st.lists(st.fixed_dictionaries(COMPLETION), min_size=1, max_size=4))
def test_arbitrary_parquet(tmp_path_factory, rows):
    path = tmp_path_factory.getbasetemp() / "completions_00001.parquet"
    try:
        pq.write_table(pa.Table.from_pylist(rows), path)
    except (pa.ArrowException, UnicodeEncodeError, OverflowError):
        return
    consume(path, "trl")


@SETTINGS
@given(VALUE, SCORE, st.sampled_from(["pass", "fail", "timeout", "?", None]))
def test_arbitrary_evalplus(tmp_path_factory, value, score, status):
    path = tmp_path_factory.getbasetemp() / "x_eval_results.json"
    result = {"task_id": "a", "solution": "x", "base_status": status, "plus_status": status}
    for tasks in ({"a": value}, value, {"a": [value]}, {"a": [result]}, {"a": [{**result, "base_status": score}]}):
        path.write_text(json.dumps({"date": "", "hash": "", "eval": tasks}))
        consume(path, "evalplus")


@SETTINGS
@given(st.integers(0, 9000), st.integers(0, 255), st.booleans())
def test_damaged_inspect_log(tmp_path_factory, place, byte, cut):
    data = bytearray((FIXTURES / "inspect" / "generated.eval").read_bytes())
    place %= len(data)
    data[place] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.eval"
    path.write_bytes(data[:place] if cut else data)
    consume(path, None)
