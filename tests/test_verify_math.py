"""Mathematical answers: what is read, what is equal, what is not judged, and what hostile text cannot do."""

import json
import os
import pickle
import subprocess
import sys
import time
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldpanner.errors import InputError, MissingExtraError
from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict
from goldpanner.verify import Math, Number, Verifier, pool
from goldpanner.verify.answers import Value
from goldpanner.verify.declared import declared
from goldpanner.verify.evaluate import exact_value
from goldpanner.verify.reading import read_answer

DATA = Path(__file__).parents[2] / "shared" / "data"
NUMBER, MATH = Number(), Math(seconds=5)
CORRECT, WRONG, UNJUDGED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED


def judge(verifier: Verifier, answer: str, text: str, **completion: Any) -> Verdict:
    return verifier(Problem("t", "q", answer), Completion(text, **completion))


def rational(text: str) -> Fraction | None:
    found = read_answer(text)
    return exact_value(found.node) if isinstance(found, Value) else None


def outcome(answer: str, text: str, verifier: Verifier = NUMBER) -> Outcome:
    return judge(verifier, answer, text).outcome


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", 18),
        ("-18", -18),
        ("\u221218", -18),
        ("+18", 18),
        ("18.", 18),
        ("18.50", Fraction(37, 2)),
        (".5", Fraction(1, 2)),
        ("1,234", 1234),
        ("1,234,567.5", Fraction(2469135, 2)),
        ("10,\\!080", 10080),
        ("10{,}080", 10080),
        ("3/4", Fraction(3, 4)),
        ("-3/4", Fraction(-3, 4)),
        ("\\frac{3}{4}", Fraction(3, 4)),
        ("\\dfrac34", Fraction(3, 4)),
        ("-\\frac{35}{9}", Fraction(-35, 9)),
        ("\\frac9{19}", Fraction(9, 19)),
        ("1 1/2", Fraction(3, 2)),
        ("1\\frac{4}{5}", Fraction(9, 5)),
        ("$18$", 18),
        ("\\(18\\)", 18),
        ("$18", 18),
        ("\\$18.90", Fraction(189, 10)),
        ("-$5", -5),
        ("18%", 18),
        ("18\\%", 18),
        ("90^\\circ", 90),
        ("15\\text{ cm}^2", 15),
        ("864 \\mbox{ inches}^2", 864),
        ("18 dollars", 18),
        ("18 dollars per day", 18),
        ("18 km/h", 18),
        ("\\text{18}", 18),
        ("\uff11\uff18", 18),
        ("018", 18),
        ("18²", 324),
        ("18½", Fraction(37, 2)),
        ("½", Fraction(1, 2)),
        ("18 thousand", 18000),
        ("1.45 million dollars", 1_450_000),
        ("2 dozen eggs", 24),
        ("1e9", 10**9),
        ("1.5E-3", Fraction(3, 2000)),
        ("6.02 \\times 10^{23}", 602 * 10**21),
        ("0.1\\overline{6}", Fraction(1, 6)),
        ("0.\\overline{142857}", Fraction(1, 7)),
        ("2^{-3}", Fraction(1, 8)),
        ("2**3 + 3**2", 17),
        ("52_8", 42),
        ("1 234 567", None),
        ("1\\,234\\,567", 1234567),
        ("3:2", Fraction(3, 2)),
        ("5!", 120),
        ("\\sqrt{49}", 7),
        ("\\binom{5}{2}", 10),
        ("x = 5", 5),
        ("11 + 7", 18),
        ("8^{2/3}", 4),
    ],
)
def test_numbers_are_read_exactly(text: str, value: Fraction) -> None:
    assert rational(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *[
            "",
            "x",
            "18x",
            "5r^5",
            "6 xy",
            "18 or 19",
            "18, 19",
            "1,2",
            "12,34",
            "18 19",
            "18 is wrong",
            "not 18",
            "2 3",
        ],
        *[
            "18\u200b",
            "1/0",
            "3 4/3",
            "\u0663",
            "18 e5",
            "2\\sqrt{2}",
            "9" * 2001,
            "nan",
            "inf",
            "0x12",
            "(1, 2)",
            "{18",
        ],
    ],
)
def test_what_is_no_rational_number(text: str) -> None:
    assert rational(text) is None


