"""The store: nothing is lost, nothing counts twice, nothing damaged is skipped in silence."""

import ast
import dataclasses
import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldpanner.errors import InputError, StoreError
from goldpanner.files import HOST, OLD_SECONDS
from goldpanner.store import Store, findings, schema, studies
from goldpanner.store.manifest import FORMAT
from goldpanner.store.parts import Parts
from goldpanner.store.records import KINDS
from goldpanner.store.rows import SAMPLES, samples_table
from goldpanner.store.schema import PolicyRecord, RunRecord, StoredRecord
from goldpanner.types import Completion, Counts, Outcome, Problem, Sample, Verdict
from synthetic_run import run_record

POLICY, PARAMS = "policy-1", "params-1"


def sample(problem="p1", index=0, outcome="correct", verifier="answer@1", finish="stop", **fields) -> Sample:
    completion = fields.pop("completion", None) or Completion(f"{problem}/{index}", finish=finish)
    verdict = Verdict(Outcome(outcome), verifier)
    known = {"policy": POLICY, "params": PARAMS, "seed": 0, "task": "world/d1"} | fields
    return Sample(problem=problem, index=index, completion=completion, verdict=verdict, **known)


def many(problems=3, n=8) -> list[Sample]:
    outcomes = itertools.cycle(["correct", "wrong", "unjudged", "wrong", "wrong"])
    return [
        sample(f"p{p}", i, next(outcomes), finish="length" if i % 3 == 0 else "stop")
        for p in range(problems)
        for i in range(n)
    ]


def tally(samples: Sequence[Sample]) -> dict[str, tuple[int, int, int, int]]:
    """Counts by plain Python, the first of each key counting."""
    seen, found = set(), {}
    for s in samples:
        if s.key not in seen:
            seen.add(s.key)
            n, c, u, t = found.get(s.problem, (0, 0, 0, 0))
            outcome = s.verdict.outcome
            found[s.problem] = (
                n + 1,
                c + (outcome == "correct"),
                u + (outcome == "unjudged"),
                t + (s.completion.finish == "length"),
            )
    return dict(sorted(found.items()))


def as_dict(counts: Counts) -> dict[str, tuple[int, int, int, int]]:
    columns = (counts.n, counts.c, counts.unjudged, counts.truncated)
    return dict(zip(counts.ids, zip(*(c.tolist() for c in columns))))


@pytest.fixture
def store(tmp_path) -> Store:
    return Store(tmp_path / "store")


@contextmanager
def fresh_store() -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as folder:
        yield Store(folder)


def parts_of(store: Store, kind="samples") -> list[Path]:
    return sorted((store.root / kind).glob("*.parquet"))


# --- round trips

texts = st.text(max_size=30) | st.sampled_from(
    ["", "\0", "a\0b", "\r\n\t\x1b[31m", "'\"; --", "é漢\U0001f600", "\u2028"]
)
reals = st.floats(allow_nan=False, width=32)
integers = st.integers(-(2**63), 2**63 - 1)
any_samples = st.builds(
    Sample,
    problem=texts,
    policy=texts,
    params=texts,
    seed=integers,
    index=st.integers(0, 2**40),
    completion=st.builds(
        Completion,
        text=texts,
        tokens=st.none() | st.lists(st.integers(-(2**31), 2**31 - 1), max_size=5).map(tuple),
        logprob=st.none() | st.floats(allow_nan=False),
        finish=st.sampled_from(["stop", "length", "error"]),
        token_logprobs=st.none() | st.lists(reals, max_size=5).map(tuple),
    ),
    verdict=st.builds(Verdict, st.sampled_from(Outcome), texts, st.none() | texts, texts),
    task=texts,
    run=texts,
    reward=st.none() | st.floats(allow_nan=False),
    step=st.none() | integers,
    group=st.none() | integers,
)
few = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@few
@given(st.lists(any_samples, min_size=1, max_size=6, unique_by=lambda s: s.key))
def test_every_field_of_every_sample_comes_back(samples):
    with fresh_store() as store:
        assert store.append(samples) == len(samples)
        found = store.samples()
        assert sorted(found, key=lambda s: s.key) == sorted(samples, key=lambda s: s.key)
        assert {type(s.verdict.outcome) for s in found} == {Outcome}
        store.compact()
        assert store.samples() == found


def test_lists_of_tokens_keep_empty_and_absent_apart(store):
    completions = [Completion("", None), Completion("", ()), Completion("", (5,), token_logprobs=(-0.5,))]
    store.append([sample(index=i, completion=c) for i, c in enumerate(completions)])
    assert [s.completion for s in store.samples()] == completions


def test_text_that_is_not_unicode_is_stored_with_the_replacement_character(store):
    store.append([sample(completion=Completion("a\ud800b \ud83d\ude00"))])
    assert store.samples()[0].completion.text == "a\ufffdb \U0001f600"


def test_columns_and_objects_are_stored_alike(store, tmp_path):
    samples = many()
    other = Store(tmp_path / "other")
    narrow = samples_table(samples).drop_columns(["tokens", "reward"])
    narrow = narrow.set_column(5, "seed", narrow.column("seed").cast(pa.int32()))
    narrow = narrow.set_column(1, "policy", narrow.column("policy").dictionary_encode())
    assert store.append(samples) == other.append_table(narrow) == len(samples)
    assert store.samples() == other.samples()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["verifier"]), "'verifier' is missing"),
        (lambda t: t.append_column("mood", t.column("text")), "unknown column 'mood'"),
        (lambda t: t.set_column(5, "seed", t.column("text")), "'seed' is string, not int64"),
        (lambda t: t.set_column(7, "text", pa.nulls(len(t), pa.string())), "'text' has 24 nulls"),
        (lambda t: t.set_column(13, "outcome", pa.array(["right"] * len(t))), "outcome is 'right'"),
        (lambda t: t.set_column(11, "finish", pa.array(["eos"] * len(t))), "finish is 'eos'"),
    ],
)
def test_a_table_with_other_columns_is_refused_by_name(store, change, message):
    with pytest.raises(InputError, match=message):
        store.append_table(change(samples_table(many())))
    assert not store.root.exists()


def test_values_that_no_column_holds_are_refused(store):
    for bad, message in [
        (sample(seed=2**63), "seed cannot be stored"),
        (sample(completion=Completion("", (2**40,))), "token id"),
        (sample(problem=7), "not a string"),
        (sample(finish="eos"), "finish is 'eos'"),
    ]:
        with pytest.raises(InputError, match=message):
            store.append([bad])


