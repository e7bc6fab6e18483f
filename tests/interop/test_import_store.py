"""Imports into a store: the same twice changes nothing, what is unknown stays unknown."""

import json
from pathlib import Path

import pytest

from goldpanner import interop
from goldpanner.errors import InputError
from goldpanner.store import Store
from goldpanner.store.schema import ParamsRecord, PolicyRecord
from goldpanner.types import Completion, Outcome, Problem, Sample, SamplingParams, Verdict

FIXTURES = Path(__file__).parent / "fixtures"
OPTIONS = {
    "lm_eval/samples_toy_repeats_*": {},
    "inspect/epochs.eval": {},
    "verifiers": {},
    "verifiers_traces": {},
    "open_instruct": {"threshold": 10},
    "trl/reused": {},
    "verl/rollouts": {},
    "human_eval": {},
    "evalplus/toy_eval_results.json": {},
}


class LastWord:
    id = "last-word@1"

    def __call__(self, problem, completion):
        words = completion.text.split()
        right = bool(words) and words[-1] == problem.answer
        return Verdict(Outcome.CORRECT if right else Outcome.WRONG, self.id)


def policies(store):
    return store.records(PolicyRecord)


@pytest.mark.parametrize("pattern", OPTIONS)
def test_what_the_store_counts_is_what_the_log_counts(tmp_path, pattern):
    (path,) = FIXTURES.glob(pattern)
    imported = interop.read(path, **OPTIONS[pattern])
    named = None if any(r.origin.model for r in imported) else "toy"
    expected = imported.counts(pool_steps=True)
    store = Store(tmp_path / "store")
    for _ in range(2):  # the second time changes nothing
        report = imported.into(store, policy=named, run="r")
        assert report.samples == expected.n.sum()
        counts = [store.counts(policy) for policy in policies(store)]
        for name in ("n", "c", "unjudged", "truncated"):
            assert sum(int(getattr(c, name).sum()) for c in counts) == getattr(expected, name).sum()
    assert {i for c in counts for i in c.ids} <= set(store.problems())
    assert all(len(record.stated) < 6 for record in store.records(ParamsRecord).values())


def test_a_log_without_its_model_asks_for_a_policy(tmp_path):
    with pytest.raises(InputError, match=r"does not say which model.*--policy"):
        interop.read(FIXTURES / "human_eval").into(Store(tmp_path))
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "a", "n": 1, "c": 1}\n')
    with pytest.raises(InputError, match="counts file holds no samples"):
        interop.read(path).into(Store(tmp_path))


def test_two_logs_of_one_policy_add_up_and_a_grown_log_adds_what_is_new(tmp_path):
    row = {"example_id": 0, "prompt": "1 + 1 =", "completion": "2", "answer": "2", "reward": 1.0}
    store = Store(tmp_path / "store")

    def put(folder, rewards):
        path = tmp_path / folder / "results.jsonl"
        path.parent.mkdir(exist_ok=True)
        path.write_text("".join(json.dumps({**row, "reward": r}) + "\n" for r in rewards))
        interop.read(path).into(store, policy="toy")
        counts = store.counts("toy")
        return counts.n.item(), counts.c.item()

    assert put("a", [1.0, 0.0]) == (2, 1)
    assert put("b", [1.0, 1.0, 1.0]) == (5, 4)  # another run of the same policy
    assert put("a", [1.0, 0.0, 1.0]) == (6, 5)  # the first log, grown by a line
    assert put("a", [1.0, 0.0, 1.0]) == (6, 5)
    assert put("c", [1.0, 1.0, 1.0]) == (6, 5)  # a copy of the second
    assert put("d", [1.0, 0.0, 1.0]) == (6, 5)  # a copy of the first, grown


def test_both_ends_of_an_inspect_log_are_one_log(tmp_path):
    store = Store(tmp_path)
    for name in ("epochs.eval", "epochs.json"):
        interop.read(FIXTURES / "inspect" / name).into(store, policy="toy")
        assert store.counts("toy").n.sum() == 12


def test_training_rollouts_keep_their_groups(tmp_path):
    store = Store(tmp_path)
    interop.read(FIXTURES / "verl" / "with_uid").into(store, policy="toy")
    table = store.groups("toy").to_pydict()
    assert (table["step"], table["group"], table["n"], table["c"]) == ([3, 3], [0, 1], [4, 4], [3, 1])