def test_letters_in_a_right_answer_may_be_variables() -> None:
    assert judge(MATH, "6xy", "\\boxed{6}").outcome is WRONG
    assert judge(MATH, "5 apples", "\\boxed{5}").outcome is CORRECT


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{18}", "18"),
        ("\\boxed{17} no, \\boxed{18}", "18"),
        ("\\fbox{18}", "18"),
        ("\\boxed{\\frac{1}{2}} is it", "\\frac{1}{2}"),
        ("steps\n#### 1,800\n", "1,800"),
        ("#### Step 1\nThe answer is 3.", "3"),
        ("The answer is 18.", "18"),
        ("The answer is 18. I hope so.", "18"),
        ("The final answer is $\\frac{1}{2}$. I hope it is correct.", "\\frac{1}{2}"),
        ("**Answer:** 18\n\nBye", "18"),
        ("Answer: $18 per day", "$18 per day"),
        ("The answer is $18$ dollars.", "$18$ dollars"),
        ("### Final Answer\n\n**18**", "18"),
        ("Final answer:\n\n18\n", "18"),
        ("**Answer: C**", "C"),
        ("The answer is therefore 18.", "18"),
        ("boxed{18}", "18"),
        ("\\boxed{1} and $\\boxed{2}$", "1, 2"),
        ("\\boxed{1}, \\boxed{2} \\text{ or } \\boxed{3}", "1, 2, 3"),
        ("\\boxed{18}, that is \\boxed{18}", "18"),
        ("\\boxed{18} and \\boxed{18}", "18"),
        ("\\boxed{17}. No, \\boxed{18}", "18"),
        ("\\boxed{17} \\boxed{18}", "17, 18"),
        ("\\boxed{17}\n\\boxed{18}", "18"),
        ("\\boxed{\\boxed{17} \\boxed{18}}", "{17} {18}"),
        ("The correct option is **(B)**.", "(B)"),
        ('{"answer": 18}', "18"),
        ("__18__", "18"),
        ("The answer to the question is: 3.5", "3.5"),
        ("the answer = 7", "7"),
        ("He does not eat, so the answer is 4", "4"),
        ("<answer> 18 </answer>", "18"),
        (" 18\n", "18"),
        ("The answer is 17 or 18.", "17 or 18"),
        ("The answer is $17$ or $18$.", "$17$ or $18$"),
    ],
)
def test_where_the_answer_is_declared(text: str, answer: str) -> None:
    assert declared(text).answer == answer


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no answer is declared"),
        ("It is 18\nor not.", "no answer is declared"),
        ("\\boxed{18", "not closed"),
        ("I do not think the answer is 18.", "denied"),
        ("It isn't true that the answer is 18", "denied"),
        ("It is not \\boxed{18}", "denied"),
    ],
)
def test_no_answer_is_unjudged_with_its_reason(text: str, reason: str) -> None:
    verdict = judge(NUMBER, "18", text)
    assert verdict.outcome is UNJUDGED
    assert reason in verdict.reason
    assert verdict.cause is Cause.MODEL
    assert judge(Number(missing="wrong"), "18", text).outcome is WRONG
    assert judge(Math(missing="wrong"), "18", text).outcome is WRONG


def test_the_last_number_counts_only_when_asked_for() -> None:
    text = "She has 3 ducks.\nSo she gets 18 of them"
    assert outcome("18", text) is UNJUDGED
    assert outcome("18", text, Number(flexible=True)) is CORRECT
    assert Number(flexible=True).id != NUMBER.id


