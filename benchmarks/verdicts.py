"""Verdicts a second: numbers, formulas, integrals by math-verify's workers, math-verify alone, programs in a sandbox.

    python benchmarks/verdicts.py [--answers 20000] [--formulas 1000] [--programs 40] [--workers 1] [--data FOLDER]

With --data (a folder with gsm8k_test.jsonl and math500_test.jsonl) the answers are GSM8K's worked solutions, right and
wrong, in six forms; without it they are made to look like them.
"""

import argparse
import json
import logging
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.rng import stream
from goldpanner.types import Completion, Problem, Verdict
from goldpanner.verify import Code, Limits, Math, Number
from goldpanner.verify.references import right_answer
from goldpanner.verify.rewritings import near_misses, spellings

Pair = tuple[Problem, Completion]
FORMS = (
    "{w}\n#### {a}",
    "{w} The answer is {a}.",
    "{w} So she makes \\boxed{{{a}}}.",
    "{w}\n**Answer:** ${a}",
    "{w} The answer is {a} dollars.",
    "{w} That is all there is to say.",  # declares nothing
)


def worked(data: Path | None) -> list[tuple[str, str]]:
    """Return (worked text, final answer) of word problems."""
    if data is None:
        numbers = stream("benchmark/verdicts").integers(1, 5000, (1319, 3)).tolist()
        text = "She sells {0} eggs at ${1} each, so she makes {0} * {1} = <<{0}*{1}>> dollars a day. " * 3
        return [(text.format(a, b), f"{a * b + c:,}") for a, b, c in numbers]
    rows = [json.loads(line) for line in (data / "gsm8k_test.jsonl").read_text().splitlines()]
    return [tuple(row["answer"].split("\n#### ")) for row in rows]


def word_problems(count: int, data: Path | None) -> list[Pair]:
    """Return `count` completions, half of them right."""
    rows = worked(data)
    pairs = []
    for i in range(count):
        text, answer = rows[i % len(rows)]
        said = answer if i % 2 else rows[(i * 7 + 1) % len(rows)][1]
        pairs.append((Problem("gsm8k", "q", answer), Completion(FORMS[i % len(FORMS)].format(w=text, a=said))))
    return pairs


def formulas(count: int, data: Path | None) -> list[Pair]:
    """Return `count` spellings of right answers that are no rational numbers, half of them of near misses."""
    if data is not None:
        golds = [json.loads(line)["answer"] for line in (data / "math500_test.jsonl").read_text().splitlines()]
    else:
        golds = [f"\\frac{{{n}\\sqrt{{{n + 2}}}}}{{7}}" for n in range(3, 400)]
    hard = [a.text for a in map(right_answer, golds) if a is not None and a.type not in ("number", "option", "text")]
    right = [(gold, text) for gold in hard for _, text in spellings(gold)]
    wrong = [(gold, text) for gold in hard for _, near in near_misses(gold) for _, text in spellings(near)]
    half = (count + 1) // 2
    mixed = [
        pair
        for both in zip(right[:: max(1, len(right) // half)], wrong[:: max(1, len(wrong) // half)])
        for pair in both
    ]
    return [(Problem("math", "q", gold), Completion(f"\\boxed{{{text}}}")) for gold, text in mixed[:count]]


def algebra(count: int) -> list[Pair]:
    """Return `count` integrals and sums, half of them right: what is left to math-verify's workers."""
    pairs = []
    for i in range(count):
        gold = f"\\frac{{{(i % 9 + 1) ** 2}}}{{2}}"
        text = f"\\int_0^{{{i % 9 + 1 + i % 2}}} {'xtuv'[i // 9 % 4]} \\, d{'xtuv'[i // 9 % 4]}"
        pairs.append((Problem("math", "q", gold), Completion(f"\\boxed{{{text}}}")))
    return pairs


def bare(pairs: Sequence[Pair]) -> list[bool]:
    """Judge with math-verify alone, as most scripts do: in this process, its own time-out off."""
    from math_verify import parse, verify

    logging.disable(logging.CRITICAL)
    return [
        bool(
            verify(
                parse(f"${problem.answer}$", parsing_timeout=None),
                parse(completion.text, parsing_timeout=None),
                timeout_seconds=None,
            )
        )
        for problem, completion in pairs
    ]


def rate(name: str, seconds: float, verdicts: Sequence[Verdict] | Sequence[bool], base: float | None = None) -> float:
    outcomes = Counter(v.outcome.value if isinstance(v, Verdict) else str(v) for v in verdicts)
    each = len(verdicts) / seconds
    ratio = "" if base is None else f"  {each / base:6.1f} x math-verify alone"
    print(f"{name:<42} {each:9,.0f} /s{ratio}   {dict(outcomes)}")
    return each


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--answers", type=int, default=20_000)
    options.add_argument("--formulas", type=int, default=1_000)
    options.add_argument("--programs", type=int, default=40)
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--data", type=Path)
    asked = options.parse_args()
    numbers, hard = word_problems(asked.answers, asked.data), formulas(asked.formulas, asked.data)
    maths = Math(workers=asked.workers)
    maths(*algebra(1)[0])  # the workers are up
    bare(hard[:1])

    def timed(name: str, judge: object, pairs: Sequence[Pair], base: float | None = None) -> float:
        start = time.perf_counter()
        verdicts = judge(pairs)  # type: ignore[operator]
        return rate(name, time.perf_counter() - start, verdicts, base)

    few = numbers[:2000]
    alone = timed("word problems, math-verify alone", bare, few)
    timed("word problems, Number", Number().judge_many, numbers, alone)
    timed("word problems, Math", maths.judge_many, numbers, alone)
    alone = timed("formulas, math-verify alone", bare, hard)
    timed("formulas, Math", maths.judge_many, hard, alone)
    integrals = algebra(min(72, asked.formulas))
    alone = timed("integrals, math-verify alone", bare, integrals)
    timed(f"integrals, Math with {asked.workers} worker(s)", maths.judge_many, integrals, alone)
    mixed = numbers[: 19 * len(hard)] + hard
    timed("mixed (formulas the rest), Math", maths.judge_many, mixed)
    try:
        code = Code(limits=Limits(seconds=2), workers=asked.workers)
    except InputError as error:
        print(error)
        return
    problem = Problem("t", "q", "a", {"tests": [{"call": "f", "args": [i], "returns": i + 1} for i in range(5)]})
    programs = [(problem, Completion(f"def f(x):\n    return x + {i % 2}")) for i in range(asked.programs)]
    timed(f"programs of five calls, {code.id}", code.judge_many, programs)


if __name__ == "__main__":
    main()
