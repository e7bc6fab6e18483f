"""What a word stands for, and what two sets of counts must share: the same in Python and on the command line."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

import goldpanner as gp
from goldpanner.errors import InputError
from goldpanner.instrument import compare_sources, profile_source
from goldpanner.sampling.collect import top_up
from goldpanner.sampling.rollout import rollout
from goldpanner.sources import Log, load_counts
from goldpanner.store.schema import PolicyRecord
from goldpanner.types import SamplingParams
from goldpanner.verify import Exact, Number
from synthetic_run import run_record
from test_cli import call, changed_log, write_counts

FIXTURES = Path(__file__).parent / "interop" / "fixtures"
PROBLEMS = gp.load("arithmetic/add-1d1d", 6)
PARAMS = SamplingParams(max_tokens=9)


def sampled(folder, name, p, params=PARAMS, verifier=Exact, n=8):
    """Return the policy of a name after n samples of each problem."""
    policy = gp.ScriptedPolicy.with_p(p, name=name)
    top_up(policy, PROBLEMS, lambda: (verifier(),), params, gp.Store(folder), gp.Goal(most=n), name=name)
    return policy


def trained(folder, run, steps, seed, p=0.5):
    """Store the rollouts of a run, one policy a step; return the policies."""
    store, policies = gp.Store(folder), [gp.ScriptedPolicy.with_p(p, name=f"{run} {step}") for step in steps]
    with store.writer() as sink:
        for step, policy in zip(steps, policies):
            list(rollout(policy, PROBLEMS, [Exact()], PARAMS, n=4, seed=seed, sink=sink, run=run, step=step))
    return policies


# --- what a word stands for


def test_counts_of_a_file_are_counts_everywhere(tmp_path):
    file = write_counts(tmp_path / "base.jsonl", [64] * 5, [0, 1, 8, 40, 64])
    counts = gp.load_counts(file)
    assert isinstance(counts, gp.Counts)
    assert (counts.name, counts.c.tolist(), dict(counts.stated), counts.params) == ("base", [0, 1, 8, 40, 64], {}, None)
    assert gp.curve(counts).at(16) == gp.curve(gp.Counts.of(counts.n, counts.c, counts.ids)).at(16)
    assert gp.plan(counts).recommended
    assert len(counts.select([0, 2])) == 2


def test_a_policy_goes_by_its_name_its_id_and_the_beginning_of_it(tmp_path):
    base, _ = sampled(tmp_path, "base", 0.25), sampled(tmp_path, "rl", 0.75)
    gp.Store(tmp_path).put(run_record("first-run", base.id))
    known = [gp.load_counts(name, tmp_path) for name in ("base", base.id, base.id[:5], "first-run")]
    assert {(source.stored.policy, tuple(source.c)) for source in known} == {(base.id, tuple(known[0].c))}
    assert known[0].stated == asdict(PARAMS)
    assert known[0].full_softmax


def test_the_folder_of_a_store_stands_for_its_only_policy(tmp_path):
    sampled(tmp_path / "one", "base", 0.25)
    trained(tmp_path / "one", "grpo", [0, 1], seed=7)
    assert gp.load_counts(tmp_path / "one").name == "base", "rollouts are no measurement"
    assert json.loads(call("measure", tmp_path / "one", "--json"))["samples"] == 48
    assert call("measure", tmp_path / "one").startswith("base: 6 problems")
    sampled(tmp_path / "run" / "store", "base", 0.25)
    assert gp.load_counts(tmp_path / "run").c.tolist() == gp.load_counts(tmp_path / "one").c.tolist()
    trained(tmp_path / "rollouts", "grpo", [3], seed=7)
    assert gp.load_counts(tmp_path / "rollouts").n.tolist() == [4] * 6


def test_a_store_of_several_policies_lists_them(tmp_path):
    policies = [sampled(tmp_path, name, p) for name, p in (("base", 0.25), ("rl", 0.75))]
    names = ", ".join(f"{policy.record['name']} ({policy.id})" for policy in sorted(policies, key=lambda p: p.id))
    with pytest.raises(InputError) as refused:
        gp.load_counts(tmp_path)
    says = f"{tmp_path} is a store with 2 policies: {names}. Name one of them and give the store with --store."
    assert str(refused.value) == says == call("measure", tmp_path, code=2)


def test_run_at_step_stands_for_the_rollouts_of_that_step(tmp_path):
    first, second = trained(tmp_path, "grpo", [0, 1], seed=7)
    sampled(tmp_path, "grpo 1", 0.5)
    source = gp.load_counts("grpo@1", tmp_path)
    assert (source.stored.policy, source.n.tolist()) == (second.id, [4] * 6)
    rows = gp.Store(tmp_path).samples(run="grpo", step=1)
    right = {problem.id: sum(s.verdict.correct for s in rows if s.problem == problem.id) for problem in PROBLEMS}
    assert dict(zip(source.ids, source.c.tolist())) == right
    assert gp.compare("grpo@0", "grpo@1", store=tmp_path).problems == 6
    assert json.loads(call("measure", "grpo@0", "--store", tmp_path, "--json"))["samples"] == 24
    with pytest.raises(InputError, match="has no rollouts of step 9; it has steps 0 to 1"):
        gp.load_counts("grpo@9", tmp_path)
    with pytest.raises(InputError, match="No policy named 'other@1'"):
        gp.load_counts("other@1", tmp_path)
    gp.Store(tmp_path).put(PolicyRecord(id=first.id, name="grpo@1"))
    assert gp.load_counts("grpo@1", tmp_path).stored.policy == first.id, "a policy of that very name comes first"


def test_rollouts_that_two_runs_share_belong_to_both(tmp_path):
    """Two runs from one base draw the same samples in their first step: one key each, a row for either run."""
    store, base = gp.Store(tmp_path), gp.ScriptedPolicy.with_p(0.5, name="base")
    for run in ("a", "b"):
        with store.writer() as sink:
            list(rollout(base, PROBLEMS, [Exact()], PARAMS, n=4, seed=7, sink=sink, run=run, step=0))
    one, other = (gp.load_counts(f"{run}@0", tmp_path) for run in ("a", "b"))
    assert one.c.tolist() == other.c.tolist()
    assert other.stated == asdict(PARAMS) or not other.stated
    assert other.stored.verifiers() == {Exact().id}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("nowhere.jsonl",),
            "No such file: 'nowhere.jsonl'. Pass a counts file or a log, or add --store DIR to name a policy in a "
            "store.",
        ),
        (("base", "--store", "nowhere"), "No store at nowhere. Pass the folder of a store or of a run."),
        (("rl", "--store", "demo"), "No policy named 'rl' in {store}. Available: base ({id})"),
    ],
)
def test_a_word_that_stands_for_nothing_says_what_there_is(tmp_path, monkeypatch, words, says):
    monkeypatch.chdir(tmp_path)
    policy = sampled("demo", "base", 0.5)
    says = says.format(store=tmp_path / "demo", id=policy.id)
    assert call("measure", *words, code=2) == says
    with pytest.raises(InputError) as refused:
        gp.load_counts(*words[::2])
    assert str(refused.value) == says


def test_a_log_is_read_as_it_is_asked_to_be():
    log = next((FIXTURES / "lm_eval").glob("samples_toy_filters*"))
    with pytest.raises(InputError, match="--filter"):
        gp.load_counts(log)
    strict = gp.load_counts(log, log=Log(filter="strict"))
    assert strict.questions
    every = gp.load_counts(FIXTURES / "trl" / "every_step", log=Log(step=1))
    assert "skipped 24: not of training step 1" in "\n".join(every.remarks)


# --- whether two may be compared


def refused_alike(says, *words, store=None, **more):
    """Check that Python and the command line refuse two words with the same sentence."""
    with pytest.raises(InputError) as refused:
        gp.compare(*words, store=store, **more)
    options = [] if store is None else ["--store", store]
    options += ["--allow-truncated-sampling"] if more.get("allow_truncated_sampling") else []
    assert str(refused.value) == call("compare", *words, *options, code=2)
    assert says in str(refused.value)


def test_other_parameters_are_refused(tmp_path):
    sampled(tmp_path, "base", 0.25)
    sampled(tmp_path, "rl", 0.75, replace(PARAMS, max_tokens=5))
    refused_alike("was sampled with max_tokens = 9, RL (rl) with max_tokens = 5", "base", "rl", store=tmp_path)


def test_another_verifier_is_refused_unless_one_is_named(tmp_path):
    sampled(tmp_path, "base", 0.25)
    sampled(tmp_path, "rl", 0.75, verifier=Number)
    refused_alike(f"judged by {Exact().id}, RL (rl) by {Number().id}", "base", "rl", store=tmp_path)
    both = [gp.load_counts(name, tmp_path, verifier=Exact().id) for name in ("base", "base")]
    assert gp.compare(*both).four_way["gained"] == 0


def test_other_prompts_and_other_problems_are_refused(tmp_path):
    log, other = changed_log(tmp_path, "b", "lm_eval/samples_toy_once*", '"arg_0": "', '"arg_0": "Be brief. ')
    refused_alike("problem 'toy_once/0' is asked differently", log, other, allow_truncated_sampling=True)
    log, other = changed_log(tmp_path, "c", "lm_eval/samples_toy_once*", '"target": "2"', '"target": "7"')
    refused_alike("only in base: toy_once/0 (", log, other, allow_truncated_sampling=True)


def test_tempered_samples_are_compared_as_systems(tmp_path):
    greedy = replace(PARAMS, temperature=0.0)
    for name, p in (("base", 0.25), ("rl", 0.75)):
        sampled(tmp_path, name, p, greedy)
    systems = gp.compare("base", "rl", store=tmp_path)
    assert systems.words[0] == "better"
    assert "temperature = 0" in systems.support_refused
    comparison = gp.compare("base", "rl", store=tmp_path, allow_truncated_sampling=True)
    assert "temperature = 0" in comparison.support_refused
    shown = json.loads(call("compare", "base", "rl", "--store", tmp_path, "--allow-truncated-sampling", "--json"))
    assert shown["support_refused"] == comparison.support_refused
    profile = gp.profile(gp.load_counts("base", tmp_path))
    assert "temperature = 0" in profile.support_refused
    assert not profile.speaks_of_support
    assert gp.profile("base", store=tmp_path).support_refused == profile.support_refused


def test_of_plain_counts_nothing_is_known_and_nothing_refused(tmp_path):
    base, rl = gp.Counts.of([8] * 6, [1] * 6, "abcdef"), gp.Counts.of([8] * 6, [7] * 6, "abcdef")
    comparison = gp.compare(base, rl)
    assert comparison.support_refused is None
    assert comparison.summary == gp.compare(base, load_counts(write(tmp_path, rl))).summary
    with pytest.raises(InputError, match="do not hold the same problems"):
        gp.compare(base, gp.Counts.of([8], [7], "z"))


def write(folder, counts):
    """Return a counts file."""
    rows = ({"id": i, "n": int(n), "c": int(c)} for i, n, c in zip(counts.ids, counts.n, counts.c))
    (folder / "rl.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "rl.jsonl"


def test_the_public_names_are_the_instruments_own():
    assert (gp.compare, gp.profile, gp.load_counts) == (compare_sources, profile_source, load_counts)


def test_a_comparison_traces_gained_problems_that_were_scored(tmp_path):
    """The base has the answer at 1e-6: never seen in 128 samples, yet found by scoring the RL model's samples."""
    from goldpanner.sampling.score import score_samples

    base, rl = sampled(tmp_path, "base", 1e-6, n=128), sampled(tmp_path, "rl", 0.7, n=128)
    store = gp.Store(tmp_path)
    assert not gp.compare("base", "rl", store=tmp_path).origin
    score_samples(base, rl.id, store, {problem.id: problem for problem in PROBLEMS})
    origin = gp.compare("base", "rl", store=tmp_path).origin
    assert len(origin) == 6
    assert np.allclose([each.p_base.value for each in origin.values()], 1e-6, rtol=0.2)


def test_a_report_is_drawn_from_a_run_not_from_a_store(tmp_path):
    sampled(tmp_path / "demo", "base", 0.5)
    says = f"{tmp_path / 'demo'} is a sample store, not a run; reports are drawn from runs"
    assert call("report", tmp_path / "demo", code=2) == says