def test_ids_and_paths_with_quotes_stay_what_they_are(tmp_path):
    (tmp_path / "it's 1 x").mkdir()
    store = Store(tmp_path / "it's [1] *" / 'a "b"; drop')
    Store(tmp_path / "it's 1 x" / 'a "b"; drop').append(many())  # what the path above would match as a pattern
    evil = "x' OR 1=1 --"
    store.append([sample(evil, policy=evil, params=evil, run=evil, task=evil, step=0, group=0), sample("p2")])
    counts = store.counts(evil, params=evil, tasks=[evil], problems=[evil], run=evil, verifier="answer@1")
    assert as_dict(counts) == {evil: (1, 1, 0, 0)}
    assert len(store.samples()) == 2
    assert store.groups(evil).num_rows == 1
    assert store.drawn(evil, evil, 0) == {evil: {0}}


# --- counting each key once


def test_counts_of_a_known_store(store):
    store.append(many())
    assert as_dict(store.counts(POLICY)) == {"p0": (8, 2, 2, 3), "p1": (8, 2, 1, 3), "p2": (8, 1, 2, 3)}
    assert as_dict(store.counts(POLICY)) == tally(many())
    assert as_dict(store.counts(POLICY, problems=["p1"])) == {"p1": (8, 2, 1, 3)}


keyed = st.builds(
    sample,
    problem=st.sampled_from(["a", "b"]),
    index=st.integers(0, 5),
    outcome=st.sampled_from(["correct", "wrong", "unjudged"]),
    finish=st.sampled_from(["stop", "length"]),
    seed=st.integers(0, 1),
)


@few
@given(st.lists(st.lists(keyed, min_size=1, max_size=8), min_size=1, max_size=5))
def test_of_equal_keys_the_first_part_and_row_counts_whatever_the_partition(parts):
    with fresh_store() as store:
        for part in parts:
            store.append(part)
        expected = tally([s for part in parts for s in part])
        assert as_dict(store.counts(POLICY)) == expected
        assert store.sql("SELECT count(*) AS n FROM samples").to_pylist() == [
            {"n": sum(v[0] for v in expected.values())}
        ]
        assert store.check().duplicates["samples"] == sum(map(len, parts)) - sum(v[0] for v in expected.values())
        store.compact()
        assert as_dict(store.counts(POLICY)) == expected
        assert store.check().duplicates["samples"] == 0
        store.append(parts[-1])
        assert as_dict(store.counts(POLICY)) == expected


@few
@given(st.data())
def test_appending_twice_in_any_partition_changes_nothing(data):
    samples = many(3, 6)
    twice = data.draw(st.permutations(samples + samples))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(twice)), max_size=4)))
    with fresh_store() as store:
        for start, end in itertools.pairwise([0, *cuts, len(twice)]):
            store.append(twice[start:end])
        assert as_dict(store.counts(POLICY)) == tally(samples)
        assert {s.key: s for s in store.samples()} == {s.key: s for s in samples}
        assert store.drawn(POLICY, PARAMS, 0) == {f"p{p}": set(range(6)) for p in range(3)}


def test_a_store_of_many_parts_is_the_same_after_compacting(store):
    rng = np.random.default_rng(0)
    samples = many(20, 30)
    for block in np.array_split(rng.permutation(len(samples)), 12):
        store.append([samples[i] for i in block])
    store.append(samples[:100])
    store.append_verdicts([(s, Verdict(Outcome.WRONG, "process@1")) for s in samples[:50]])
    store.append_verdicts([(s, Verdict(Outcome.CORRECT, "process@1")) for s in samples[:50]])
    for _ in range(2):
        store.append_truth(POLICY, {"p0": -1.0, "p1": -2.0})
    before = [store.counts(POLICY), store.samples(), store.truth(POLICY), store.counts(POLICY, verifier="process@1")]
    assert store.check().duplicates == {"samples": 100, "verdicts": 50, "truth": 2, "scores": 0}
    report = store.compact()
    assert report.parts_before == {"samples": 13, "verdicts": 2, "truth": 2}
    assert report.rows == {"samples": 600, "verdicts": 50, "truth": 2}
    assert "samples: 13 parts to 1, 700 rows to 600" in str(report)
    for reader in (store, Store(store.root)):
        after = [
            reader.counts(POLICY), reader.samples(), reader.truth(POLICY), reader.counts(POLICY, verifier="process@1")
        ]  # fmt: skip
        assert as_dict(after[0]) == as_dict(before[0])
        assert after[1:3] == before[1:3]
        assert as_dict(after[3]) == as_dict(before[3])
    assert len(parts_of(store)) == 1
    table = pq.read_table(parts_of(store)[0])
    order = table.select(["policy", "problem", "index"]).to_pylist()
    assert order == sorted(order, key=lambda row: tuple(row.values()))
    assert str(store.compact()) == "nothing to compact"


def test_many_small_parts_are_read_some_at_a_time_and_say_the_same(store, monkeypatch):
    samples = many(4, 10)
    for i in range(0, 40, 3):
        store.append(samples[i : i + 4])  # each shares a sample with the next
    monkeypatch.setattr("goldpanner.store.read.MANY", 5)
    fresh = Store(store.root)
    assert as_dict(fresh.counts(POLICY)) == tally(samples)
    assert fresh.samples() == store.samples() == sorted(samples, key=lambda s: s.key)
    fresh.append([sample("p9")])
    assert as_dict(fresh.counts(POLICY)) == tally([*samples, sample("p9")])
    flip_a_page(parts_of(store)[7])
    with pytest.raises(StoreError, match=f"{parts_of(store)[7].name} is damaged"):
        Store(store.root).counts(POLICY)


def test_two_runs_that_share_a_sample_both_have_it_and_it_counts_once(store):
    """Two RL runs from one base policy draw the same samples in their first step."""
    for run, extra in (("b", 1.0), ("a", 2.0)):
        store.append([sample("p1", i, "wrong", run=run, step=0, group=0, reward=extra) for i in range(4)])
    for _ in range(2):
        assert as_dict(store.counts(POLICY)) == {"p1": (4, 0, 0, 0)}
        for run in ("a", "b"):
            assert as_dict(store.counts(POLICY, run=run)) == {"p1": (4, 0, 0, 0)}
            assert store.groups(run).to_pylist() == [
                {"step": 0, "group": 0, "problem": "p1", "task": "world/d1", "n": 4, "c": 0, "unjudged": 0}
            ]
        assert {s.run for s in store.samples()} == {"b"}  # the first, also after compacting
        store.compact()


