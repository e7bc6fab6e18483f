"""Right answers have types, are counted, and are found sound before anything is drawn; spellings and near misses."""

import json
from pathlib import Path

import pytest

from goldpanner.errors import InputError
from goldpanner.rng import stream
from goldpanner.tasks.catalog import task
from goldpanner.types import Completion, Outcome, Problem
from goldpanner.verify import Countdown, Exact, Math, Number
from goldpanner.verify.references import count_types, right_answer, unsound
from goldpanner.verify.rewritings import near_misses, rehearsal_pairs, spellings

DATA = Path(__file__).parents[2] / "shared" / "data"

TYPES = {
    "number": [
        "18",
        "-3.5",
        r"\frac{1}{2}",
        "$1,234.50",
        "52_8",
        r"15\text{ cm}^2",
        "6.63e-34",
        "50\\%",
        "3:2",
        r"x = 5",
    ],
    "formula": [r"11\sqrt2", "x^2-1", r"2\pi \text{ cm}", "6-5i", "2k+1", r"f(x) = 2x", "p - q"],
    "option": ["C", "(C)", r"\text{(C)}", r"\textbf{B}", "A, C"],
    "text": [r"\text{Evelyn}", "Yes", "no solution", "the red house"],
    "date or time": ["June 20", r"10:45 \text{ a.m.}", "12:30", "4 July 1776"],
    "interval": ["(3,4]", r"(-\infty, 2) \cup (3, \infty)", r"x \ge 0", r"\mathbb{R}", r"x \in [-2,7]"],
    "list": ["1,-2", r"1 \pm \sqrt{19}", r"x=1 \text{ or } x=2"],
    "set": [r"\{1\pm\sqrt{5},-2\}", r"\emptyset"],
    "tuple": ["(2,4)", r"\left( 3, \frac{\pi}{2} \right)"],
    "matrix": [r"\begin{pmatrix} -1 & 0 \\ 0 & -1 \end{pmatrix}", "[[1,2],[3,4]]"],
    "equation": ["y = 2x+3", "x^2 + y^2 = 4"],
}


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in TYPES.items() for text in texts])
def test_every_right_answer_has_a_type_and_equals_itself(kind: str, text: str) -> None:
    found = right_answer(text)
    assert found is not None
    assert found.type == kind
    assert unsound([Problem("t", "q", text)], Number()) == []


def test_types_are_counted_aloud() -> None:
    answers = ["1", "2", "C", "x^2", "We add.\n#### 1,234", "It is $\\boxed{7}$.", "1 2 !"]
    assert count_types(answers) == "4 numbers, 1 option, 1 formula, 1 unread; 2 taken from worked solutions"
    assert [right_answer(text).text for text in answers[4:6]] == ["1,234", "7"]  # type: ignore[union-attr]


def test_each_row_is_judged_by_its_own_type() -> None:
    said = {"18": "36/2", "C": "(c)", r"\text{June 20}": "20 June", "(3,4]": "3 < x <= 4", "1,-2": "-2 and 1"}
    for right, text in said.items():
        for other in said:
            verdict = Number()(Problem("t", "q", other), Completion(f"\\boxed{{{text}}}"))
            assert verdict.correct is (right == other), (other, text, verdict)


def write(path: Path, answers: list[object]) -> str:
    rows = [{"question": f"{i}?", "answer": answer} for i, answer in enumerate(answers)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_right_answer_that_cannot_be_judged_stops_with_its_row(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.jsonl", ["1", "2", "3 4", "x^2", "5 6"])
    broken = task(file)
    with pytest.raises(
        InputError, match=r"mine.jsonl, row 3: math.* cannot judge the right answer '3 4' .* and 1 more"
    ):
        broken.problems()
    assert len(broken.problems(2)) == 2, "what is not asked for is not looked at"
    with pytest.raises(InputError, match="row 3"):
        broken.check()
    kept = task(file, set_aside=True)
    assert [problem.answer for problem in kept.problems()] == ["1", "2", "x^2"]
    assert len(kept.draw(3, stream("test"))) == 3
    with pytest.raises(InputError, match="row 1"):
        task(write(tmp_path / "all.jsonl", ["3 4"]), verifier="number", set_aside=True).problems()


def test_a_missing_answer_is_named_and_changes_nothing_else(tmp_path: Path) -> None:
    for missing in (float("nan"), None, float("inf"), ""):
        mine = task(write(tmp_path / "mine.jsonl", [7, missing, 8]))
        assert mine.verifiers()[0].id.startswith("number")
        with pytest.raises(InputError, match="row 2: column 'answer' holds"):
            mine.problems()


def test_only_verifiers_of_answers_are_asked() -> None:
    assert unsound([Problem("t", "q", "1 2 !")], Countdown()) == []
    assert unsound([Problem("t", "q", "1 2 !")], Exact()) == []
    assert unsound([Problem("t", "q", "1 2 !")], Exact(pattern="x")) == []
    (found,) = unsound([Problem("t", "q", "1"), Problem("t", "q", "1 2 !")], Number())
    assert (found.place, found.problem.answer) == (1, "1 2 !")


@pytest.mark.parametrize("text", [text for texts in TYPES.values() for text in texts])
def test_twenty_spellings_are_right_and_near_misses_in_them_are_not(text: str) -> None:
    assert len(list(spellings(text))) >= 20
    problem = Problem("t", "q", text)
    for name, spelled, right in rehearsal_pairs(text, ["Navin", "blue"]):
        verdict = Number()(problem, Completion(f"\\boxed{{{spelled}}}"))
        assert verdict.outcome is not (Outcome.WRONG if right else Outcome.CORRECT), (name, spelled, verdict)
    assert list(near_misses(text, ["Navin", "blue"]))


@pytest.mark.skipif(not DATA.is_dir(), reason="the data files are not here")
def test_spellings_and_near_misses_of_real_right_answers() -> None:
    """A sample; benchmarks/spellings.py puts all of them."""
    for name, verifier in (("math500_test", Math()), ("gsm8k_test", Number())):
        rows = [json.loads(line) for line in (DATA / f"{name}.jsonl").read_text().splitlines()]
        answers = [right_answer(row["answer"]) for row in rows]
        assert all(answers)
        pairs = [(a.text, *pair) for a in answers[::25] if a for pair in rehearsal_pairs(a.text, ["blue"])]
        verdicts = verifier.judge_many(
            [(Problem("t", "q", answer), Completion(f"\\boxed{{{text}}}")) for answer, _, text, _ in pairs]
        )
        for (answer, spelling, text, right), verdict in zip(pairs, verdicts):
            assert verdict.outcome is not (Outcome.WRONG if right else Outcome.CORRECT), (answer, spelling, text)
        unread = [v.outcome is Outcome.UNJUDGED for (*_, right), v in zip(pairs, verdicts) if right]
        assert sum(unread) <= len(unread) / 100
