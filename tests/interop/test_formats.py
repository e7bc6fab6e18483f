"""Known answers: what every fixture holds. How each was made by its own tool: make_fixtures/ and README.md."""

import json
import sys
from pathlib import Path

import pytest

from goldpanner import interop
from goldpanner.errors import InputError, MissingExtraError
from goldpanner.interop.formats import inspect_log
from goldpanner.interop.imported import params_id
from goldpanner.types import Outcome, SamplingParams, Verdict

FIXTURES = Path(__file__).parent / "fixtures"


def tally(imported):
    """Prompt or name -> (n, c, unjudged, truncated), added up over the records."""
    out = {}
    for r in imported:
        key = (r.problem.prompt or r.name).removesuffix("\nA:")
        out[key] = tuple(map(sum, zip(out.get(key, (0, 0, 0, 0)), (r.n, r.c, r.unjudged, r.truncated))))
    return out


def exact(problem, completion):
    """A verifier that looks at the last word."""
    words = completion.text.split()
    right = bool(words) and words[-1] == problem.answer
    return Verdict(Outcome.CORRECT if right else Outcome.WRONG, "last-word@1")


def only(pattern):
    (path,) = FIXTURES.glob(pattern)
    return path


FILES = {
    "counts/*": "counts",
    "table/*": "table",
    "lm_eval/samples_toy_*": "lm-eval",
    "inspect/*": "inspect",
    "verl/*/*": "verl",
    "trl/*/*.parquet": "trl",
    "verifiers/results.jsonl": "verifiers",
    "verifiers_traces/*": "verifiers-traces",
    "open_instruct/*_rollouts_*": "open-instruct",
    "human_eval/*_results.jsonl": "human-eval",
    "evalplus/*": "evalplus",
    "qwen_math/*": "qwen-math",
    "monkeys/*": "large-language-monkeys",
    "livecodebench/*": "livecodebench",
    "nemo_skills/*": "nemo-skills",
    "nemo_rl/*": "nemo-rl",
    "skyrl/*": "skyrl",
    "tinker/*/*": "tinker",
    "lighteval/*": "lighteval",
    "evalscope/*/*/*": "evalscope",
    "opencompass/*/*/*": "opencompass",
    "every_eval_ever/*": "every-eval-ever",
    "openai_batch/output.jsonl": "openai-batch",
}
"""Pattern of a format's fixtures -> its name."""
DOCS = Path(__file__).parents[2] / "docs" / "logs.md"


def test_every_format_has_a_fixture_and_a_row_in_the_docs():
    rows = [line.split("|")[1].strip() for line in DOCS.read_text().splitlines() if line.startswith("|")]
    formats = set(interop.FORMATS)
    assert not formats - set(FILES.values()), "give each of these a fixture, and its pattern in FILES of this file"
    assert not formats - set(rows), "give each of these a row in docs/logs.md"
    assert not set(FILES.values()) - formats


@pytest.mark.parametrize("pattern", FILES)
def test_every_fixture_is_recognised_and_small(pattern):
    files = sorted(FIXTURES.glob(pattern))
    assert files, f"no file in {FIXTURES} matches {pattern}"
    for path in files:
        assert interop.detect(path).name == FILES[pattern]
        assert path.stat().st_size < 100_000


def test_folders_are_recognised():
    folders = {
        "verl/rollouts": "verl",
        "trl/reused": "trl",
        "verifiers": "verifiers",
        "verifiers_traces": "verifiers-traces",
        "open_instruct": "open-instruct",
        "human_eval": "human-eval",
        "lm_eval": "lm-eval",
    }
    assert {folder: interop.detect(FIXTURES / folder).name for folder in folders} == folders


