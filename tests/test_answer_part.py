"""Which part of a completion counts: thoughts, fences, emphasis; and whose doing it is when nothing is judged."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.measure import passk
from goldpanner.policies.answer import completions
from goldpanner.sampling.rollout import count, judge_all
from goldpanner.store import Store
from goldpanner.types import Cause, Completion, Counts, Outcome, Problem, Sample, SamplingParams, Verdict
from goldpanner.verify import ChainAnswer, Countdown, Exact, Number, Reward, Verifier
from goldpanner.verify.answer_part import TAGS, apart, blocks, split_thought, without_emphasis
from goldpanner.verify.base import AfterThought

CORRECT, WRONG, UNJUDGED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED


def paid(prompts: Any, completions: Any, answer: Any, **_: Any) -> list[float]:
    return [float(right in text) for text, right in zip(completions, answer)]


CASES: list[tuple[Verifier, Problem, str, str]] = [
    (Number(), Problem("t", "q", "8"), "so \\boxed{8}", "so \\boxed{7}"),
    (Exact(), Problem("t", "q", "8"), "8", "7"),
    (Exact(pattern=r"\d"), Problem("t", "q", "8"), "8", "7"),
    (ChainAnswer(), Problem("t", "q", "8"), "sum 8", "sum 7"),
    (Countdown(), Problem("t", "q", "8", {"numbers": [3, 5], "target": 8}), "\\boxed{3+5}", "\\boxed{3-5}"),
    (Reward(paid), Problem("t", "q", "8"), "8", "7"),
]


@pytest.mark.parametrize(("verifier", "problem", "right", "wrong"), CASES, ids=lambda case: getattr(case, "id", ""))
def test_scratch_work_is_never_judged(verifier: Verifier, problem: Problem, right: str, wrong: str) -> None:
    for begin, end in [*TAGS, ("", "</think>")]:
        for thought, answer, outcome in ((wrong, right, CORRECT), (right, wrong, WRONG)):
            assert verifier(problem, Completion(f"{begin}{thought}{end}{answer}")).outcome is outcome
            assert verifier(problem, Completion(answer, thought=thought)).outcome is outcome
    twice = f"<think>{right}</think>{right}<think>{right}</think>{wrong}"
    assert verifier(problem, Completion(twice)).outcome is WRONG
    for silent in (Completion(f"<think>{right}"), Completion(f"{right}<think>"), Completion("", thought=right)):
        verdict = verifier(problem, silent)
        assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.MODEL)
    cut = verifier(problem, Completion(f"<think>{right}", finish="length"))
    assert (cut.outcome, cut.cause) == (WRONG, None)


def test_a_model_with_tags_of_its_own() -> None:
    verifier = AfterThought(Number(), "<r>", "</r>")
    problem = Problem("t", "q", "8")
    assert isinstance(verifier, Verifier)
    assert verifier.id.replace(":after-<r>-</r>", "") == Number().id
    assert verifier(problem, Completion("<r>\\boxed{7}</r>\\boxed{8}")).outcome is CORRECT
    assert verifier(problem, Completion("<r>\\boxed{8}</r>\\boxed{7}")).verifier == verifier.id
    assert verifier(problem, Completion("<r>\\boxed{8}")).cause is Cause.MODEL


def test_a_reward_function_may_ask_for_all_of_the_text() -> None:
    problem, text = Problem("t", "q", "8"), Completion("<think>8</think>7")
    assert Reward(paid)(problem, text).outcome is WRONG
    assert Reward(paid, whole=True)(problem, text).outcome is CORRECT
    assert Reward(paid).id != Reward(paid, whole=True).id


def test_a_thought_that_the_prompt_began_is_told_apart() -> None:
    drawn = [Completion("Hm.</think>8", (1, 2)), Completion("Hm"), Completion("HTTP 500", finish="error")]
    assert apart(drawn, "What is 8?") == drawn
    found = apart(drawn, "user: 3+5\nassistant: <think>\n")
    assert [(c.thought, c.text) for c in found] == [("Hm.</think>", "8"), ("Hm", ""), (None, "HTTP 500")]
    assert found[0].tokens == (1, 2)


@given(st.text(alphabet="ab<>/ \n", max_size=30), st.text(alphabet="ab \n", max_size=30))
def test_what_follows_a_thought_is_kept_letter_by_letter(thought: str, answer: str) -> None:
    assert split_thought(f"<think>{thought}</think>{answer}") == (f"<think>{thought}</think>", answer)
    assert split_thought(answer) == (None, answer)


def test_a_servers_reasoning_refusal_and_filter() -> None:
    def read(message: dict[str, Any], reason: str = "stop") -> Completion:
        return completions({"choices": [{"message": message, "finish_reason": reason}]}, SamplingParams())[0]

    thought = read({"content": "\\boxed{7}", "reasoning_content": "\\boxed{8}"})
    assert (thought.text, thought.thought) == ("\\boxed{7}", "\\boxed{8}")
    assert Number()(Problem("t", "q", "8"), thought).outcome is WRONG
    for withheld in (read({"content": None, "refusal": "No."}), read({"content": ""}, "content_filter")):
        verdict = judge_all(Number(), Problem("t", "q", "8"), [withheld, thought])[0]
        assert (verdict.outcome, verdict.cause, verdict.reward) == (UNJUDGED, Cause.WITHHELD, None)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("```python\nx = 1\n```\n", [("python", "x = 1\n")]),
        ("~~~py\nx\n~~~", [("py", "x\n")]),
        ("````\n```\nx\n```\n````", [("", "```\nx\n```\n")]),
        ("```\nx\n````", [("", "x\n")]),
        ("~~~\n```\n~~~", [("", "```\n")]),
        ("``` a`b\nx", []),
        ("    ```\nx", []),
        ("  ```\n  x\n   y\n z\n  ```", [("", "x\n y\nz\n")]),
        ("```py\nx", [("py", "x")]),
        ("```\nx\n    ```\ny\n```", [("", "x\n    ```\ny\n")]),
        ('```python\ndef f():\n    """\n    ```\n    >>> f()\n    ```\n    """\n```', None),
        ("1. First:\n\n   ```python\n   x = 1\n   ```\n2. Next", [("python", "x = 1\n")]),
        ("- ```\n  x\n  ```", [("", "x\n")]),
        ("- a\n    - b\n      ~~~\n      x\n      ~~~", [("", "x\n")]),
        ("- ```\n  x\ny", [("", "x\n")]),
        ("> ```\n> x\n> ```\ny", [("", "x\n")]),
        ("10) ```\n    x\n\n    y\n    ```", [("", "x\n\ny\n")]),
        ("```a\n1\n```\ntext\n```b c\n2\n```", [("a", "1\n"), ("b c", "2\n")]),
        ("x ``` y", []),
        ("```\r\nx\r\n```\r\n", [("", "x\r\n")]),
    ],
)
def test_fences_by_the_rule_of_commonmark(text: str, found: list[tuple[str, str]] | None) -> None:
    if found is None:
        (block,) = blocks(text)
        assert block.text == text.removeprefix("```python\n").removesuffix("```")
    else:
        assert [(block.info, block.text) for block in blocks(text)] == found


def test_fences_agree_with_a_parser_of_commonmark() -> None:
    """But for lazy continuation lines, which are not followed: at most one of 200 texts."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark")
    heads = ["", "", "  ", "   ", "- ", "1. ", "> "]
    bodies = ["```", "````", "~~~", "```py", "x", "a`b", "    y"]
    generator = rng.stream("test/fences")

    def line() -> str:
        return "".join(generator.choice(part) for part in (heads, heads, bodies)) if generator.random() < 0.8 else ""

    def lines(text: str) -> list[str]:
        return [line.rstrip() for line in text.rstrip().split("\n")]

    differ = 0
    for _ in range(2000):
        text = "\n".join(line() for _ in range(generator.integers(1, 10)))
        right = [(t.info.strip(), lines(t.content)) for t in parser.parse(text) if t.type == "fence"]
        differ += [(block.info, lines(block.text)) for block in blocks(text)] != right
    assert differ <= 10