def test_groups_come_in_order_and_leave_measurements_out(store):
    rollouts = [
        sample(f"p{g}", i + 4 * step, "correct" if i < g else "wrong", run="rl", step=step, group=g)
        for step in (1, 0)
        for g in range(3)
        for i in range(4)
    ]
    store.append([*rollouts, sample("p9", run="rl"), *rollouts[:7]])
    table = store.groups("rl")
    assert table.column("step").to_pylist() == [0, 0, 0, 1, 1, 1]
    assert table.column("group").to_pylist() == [0, 1, 2] * 2
    assert table.column("n").to_pylist() == [4] * 6
    assert table.column("c").to_pylist() == [0, 1, 2] * 2
    assert {s.step for s in store.samples(run="rl", step=1)} == {1}
    with pytest.raises(InputError, match=r"'other' has no RL rollouts.*'rl'"):
        store.groups("other")


# --- what may be pooled, and what must be said


def test_seeds_pool_and_params_do_not(store):
    store.append([sample("p1", 0, seed=0), sample("p1", 0, "wrong", seed=1)])
    assert as_dict(store.counts(POLICY)) == {"p1": (2, 1, 0, 0)}
    assert as_dict(store.counts(POLICY, seed=1)) == {"p1": (1, 0, 0, 0)}
    store.append([sample("p1", 0, params="params-2")])
    with pytest.raises(InputError, match=r"2 sampling parameters: params-1 \(2 samples\), params-2 \(1 samples\)"):
        store.counts(POLICY)
    assert as_dict(store.counts(POLICY, params="params-2")) == {"p1": (1, 1, 0, 0)}


def test_several_verifiers_must_be_told_apart(store):
    store.append([sample("p1", 0), sample("p1", 1, "wrong", verifier="answer@2")])
    with pytest.raises(InputError, match=r"2 verifiers: answer@1 \(1 samples\), answer@2 \(1 samples\)"):
        store.counts(POLICY)
    assert as_dict(store.counts(POLICY, verifier="answer@1")) == {"p1": (2, 1, 1, 0)}
    assert as_dict(store.counts(POLICY, verifier="answer@2")) == {"p1": (2, 0, 1, 0)}


def test_later_verdicts_count_for_their_verifier_and_the_first_one_stands(store):
    samples = [sample("p1", i, "wrong", finish="length") for i in range(4)]
    store.append(samples)
    store.append_verdicts([(s, Verdict(Outcome.CORRECT, "process@1", "x", "y")) for s in samples[:2]])
    store.append_verdicts([(s, Verdict(Outcome.WRONG, "process@1")) for s in samples[1:3]])
    store.append_verdicts([(sample("p1", 0, policy="other"), Verdict(Outcome.WRONG, "process@1"))])
    assert as_dict(store.counts(POLICY)) == {"p1": (4, 0, 0, 4)}
    assert as_dict(store.counts(POLICY, verifier="process@1")) == {"p1": (4, 2, 1, 4)}
    assert store.sql("SELECT DISTINCT extracted, reason FROM verdicts WHERE outcome = 'correct'").to_pylist() == [
        {"extracted": "x", "reason": "y"}
    ]
    with pytest.raises(InputError, match=r"'nobody@1' has judged none.*answer@1, process@1"):
        store.counts(POLICY, verifier="nobody@1")


def test_a_sample_appended_again_with_another_verdict_keeps_both(store):
    store.append([sample("p1", 0, "wrong")])
    store.append([sample("p1", 0, "correct", verifier="answer@2")])
    for _ in range(2):
        assert as_dict(store.counts(POLICY, verifier="answer@1")) == {"p1": (1, 0, 0, 0)}
        assert as_dict(store.counts(POLICY, verifier="answer@2")) == {"p1": (1, 1, 0, 0)}
        store.compact()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"policy": "nope"}, "no samples of policy 'nope'; it has: 'policy-1'"),
        ({"params": "nope"}, "no samples of params 'nope'; it has: 'params-1'"),
        ({"run": "nope"}, "no samples of run 'nope'; it has: ''"),
        ({"seed": 7}, "no samples of seed 7; it has: 0, 1"),
        ({"tasks": ["nope"]}, "no samples of tasks .*it has: 'world/d1', 'world/d2'"),
        ({"problems": ["nope"]}, "taken together"),
        ({"seed": 1, "tasks": ["world/d1"]}, "taken together"),
        ({"problems": ["p1", "nope"]}, r"1 of the problems asked for have no samples \(nope"),
    ],
)
def test_a_selection_without_samples_says_which_choice_is_to_blame(store, chosen, message):
    store.append([sample("p1"), sample("p2", seed=1, task="world/d2")])
    with pytest.raises(InputError, match=message):
        store.counts(**{"policy": POLICY} | chosen)


def test_a_store_that_is_not_there_is_an_error_and_is_not_created(store):
    for ask in (
        lambda: store.counts(POLICY),
        store.samples,
        store.check,
        store.compact,
        lambda: store.groups("r"),
        lambda: store.truth(POLICY),
        lambda: store.sql("SELECT 1"),
    ):
        with pytest.raises(StoreError, match="there is no store at"):
            ask()
    assert store.drawn(POLICY, PARAMS, 0) == store.problems() == store.records(RunRecord) == {}
    assert store.get(RunRecord, "x") is None
    assert store.append([]) == store.append_verdicts([]) == store.append_truth(POLICY, {}) == 0
    assert not store.root.exists()


def test_an_empty_store_says_so(store):
    store.put(run_record("r"))
    with pytest.raises(InputError, match="holds no samples yet"):
        store.counts(POLICY)
    assert store.samples() == []
    assert store.sql("SELECT count(*) AS n FROM samples").to_pylist() == [{"n": 0}]
    assert store.check().ok


def test_a_file_where_a_folder_should_be_is_named(tmp_path):
    path = tmp_path / "file"
    path.write_text("x")
    with pytest.raises(StoreError, match="is a file"):
        Store(path)
    with pytest.raises(StoreError, match="cannot create the folder"):
        Store(path / "below").append(many())
    store = Store(tmp_path / "store")
    store.root.mkdir()
    (store.root / "samples").write_text("x")
    with pytest.raises(StoreError, match="is a file where the store keeps a folder"):
        store.samples()