@pytest.mark.parametrize(
    ("answer", "text", "expected"),
    [
        ("18", "18.0", CORRECT),
        ("18", "36/2", CORRECT),
        ("0.5", "\\frac12", CORRECT),
        ("1,800", "1800", CORRECT),
        ("12345678901", "12345678910.0", WRONG),
        ("18", "18.0000001", WRONG),
        ("18", "-18", WRONG),
        ("1/3", "2/3", WRONG),
        ("18", "1.8", WRONG),
        ("18", "$18 or $19", WRONG),
        ("18", "eighteen", CORRECT),
        ("205", "two hundred and five", CORRECT),
        ("18", "achtzehn", UNJUDGED),
        ("18", "", UNJUDGED),
        ("18", "18\\text{ dozen}", WRONG),
        ("18", "1 2", UNJUDGED),
        # a tolerance only where the expected number has a decimal point
        ("0.3333333", "\\frac13", CORRECT),
        ("3.14159265", "\\pi", CORRECT),
        ("3.14", "3.14159265", UNJUDGED),
        ("3.14", "3.15", WRONG),
        ("1/3", "0.333333", UNJUDGED),
        ("\\pi", "3.14", UNJUDGED),
        ("\\pi", "3.15", WRONG),
        ("6.63 \\times 10^{-34}", "6.63 \\times 10^{-33}", WRONG),
        # per cent
        ("50\\%", "0.5", CORRECT),
        ("50\\%", "50", CORRECT),
        ("18", "18\\%", CORRECT),
        ("0.5", "0.5\\%", UNJUDGED),
        ("0.5", "5\\%", WRONG),
        # units
        ("5\\text{ cm}", "5", CORRECT),
        ("5", "5 \\text{ cm}", CORRECT),
        ("5\\text{ cm}", "0.05\\text{ m}", CORRECT),
        ("5\\text{ cm}", "5\\text{ m}", WRONG),
        ("15\\text{ cm}^2", "15\\text{ cm}", UNJUDGED),
        ("15\\text{ cm}^2", "16\\text{ cm}", WRONG),
        ("$18", "18 dollars", CORRECT),
        ("$18", "1800 cents", CORRECT),
        ("5", "5 m", UNJUDGED),
        ("90^\\circ", "90\\text{ degrees}", CORRECT),
        # two readings
        ("3.5", "3,5", UNJUDGED),
        ("3,5", "3,5", CORRECT),
        ("1234", "1.234", UNJUDGED),
        ("1234567", "12,34,567", UNJUDGED),
        ("1000", "1_000", UNJUDGED),
        ("1234", "1 234", UNJUDGED),
        ("0.75", "0{,}75", CORRECT),
        # bases
        ("52_8", "52_{8}", CORRECT),
        ("52_8", "52_9", WRONG),
        ("52_8", "42", UNJUDGED),
        ("52_8", "52", UNJUDGED),
        ("52_8", "53", WRONG),
        ("42", "42_{10}", CORRECT),
    ],
)
def test_number_verdicts(answer: str, text: str, expected: Outcome) -> None:
    verdict = judge(NUMBER, answer, f"\\boxed{{{text}}}")
    assert verdict.outcome is expected, verdict
    assert bool(verdict.reason) is not verdict.correct
    assert (verdict.cause is None) is (expected is not UNJUDGED)