@given(st.text(alphabet="`~>- \n1.x", max_size=200))
def test_every_text_has_its_blocks(text: str) -> None:
    assert sum(len(block.text) for block in blocks(text)) <= len(text.expandtabs(4))


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("**73**", "73"),
        ("__73__", "73"),
        ("***C***", "C"),
        ("*x*", "x"),
        (" **73** ", "73"),
        ("2**3 + 3**2", "2**3 + 3**2"),
        ("**a** and **b**", "**a** and **b**"),
        ("2*3*4", "2*3*4"),
        ("** 73 **", "** 73 **"),
        ("____", "____"),
        ("", ""),
    ],
)
def test_emphasis_around_an_answer(text: str, bare: str) -> None:
    assert without_emphasis(text) == bare


def test_no_text_takes_long() -> None:
    import time

    size = 50_000
    functions: list[Callable[[str], object]] = [blocks, split_thought, without_emphasis]
    for text in ("```" * size, "- " * size + "\n" * size, "> " * size, "<think>" * size, "**" * size, "\n- x" * size):
        for function in functions:
            start = time.process_time()
            function(text)
            assert time.process_time() - start < 2, (function, text[:9])


def test_a_cause_belongs_to_what_is_unjudged() -> None:
    assert Verdict(UNJUDGED, "v@1").cause is Cause.OURS
    assert Verdict(WRONG, "v@1", cause=Cause.MODEL).cause is None
    rewards = [Verdict(UNJUDGED, "v@1", cause=cause).reward for cause in Cause]
    assert rewards == [None, 0.0, None]
    assert [Verdict(outcome, "v@1").reward for outcome in (CORRECT, WRONG)] == [1.0, 0.0]


