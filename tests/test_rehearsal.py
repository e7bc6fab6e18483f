"""The rehearsal before anything is drawn or trained, and the budget of unjudged samples: what is broken stops, said."""

import json
import time
from dataclasses import replace

import pytest
import torch
from typer.testing import CliRunner

import tiny_model
from goldpanner.cli import application
from goldpanner.errors import GoldpannerError, InputError
from goldpanner.policies.local import LocalPolicy
from goldpanner.progress import Event
from goldpanner.sampling.rehearsal import rehearse_first
from goldpanner.store import Store
from goldpanner.store.schema import CheckRecord
from goldpanner.tasks.catalog import task
from goldpanner.train.model import save_model
from goldpanner.train.reward import WINDOW, UnjudgedBudget
from goldpanner.train.trl.paid import paid, rehearse_batch
from goldpanner.types import Cause, Completion, Outcome, Problem, Sample, Verdict
from goldpanner.verify import Code, Number, Reward
from goldpanner.verify.rehearsal import QUICK, QUICK_OTHERS, choose, rehearse

BROKEN = {
    "raises": ("raise RuntimeError('no key')", "RuntimeError: no key"),
    "none": ("return [None] * len(completions)", "the reward is None"),
    "nan": ("return [float('nan')] * len(completions)", "the reward is NaN"),
    "infinite": ("return [float('inf') * (a in c) for c, a in zip(completions, answer)]", "the reward is inf"),
    "text": ("return ['good' if a in c else 'bad' for c, a in zip(completions, answer)]", "no number"),
    "leaves": ("import sys; sys.exit(0)", "SystemExit: 0"),
    "short": ("return [float(a in c) for c, a in zip(completions, answer)][1:]", "for 96 completions"),
    "one": ("return [1.0]", "returned 1 for 96 completions"),
    "alone": ("return 1.0", "returned float for 96 completions"),
    "constant": ("return [1.0] * len(completions)", "does not tell them apart"),
    "zero": ("return [0.0] * len(completions)", "does not tell them apart"),
    "upside_down": ("return [float(a not in c) for c, a in zip(completions, answer)]", "does not tell them apart"),
    "graded": ("return [0.1 + 0.8 * (a in c) for c, a in zip(completions, answer)]", "name a threshold"),
    "array": ("import numpy; return numpy.ones(len(completions))", "returned ndarray"),
    "generator": ("return (1.0 for _ in completions)", "returned generator"),
    "table": ("return {c: 1.0 for c in completions}", "returned dict"),
    "nested": ("return [[float(a in c)] for c, a in zip(completions, answer)]", "no number"),
    "imaginary": ("return [complex(a in c) for c, a in zip(completions, answer)]", "no number"),
    "huge": ("return [10 ** 400 * (a in c) for c, a in zip(completions, answer)]", "no number"),
    "eats": ("completions.clear(); return []", "returned 0 for 96 completions"),
    "long": ("return [1.0] * (len(completions) + 1)", "returned 97 for 96 completions"),
    "endless": ("return endless(completions=completions, answer=answer)", "RecursionError"),
    "cancelled": ("import asyncio; raise asyncio.CancelledError('stop')", "CancelledError"),
    "memory": ("raise MemoryError('full')", "MemoryError: full"),
    "prompt_only": ("return [float(len(a) % 2) for a in answer]", "does not tell them apart"),
    "empty_pays": ("return [float(not c) for c in completions]", "does not tell them apart"),
    "fragile": ("return [float(int(c.split('####')[1]) == int(a)) for c, a in zip(completions, answer)]", "IndexError"),
}
GOOD = "return [float(a == c.strip()) for c, a in zip(completions, answer)]"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rehearsal")
    tiny_model.write(folder / "model", steps=5)
    rows = [{"question": f"{a} + {b} =", "answer": str(a + b)} for a in range(1, 8) for b in range(1, 8)]
    (folder / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    functions = {name: body for name, (body, _) in BROKEN.items()} | {"good": GOOD}
    text = "".join(f"def {name}(completions, answer, **_):\n    {body}\n" for name, body in functions.items())
    text += "def later(completions, answer, **_):\n    if len(completions) < 60: raise OSError('no disk')\n"
    text += f"    {GOOD}\n"
    (folder / "rewards.py").write_text(text)
    return folder


def call(*arguments):
    result = CliRunner().invoke(application(), [str(a) for a in arguments])
    if isinstance(result.exception, GoldpannerError):
        return 2, str(result.exception)
    return result.exit_code, result.output


def train(place, name, out, *more):
    sets = [f"grpo.{each}" for each in "steps=2 prompts_per_step=4 group_size=8 max_tokens=3".split()]
    words = [word for each in sets for word in ("--set", each)]
    return call(
        "train", "grpo", "--model", place / "model", "--task", place / "sums.jsonl", "--verifier",
        f"{place}/rewards.py:{name}", "--out", out, *words, *more,
    )  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_reward_trains_nothing(place, tmp_path, name):
    status, text = train(place, name, tmp_path / "run")
    assert status == 2
    assert BROKEN[name][1] in text
    assert "Nothing was drawn or trained" in text
    assert not (tmp_path / "run").exists()


def test_a_good_reward_trains_and_its_rates_are_kept(place, tmp_path):
    status, text = train(place, "good", tmp_path / "run")
    assert status == 0, text
    assert (tmp_path / "run" / "model").is_dir()
    (record,) = Store(tmp_path / "run" / "store").records(CheckRecord).values()
    assert (record.quick, record.fault, record.skipped) == (True, None, None)
    assert record.errors.wrong > 40
    assert record.false_positive.value == 0.0


def test_without_a_rehearsal_it_is_said_so_and_the_budget_stops_the_run(place, tmp_path):
    status, text = train(place, "none", tmp_path / "run", "--no-rehearsal")
    assert status == 2
    assert "of the last 32 completions are unjudged, and not by the model's doing" in text
    assert "times because: the reward is None" in text
    assert "kept as a checkpoint" in text
    assert (tmp_path / "run" / "checkpoint.pt").is_file()
    (record,) = Store(tmp_path / "run" / "store").records(CheckRecord).values()
    assert record.skipped == "--no-rehearsal"
    status, text = train(place, "none", tmp_path / "run", "--no-rehearsal", "--set", "grpo.unjudged_budget=1")
    assert status == 0, text


def test_what_breaks_on_the_way_stops_the_run(place, tmp_path):
    status, text = train(place, "later", tmp_path / "run")
    assert status == 2
    assert "the reward function failed: OSError: no disk" in text
    assert "e.g. the completion" in text


def test_sampling_is_rehearsed_too_and_once(place, tmp_path):
    words = ("sample", "scripted:0.5", place / "sums.jsonl", "--store", tmp_path / "s", "-n", 2, "--problems", 5)
    status, text = call(*words, "--verifier", f"{place}/rewards.py:constant")
    assert status == 2
    assert "does not tell them apart" in text
    assert call(*words)[0] == 0
    (record,) = Store(tmp_path / "s").records(CheckRecord).values()
    assert record.quick
    status, _ = call("verify-check", place / "sums.jsonl", "--store", tmp_path / "s", "--problems", 9)
    (full,) = Store(tmp_path / "s").records(CheckRecord).values()
    assert (status, full.quick) == (0, False)
    assert full.errors.wrong > record.errors.wrong
    assert call(*words, "--seed", 1)[0] == 0
    assert Store(tmp_path / "s").records(CheckRecord) == {full.id: full}, "a whole check is not replaced by a quick one"


def test_controls_are_skipped_and_said_to_be(tmp_path):
    notes: list[Event] = []
    world, store = task("world/d1"), Store(tmp_path)
    verifier, problems = world.verifiers()[0], world.problems(4)
    (record,) = rehearse_first(world, verifier, problems, store, skip="the reward is a control")
    assert record.skipped == "the reward is a control"
    store.put(record)
    assert not rehearse_first(world, verifier, problems, store, skip="--no-rehearsal"), "it is said already"
    (record,) = rehearse_first(world, verifier, problems, store, notify=notes.append)
    assert record.skipped is None
    store.put(record)
    assert not rehearse_first(world, verifier, problems, store)
    assert not notes


def test_a_lenient_verifier_is_told_what_it_pays(tmp_path):
    notes: list[Event] = []
    sums = task("arithmetic/add-2d2d")
    rehearse_first(sums, Number(flexible=True), sums.problems(20), Store(tmp_path), notify=notes.append)
    assert "of wrong answers, most often 'hidden in prose, last'" in notes[0].message


@pytest.mark.parametrize("name", ["arithmetic/add-2d2d", "countdown/3", "world/d2", "column-addition/2d"])
def test_it_is_quick_and_the_same_each_time(name):
    chosen = task(name)
    problems, began = chosen.problems(64), time.monotonic()
    for verifier in chosen.verifiers():
        first = rehearse(chosen, verifier, problems, quick=True)
        assert first == rehearse(chosen, verifier, problems, quick=True)
        assert first.fault is None
        assert first.false_negative().value == 0.0
        assert sum(tally.n for tally in first.tallies) <= QUICK_OTHERS
    assert time.monotonic() - began < 5


def test_a_sample_of_the_cases_has_every_form_before_any_twice():
    sums = task("arithmetic/add-2d2d")
    seen: list[str] = []

    def spy(completions, **_):
        seen.extend(completions)
        return [float("boxed" in text) for text in completions]

    check = rehearse(sums, Reward(spy), sums.problems(30), quick=True)
    assert len(seen) == QUICK[Reward]
    assert sum(tally.n for tally in check.tallies if tally.right) == QUICK[Reward] // 2
    declared = {tally.form for tally in check.tallies if tally.right}
    assert {"alone", "boxed", "hashes", "tags"} <= declared
    assert choose([], 10) == []


def test_one_problem_alone_is_rehearsed():
    one = replace(task("arithmetic/add-1d1d"))
    check = rehearse(one, Number(), one.problems(1), quick=True)
    assert check.fault is None
    assert check.false_positive().value == check.false_negative().value == 0.0


def test_a_verifier_that_loses_verdicts_or_raises_is_stopped():
    class Loses(Number):
        def judge_many(self, pairs):
            return super().judge_many(pairs)[1:]

    class Raises(Number):
        def judge_many(self, pairs):
            raise ZeroDivisionError("never")

    sums = task("arithmetic/add-1d1d")
    assert "verdicts on 240 completions" in (rehearse(sums, Loses(), sums.problems(20), quick=True).fault or "")
    assert "ZeroDivisionError: never" in (rehearse(sums, Raises(), sums.problems(20), quick=True).fault or "")


def test_programs_whose_tests_ask_nothing_are_found():
    try:
        verifier = Code()
    except InputError:
        pytest.skip("no sandbox works here")
    chosen = replace(task("arithmetic/add-1d1d"), worked=None)
    good = Problem("p", "Add.", "def add(a, b): return a + b", {"tests": ["assert add(1, 2) == 3"]})
    idle = Problem("p", "Add, idly.", "def add(a, b): return a + b", {"tests": ["assert callable(add)"]})
    wrong = Problem("p", "Add, wrongly.", "def add(a, b): return a - b", {"tests": ["assert add(1, 2) == 3"]})
    assert rehearse(chosen, verifier, [good], quick=True).fault is None
    assert "asks nothing of the program" in (rehearse(chosen, verifier, [good, idle], quick=True).fault or "")
    assert "its reference is wrong" in (rehearse(chosen, verifier, [wrong], quick=True).fault or "")


# --- the budget


def sample(cause: Cause | None, reason: str = "late", i: int = 0) -> Sample:
    outcome = Outcome.WRONG if cause is None else Outcome.UNJUDGED
    verdict = Verdict(outcome, "v@1", reason=reason, cause=cause)
    return Sample("p", "m", "x", 0, i, Completion(f"text {i}"), verdict, reward=verdict.reward)


def test_the_budget_counts_what_is_ours_alone():
    budget = UnjudgedBudget(0.05)
    budget.add(sample(Cause.MODEL) for _ in range(WINDOW))
    budget.add(sample(Cause.WITHHELD) for _ in range(WINDOW))
    budget.add(sample(None) for _ in range(WINDOW))
    budget.add(sample(Cause.OURS, i=i) for i in range(12))
    with pytest.raises(InputError, match=r"13 of the last 256.*5% of 256.*12 times because: late.*'text 0'"):
        budget.add([sample(Cause.OURS, "early")])


def test_the_window_forgets_and_the_whole_share_never_stops():
    budget = UnjudgedBudget(0.05)
    for _ in range(4):
        budget.add(sample(Cause.OURS) for _ in range(12))
        budget.add(sample(None) for _ in range(WINDOW))
    UnjudgedBudget(1.0).add(sample(Cause.OURS) for _ in range(3 * WINDOW))
    with pytest.raises(InputError, match="1 of the last 1 completions"):
        UnjudgedBudget(0.0).add([sample(Cause.OURS)])


# --- as TRL calls a function


ROWS = [Problem("t", "1 + 1 =", "2"), Problem("t", "2 + 2 =", "4")]


def rehearsed(function, rewards, texts=("x", "y"), rows=ROWS):
    rehearse_batch(function, rewards, rows, ["a", "b"], list(texts), None, {"answer": [row.answer for row in rows]})


@pytest.mark.parametrize("name", [name for name in BROKEN if name not in ("none", "nan", "graded", "upside_down")])
def test_a_broken_function_is_an_error_of_the_recorder_s(place, name):
    scope: dict = {}
    exec((place / "rewards.py").read_text(), scope)

    def first_batch():
        rehearsed(scope[name], paid(scope[name], completions=["is 2", "is 4"], answer=["2", "4"]))

    with pytest.raises(InputError):
        first_batch()


def test_what_is_no_error_of_the_recorder_s():
    def good(completions, answer, **_):
        return [float(a in text) for a, text in zip(answer, completions)]

    async def slow(completions, **_):
        return [0.5, None]

    rehearsed(good, [0.0, 0.0])
    rehearsed(lambda **_: [0.0, 0.0], [0.0, 1.0])
    rehearsed(lambda **_: [0.0, 0.0], [0.0, 0.0], rows=[ROWS[0], ROWS[0]])
    assert paid(slow, completions=["x", "y"]) == [0.5, None]
    with pytest.raises(InputError, match="nothing could be learned"):
        rehearsed(lambda **_: [0.0, 0.0], [0.0, 0.0], texts=([{"content": "x"}], [{"content": "y"}]))


# --- what breaks a run from within


def test_logits_that_are_no_numbers_are_said_and_nothing_is_drawn(place, tmp_path):
    words = ("sample", place / "broken", place / "sums.jsonl", "--store", tmp_path / "s", "-n", 2, "--problems", 3)
    policy = LocalPolicy.from_pretrained(place / "model", device="cpu")
    with torch.no_grad():
        policy.model.lm_head.weight.fill_(float("nan"))
    save_model(policy.model, policy.tokenizer, place / "broken")
    status, text = call(*words)
    assert status == 2
    assert "logits that are NaN or infinite" in text
    assert not Store(tmp_path / "s").samples()
    status, text = train(place, "good", tmp_path / "run", "--set", "grpo.learning_rate=1e30", "--set", "grpo.steps=6")
    assert status == 0 or "logits that are NaN" in text, text


def test_a_chat_template_that_refuses_is_told_with_its_own_words(place):
    policy = LocalPolicy.from_pretrained(place / "model", device="cpu")
    policy.tokenizer.chat_template = "{{ raise_exception('a system message must come first') }}"
    with pytest.raises(InputError, match="refuses a single message of the user: a system message must come first"):
        policy.encode_prompt(Problem("t", "1 + 1 =", "2"), "chat")