@pytest.mark.parametrize(
    ("answer", "text", "expected"),
    [
        ("x^2-1", "(x-1)(x+1)", CORRECT),
        ("x^2-1", "(x-1)(x+2)", WRONG),
        ("11\\sqrt2", "\\sqrt{242}", CORRECT),
        ("1,-2", "-2,1", CORRECT),
        ("1,-2", "1 \\text{ and } -2", CORRECT),
        ("1,-2", "x = 1 \\text{ or } x = -2", CORRECT),
        ("5", "x=5", CORRECT),
        ("x=5", "5", CORRECT),
        ("x=5", "y=5", UNJUDGED),
        ("\\frac{\\pi}{2}", "\\pi/2", CORRECT),
        ("(3,4]", "\\left( 3, 4 \\right]", CORRECT),
        ("(3,4]", "3 < x \\le 4", CORRECT),
        ("(-\\infty, 2) \\cup (3, \\infty)", "(3,\\infty) \\cup (-\\infty,2)", CORRECT),
        ("(0,9) \\cup (9,36)", "(0,36)", WRONG),
        ("\\text{Evelyn}", "Evelyn", CORRECT),
        ("\\text{(C)}", "C", CORRECT),
        ("p - q", "q - p", WRONG),
        ("2k+1", "2n+1", UNJUDGED),
        ("1,-2", "1,2", WRONG),
        ("18", "17,18", WRONG),
        ("(3,4]", "[3,4]", WRONG),
        ("(3,4)", "[3,4]", UNJUDGED),
        ("(3,4)", "(4,3)", WRONG),
        ("\\{1,2\\}", "2, 1", CORRECT),
        ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}, 1-\\sqrt{19}", CORRECT),
        ("1 \\pm \\sqrt{19}", "1+\\sqrt{19}", WRONG),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "\\begin{pmatrix} 2 \\\\ 1 \\end{pmatrix}", WRONG),
        ("\\begin{pmatrix} 1/5 \\\\ 2 \\end{pmatrix}", "\\frac15 \\begin{bmatrix}1\\\\10\\end{bmatrix}", CORRECT),
        ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "(1, 2)", UNJUDGED),
        ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "[[1,2],[3,4]]", CORRECT),
        ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "[[1,3],[2,4]]", WRONG),
        ("y = 2x+3", "2x - y + 3 = 0", CORRECT),
        ("y = 2x+3", "y = 3x+2", WRONG),
        ("x^2+y^2=4", "4 - x^2 = y^2", CORRECT),
        ("x^2+y^2=4", "x^2+y^2=5", WRONG),
        ("f(x) = 2x", "2x", CORRECT),
        ("\\text{Evelyn}", "Navin", WRONG),
        ("\\text{Evelyn}", "18", WRONG),
        ("\\text{June 20}", "20 June", CORRECT),
        ("\\text{June 20}", "June 21", WRONG),
        ("10:45 \\text{ a.m.}", "10:45 AM", CORRECT),
        ("10:45 \\text{ a.m.}", "10:45 PM", WRONG),
        ("10:45 \\text{ a.m.}", "10:45", UNJUDGED),
        ("3:2", "\\frac32", CORRECT),
        ("18", "\\neq 18", UNJUDGED),
        ("18", "17 = 18", UNJUDGED),
        ("\\text{(C)}", "D", WRONG),
        ("\\text{(C)}", "\\sqrt 2", UNJUDGED),
        ("\\text{Evelyn}", "Evelyn and Navin", UNJUDGED),
        ("18", "{18", UNJUDGED),
        ("18", "18)", UNJUDGED),
        ("x", "\\text{Evelyn}", UNJUDGED),
        ("18", "it may be that it is 18", UNJUDGED),
        ("\\frac{1}{2}", "\\int_0^1 x \\, dx", CORRECT),
        ("\\frac{1}{2}", "\\int_0^2 x \\, dx", WRONG),
        ("\\ln 2", "\\sum_{n=1}^{\\infty} \\frac{1}{n 2^n}", CORRECT),
    ],
)
def test_math_verdicts(answer: str, text: str, expected: Outcome) -> None:
    verdict = judge(MATH, answer, f"<answer>{text}</answer>")
    assert verdict.outcome is expected, verdict
    assert bool(verdict.reason) is not verdict.correct


BOMBS = (
    "9^{9^{9}}",
    "9**9**9",
    "(10^9)!",
    "99!!!",
    "2^{999}^{99}",
    "10^{1000}",
    "1" * 100,
    "{" * 40 + "}" * 40,
    "x" * 400,
    "1\u200b8",
    "\u202e81\u202c",
)
SLOW = ("(a+b+c+d+e+f)^{99}-(a+b+c+d+e+g)^{99}", "(x+1)^{900}(y+1)^{900}(z+1)^{800}")


@pytest.mark.parametrize("bomb", [*BOMBS, *SLOW])
def test_what_costs_minutes_is_no_refuge(bomb: str) -> None:
    """It is told from 18, or it is no value: never ours to answer for."""
    start = time.monotonic()
    verdict = judge(NUMBER, "18", f"<answer>{bomb}</answer>")
    assert time.monotonic() - start < 0.5
    assert verdict.reward == 0
    assert verdict.reason


HALF = r"\int_0^1 x \, dx"
"""What takes a computer algebra system."""
ENDLESS = r"\int_0^1 e^{x^{3}\sin(x^{5})} \, dx"


def test_a_formula_that_takes_too_long_is_unjudged_and_the_next_is_judged() -> None:
    verifier = Math(seconds=0.5)
    answers = (ENDLESS, ENDLESS.replace("3", "7"), HALF, ENDLESS, HALF.replace("1", "2"))
    pairs = [(Problem("t", "q", "1/2"), Completion(f"\\boxed{{{text}}}")) for text in answers]
    judge(MATH, "1/2", f"\\boxed{{{HALF}}}")  # the worker is up
    start = time.monotonic()
    verdicts = verifier.judge_many(pairs)
    assert time.monotonic() - start < 10
    assert [v.outcome for v in verdicts] == [UNJUDGED, UNJUDGED, CORRECT, UNJUDGED, WRONG]
    assert "time limit" in verdicts[0].reason
    assert verdicts[0].cause is Cause.OURS


