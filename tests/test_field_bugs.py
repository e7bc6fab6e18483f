"""Bugs that shipped in other tools, one test each, so that we never ship them."""

import math
import threading

import numpy as np
import pytest
import torch

from goldpanner.errors import InputError
from goldpanner.measure import intervals, passk
from goldpanner.policies.scripted import ScriptedPolicy
from goldpanner.sampling.rollout import count, judge, rollout
from goldpanner.store import Store
from goldpanner.tasks import World, load
from goldpanner.train import grpo
from goldpanner.train.groups import group_states, mixed_groups
from goldpanner.types import Completion, Counts, Outcome, SamplingParams

VERIFIERS = World().verifiers()
PROBLEMS = load("world/d1", 4)


def test_a_group_is_normalised_by_itself_not_by_its_batch():
    easy, hard = [1.0, 1.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]
    alone = grpo.group_advantages(torch.tensor([easy]))
    together = grpo.group_advantages(torch.tensor([easy, hard]))
    assert torch.equal(alone[0], together[0])


def test_a_group_of_one_is_an_error_and_not_its_raw_reward():
    with pytest.raises(InputError):
        grpo.group_advantages(torch.tensor([[1.0]]))


def test_zero_of_fifty_has_an_upper_bound():
    low, high = intervals.proportion(0, 50)
    assert float(low) == 0
    assert 0.05 < float(high) < 0.08
    assert float(intervals.upper_bound(0, 50)) == pytest.approx(1 - 0.05 ** (1 / 50))
    assert passk.curve(Counts.of([50] * 30, [0] * 30), [1]).at(1).high > 0


def test_pass_at_k_draws_without_replacement():
    assert float(passk.pass_at_k(2, 1, 2)) == 1.0, "two of two with one right always hold it; 1 - (1/2)^2 is not it"


def test_k_beyond_n_is_not_a_number():
    assert math.isnan(float(passk.pass_at_k(8, 3, 16)))


def test_missing_samples_are_not_padded_with_copies():
    samples = next(rollout(ScriptedPolicy.with_p(0.5), PROBLEMS[:1], VERIFIERS, SamplingParams(), n=3))
    assert count([samples, samples]).n.tolist() == [3]


def test_a_parser_that_gave_up_is_not_a_wrong_answer():
    def gives_up(problem, completion):
        raise ValueError("cannot parse")

    gives_up.id = "gives-up@1"
    assert judge(gives_up, PROBLEMS[0], Completion("?")).outcome is Outcome.UNJUDGED


def test_verdicts_are_the_same_off_the_main_thread():
    """A verifier whose time-out used signals scored 0 for everything outside the main thread."""
    completion = Completion(PROBLEMS[0].meta["chain"])
    found = []
    thread = threading.Thread(target=lambda: found.append(judge(VERIFIERS[0], PROBLEMS[0], completion)))
    thread.start()
    thread.join()
    assert found[0] == judge(VERIFIERS[0], PROBLEMS[0], completion)
    assert found[0].correct


def test_a_seed_is_not_ignored():
    def texts(seed):
        drawn = rollout(ScriptedPolicy.with_p(0.5), PROBLEMS, VERIFIERS, SamplingParams(), n=32, seed=seed)
        return [s.completion.text for g in drawn for s in g]

    assert texts(0) == texts(0)
    assert texts(0) != texts(1)


def test_groups_that_are_not_mixed_are_counted_before_anything_filters_them():
    states = group_states(torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0], [float("nan"), 0.0]]))
    assert [int(s.sum()) for s in (states.mixed, states.all_wrong, states.all_correct)] == [1, 2, 1]


def test_the_share_of_mixed_groups_does_not_change_its_meaning_with_the_variant():
    rewards = torch.tensor([[1.0, 1.0], [0.0, 0.0], [1.0, 0.0]])
    mixed = mixed_groups(rewards)
    for variant in grpo.VARIANTS.values():
        variant.advantages(rewards)
        assert torch.equal(mixed_groups(rewards), mixed)


def test_resuming_draws_nothing_twice_and_nothing_too_little(tmp_path):
    store, policy, params = Store(tmp_path), ScriptedPolicy.with_p(0.5), SamplingParams()
    for n in (3, 7):  # a run that was cut, and its continuation
        with store.writer() as sink:
            list(rollout(policy, PROBLEMS, VERIFIERS, params, n=n, sink=sink))
    counts = store.counts(policy.id)
    assert counts.n.tolist() == [7] * 4
    fresh = count(rollout(policy, PROBLEMS, VERIFIERS, params, n=7))
    assert dict(zip(counts.ids, counts.c.tolist())) == dict(zip(fresh.ids, fresh.c.tolist()))


def test_one_lucky_sample_is_no_expansion():
    from goldpanner.measure.compare import compare

    base = Counts.of([256] * 100, [0] * 50 + [128] * 50)
    rl = Counts.of([256] * 100, [1] * 2 + [0] * 48 + [128] * 50)
    found = compare(base, rl)
    assert found.four_way["gained"] == 2
    assert found.to_json()["established"]["gained"] == []
    assert found.verdict != "expanded"


def test_weights_written_by_a_fused_optimizer_make_another_policy():
    """Version counters do not see fused updates: rollouts of every step were kept under the first policy's id."""
    from goldpanner.policies.local import LocalPolicy
    from goldpanner.train.model import ModelConfig, build_model, build_tokenizer

    model, tokenizer = build_model(ModelConfig(), 13, seed=0), build_tokenizer("abcdefghij")
    policy = LocalPolicy(model, tokenizer)
    before = policy.id
    model(torch.tensor([[3, 4, 5]])).logits.sum().backward()
    torch.optim.AdamW(model.parameters(), 1e-4, fused=True).step()
    assert policy.id != before


def test_an_unjudged_sample_widens_and_does_not_vanish():
    low, high = intervals.proportion(10, 20, 5)
    assert float(low) < 10 / 20 <= 15 / 20 < float(high)
    judged_only = np.array(intervals.proportion(10, 15))
    assert float(high) - float(low) > judged_only[1] - judged_only[0]