def test_samples_are_chosen_sorted_and_limited(store):
    store.append([sample(f"p{p}", i, policy=policy) for i in (2, 0, 1) for p in (1, 0) for policy in ("b", "a")])
    assert [s.key[:2] + s.key[4:] for s in store.samples(policy="a", problem="p1")] == [
        ("p1", "a", i) for i in range(3)
    ]
    keys = [(s.policy, s.problem, s.index) for s in store.samples()]
    assert keys == sorted(keys)
    assert [(s.policy, s.problem, s.index) for s in store.samples(limit=5)] == keys[:5]
    assert store.samples(params="none") == []


def test_sql_takes_parameters_and_blames_wrong_queries(store, monkeypatch):
    store.append(many())
    query = "SELECT problem FROM samples WHERE outcome = $outcome GROUP BY ALL ORDER BY ALL"
    assert store.sql(query, {"outcome": "correct"}).column(0).to_pylist() == ["p0", "p1", "p2"]
    with pytest.raises(InputError, match="parameters: missing"):
        store.sql("SELECT $missing")
    monkeypatch.setattr(Parts, "check_again", None)  # a wrong query is no reason to read everything
    for wrong in ("SELECT nothing FROM samples", "SELEC"):
        with pytest.raises(InputError, match="the query cannot be answered"):
            store.sql(wrong)


# --- truth, problems, records


def test_truth_is_exact_and_the_first_one_stands(store):
    logp = {"p1": -0.1, "p2": float("-inf"), "p3": -138.155105579642741}
    store.append_truth(POLICY, logp)
    store.append_truth(POLICY, {"p1": -9.0, "p4": 0.0})
    store.append_truth(POLICY, {"p1": -5.0}, kind="any")
    assert store.truth(POLICY) == logp | {"p4": 0.0}
    assert store.truth(POLICY, "any") == {"p1": -5.0}
    with pytest.raises(InputError, match=r"no exact truth of kind 'chain' for policy 'x'.*policy-1 \(any\)"):
        store.truth("x")
    for bad in (0.5, float("nan")):
        with pytest.raises(InputError, match="'p9' is"):
            store.append_truth(POLICY, {"p9": bad})


def test_problems_are_stored_once_and_come_back_equal(store):
    one = Problem("world/d1", "a\nb", "é", {"chain": ["x", "y"], "depth": 1})
    two = Problem("world/d2", "c", "d")
    assert store.put_problems([one, one]) == 1
    assert store.put_problems([one, two]) == 1
    assert store.put_problems([two]) == 0
    assert Store(store.root).problems() == {one.id: one, two.id: two}
    assert store.problems("world/d2") == store.problems(["world/d2"]) == {two.id: two}
    with pytest.raises(InputError, match="meta is not JSON"):
        store.put_problems([dataclasses.replace(one, meta={"x": {1j}})])
    with pytest.raises(InputError, match="changes as JSON"):
        store.put_problems([dataclasses.replace(one, meta={2: "a", 10: "b"})])


def test_records_are_replaced_whole_under_any_id(store):
    ids = ["plain", "Plain", "a/b: é'\"", "", "..", "x" * 500, "\ud800"]
    for record_id in ids:
        store.put(run_record(record_id, seconds=1.5, config={"none": None}))
    store.put(run_record("plain", stage="grpo"))
    assert list(store.records(RunRecord)) == sorted(ids)
    assert store.get(RunRecord, "plain") == run_record("plain", stage="grpo")
    assert store.get(RunRecord, "Plain") == run_record("Plain", seconds=1.5, config={"none": None})
    assert store.get(RunRecord, "other") is None
    assert store.records(PolicyRecord) == {}
    assert len({path.name.lower() for path in (store.root / "records/runs").iterdir()}) == len(ids)
    with pytest.raises(InputError, match="'x' is not JSON"):
        store.put(run_record("x", trl={"x": object()}))


def test_a_record_keeps_keys_that_this_build_does_not_name(store):
    store.put(run_record("r", further={"x": [1, 2]}))
    record = store.get(RunRecord, "r")
    assert record.model_dump()["further"] == {"x": [1, 2]}
    store.put(record.model_copy(update={"seed": 3}))
    assert json.loads((store.root / "records/runs/r.json").read_text())["further"] == {"x": [1, 2]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": None}, "seed is missing"),
        ({"version": None}, "version is missing"),
        ({"config": "none"}, "config = 'none'"),
        ({"stage": 3}, "stage = 3"),
    ],
)
def test_a_record_that_lacks_a_field_is_named_with_it(store, changes, message):
    store.put(run_record("r"))
    path = store.root / "records/runs/r.json"
    fields = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: value for name, value in fields.items() if changes.get(name, "") is not None}))
    for ask in (lambda: store.get(RunRecord, "r"), lambda: store.records(RunRecord)):
        with pytest.raises(StoreError, match=rf"r\.json is damaged: {message}.*Run: goldpanner store repair"):
            ask()


def test_repair_sets_a_record_aside_that_lacks_a_field(store):
    store.append([sample()])
    store.put(run_record("good"))
    store.put(run_record("bad"))
    path = store.root / "records/runs/bad.json"
    path.write_text(json.dumps({name: value for name, value in json.loads(path.read_text()).items() if name != "seed"}))
    report = store.check()
    assert [(d.name, d.reason) for d in report.damaged] == [("records/runs/bad.json", "seed is missing")]
    assert path.exists()
    store.repair()
    assert list(store.records(RunRecord)) == ["good"]


def test_a_record_of_another_version_is_refused_by_name_and_left_alone(store):
    store.append([sample()])
    store.put(run_record("r"))
    path = store.root / "records/runs/r.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with pytest.raises(StoreError, match=r"r\.json is a RunRecord of version 2, and this build reads version 1"):
        store.get(RunRecord, "r")
    report = store.check()
    assert (report.other_version, report.ok, report.records) == (("records/runs/r.json",), True, 0)
    assert "records/runs/r.json is of a version that" in str(report)
    assert store.repair().moved == {}
    assert path.exists()


def test_every_record_is_known_and_every_field_documented():
    """A docstring stands under each field, no two kinds share a folder, and `check` knows them all."""
    kinds = [StoredRecord]
    for kind in kinds:
        kinds += kind.__subclasses__()
    assert len(kinds) > 10
    stored = [kind for kind in kinds if hasattr(kind, "folder")]
    assert {kind.folder: kind for kind in stored} == KINDS
    assert len(stored) == len(KINDS)
    for module in (schema, studies, findings):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and node.name != "StatedParams":
                for field, after in zip(node.body, [*node.body[1:], None]):
                    if isinstance(field, ast.AnnAssign) and "ClassVar" not in ast.unparse(field.annotation):
                        assert isinstance(after, ast.Expr), f"{node.name}.{ast.unparse(field.target)}"