@pytest.mark.parametrize(
    ("pattern", "known"),
    [
        ("lm_eval/samples_toy_once*", False),
        ("verl/rollouts", False),
        ("trl/every_step", False),
        ("human_eval/*_results.jsonl", False),
        ("evalplus/*", False),
        ("open_instruct", True),
        ("verifiers/results.jsonl", True),
        ("inspect/*.json", True),
    ],
)
def test_what_a_log_does_not_say_of_truncation_is_unknown(pattern, known):
    options = {"threshold": 1.0} if pattern == "open_instruct" else {}
    imported = interop.read(sorted(FIXTURES.glob(pattern))[0], **options)
    for record in imported:
        assert record.finish_unknown == (0 if known else record.n)
    assert ("truncation not recorded" in imported.report.lines()[1]) != known


def test_no_fixture_names_a_machine():
    for path in FIXTURES.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(mark in data for mark in (b"/root/", b"/home/", b"/work/", b"/tmp/", b"site-packages")), path


# lm-evaluation-harness


def test_lm_eval_one_repeat_takes_the_metric():
    imported = interop.read(only("lm_eval/samples_toy_once_*"))
    right = {prompt: c for prompt, (n, c, u, t) in tally(imported).items() if (n, u, t) == (1, 0, 0)}
    assert right == {"1 + 1 =": 0, "2 + 3 =": 1, "3 + 5 =": 1, "4 + 7 =": 0, "5 + 9 =": 1, "6 + 11 =": 0}
    record = next(iter(imported))
    assert record.origin.model["name"]
    assert record.problem.task == "toy_once"
    # temperature is in the log, top-p and top-k are not: they stay unknown
    assert record.origin.params == {
        "temperature": 0.8,
        "max_tokens": 16,
        "stop": ("\n",),
        "template": "{prompt}",
    }


def test_lm_eval_repeats_are_all_there_and_only_the_scored_one_is_judged():
    path = only("lm_eval/samples_toy_repeats_*")
    imported = interop.read(path)
    scored = [json.loads(line)["exact_match"] for line in path.read_text().splitlines()]
    assert [(n, c, u) for n, c, u, _ in tally(imported).values()] == [(8, int(s), 7) for s in scored]
    assert any("first repeat" in warning for warning in imported.report.warnings)
    again = tally(interop.read(path, verifier=exact))
    texts = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(n, c, u) for n, c, u, _ in again.values()] == [
        (8, sum(t.split()[-1] == row["target"] for t in row["resps"][0]), 0) for row in texts
    ]


def test_lm_eval_filters_are_the_same_samples():
    path = only("lm_eval/samples_toy_filters_*")
    with pytest.raises(InputError, match=r"line 7: .*several filters \(flexible, strict"):
        interop.read(path).counts()
    with pytest.raises(InputError, match="no record has the filter 'nope'; the log has flexible, strict"):
        interop.read(path, filter="nope").counts()
    strict = interop.read(path, filter="strict")
    assert {n for n, *_ in tally(strict).values()} == {8}
    assert strict.report.rows == 12
    assert [s.count for s in strict.report.skipped.values()] == [6]
    judged = interop.read(path, verifier=exact)
    assert sum(n for n, *_ in tally(judged).values()) == 48


def test_lm_eval_pass_at_1_gives_counts_without_saying_which():
    path = only("lm_eval/samples_toy_pass_*")
    imported = interop.read(path)
    value = [json.loads(line)["pass@1"] for line in path.read_text().splitlines()]
    assert [(n, c, u) for n, c, u, _ in tally(imported).values()] == [(6, round(6 * v), 0) for v in value]
    verdicts = [d.verdict.outcome for r in imported for d in r.draws if 0 < r.c < r.n]
    assert set(verdicts) == {Outcome.UNJUDGED}


def test_lm_eval_multiple_choice_is_no_sampling():
    with pytest.raises(InputError, match=r"nothing was imported.*6 skipped: a log-likelihood"):
        interop.read(only("lm_eval/samples_toy_choice_*")).counts()


# inspect_ai