def test_a_worker_that_is_killed_costs_its_answer_only() -> None:
    judge(MATH, "1/2", f"\\boxed{{{HALF}}}")
    (worker,) = pool.shared(1)._workers
    for victim in (worker.child, worker.process.pid):
        assert victim is not None
        os.kill(victim, 9)
        time.sleep(0.2)
        verdicts = [judge(MATH, "1/2", f"\\boxed{{{text}}}") for text in (HALF, HALF.replace("x", "t"))]
        assert verdicts[0].outcome in (CORRECT, UNJUDGED)
        assert verdicts[1].outcome is CORRECT


def test_no_worker_outlives_its_parent() -> None:
    code = (
        "from goldpanner.types import *\nfrom goldpanner.verify import Math, pool\n"
        "v = Math()(Problem('t', 'q', '1/2'), Completion(r'\\boxed{" + HALF + "}'))\n"
        "w = pool.shared(1)._workers[0]\nprint(v.outcome, w.process.pid, w.child, flush=True)\n"
        "import os; os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    said, *pids = done.stdout.split()
    assert said == "correct"
    deadline = time.monotonic() + 10
    while any(alive(int(pid)) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(int(pid)) for pid in pids)


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("answer", "right", "outcome"),
    [
        ("x = 3 + 4 = 7", "7", CORRECT),
        (r"2\sqrt{3} \cdot 2 = 4\sqrt{3}", r"4\sqrt{3}", CORRECT),
        (r"\text{total} = 12", "12", CORRECT),
        (r"p - q = \frac{14}{3}", r"\frac{14}{3}", CORRECT),
        ("x^2 = 4", "x^2 = 4", CORRECT),
        (r"5 = \sqrt{51}", r"\sqrt{51}", UNJUDGED),
        ("5 + 1 = 7", "7", UNJUDGED),
        (r"6 - 5i = 2\pi", r"2\pi", UNJUDGED),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix} = \sqrt{2}", r"\sqrt{2}", UNJUDGED),
        (r"4\sqrt{3} = 7\sqrt{2}", r"4\sqrt{3}", UNJUDGED),
    ],
)
def test_every_value_of_an_equation_must_be_the_right_one(answer: str, right: str, outcome: Outcome) -> None:
    assert judge(MATH, right, f"\\boxed{{{answer}}}").outcome is outcome


def test_a_forked_process_gets_workers_of_its_own() -> None:
    judge(MATH, "18", "\\boxed{9+9}")
    ours = pool.shared(1)
    read, write = os.pipe()
    if not (child := os.fork()):
        os.write(write, b"1" if pool.shared(1) is not ours else b"0")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 1) == b"1"
    os.close(read)
    os.close(write)


def test_the_parts_of_the_protocol() -> None:
    assert isinstance(NUMBER, Verifier)
    assert isinstance(MATH, Verifier)
    assert MATH.id.startswith("math@4+within-1e-06+")
    assert pickle.loads(pickle.dumps(MATH)) == MATH
    for verifier in (NUMBER, MATH):
        assert judge(verifier, "18", "\\boxed{18}", finish="length").outcome is WRONG
        assert judge(verifier, "18", "HTTP 503", finish="error").outcome is UNJUDGED
        assert judge(verifier, " ", "\\boxed{18}").outcome is UNJUDGED
        assert verifier(Problem("t", "q", None), Completion("18")).outcome is UNJUDGED  # type: ignore[arg-type]
    with pytest.raises(InputError, match="missing is 'maybe'"):
        Number(missing="maybe")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="seconds is 0"):
        Math(seconds=0)


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib import metadata

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(MissingExtraError, match=r"goldpanner\[math\]"):
        Math()
    assert outcome("18", "\\boxed{18}") is CORRECT


