"""Spellings of right answers and near misses in the same spellings, put to a verifier: how many are judged otherwise.

    python benchmarks/spellings.py --data FOLDER [--every 1]

FOLDER holds math500_test.jsonl (judged by Math) and gsm8k_test.jsonl (by Number). A spelling must not be WRONG, a near
miss not CORRECT; what is UNJUDGED is counted.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

from goldpanner.types import Completion, Problem
from goldpanner.verify import Math, Number
from goldpanner.verify.references import count_types, right_answer
from goldpanner.verify.rewritings import rehearsal_pairs


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--every", type=int, default=1, help="only every so many-th right answer")
    asked = options.parse_args()
    for name, verifier in (("math500_test", Math(seconds=5)), ("gsm8k_test", Number())):
        rows = [json.loads(line)["answer"] for line in (asked.data / f"{name}.jsonl").read_text().splitlines()]
        answers = [answer for answer in map(right_answer, rows) if answer is not None][:: asked.every]
        texts = [answer.text for answer in answers if answer.type == "text"]
        print(f"{name}: {count_types(rows)}")
        cases = [
            (answer.text, *pair)
            for answer in answers
            for pair in rehearsal_pairs(answer.text, [text for text in texts if text != answer.text])
        ]
        start = time.perf_counter()
        verdicts = verifier.judge_many(
            [(Problem("t", "q", answer), Completion(f"\\boxed{{{text}}}")) for answer, _, text, _ in cases]
        )
        pace = len(cases) / (time.perf_counter() - start)
        found = Counter((right, str(verdict.outcome)) for (*_, right), verdict in zip(cases, verdicts))
        for right, label, bad in ((True, "spellings", "wrong"), (False, "near misses", "correct")):
            n = sum(count for (side, _), count in found.items() if side is right)
            unread = found[(right, "unjudged")]
            print(f"  {label:<11} {n:>8,}: {found[(right, bad)]} {bad}, {unread} unjudged ({unread / n:.2%})")
        print(f"  {pace:,.0f} verdicts/s")
        for (answer, spelling, text, right), verdict in zip(cases, verdicts):
            if str(verdict.outcome) == ("wrong" if right else "correct"):
                print(f"  {verdict.outcome}: {answer!r}, {spelling}: {text!r}")


if __name__ == "__main__":
    main()