def test_the_cause_is_stored_counted_and_strict(tmp_path: Any) -> None:
    verdicts = [
        Verdict(CORRECT, "v@1"),
        *[Verdict(UNJUDGED, "v@1", cause=cause) for cause in (Cause.MODEL, Cause.MODEL, Cause.OURS)],
    ]
    samples = [
        Sample("p", "policy", "params", 0, i, Completion("x", thought="hm" if i else None), verdict)
        for i, verdict in enumerate(verdicts)
    ]
    store = Store(tmp_path)
    store.append(samples)
    store.append_verdicts([(sample, Verdict(UNJUDGED, "w@1", cause=Cause.MODEL)) for sample in samples])
    assert store.samples(policy="policy") == samples
    found = store.counts("policy", verifier="v@1")
    for counts in (found, count([samples])):
        assert [column.tolist() for column in counts.columns] == [[4], [1], [3], [0], [0], [2]]
    assert store.counts("policy", verifier="w@1").unanswered.tolist() == [4]
    assert found.judged.tolist() == [3]
    many = Counts.of([8] * 40, [1] * 40, unjudged=[7] * 40, unanswered=[7] * 40)
    assert passk.mean_value(many, passk.choose_ks([1], 8))[0] == pytest.approx(1 / 8)
    band = passk.curve(many, [1])
    assert band.low[0] < 1 / 8
    assert band.high[0] == 1


def test_counts_files_keep_the_unanswered(tmp_path: Any) -> None:
    from goldpanner import interop

    counts = Counts.of([4, 4], [1, 0], ["a", "b"], unjudged=[2, 0], unanswered=[1, 0])
    file = tmp_path / "counts.jsonl"
    interop.write_counts(counts, file)
    back = interop.read(file).counts()
    assert [column.tolist() for column in back.columns] == [column.tolist() for column in counts.columns]
    file.write_text('{"id": "a", "n": 4, "c": 1, "unjudged": 1, "unanswered": 2}\n')
    with pytest.raises(InputError, match="unanswered = 2 is more than unjudged = 1"):
        interop.read(file).counts()
    with pytest.raises(InputError, match="unanswered of problem 'a' is 2, more than its unjudged = 1"):
        Counts.of([4], [1], ["a"], unjudged=[1], unanswered=[2])


def test_a_local_model_whose_prompt_begins_a_thought() -> None:
    torch = pytest.importorskip("torch")
    from transformers import LlamaConfig, LlamaForCausalLM

    from goldpanner.policies.base import Request
    from goldpanner.policies.local import LocalPolicy
    from goldpanner.train.model import build_tokenizer

    words = build_tokenizer(["<think>", "</think>", "a", "b"])
    shape = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=32, pad_token_id=0, bos_token_id=None, eos_token_id=1,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.random.default_generator.manual_seed(0)
        policy = LocalPolicy(LlamaForCausalLM(shape), words)
    problem = Problem("t", "a b", "c")
    for template, begun in (("{prompt} <think>", True), ("{prompt}", False)):
        params = SamplingParams(template=template, max_tokens=8)
        (drawn,) = policy.sample([Request(problem, range(64), 0)], params)
        assert all((completion.thought is not None) is begun for completion in drawn)
        if begun:
            assert any(c.text for c in drawn), "some end their thought and say something"
            assert all(bool(c.text) <= (c.thought or "").endswith("</think>") for c in drawn)