fragments = st.sampled_from(
    [
        *"0123456789abxyz(){}[]$^_!=+-*/,.;: \n\t",
        "\\boxed{",
        "}",
        "\\frac{",
        "}{",
        "\\sqrt{",
        "####",
        "The answer is ",
        "answer:",
        "\\begin{pmatrix}",
        "\\end{pmatrix}",
        "\\\\",
        "&",
        "\\int",
        "\\sum_{k=1}^{n}",
        "\\infty",
        "\\cup",
        "\\text{",
        " or ",
        "not ",
        "10^{99}",
        "9^9",
        "!",
        "\\left(",
        "\\right]",
        "\\pm",
        "\\circ",
        "%",
        "\u200b",
        "\u0663",
        "²",
        "\ud800",
        "\x00",
        "<answer>",
        "</answer>",
    ]
)
hostile = st.one_of(
    st.text(max_size=200),
    st.lists(fragments, max_size=60).map("".join),
    st.lists(fragments, max_size=30).map(lambda parts: "\\boxed{" + "".join(parts) + "}"),
)
answers = st.sampled_from(
    ["18", "\\frac{1}{2}", "x^2-1", "(3,4]", "1,-2", "\\text{Evelyn}", "52_8", "", "\\boxed{", "\u0663"]
)


@settings(max_examples=300, deadline=None)
@given(hostile, answers)
def test_number_never_raises(text: str, answer: str) -> None:
    for verifier in (NUMBER, Number("wrong", flexible=True)):
        verdict = judge(verifier, answer, text)
        assert bool(verdict.reason) is not verdict.correct


def put(texts: list[str], answer: str) -> None:
    """Judge hostile texts; every one gets a verdict with a reason."""
    verdicts = Math(seconds=0.3, flexible=True).judge_many(
        [(Problem("t", "q", answer), Completion(text)) for text in texts]
    )
    assert len(verdicts) == len(texts)
    assert all(bool(verdict.reason) is not verdict.correct for verdict in verdicts)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hostile, min_size=20, max_size=20), answers)
def test_hundreds_of_hostile_completions(texts: list[str], answer: str) -> None:
    put([*texts, SLOW[0]], answer)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(hostile, min_size=50, max_size=50), answers)
def test_ten_thousand_hostile_completions(texts: list[str], answer: str) -> None:
    put([*texts, *(f"\\boxed{{{bomb}}}" for bomb in BOMBS)], answer)


def test_no_text_takes_long_to_read() -> None:
    size = 50_000
    texts = [
        "\\boxed{" * size,
        "####" * size,
        "answer " * size,
        "answer is " * size,
        "$" * size,
        "1," * size,
        "1,111" * size,
        " " * size,
        "#### " + " " * size,
        "<answer>" * size,
        "The answer is " + "9" * size,
        "```" * size,
        "-" * size,
        "\\frac" * size,
        "answer:" + "*" * size,
    ]
    for text in texts:
        start = time.process_time()
        judge(Number(flexible=True), "18", text)
        assert time.process_time() - start < 1, text[:20]


def test_gsm8k_like_answers_are_judged_fast() -> None:
    """Ten thousand a second are the aim (benchmarks/verdicts.py); a tenth of it fails here."""
    rng = np.random.default_rng(0)
    pairs = [
        (Problem("t", "q", f"{a}"), Completion(f"{'She adds them up. ' * 12}\nThe answer is {b}."))
        for a, b in rng.integers(0, 9999, (5000, 2)).tolist()
    ]
    start = time.process_time()
    verdicts = NUMBER.judge_many(pairs)
    assert time.process_time() - start < 5
    assert all(verdict.outcome is not UNJUDGED for verdict in verdicts)


@pytest.mark.skipif(not DATA.is_dir(), reason="the data files are not here")
def test_every_worked_solution_is_correct() -> None:
    rows = [json.loads(line) for line in (DATA / "gsm8k_test.jsonl").read_text().splitlines()]
    for row in rows:
        assert judge(NUMBER, row["answer"].rpartition("####")[2].strip(), row["answer"]).correct
    rows = [json.loads(line) for line in (DATA / "math500_test.jsonl").read_text().splitlines()]
    for row in rows:
        assert judge(MATH, row["answer"], row["solution"]).correct, row["answer"]


@pytest.mark.skipif(not DATA.is_dir(), reason="the data files are not here")
def test_another_problems_solution_is_not_correct() -> None:
    rows = [json.loads(line) for line in (DATA / "math500_test.jsonl").read_text().splitlines()][:60]
    pairs = [(Problem("t", "q", a["answer"]), Completion(b["solution"])) for a, b in pairwise(rows)]
    for (problem, _), verdict in zip(pairs, MATH.judge_many(pairs)):
        assert not verdict.correct or (verdict.extracted or "").removeprefix("x=") == problem.answer
