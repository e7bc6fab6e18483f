"""Column addition: the same promises as the world, checked against Python's own addition."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.tasks import ColumnAddition, ColumnAdditionConfig
from goldpanner.tasks.splits import in_test
from goldpanner.types import Completion, Problem

N = 10_000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def addition() -> ColumnAddition:
    return ColumnAddition()


@pytest.fixture(scope="module")
def documents(addition: ColumnAddition):
    return addition.documents(N, rng())


def operands(prompt: str) -> tuple[int, int]:
    first, second = prompt[2:].replace(" ", "").split("+")
    return int(first), int(second)


def carries(a: int, b: int) -> int:
    """Columns that carry: the digit sum of a + b falls short of the others' by 9 for each."""
    return (sum(map(int, str(a))) + sum(map(int, str(b))) - sum(map(int, str(a + b)))) // 9


def test_the_canonical_chain_reads_as_described(addition: ColumnAddition) -> None:
    problem = Problem("column-addition/2d", "Q 4 7 + 3 5", "8 2")
    assert addition.worked_answer(problem) == "ones 7 5 0 is 1 2 tens 4 3 1 is 0 8 total 8 2"
    problem = Problem("column-addition/3d", "Q 9 9 9 + 1 0 1", "1 1 0 0")
    assert addition.worked_answer(problem) == (
        "ones 9 1 0 is 1 0 tens 9 0 1 is 1 0 hundreds 9 1 1 is 1 1 total 1 1 0 0"
    )


@settings(deadline=None)
@given(st.integers(1, 3).flatmap(lambda d: st.tuples(*[st.integers(10 ** (d - 1), 10**d - 1)] * 2)))
def test_the_chain_ends_in_the_sum(pair: tuple[int, int]) -> None:
    a, b = pair
    chain = ColumnAddition().worked_answer(Problem("t", f"Q {' '.join(str(a))} + {' '.join(str(b))}", ""))
    assert chain.partition("total ")[2].replace(" ", "") == str(a + b)


def test_every_task_keeps_its_dial_and_its_split(addition: ColumnAddition) -> None:
    answer, process = addition.verifiers()
    for task in addition.tasks:
        small = task.startswith("column-addition/1d")
        digits, _, dial = task.removeprefix("column-addition/").partition("d-carry")
        splits = {}
        for split in ("train", "test"):
            problems = splits[split] = addition.problems(task, 5 if small else 40, rng(), split)
            for problem in problems:
                a, b = operands(problem.prompt)
                assert {len(str(a)), len(str(b))} == {int(digits.rstrip("d"))} == {problem.meta["depth"]}
                assert problem.meta["carries"] == carries(a, b)
                assert not dial or carries(a, b) == int(dial)
                assert problem.answer.replace(" ", "") == str(a + b)
                assert in_test(problem.prompt[2:], 0.2) == (split == "test")
                assert problem.meta["chain"] == addition.worked_answer(problem)
                assert answer(problem, Completion(problem.meta["chain"])).correct
                assert process(problem, Completion(problem.meta["chain"])).correct
                assert answer(problem, Completion(problem.answer)).correct
                assert not process(problem, Completion(problem.answer)).correct
        assert not {p.id for p in splits["train"]} & {p.id for p in splits["test"]}


def test_text_is_as_mixed_as_the_knobs_say(addition: ColumnAddition, documents) -> None:
    kinds = Counter()
    for document in documents:
        lead, words = document.prompt[0], document.response.split()
        long = len(document.prompt.split()) > 4
        assert not in_test(document.prompt[2:], 0.2)
        style = "ramble" if words[0] == "hmm" else "terse" if words[0].isdigit() else "chain"
        kinds[lead, style] += 1
        if style == "chain":
            kinds["whole"] += "total" in words and long
            kinds["long"] += long
    web = kinds["Q", "chain"] + kinds["Q", "terse"] + kinds["Q", "ramble"]
    assert web / N == pytest.approx(0.7, abs=0.03)
    assert kinds["Q", "chain"] / web == pytest.approx(0.6, abs=0.03)
    assert kinds["Q", "terse"] / web == pytest.approx(0.24, abs=0.03)
    assert kinds["T", "chain"] == N - web
    assert kinds["whole"] / kinds["long"] == pytest.approx(0.35, abs=0.03)