@pytest.mark.parametrize("end", [".eval", ".json"])
def test_inspect_epochs_are_draws(end):
    imported = interop.read(FIXTURES / "inspect" / f"epochs{end}")
    assert tally(imported) == {"2 + 2 =": (4, 3, 0, 0), "3 + 8 =": (4, 0, 2, 1), "40 + 2 =": (4, 0, 0, 0)}
    why = {d.verdict.reason for r in imported for d in r.draws if d.verdict.outcome is Outcome.UNJUDGED}
    assert why == {"the grader could not read it", "the sample failed: RuntimeError('the tool crashed')"}
    generated = interop.read(FIXTURES / "inspect" / f"generated{end}")
    assert tally(generated) == {"2 + 2 =": (2, 1, 0, 0), "3 + 8 =": (2, 0, 0, 0), "40 + 2 =": (2, 1, 0, 0)}
    record = next(iter(generated))
    assert record.origin.model["name"] == "mockllm/model"
    assert record.origin.params == {"temperature": 0.7, "top_p": 0.9, "max_tokens": 32, "stop": ("\n",)}
    assert (
        params_id(record.origin.params) != SamplingParams(temperature=0.7, top_p=0.9, max_tokens=32, stop=("\n",)).hash
    )


def test_a_large_inspect_log_is_read_a_sample_at_a_time(monkeypatch):
    path = FIXTURES / "inspect" / "epochs.eval"
    at_once = list(interop.read(path))
    monkeypatch.setattr(inspect_log, "_AT_ONCE", 0)
    assert sorted(map(repr, interop.read(path))) == sorted(map(repr, at_once))


def test_inspect_names_the_missing_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "inspect_ai.log", None)
    monkeypatch.setitem(sys.modules, "inspect_ai", None)
    with pytest.raises(MissingExtraError, match=r"goldpanner\[inspect\]"):
        interop.read(FIXTURES / "inspect" / "epochs.eval").counts()


# verl


def test_verl_rollouts_are_grouped_by_input():
    imported = interop.read(FIXTURES / "verl" / "rollouts", step=2)
    assert tally(imported) == {"2 plus 2 is": (4, 3, 0, 0), "5 plus 6 is": (4, 1, 0, 0)}
    samples = list(imported.samples(policy="toy"))
    assert [s.group for s in samples] == [0] * 4 + [1] * 4
    assert {s.policy for s in samples} == {"toy@2"}


def test_verl_shaped_scores_need_a_threshold_or_another_score():
    path = FIXTURES / "verl" / "shaped" / "1.jsonl"
    with pytest.raises(InputError, match=r"1\.jsonl, line 1: score is 1\.1.*--threshold"):
        interop.read(path).counts()
    expected = {"2 plus 2 is": (4, 3, 0, 0), "5 plus 6 is": (4, 1, 0, 0)}
    assert tally(interop.read(path, threshold=1)) == expected
    by_name = interop.read(path, score="acc")
    assert tally(by_name) == expected
    assert {s.reward for s in by_name.samples(policy="toy")} == {1.100000023841858, -0.5}


def test_verl_uid_makes_one_sample_of_a_split_rollout():
    imported = interop.read(FIXTURES / "verl" / "with_uid")
    assert tally(imported) == {"2 plus 2 is": (4, 3, 0, 0), "5 plus 6 is": (4, 1, 0, 0)}
    assert imported.report.rows == 9
    assert [s.group for s in imported.samples(policy="toy")] == [0] * 4 + [1] * 4


# TRL


def test_trl_keeps_the_last_batch_of_an_interval_only():
    every = {s: interop.read(FIXTURES / "trl" / "every_step", step=s) for s in (1, 2, 3, 4)}
    assert tally(every[1]) == {"3 plus 2 is": (4, 2, 0, 0), "2 plus 1 is": (4, 0, 0, 0)}
    second = interop.read(FIXTURES / "trl" / "every_second")
    # the same run, logged every second step: the batches of steps 1 and 3 are gone
    assert tally(second) == {
        k: tuple(map(sum, zip(tally(every[2])[k], tally(every[4])[k]))) for k in ("1 plus 1 is", "2 plus 2 is")
    }
    assert any("keeps the last generation batch alone" in warning for warning in second.report.warnings)


