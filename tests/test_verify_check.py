"""`verify-check`: a verifier that passes everything, one that fails everything, and ours."""

import json
from pathlib import Path

import pytest
from scipy.stats import beta

from goldpanner.errors import InputError
from goldpanner.measure.corrections import VerifierErrors
from goldpanner.store import Store
from goldpanner.store.schema import CheckRecord
from goldpanner.tasks import World
from goldpanner.types import Completion, Outcome, Problem, Verdict
from goldpanner.verify import Code, Exact, Limits, Math, Number
from goldpanner.verify.cases import Case, cases, read_cases
from goldpanner.verify.check import Check, check_verifier
from goldpanner.verify.forms import DECLARED, EXPLOITS, PROGRAM_EXPLOITS, PROGRAMS

PROBLEMS = [Problem("sums", f"{n} + 1 =", str(n + 1)) for n in (3, 17, 1012, 41, 58, 9)]
FORMULAS = [Problem("formulas", "q", answer) for answer in ("\\frac{14}{3}", "11\\sqrt2", "x^2-1", "(3,4]", "p - q")]


class Says:
    """A verifier that always says the same."""

    def __init__(self, outcome: Outcome) -> None:
        self.id, self.outcome = f"says-{outcome}@1", outcome

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        return Verdict(self.outcome, self.id)


def exact(x: int, n: int) -> tuple[float, float]:
    """Clopper & Pearson's interval, from the quantiles of the beta distribution."""
    low = float(beta.ppf(0.025, x, n - x + 1)) if x else 0.0
    return low, float(beta.ppf(0.975, x + 1, n - x)) if x < n else 1.0


def test_every_form_declares_what_it_says() -> None:
    listed = list(cases(PROBLEMS))
    assert len({(case.problem.id, case.form, case.right) for case in listed}) == len(listed)
    for case in listed:
        if case.right and case.form in {name for name, _ in DECLARED}:
            assert case.problem.answer in case.text
    assert {name for name, _ in (*DECLARED, *EXPLOITS)} <= {case.form for case in listed}


def test_one_that_passes_everything_has_only_false_positives() -> None:
    found = check_verifier(Says(Outcome.CORRECT), cases(PROBLEMS))
    assert (found.false_positive().value, found.false_negative().value) == (1.0, 0.0)
    assert all(not tally.right for tally in found.failing())
    wrong = sum(tally.n for tally in found.tallies if not tally.right)
    assert (found.false_positive().low, found.false_positive().high) == pytest.approx(exact(wrong, wrong))


def test_one_that_fails_everything_has_only_false_negatives() -> None:
    found = check_verifier(Says(Outcome.WRONG), cases(PROBLEMS))
    assert (found.false_positive().value, found.false_negative().value) == (0.0, 1.0)


def test_one_that_judges_nothing_makes_no_error_and_says_so() -> None:
    found = check_verifier(Says(Outcome.UNJUDGED), cases(PROBLEMS))
    assert found.unread().value == 1.0
    assert found.false_positive().value == 0.0
    assert found.false_negative().value != found.false_negative().value  # nothing was judged: undefined


def test_numbers_and_formulas_are_not_fooled() -> None:
    found = check_verifier(Number(), cases(PROBLEMS))
    assert not found.failing(), found.examples
    assert found.unread().value == 0.0
    found = check_verifier(Math(), cases(PROBLEMS[:3]))
    assert not found.failing(), found.examples
    assert found.unread().value == 0.0
    found = check_verifier(Math(), cases(FORMULAS))
    assert not found.failing(), found.examples


def test_it_finds_what_a_lenient_verifier_pays_for() -> None:
    lenient = check_verifier(Number(flexible=True), cases(PROBLEMS))
    assert [tally.form for tally in lenient.failing()] == ["hidden in prose, last"]
    assert lenient.examples[0]["said"] == "correct"
    pattern = check_verifier(Exact(pattern=r"(-?\d[\d,]*)"), cases(PROBLEMS))  # the last number, wherever it stands
    assert {"negated", "denied", "repeated"} <= {tally.form for tally in pattern.failing()}
    assert pattern.false_positive().low > 0.1


def test_worked_answers_of_the_lab() -> None:
    world = World()
    from goldpanner.rng import stream

    problems = world.problems("world/d2", 12, stream("test"))
    for verifier in world.verifiers():
        found = check_verifier(verifier, cases(problems, worked=world.worked_answer))
        assert found.false_negative().value == 0.0
        assert not [tally for tally in found.failing() if tally.form not in ("of another problem",)], found.examples


