"""Reward functions with TRL's signature: called as TRL calls them, three states, never an exception."""

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.types import Completion, Outcome, Problem, Verdict
from goldpanner.verify import Reward, Verifier, load_reward

CORRECT, WRONG, UNJUDGED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED
PROBLEM = Problem("t", "2 + 2 =", "4", {"level": 1})


def equals_answer(prompts: list[str], completions: list[str], answer: list[str], **columns: Any) -> list[float | None]:
    return [float(text.strip() == right) for text, right in zip(completions, answer)]


def judge(verifier: Verifier, text: str = "4", problem: Problem = PROBLEM, **completion: Any) -> Verdict:
    verdict = verifier(problem, Completion(text, **completion))
    assert verdict.verifier == verifier.id
    assert bool(verdict.reason) is not verdict.correct
    return verdict


def constant(value: Any, **options: Any) -> Reward:
    def reward(completions: list[str], **columns: Any) -> list[Any]:
        return [value] * len(completions)

    return Reward(reward, **options)


def test_a_binary_reward() -> None:
    verifier = Reward(equals_answer)
    assert judge(verifier).correct
    assert judge(verifier, "5").outcome is WRONG
    assert isinstance(verifier, Verifier)
    assert pickle.loads(pickle.dumps(verifier)).id == verifier.id
    assert judge(verifier, finish="length").outcome is WRONG
    assert judge(verifier, finish="error").outcome is UNJUDGED


def test_it_is_called_as_trl_calls_it() -> None:
    seen: dict[str, Any] = {}

    def spy(**kwargs: Any) -> list[float]:
        seen.update(kwargs)
        kwargs["log_metric"]("name", 1.0)
        kwargs["log_extra"]("column", [1])
        return [1.0, 0.0]

    other = Problem("t", "3 + 3 =", "6", {"source": "made"})
    verdicts = Reward(spy, columns={"solution": "answer"}).judge_many(
        [(PROBLEM, Completion("4", (7, 8))), (other, Completion("5"))]
    )
    assert [verdict.outcome for verdict in verdicts] == [CORRECT, WRONG]
    assert seen["prompts"] == ["2 + 2 =", "3 + 3 ="]
    assert seen["completions"] == ["4", "5"]
    assert seen["completion_ids"] == [[7, 8], None]
    assert seen["answer"] == seen["solution"] == ["4", "6"]
    assert (seen["level"], seen["source"], seen["trainer_state"]) == ([1, None], [None, "made"], None)


def test_conversations() -> None:
    def talks(prompts: list[Any], completions: list[Any], **columns: Any) -> list[float]:
        assert prompts[0] == [{"role": "user", "content": "2 + 2 ="}]
        return [float(completion[0]["content"] == "4") for completion in completions]

    assert judge(Reward(talks, conversational=True)).correct


def test_only_what_the_signature_asks_for() -> None:
    assert judge(Reward(lambda completions, level: [1.0])).correct


@pytest.mark.parametrize(
    ("reward", "outcome", "reason"),
    [
        (1, CORRECT, ""),
        (True, CORRECT, ""),
        (0, WRONG, "reward 0"),
        (None, UNJUDGED, "not applicable"),
        (float("nan"), UNJUDGED, "NaN"),
        (0.5, UNJUDGED, "name a threshold"),
        (float("inf"), UNJUDGED, "is inf"),
        ("yes", UNJUDGED, "no number"),
        ([1], UNJUDGED, "no number"),
    ],
)
def test_without_a_threshold(reward: Any, outcome: Outcome, reason: str) -> None:
    verdict = judge(constant(reward))
    assert verdict.outcome is outcome
    assert reason in verdict.reason


def test_a_threshold_is_named_in_the_id() -> None:
    half = constant(0.5, threshold=0.5)
    assert half.id.startswith("reward:reward>=0.5@")
    assert judge(half).correct
    assert judge(constant(0.49, threshold=0.5)).outcome is WRONG
    assert judge(constant(None, threshold=0.5)).outcome is UNJUDGED
    assert constant(0, threshold=0.2).id != constant(0, threshold=0.5).id
    with pytest.raises(InputError, match="threshold is nan"):
        constant(0, threshold=float("nan"))