def test_texts_state_each_fact_as_reliably_as_said(addition: ColumnAddition) -> None:
    values = Counter(addition.reliability.ravel().tolist())
    assert values == {0.99: 150, 0.8: 17, 0.3: 16, 0.0: 17}
    assert (addition.wrong != addition.truth).all()
    assert (addition.wrong // 10 == addition.truth // 10).all()
    right = Counter()
    asked = Counter()
    for document in ColumnAddition(ColumnAdditionConfig(textbook_share=1)).documents(N, rng(1)):
        first, second, carry, _, tens, units = document.response.split()[1:7]
        fact = (int(first), int(second), int(carry))
        said = int(tens + units)
        assert said in (addition.truth[fact], addition.wrong[fact])
        asked[fact] += 1
        right[fact] += said == addition.truth[fact]
    assert all(carry == 0 for _, _, carry in asked)
    for fact, n in asked.items():
        assert right[fact] / n == pytest.approx(addition.reliability[fact], abs=5 * 0.5 / n**0.5)


def test_mistakes_are_carried_on(addition: ColumnAddition) -> None:
    """The total of a mistaken chain is made of the columns it wrote: each step follows from what stands before."""
    for document in ColumnAddition(ColumnAdditionConfig(textbook_share=1, textbook_diligence=1)).documents(500, rng()):
        words = document.response.split()
        end = words.index("total")
        columns = [words[i : i + 7] for i in range(0, end, 7)]
        total = sum(int(column[6]) * 10**i for i, column in enumerate(columns)) + int(columns[-1][5]) * 10 ** len(
            columns
        )
        assert int("".join(words[end + 1 :])) == total
        assert [column[5] for column in columns[:-1]] == [column[3] for column in columns[1:]]


def test_demonstrations_and_vocabulary(addition: ColumnAddition, documents) -> None:
    shown = addition.demonstrations(["column-addition/1d", "column-addition/2d-carry1"], 31, rng())
    assert Counter(len(d.prompt.split()) for d in shown) == {4: 16, 6: 15}
    for document in shown:
        assert document.response == addition.worked_answer(Problem("t", document.prompt, ""))
        assert not in_test(document.prompt[2:], 0.2)
    vocabulary = addition.vocabulary()
    assert len(set(vocabulary)) == len(vocabulary) == 19
    assert {token for d in documents for token in d.text.split()} == set(vocabulary)


def test_same_seed_same_text(addition: ColumnAddition) -> None:
    assert ColumnAddition().documents(300, rng(4)) == addition.documents(300, rng(4))
    assert addition.documents(300, rng(5)) != addition.documents(300, rng(4))
    assert (ColumnAddition(ColumnAdditionConfig(seed=1)).reliability != addition.reliability).any()


@pytest.mark.parametrize(
    "prompt", ["Q 4 7 * 3 5", "4 7 + 3 5", "Q 4 + 3 5", "Q 4 + x", "Q 0 4 + 3 5", "Q 1 1 1 1 + 1 1 1 1", ""]
)
def test_foreign_questions_are_refused(addition: ColumnAddition, prompt: str) -> None:
    with pytest.raises(InputError, match="column-addition"):
        addition.worked_answer(Problem("t", prompt, "1"))


def test_mistakes_say_what_to_do(addition: ColumnAddition) -> None:
    with pytest.raises(InputError, match="30 test problems were asked for, 17 were found"):
        addition.problems("column-addition/1d", 30, rng())
    with pytest.raises(InputError, match="no task is called 'column-addition/4d'"):
        addition.problems("column-addition/4d", 1, rng())