def test_rescoring_adds_a_verdict_to_samples_that_are_there(tmp_path):
    (path,) = FIXTURES.glob("lm_eval/samples_toy_repeats_*")
    store = Store(tmp_path)
    interop.read(path).into(store, policy="toy")
    log = next(iter(store.samples(policy="toy"))).verdict.verifier
    assert store.counts("toy", verifier=log).unjudged.sum() == 42
    imported = interop.read(path, verifier=LastWord())
    imported.into(store, policy="toy")
    again = store.counts("toy", verifier="last-word@1")
    assert again.unjudged.sum() == 0
    assert again.c.tolist() == imported.counts().c.tolist()


def test_an_import_leaves_records_that_are_there(tmp_path):
    store = Store(tmp_path)
    store.put(PolicyRecord(id="toy", name="toy", kind="local"))
    interop.read(FIXTURES / "human_eval").into(store, policy="toy")
    assert store.records(PolicyRecord)["toy"] == PolicyRecord(id="toy", name="toy", kind="local")


@pytest.mark.parametrize("end", [".eval", ".json"])
def test_exported_inspect_logs_come_back_as_they_went(tmp_path, end):
    from inspect_ai.log import read_eval_log

    params = SamplingParams(temperature=0.7, max_tokens=5, stop=("\n",))
    problems = [Problem("toy", f"{i} + 1 =", str(i + 1), {"depth": i}) for i in range(2)]
    outcomes = [Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED]
    samples = [
        Sample(
            problem.id, "policy-1", params.hash, 3, index,
            Completion(f"ünï {index}", finish="length" if index == 1 else "stop"),
            Verdict(outcome, "exact@1", reason="" if index == 0 else "why"), task="toy",
        )
        for problem in problems
        for index, outcome in enumerate(outcomes)
    ]  # fmt: skip
    error = Sample(
        problems[0].id, "policy-1", params.hash, 3, 3, Completion("time-out", finish="error"),
        Verdict(Outcome.UNJUDGED, "exact@1"), task="toy",
    )  # fmt: skip
    table = {p.id: p for p in problems}
    path = interop.write_inspect([*samples, error], table, tmp_path / f"log{end}", model="toy/m", params=params)
    log = read_eval_log(str(path))
    assert (log.status, log.eval.model, len(log.samples)) == ("success", "toy/m", 7)
    assert log.eval.model_generate_config.temperature == 0.7
    assert [s.scores["verdict"].value for s in log.samples if s.id == problems[1].id][:2] == ["C", "I"]

    imported = interop.read(path)
    back = sorted(imported.samples(), key=lambda s: s.key)
    assert [s.key for s in back] == sorted(s.key for s in [*samples, error])
    assert {s.key: s.completion for s in back} == {s.key: s.completion for s in [*samples, error]}
    assert {s.key: (s.verdict.outcome, s.verdict.verifier) for s in back} == {
        s.key: (s.verdict.outcome, s.verdict.verifier) for s in [*samples, error]
    }
    assert imported.problems() == table
    store = Store(tmp_path / "store")
    store.append([*samples, error])
    imported.into(store)  # into the store they came from: nothing is counted twice
    assert store.counts("policy-1").n.sum() == 7
    assert next(iter(store.records(ParamsRecord).values())).top_p == 1.0


def test_an_inspect_log_is_of_one_policy_and_needs_its_prompts(tmp_path):
    problem = Problem("toy", "q", "a")
    one, other = (
        Sample(problem.id, p, "x", 0, 0, Completion("a"), Verdict(Outcome.CORRECT, "v@1")) for p in ("p", "q")
    )
    with pytest.raises(InputError, match="2 policy ids"):
        interop.write_inspect([one, other], {problem.id: problem}, tmp_path / "a.eval", model="m")
    with pytest.raises(InputError, match="is not among the problems"):
        interop.write_inspect([one], {}, tmp_path / "a.eval", model="m")
    with pytest.raises(InputError, match=r"must end in \.eval or \.json"):
        interop.write_inspect([one], {problem.id: problem}, tmp_path / "a.txt", model="m")
    with pytest.raises(InputError, match="no samples to write"):
        interop.write_inspect([], {}, tmp_path / "a.eval", model="m")
    assert list(tmp_path.iterdir()) == []