ASSERTED = [
    ("add", "def add(a, b): return a + b", ["assert add(1, 2) == 3", "assert abs(add(1.5, b=2) - 3.5) < 1e-9"]),
    ("sub", "def sub(a, b):\n    return a - b", ["assert sub(1, 2) == -1"]),
    ("sum", "def sum(a, b):\n    return a + b", ["assert sum(1, 2) == 3"]),
    ("join", "import re\n\ndef join(a):\n    return ''.join(a)", [{"call": "join", "args": [["a"]], "returns": "a"}]),
    ("script", "print(int(input()) + 1)", [{"stdin": "3\n", "stdout": "4\n"}]),
]
CODED = [Problem("programs", name, program, {"tests": tests}) for name, program, tests in ASSERTED]
HUMAN = Problem(
    "programs",
    "q",
    "    return xs[-1]\n",
    {
        "prefix": 'from typing import List\n\n\ndef last(xs: List[int]) -> int:\n    """The last."""\n',
        "tests": ["METADATA = {}\ndef check(candidate):\n    assert candidate([1, 2]) == 2\ncheck(last)"],
    },
)


def worked(problem: Problem) -> str:
    return f"```python\n{problem.meta.get('prefix', '')}{problem.answer}\n```"


def test_programs_are_judged_right_and_no_exploit_is_paid() -> None:
    try:
        verifier = Code(Limits(seconds=2, memory_mb=256), workers=2)
    except InputError:
        pytest.skip("no sandbox works here")
    found = check_verifier(verifier, cases([*CODED, HUMAN], worked))
    assert not found.failing(), found.examples
    assert found.unread().value == 0.0
    # the one exit that a program has: a value that does not cross
    unjudged = {tally.form for tally in found.tallies if tally.unjudged}
    assert unjudged == {"nothing", "empty program", "right, but as text", "equal to all"}


def test_programs_have_forms_of_their_own() -> None:
    listed = list(cases([*CODED, HUMAN], worked))
    forms = {(case.form, case.right) for case in listed}
    assert forms == {(name, True) for name, _ in PROGRAMS} | {(name, False) for name, _ in PROGRAM_EXPLOITS}
    assert not [case for case in listed if "{" in case.text and "{f}" in case.text], "every name is filled in"
    script = [case.form for case in listed if case.problem.prompt == "script"]
    assert "leaves hard" in script
    assert "stub" not in script, "a script has no function"
    # what passes everything is told which forms it pays for
    assert {tally.form for tally in check_verifier(Says(Outcome.CORRECT), listed).failing()} == {
        name for name, _ in PROGRAM_EXPLOITS
    }


def test_the_record_is_ready_for_the_store_and_the_instrument(tmp_path: Path) -> None:
    found = check_verifier(Number(), cases(PROBLEMS))
    record = found.record()
    name = f"sums {found.verifier}"
    Store(tmp_path).put(CheckRecord.model_validate({"id": name, **record}))
    kept = Store(tmp_path).get(CheckRecord, name)
    assert json.loads(kept.model_dump_json()) == json.loads(
        json.dumps({"id": name, "version": 1, "skipped": None, **record})
    )
    errors = VerifierErrors(**kept.errors.model_dump())
    assert errors.wrong == sum(tally.n for tally in found.tallies if not tally.right)
    assert kept.false_positive.high == pytest.approx(exact(0, errors.wrong)[1])


def test_a_corpus_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "cases.jsonl"
    rows = [
        {"answer": "4", "text": "quatre", "right": True},
        {"answer": "4", "text": "\\boxed{4}", "right": True, "form": "box"},
    ]
    file.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    found = check_verifier(Number(), read_cases(file))
    assert [(tally.form, tally.correct, tally.unjudged) for tally in found.tallies] == [("given", 0, 1), ("box", 1, 0)]
    for line in ("{", "[]", '{"answer": "4"}', '{"answer": "4", "text": "4", "right": 1}'):
        file.write_text(line)
        with pytest.raises(InputError, match="row 1: no case"):
            read_cases(file)


def test_what_cannot_be_checked() -> None:
    with pytest.raises(InputError, match="there is no case"):
        check_verifier(Number(), [])
    with pytest.raises(InputError, match="2 different answers"):
        list(cases(PROBLEMS[:2]))
    only_right = Check("v@1", ("t",), (), ())
    assert only_right.false_positive().value != only_right.false_positive().value
    assert check_verifier(Number(), [Case(PROBLEMS[0], "f", "4", True)]).false_positive().method == "clopper-pearson"
