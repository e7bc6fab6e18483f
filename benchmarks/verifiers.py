"""Verifiers of mathematical answers side by side: false positives, false negatives, unread, verdicts a second.

    python benchmarks/verifiers.py [--corpus tests/data/answers.jsonl] [--rounds 1]

The corpus has right and wrong answers by type, half of them held out; `source` names the public discussion that a kind
of pair is taken from (`own`: none), the pairs are ours. Ours is beside math-verify, beside lm-evaluation-harness's
`hendrycks_math` and beside verl's `math` reward, where these are installed; each is called as its own tool calls it,
the answer in a box. Of a checker that knows no third state what raises is unread.
"""

import argparse
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from goldpanner.types import Completion, Outcome, Problem
from goldpanner.verify import Math, Number

Row = dict[str, str | bool]
Judge = Callable[[Sequence[Row]], list[bool | None]]
"""Takes rows, returns for each whether the answer is right; None: not read."""


def ours(verifier: Number | Math) -> Judge:
    def judge(rows: Sequence[Row]) -> list[bool | None]:
        pairs = [(Problem("corpus", "q", str(row["answer"])), Completion(str(row["text"]))) for row in rows]
        outcomes = [verdict.outcome for verdict in verifier.judge_many(pairs)]
        return [None if outcome is Outcome.UNJUDGED else outcome is Outcome.CORRECT for outcome in outcomes]

    return judge


def one_by_one(check: Callable[[str, str], bool | None]) -> Judge:
    def judge(rows: Sequence[Row]) -> list[bool | None]:
        results: list[bool | None] = []
        for row in rows:
            try:
                results.append(check(str(row["answer"]), str(row["text"])))
            except Exception:  # whatever a checker raises, it has not read the answer
                results.append(None)
        return results

    return judge


def judges() -> Iterator[tuple[str, Judge]]:
    """Yield the name and the judge of each checker that is installed."""
    yield "goldpanner Number", ours(Number())
    yield "goldpanner Math", ours(Math())
    try:
        from math_verify import parse, verify

        logging.disable(logging.CRITICAL)

        def by_math_verify(answer: str, text: str) -> bool | None:
            gold, said = (parse(each, parsing_timeout=None) for each in (f"${answer}$", text))
            return bool(verify(gold, said, timeout_seconds=None)) if gold and said else None

        yield "math-verify", one_by_one(by_math_verify)
    except ImportError:
        print("math-verify is not installed")
    try:
        from lm_eval.tasks.hendrycks_math.utils import is_equiv, last_boxed_only_string, remove_boxed

        yield (
            "lm-eval hendrycks_math",
            one_by_one(lambda answer, text: bool(is_equiv(remove_boxed(last_boxed_only_string(text)), answer))),
        )
    except ImportError:
        print("lm-eval's hendrycks_math is not installed")
    try:
        from verl.utils.reward_score.math_reward import compute_score

        yield "verl math", one_by_one(lambda answer, text: compute_score(text, answer) == 1)
    except ImportError:
        print("verl is not installed")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--corpus", type=Path, default=Path(__file__).parent.parent / "tests" / "data" / "answers.jsonl"
    )
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--examples", type=int, default=0)
    chosen = options.parse_args()
    rows: list[Row] = [json.loads(line) for line in chosen.corpus.read_text().splitlines()]
    for part in ("build", "held-out"):
        some = [row for row in rows if row["part"] == part]
        right = sum(bool(row["right"]) for row in some)
        print(f"\n{part}: {right} right answers, {len(some) - right} wrong ones")
        print(f"{'':<26}{'false positives':>16}{'false negatives':>16}{'unread':>8}{'a second':>10}")
        for name, judge in judges():
            judge(some[:4])
            began = time.perf_counter()
            for _ in range(chosen.rounds):
                results = judge(some)
            rate = chosen.rounds * len(some) / (time.perf_counter() - began)
            paid = [row for row, said in zip(some, results) if said and not row["right"]]
            failed = [row for row, said in zip(some, results) if said is False and row["right"]]
            unread = sum(said is None and bool(row["right"]) for row, said in zip(some, results))
            print(f"{name:<26}{len(paid):>16}{len(failed):>16}{unread:>8}{rate:>10,.0f}")
            worst = Counter(str(row["form"]) for row in (*paid, *failed)).most_common(4)
            print(
                f"{'':<26}{', '.join(f'{form} {times}' for form, times in worst)}" if worst else "",
                end="\n" * bool(worst),
            )
            for row in [*paid, *failed][: chosen.examples]:
                print(f"    {'right' if row['right'] else 'wrong'}: {row['answer']!r} / {row['text']!r}")


if __name__ == "__main__":
    main()