def test_the_version_follows_the_source_and_the_call() -> None:
    def one(**kwargs: Any) -> list[float]:
        return [1.0]

    def two(**kwargs: Any) -> list[float]:
        return [0.0]

    ids = {Reward(f, name="same").id for f in (one, two)} | {Reward(one, conversational=True, name="same").id}
    assert len(ids) == 3
    assert Reward(max).id.startswith("reward:max@")


@pytest.mark.parametrize("returned", [[], [1.0, 1.0], None, 1.0, "1"])
def test_a_wrong_number_of_rewards_is_unjudged(returned: Any) -> None:
    verdict = judge(Reward(lambda **kwargs: returned))
    assert verdict.outcome is UNJUDGED
    assert "for 1 completions" in verdict.reason


def test_only_the_cause_of_an_exception_stays_unjudged() -> None:
    def fragile(completions: list[str], **columns: Any) -> list[float]:
        return [float(int(text) == 4) for text in completions]

    verdicts = Reward(fragile).judge_many([(PROBLEM, Completion(text)) for text in ("4", "four", "5")])
    assert [verdict.outcome for verdict in verdicts] == [CORRECT, UNJUDGED, WRONG]
    assert "ValueError" in verdicts[1].reason
    assert Reward(fragile).judge_many([]) == []


def test_a_function_that_leaves_has_failed(tmp_path: Path) -> None:
    def leaves(completions: list[str], **columns: Any) -> list[float]:
        raise SystemExit(3)

    assert judge(Reward(leaves)).reason == "the reward function failed: SystemExit: 3"
    (tmp_path / "script.py").write_text("raise SystemExit(1)\n")
    with pytest.raises(InputError, match="cannot be imported: SystemExit: 1"):
        load_reward(f"{tmp_path}/script.py:f")


def test_async_functions_with_and_without_a_running_loop() -> None:
    async def later(completions: list[str], **columns: Any) -> list[float]:
        await asyncio.sleep(0)
        return [1.0] * len(completions)

    async def inside() -> Verdict:
        return judge(Reward(later))

    assert judge(Reward(later)).correct
    assert asyncio.run(inside()).correct


def test_loading_by_path(tmp_path: Path) -> None:
    file = tmp_path / "rewards.py"
    file.write_text(
        "LIMIT = 3\ndef short(completions, **kw):\n    return [float(len(c) < LIMIT) for c in completions]\n"
    )
    assert judge(load_reward(f"{file}:short")).correct
    assert judge(load_reward(f"{file}:short", threshold=0.5), "four").outcome is WRONG
    assert load_reward("builtins:max").function is max
    (tmp_path / "broken.py").write_text("1 / 0")
    for path, message in (
        ("short", "write package.module:function"),
        (f"{file}:long", "no function 'long'; there are short"),
        (f"{tmp_path / 'none.py'}:short", "there is no such file"),
        (f"{tmp_path / 'broken.py'}:short", "ZeroDivisionError"),
        ("no.such.module:f", "cannot be imported"),
    ):
        with pytest.raises(InputError, match=message):
            load_reward(path)
    with pytest.raises(InputError, match="is no function"):
        Reward("f")  # type: ignore[arg-type]


@given(st.text(), st.one_of(st.none(), st.floats(), st.integers(), st.text(), st.lists(st.floats())))
def test_never_raises(text: str, reward: Any) -> None:
    for threshold in (None, 0.5):
        judge(constant(reward, threshold=threshold), text)


def test_trls_own_accuracy_reward() -> None:
    rewards = pytest.importorskip("trl.rewards")
    verifier = Reward(rewards.accuracy_reward, columns={"solution": "answer"}, conversational=True)
    problem = Problem("t", "q", "$\\frac{1}{2}$")
    assert judge(verifier, "\\boxed{0.5}", problem).correct
    assert judge(verifier, "\\boxed{0.6}", problem).outcome is WRONG