# --- the writer


def test_a_writer_makes_a_part_per_block_and_keeps_what_it_has_when_work_fails(store):
    def work():
        with store.writer(block_rows=10) as writer:
            for s in many(3, 8):
                writer.write([s])
                writer.write_verdicts([(s, Verdict(Outcome.WRONG, "process@1"))])
            raise RuntimeError("the policy failed")

    with pytest.raises(RuntimeError, match="the policy failed"):
        work()
    sizes = [pq.read_metadata(part).num_rows for part in parts_of(store)]
    assert (sum(sizes), max(sizes)) == (24, 10)
    assert as_dict(store.counts(POLICY)) == tally(many(3, 8))
    assert store.counts(POLICY, verifier="process@1").unjudged.sum() == 0


def test_a_large_write_is_split_and_a_slow_or_long_one_does_not_wait(store, monkeypatch):
    with store.writer(block_rows=5) as writer:
        writer.write(many(2, 6))
        assert len(parts_of(store)) == 3
    with store.writer(block_rows=1000, block_seconds=0.0) as writer:
        writer.write([sample("slow")])
        assert "slow" in store.drawn(POLICY, PARAMS, 0)
    with store.writer() as writer:
        monkeypatch.setattr("goldpanner.store.store.BLOCK_CHARACTERS", 10)
        writer.write([sample("long", completion=Completion("x" * 10))])
        assert "long" in store.drawn(POLICY, PARAMS, 0)
    with pytest.raises(InputError, match="block_rows is 0"):
        store.writer(block_rows=0)


def test_a_store_can_be_sent_to_another_process(store):
    store.append(many())
    twin = pickle.loads(pickle.dumps(store))
    assert twin.root == store.root
    assert as_dict(twin.counts(POLICY)) == tally(many())
    assert repr(twin) == f"Store({str(store.root)!r})"


def test_a_forked_child_can_use_the_store_its_parent_has_read(store):
    store.append(many())
    code = """
        store.counts("policy-1")
        child = os.fork()
        if not child:
            store.append([sample("forked", 0)])
            os._exit(7 if "forked" in store.counts("policy-1").ids else 8)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "forked" in store.counts("policy-1").ids)
    """
    assert end(child(store, code)) == "7 True\n"