def test_trl_takes_a_batch_that_is_logged_twice_once():
    imported = interop.read(FIXTURES / "trl" / "reused")
    counts = imported.counts(pool_steps=True)
    assert counts.n.sum() == 16
    assert imported.report.rows == 32
    assert [s.count for s in imported.report.skipped.values()] == [16]
    samples = list(imported.samples(policy="toy", run="r"))
    assert {s.step for s in samples} == {1, 3}
    assert [s.group for s in samples] == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4


def test_trl_several_rewards_must_be_named():
    path = FIXTURES / "trl" / "two_rewards"
    with pytest.raises(InputError, match=r"2 columns that may be the reward \(starts_right, is_short\)"):
        interop.read(path).counts()
    assert tally(interop.read(path, score="starts_right")) == {
        "2 plus 2 is": (4, 0, 0, 0),
        "1 plus 1 is": (4, 1, 0, 0),
    }
    # TRL writes a reward of None (does not apply) as null: unjudged
    short = tally(interop.read(path, score="is_short", threshold=0.5))
    assert short == {"2 plus 2 is": (4, 2, 1, 0), "1 plus 1 is": (4, 1, 0, 0)}


# verifiers and prime-rl


@pytest.mark.parametrize("folder", ["verifiers", "verifiers_traces"])
def test_verifiers_failed_rollouts_are_unjudged(folder):
    imported = interop.read(FIXTURES / folder)
    # verifiers itself writes reward 0 for the rollout that the server refused
    assert tally(imported) == {"2 + 2 =": (4, 3, 0, 0), "3 + 8 =": (4, 0, 0, 1), "40 + 2 =": (4, 1, 1, 0)}
    record = next(iter(imported))
    assert record.origin.model["name"] == "toy/adder"
    assert record.origin.params["temperature"] == 0.7
    assert "top_p" not in record.origin.params
    assert record.problem.task == "toy-sums"


def test_open_instruct_rollouts():
    with pytest.raises(InputError, match=r"reward is 10\.0.*--threshold"):
        interop.read(FIXTURES / "open_instruct").counts()
    imported = interop.read(FIXTURES / "open_instruct", threshold=10)
    records = [(r.n, r.c, r.truncated) for r in imported]
    assert (sum(n for n, *_ in records), sum(c for _, c, _ in records), sum(t for *_, t in records)) == (8, 4, 1)
    sample = next(imported.samples())
    assert sample.completion.tokens == (3, 5, 2)
    assert sample.completion.logprob == -0.875
    assert (sample.step, sample.group, sample.policy[-2:]) == (1, 0, "@1")
    with pytest.raises(InputError, match="no text, so a verifier has nothing to read"):
        interop.read(FIXTURES / "open_instruct", threshold=10, verifier=exact).counts()


# human-eval and evalplus


def test_human_eval_time_outs_are_unjudged():
    imported = interop.read(FIXTURES / "human_eval")
    assert tally(imported) == {"toy/0": (4, 3, 0, 0), "toy/1": (4, 1, 1, 0)}
    with pytest.raises(InputError, match="completions without verdicts"):
        interop.read(FIXTURES / "human_eval" / "toy.jsonl")


def test_evalplus_plus_decides_where_it_was_run():
    plus = tally(interop.read(FIXTURES / "evalplus" / "toy_eval_results.json"))
    base = tally(interop.read(FIXTURES / "evalplus" / "toy_base_eval_results.json"))
    named = tally(interop.read(FIXTURES / "evalplus" / "toy_eval_results.json", score="base"))
    assert [plus[f"HumanEval/{i}"] for i in range(4)] == [(4, 3, 0, 0), (4, 1, 0, 0), (2, 1, 0, 0), (1, 1, 0, 0)]
    assert [base[f"HumanEval/{i}"] for i in range(4)] == [(4, 3, 0, 0), (4, 1, 0, 0), (2, 2, 0, 0), (1, 1, 0, 0)]
    assert named == base
    with pytest.raises(InputError, match="the added tests were not run"):
        interop.read(FIXTURES / "evalplus" / "toy_base_eval_results.json", score="plus").counts()