def test_threads_may_share_a_store(store):
    store.append(many())
    found = []
    threads = [threading.Thread(target=lambda: found.append(as_dict(store.counts(POLICY)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tally(many())] * 4


# --- several processes, and processes that die

CHILD = """
import os, signal, sys
class NoPandas:  # where it is installed, pyarrow imports it: most of a child's time
    def find_spec(self, name, *_):
        if name == "pandas":
            raise ImportError(name)
sys.meta_path.insert(0, NoPandas())
from goldpanner.store import Store, findings, schema, studies
from goldpanner.types import Completion, Outcome, Sample, Verdict
store = Store(sys.argv[1])
def sample(problem, index):
    outcome = Outcome.CORRECT if index % 3 == 0 else Outcome.WRONG
    return Sample(problem, "policy-1", "params-1", 0, index, Completion("x" * 50), Verdict(outcome, "answer@1"))
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def child(store: Store, code: str, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", CHILD + textwrap.dedent(code), str(store.root), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def end(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=60)
    return output


def test_three_processes_append_the_same_samples_at_once_while_a_fourth_reads_and_compacts(store):
    store.append([sample("shared", i, "wrong") for i in range(2)])
    code = """
        own = sys.argv[2]
        for block in range(12):
            with store.writer(block_rows=40) as writer:
                writer.write(sample(problem, 10 * block + i) for problem in ("shared", own) for i in range(10))
    """
    writers = [child(store, code, f"own-{number}") for number in range(3)]
    last, compactions = 0, 0
    while any(writer.poll() is None for writer in writers):
        total = int(store.counts(POLICY).n.sum())
        assert total >= last
        last = total
        store.compact()
        compactions += 1
    assert [end(writer) and writer.returncode for writer in writers] == [""] * 3
    assert compactions >= 1
    assert as_dict(store.counts(POLICY)) == {
        "own-0": (120, 40, 0, 0), "own-1": (120, 40, 0, 0), "own-2": (120, 40, 0, 0), "shared": (120, 39, 0, 0),
    }  # fmt: skip
    report = store.check()
    assert report.ok
    assert report.dead == report.unfinished == report.unlisted == ()


DEATHS = {  # the instants of one append, and whether its block is there afterwards
    "while the part is written": ("import pyarrow.parquet as pq; pq.ParquetWriter.write_table = die", False),
    "before the part is durable": ("os.fsync = die", False),
    "before the part is renamed": ("import pathlib; pathlib.Path.replace = die", False),
    "before the folder is durable": ("import goldpanner.files as files; files.sync_folder = die", True),
}


@pytest.mark.parametrize("instant", DEATHS)
def test_a_writer_killed_at_any_instant_loses_its_block_at_most(store, instant):
    patch, there = DEATHS[instant]
    process = child(
        store, f"store.append([sample('p1', i) for i in range(9)])\n{patch}\nstore.append([sample('p1', 9)])"
    )
    end(process)
    assert process.returncode == -signal.SIGKILL
    assert as_dict(store.counts(POLICY)) == {"p1": (10, 4, 0, 0) if there else (9, 3, 0, 0)}
    assert len(list(store.root.rglob("*.tmp"))) == (0 if there else 1)
    report = store.check()
    assert report.ok
    assert (len(report.dead), len(report.unlisted)) == ((0, 1) if there else (1, 0))
    repair = store.repair()
    assert (len(repair.moved), len(repair.adopted)) == (len(report.dead), len(report.unlisted))
    assert list((store.root / "samples").glob("*.tmp")) == []
    assert store.check().unlisted == ()
    store.append([sample("p1", i) for i in range(9, 12)])
    assert store.counts(POLICY).n.tolist() == [12]


def test_a_writer_killed_in_the_middle_of_its_work_keeps_what_it_said_was_written(store):
    code = """
        for block in range(100_000):
            store.append([sample("p1", 50 * block + i) for i in range(50)])
            print(block + 1, flush=True)
    """
    process = child(store, code)
    for _ in range(5):
        said = process.stdout.readline()
    time.sleep(0.0123)
    process.kill()
    said = ([said, *end(process).splitlines()])[-1]
    n = store.counts(POLICY).n
    assert n[0] >= 50 * int(said)
    assert n[0] % 50 == 0
    assert store.check().ok


COMPACTION_DEATHS = {
    "while the part is written": "import pyarrow.parquet as pq; pq.ParquetWriter.write_table = die",
    "before any old part is removed": """
import pathlib
pathlib.Path.unlink = lambda self, **_: self.suffix == ".tmp" or die()""",
    "when two old parts are removed": """
import pathlib
real, gone = pathlib.Path.unlink, []
def unlink(self, **options):
    if self.suffix != ".tmp":
        gone.append(self)
    return die() if len(gone) == 3 else real(self, **options)
pathlib.Path.unlink = unlink""",
}


@pytest.mark.parametrize("instant", COMPACTION_DEATHS)
def test_a_compaction_killed_at_any_instant_loses_and_doubles_nothing(store, instant):
    samples = many(4, 10)
    for start in range(0, 40, 8):
        store.append(samples[start : start + 8])
    process = child(store, COMPACTION_DEATHS[instant] + "\nstore.compact()")
    end(process)
    assert process.returncode == -signal.SIGKILL
    assert as_dict(store.counts(POLICY)) == tally(samples)
    assert store.samples() == sorted(samples, key=lambda s: s.key)
    store.compact()  # the dead process holds no lock
    assert len(parts_of(store)) == 1
    assert as_dict(store.counts(POLICY)) == tally(samples)
    assert store.check().ok
    store.repair()
    assert list((store.root / "samples").glob("*.tmp")) == []


def test_a_compaction_between_listing_and_reading_is_not_noticed(store, monkeypatch):
    samples = many(4, 10)
    look = Parts.sound

    def look_then_compact(self):
        names = look(self)
        monkeypatch.setattr(Parts, "sound", look)
        Store(store.root).compact()
        return names

    for ask in (lambda: as_dict(store.counts(POLICY)), lambda: as_dict(Store(store.root).counts(POLICY))):
        for start in range(0, 40, 8):
            store.append(samples[start : start + 8])
        monkeypatch.setattr(Parts, "sound", look_then_compact)
        assert ask() == tally(samples)
    monkeypatch.setattr(Parts, "sound", lambda self: ("part-gone.parquet",))
    with pytest.raises(StoreError, match="keep vanishing"):
        store.samples()


def test_two_compactions_at_once_do_the_work_once(store):
    store.append(many())
    store.append(many())
    code = "import goldpanner.store.parts as p\np.Parts.check_again = lambda *_: print('in', flush=True) or input()\n"
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD + code + "store.compact()", str(store.root)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "in\n"
    with pytest.raises(StoreError, match="another process is compacting or repairing"):
        store.compact()
    process.communicate("\n\n\n", timeout=60)
    assert process.returncode == 0
    assert as_dict(store.counts(POLICY)) == tally(many())


def test_unfinished_files_are_set_aside_only_when_old_or_their_writer_is_dead(store):
    store.append(many())
    folder = store.root / "samples"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    names = {
        f"part-1.parquet.{HOST}.{dead.pid}.00.tmp": "removed",
        f"part-2.parquet.{HOST}.{os.getpid()}.00.tmp": "kept",
        f"part-3.parquet.ffffff.{dead.pid}.00.tmp": "kept",  # written on another machine
        "strange.tmp": "kept",
        f"part-4.parquet.{HOST}.{os.getpid()}.01.tmp": "old",
    }
    for name, fate in names.items():
        (folder / name).write_bytes(b"half")
        if fate == "old":
            long_ago = time.time() - OLD_SECONDS - 1
            os.utime(folder / name, (long_ago, long_ago))
    assert as_dict(store.counts(POLICY)) == tally(many())
    report = store.check()
    assert {Path(name).name for name in report.unfinished} == {n for n, fate in names.items() if fate == "kept"}
    assert {Path(name).name for name in report.dead} == {n for n, fate in names.items() if fate != "kept"}
    assert "is unfinished: its writer died" in str(report)
    assert {path.name for path in folder.glob("*.tmp")} == set(names)
    store.repair()
    assert {path.name for path in folder.glob("*.tmp")} == {n for n, fate in names.items() if fate == "kept"}


# --- damage


def flip_a_page(path: Path) -> None:
    column = pq.read_metadata(path).row_group(0).column(SAMPLES.schema.get_field_index("text"))
    content = bytearray(path.read_bytes())
    content[column.data_page_offset + column.total_compressed_size - 3] ^= 0xFF
    path.write_bytes(content)


DAMAGE = {
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"PAR1" + os.urandom(500) + b"PAR1"),
    "no parquet at all": lambda path: path.write_text("hello " * 40),
    "cut at the end": lambda path: path.write_bytes(path.read_bytes()[:-7]),
    "cut in half": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "another table": lambda path: pq.write_table(pa.table({"problem": ["p1"], "n": [3]}), path),
    "a flipped page": lambda path: flip_a_page(path),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_part_is_named_by_every_reader_set_aside_by_repair_and_put_back_by_restore(store, kind):
    store.append(many())
    store.append([sample("p9")])
    victim = parts_of(store)[0]
    DAMAGE[kind](victim)
    fresh = Store(store.root)
    for ask in (
        lambda: fresh.counts(POLICY),
        fresh.samples,
        lambda: fresh.drawn(POLICY, PARAMS, 0),
        lambda: fresh.sql("SELECT 1"),
        fresh.compact,
    ):
        with pytest.raises(StoreError, match=rf"{victim.name} is damaged: .*goldpanner store repair"):
            ask()
    content = victim.read_bytes()
    for _ in range(2):  # it only looks
        report = fresh.check()
        assert not report.ok
        assert [d.name for d in report.damaged] == [f"samples/{victim.name}"]
        assert f"DAMAGED samples/{victim.name}" in str(report)
        assert report.rows["samples"] == report.parts == 1
        assert victim.read_bytes() == content
    repair = fresh.repair()
    assert list(repair.moved) == [f"samples/{victim.name}"]
    assert (fresh.root / repair.folder / "samples" / victim.name).read_bytes() == content
    assert as_dict(fresh.counts(POLICY)) == {"p9": (1, 1, 0, 0)}
    assert fresh.check().ok
    assert str(fresh.repair()) == "nothing to repair"
    assert fresh.restore().moved == repair.moved
    assert victim.read_bytes() == content
    with pytest.raises(StoreError, match="is damaged"):
        fresh.counts(POLICY)
    with pytest.raises(StoreError, match="no repair that can be undone"):
        fresh.restore()


def test_a_lost_part_or_batch_is_named_by_every_reader_until_it_is_put_back_or_given_up(store):
    store.append(many())
    store.append([sample("p9")])
    store.put_problems([Problem("t", "a", "b")])
    victim, batch = parts_of(store)[0], next((store.root / "problems").iterdir())
    away = [path.rename(store.root / path.name) for path in (victim, batch)]
    for ask in (lambda: store.counts(POLICY), store.samples, lambda: store.sql("SELECT 1"), Store(store.root).compact):
        with pytest.raises(StoreError, match=f"{victim.name} is lost: the manifest holds it"):
            ask()
    with pytest.raises(StoreError, match=f"{batch.name} is lost"):
        store.problems()
    assert store.check().lost == (f"samples/{victim.name}", f"problems/{batch.name}")
    away[0].rename(victim)
    away[1].rename(batch)
    assert len(store.samples()) == 25
    victim.unlink()
    assert store.repair().lost == (f"samples/{victim.name}",)
    assert as_dict(store.counts(POLICY)) == {"p9": (1, 1, 0, 0)}
    store.restore()
    with pytest.raises(StoreError, match="is lost"):
        store.counts(POLICY)


def test_a_store_of_another_format_is_refused_by_name_and_never_set_aside(store):
    store.append(many())
    path = store.root / "manifest.txt"
    whole = path.read_bytes()
    text = json.dumps({"format": FORMAT + 1}).encode()
    path.write_bytes(b"%08x %s\n" % (zlib.crc32(text), text) + whole.split(b"\n", 1)[1])
    other = Store(store.root)
    for ask in (
        lambda: other.counts(POLICY), other.samples, other.check, other.repair, other.compact, other.problems,
        lambda: other.append(many()), lambda: other.put(run_record("r")), lambda: other.records(RunRecord),
    ):  # fmt: skip
        with pytest.raises(StoreError, match=rf"is of format {FORMAT + 1}, and this goldpanner reads format {FORMAT}"):
            ask()
    assert len(parts_of(store)) == 1
    assert not (store.root / "damaged").exists()


@pytest.mark.parametrize("change", ["'colour' is new", "'group' is missing"])
def test_a_part_with_a_column_more_or_less_is_refused_by_name_and_never_set_aside(store, change):
    store.append(many())
    table = samples_table([sample("p8")])
    table = table.append_column("colour", [["red"]]) if "new" in change else table.drop(["group"])
    parts = Store(store.root)._reader.parts["samples"]
    parts.kind = dataclasses.replace(parts.kind, schema=table.schema)  # another build
    parts.append(table)
    for ask in (lambda: store.counts(POLICY), store.samples, store.compact):
        with pytest.raises(StoreError, match=rf"has other columns than this goldpanner writes \({change}"):
            ask()
    report = store.check()
    assert (report.ok, len(report.other_version)) == (True, 1)
    assert str(store.repair()) == "nothing to repair"


def test_the_manifest_is_written_anew_when_it_is_lost_or_damaged(store):
    store.append(many())
    store.append([sample("p9")])
    store.put_problems([Problem("t", "a", "b")])
    before, path = as_dict(store.counts(POLICY)), store.root / "manifest.txt"
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 4
    for content in (None, b"", bytes(flipped)):
        path.unlink() if content is None else path.write_bytes(content)
        for ask in (lambda: Store(store.root).counts(POLICY), lambda: Store(store.root).append([sample("p8")])):
            with pytest.raises(StoreError, match=r"manifest\.txt.*goldpanner store repair"):
                ask()
        assert Store(store.root).repair().manifest
        assert as_dict(Store(store.root).counts(POLICY)) == before
        assert len(path.read_bytes()) == len(whole)
    path.write_bytes(whole[:-9])  # a writer of a batch of problems died in the middle of its line
    store = Store(store.root)
    assert store.check().unlisted == (f"problems/{next((store.root / 'problems').iterdir()).name}",)
    store.append([sample("p8")])
    assert as_dict(Store(store.root).counts(POLICY)) == before | {"p8": (1, 1, 0, 0)}
    assert len(store.problems()) == 1


def test_no_flipped_bit_of_a_part_or_the_manifest_changes_a_count_unnoticed(store):
    rng = np.random.default_rng(0)
    samples = [sample("p1", i, completion=Completion(rng.bytes(300).hex())) for i in range(1500)]
    store.append(samples)
    store.append(many())
    assert [entry.long != () for entry in store._reader.manifest.read()[0].values()] == [True, False]
    counts = as_dict(store.counts(POLICY))
    for path in (*parts_of(store), store.root / "manifest.txt"):
        whole = path.read_bytes()
        for place in rng.choice(8 * len(whole), 25, replace=False):
            content = bytearray(whole)
            content[place // 8] ^= 1 << (place % 8)
            path.write_bytes(content)
            fresh, noticed = Store(store.root), False
            try:
                assert as_dict(fresh.counts(POLICY)) == counts
                assert len(fresh.sql("SELECT text FROM samples")) == len(samples) + 24
            except StoreError:
                noticed = True
            assert noticed or path.name == "manifest.txt"
            if path.suffix == ".parquet":
                assert not fresh.check().ok
        path.write_bytes(whole)


@pytest.mark.parametrize("error", [MemoryError(), pa.ArrowMemoryError("malloc of size 9 failed"), OSError("bad_alloc")])
def test_too_little_memory_is_never_taken_for_damage(store, monkeypatch, error):
    store.append(many())
    (store.root / "manifest.txt").unlink()

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(StoreError, match="not enough memory"):
        store.repair()
    monkeypatch.undo()
    assert len(parts_of(store)) == 1
    store.repair()
    monkeypatch.setattr(pq, "ParquetFile", refuse)
    assert store.check().ok
    assert len(store.samples()) == 24


def test_a_part_damaged_after_it_was_first_read_is_named_too(store):
    store.append(many())
    store.append([sample("p9")])
    assert len(store.counts(POLICY)) == 4
    victim = parts_of(store)[1]
    victim.write_bytes(b"x" * 300)
    with pytest.raises(StoreError, match=f"{victim.name} is damaged"):
        store.samples()


def test_flipped_bits_are_found_by_check_and_not_laundered_by_compact(store):
    store.append(many())
    flip_a_page(parts_of(store)[0])
    with pytest.raises(StoreError, match="is damaged"):
        store.compact()
    assert len(parts_of(store)) == 1
    assert len(store.check().damaged) == 1
    store.repair()
    assert parts_of(store) == []


def test_a_part_that_may_not_be_read_is_not_taken_for_damaged(store, monkeypatch):
    store.append(many())

    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("goldpanner.store.parts.checksums", refuse)
    for ask in (store.samples, store.check, store.compact):
        with pytest.raises(StoreError, match=r"cannot read .*Permission denied"):
            ask()
    monkeypatch.undo()
    assert len(store.samples()) == 24


def test_damaged_records_and_problems_are_named_and_set_aside_by_repair(store):
    store.put(run_record("good"))
    store.put(run_record("bad"))
    store.put_problems([Problem("t", "a", "b")])
    store.put_problems([Problem("t", "c", "d"), Problem("t", "e", "f")])
    record = store.root / "records/runs/bad.json"
    record.write_bytes(record.read_bytes()[:9])
    batch = sorted((store.root / "problems").iterdir())[1]
    whole = batch.read_text()
    fresh = Store(store.root)
    for text, message in [
        (whole[:-5], "at line 2: the file ends"),
        (whole.replace('"c"', '"C"'), "at line 1: its content hashes to"),
        ("[]\n", "at line 1"),
    ]:
        batch.write_text(text)
        with pytest.raises(StoreError, match=message):
            fresh.problems()
    with pytest.raises(StoreError, match=r"bad\.json is damaged"):
        fresh.records(RunRecord)
    report = fresh.check()
    fresh.repair()
    assert sorted(d.name for d in report.damaged) == [f"problems/{batch.name}", "records/runs/bad.json"]
    assert (report.problems, report.records) == (1, 1)
    assert list(fresh.records(RunRecord)) == ["good"]
    assert len(fresh.problems()) == 1
    batch.write_text("[]\n")  # there again under the same name: nothing reads it, and restoring writes over nothing
    assert len(fresh.problems()) == 1
    with pytest.raises(StoreError, match="was written since the repair"):
        fresh.restore()
    batch.unlink()
    fresh.restore()
    assert not fresh.check().ok
    assert json.loads(record.with_name("good.json").read_text())["id"] == "good"


def test_a_full_disk_is_an_error_that_leaves_nothing_behind(store, monkeypatch):
    store.append(many())
    monkeypatch.setattr("goldpanner.store.upkeep.ROW_GROUP", 5)
    monkeypatch.setattr("goldpanner.store.parts.ROW_GROUP", 5)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="No space left on device; free some space"):
        store.append([sample("p9")])
    monkeypatch.undo()
    monkeypatch.setattr(pq.ParquetWriter, "write_table", lambda *_, **__: full(0))
    with pytest.raises(StoreError, match="No space left on device"):
        store.compact()  # in the middle of the rows: the reader must be usable afterwards
    monkeypatch.undo()
    assert list(store.root.rglob("*.tmp")) == []
    assert as_dict(store.counts(POLICY)) == tally(many())
    store.compact()
    assert as_dict(store.counts(POLICY)) == tally(many())


def test_the_samples_of_two_machines_are_merged_and_shared_ones_count_once(store, tmp_path):
    other = Store(tmp_path / "other")
    store.append(many(2, 8))
    store.put(run_record("r", seconds=1))
    other.append(many(3, 8))
    other.append_verdicts([(s, Verdict(Outcome.WRONG, "process@1")) for s in many(3, 8)])
    other.put_problems([Problem("t", "a", "b")])
    other.put(run_record("r", seconds=2))
    other.put(run_record("s"))
    report = store.merge(other)
    assert (report.files, report.samples, report.known, report.records) == (3, 8, 16, 1)
    assert as_dict(store.counts(POLICY, verifier="answer@1")) == tally(many(3, 8))
    assert (len(store.problems()), store.get(RunRecord, "r").seconds) == (1, 1)
    assert store.check().ok
    again = store.merge(other)
    assert (again.files, again.samples, again.records) == (0, 0, 0)
    flip_a_page(parts_of(other)[0])
    with pytest.raises(StoreError, match="is not sound, so nothing was merged"):
        Store(tmp_path / "third").merge(other)
    assert not (tmp_path / "third/samples").exists()


# --- failed requests


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("compacted", [False, True])
def test_a_sample_takes_the_place_of_the_failed_one_of_its_key(tmp_path, order, compacted):
    store = Store(tmp_path)
    failed, drawn = (
        sample("p1", 3, outcome, completion=Completion(text, finish=finish))
        for text, finish, outcome in (("HTTP 400", "error", "unjudged"), ("yes", "stop", "correct"))
    )
    other = [(failed, Verdict(Outcome.UNJUDGED, "process@1")), (drawn, Verdict(Outcome.WRONG, "process@1"))]
    for i in order:
        store.append([(failed, drawn)[i], sample("p1", 4 + i)])
        store.append_verdicts([other[i]])
    if compacted:
        store.compact()
    who, params = failed.policy, failed.params
    assert [s.completion.text for s in store.samples(problem="p1") if s.index == 3] == ["yes"]
    for verifier, c in (("answer@1", 3), ("process@1", 0)):
        counts = store.counts(who, verifier=verifier)
        assert (counts.n.tolist(), counts.c.tolist()) == ([3], [c])
    assert store.counts(who, verifier="process@1").unjudged.tolist() == [2]
    assert store.sql("SELECT count(*) AS n FROM samples WHERE outcome = 'correct'").to_pylist() == [{"n": 3}]
    assert store.drawn(who, params, 0) == {"p1": {3, 4, 5}}


def test_what_failed_has_to_be_drawn_again(tmp_path):
    store = Store(tmp_path)
    store.append([sample("p1", i, "correct") for i in (0, 2, 4)])
    store.append([sample("p1", i, "unjudged", finish="error") for i in (1, 3, 5)])
    a = sample("p1", 0)
    assert store.drawn(a.policy, a.params, a.seed) == {"p1": {0, 2, 4}}
    assert store.drawn(a.policy, a.params, a.seed, failed=True) == {"p1": set(range(6))}
    assert store.counts(a.policy).unjudged.tolist() == [3]
    without = store.counts(a.policy, failed=False)
    assert (without.n.tolist(), without.unjudged.tolist()) == ([3], [0])
