"""Programs as judges and data sets have them: the interpreter's profile, printed numbers, layouts of tests, checkers."""

# ruff: noqa: E501 (programs and tests on one line each)

from typing import Any

import pytest

from goldpanner.types import Cause, Outcome, Problem, Verdict
from goldpanner.verify import Code, Limits
from goldpanner.verify.compare import printed_as, same, word
from test_verify_code import REAL, confined_by

CORRECT, WRONG, UNJUDGED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED
ADD = "def add(a, b):\n    return a + b\n"

needs_sandbox = pytest.mark.skipif(not REAL, reason="no sandbox works here")


@pytest.fixture(scope="module")
def code() -> Code:
    return confined_by(REAL[0], Limits(seconds=2, memory_mb=256))


def judged(code: Code, program: str, tests: Any, answer: str = "", **meta: Any) -> Verdict:
    return code.judge(Problem("t", "q", answer, {"tests": tests, **meta}), program)


# ------------------------------------------------------------------------------------------------ comparing


@pytest.mark.parametrize(
    ("expected", "right", "wrong"),
    [
        ("0.333333333333", ["0.333333", ".33333333", "3.33333333e-1"], ["0.3334", "0", "1/3", "nan", "0,333333333333"]),
        ("4", ["4", "4.0", "4.", "4e0", "+4", "4.000"], ["4.0000001", "04", "4j", "5", "four"]),
        ("12345678901", ["12345678901.0"], ["12345678910.0", "1.23456789e10", "12345678902"]),
        ("1e-9", ["0", "0.0", "1e-9"], ["1e-5"]),
        ("1000000.5", ["1000001"], ["1000002"]),
        ("007", ["007"], ["7", "7.0"]),
        ("-0.0", ["0", "-0"], ["0.1"]),
        ("0x10", ["0x10"], ["16"]),
        ("1_000", ["1_000"], ["1000"]),
        ("YES", ["YES"], ["Yes", "NO"]),
        ("nan", ["nan"], ["NaN", "0"]),
        ("1" + "0" * 5000, ["1" + "0" * 5000], ["1" + "0" * 4999 + "1", "1e5000000"]),
    ],
)
def test_words(expected: str, right: list[str], wrong: list[str]) -> None:
    assert [printed for printed in right if not word(printed, expected)] == []
    assert [printed for printed in wrong if word(printed, expected)] == []


@pytest.mark.parametrize(
    ("printed", "expected", "equal"),
    [
        ("3\n", "3", True),
        ("\n3 \r\n\n", "3", True),
        ("  3  4\n", "3 4\n", True),
        ("a b\nc", "a b \nc\n", True),
        ("Case 1: 0.50000001", "Case 1: 0.5", True),
        ("3\n4", "3 4", False),
        ("3 4", "3\n4", False),
        ("3\n\n4", "3\n4", False),
        ("34", "3 4", False),
        ("", "3", False),
        ("3", "", False),
        ("3\n3", "3", False),
    ],
)
def test_lines(printed: str, expected: str, equal: bool) -> None:
    assert (printed_as(printed, expected) is None) is equal


def test_returned_values() -> None:
    assert same([1 / 3, (2,)], [0.333333, [2]])
    assert same(4.0, 4)
    assert same(True, 1)
    assert same(range(3), [0, 1, 2])
    assert same({1: 2}.keys(), [1])
    for value, expected in ((4.0000001, 4), ("4", 4), ({1, 2}, [1, 2]), (0.3334, 0.333333), (None, 0), ("", [])):
        assert not same(value, expected)


# ------------------------------------------------------------------------------------------------ the interpreter


READERS = {
    "input": "a = int(input()); b = int(input())",
    "read": "import sys; a, b = map(int, sys.stdin.read().split())",
    "readline": "import sys; a = int(sys.stdin.readline()); b = int(sys.stdin.readline())",
    "readlines": "import sys; a, b = map(int, sys.stdin.readlines())",
    "lines": "import sys; a, b = [int(line) for line in sys.stdin]",
    "buffer": "import sys; a, b = map(int, sys.stdin.buffer.read().split())",
    "open(0)": "a, b = map(int, open(0))",
    "/dev/stdin": "a, b = map(int, open('/dev/stdin'))",
    "os.read": "import os; a, b = map(int, os.read(0, os.fstat(0).st_size).split())",
    "fileinput": "import fileinput; a, b = map(int, fileinput.input())",
    "iter": "import sys; a, b = map(int, iter(sys.stdin.readline, ''))",
    "mmap": "import mmap; m = mmap.mmap(0, 0, prot=mmap.PROT_READ); a, b = int(m.readline()), int(m.readline())",
    "input until the end": "n = []\ntry:\n    while True: n.append(int(input()))\nexcept EOFError: a, b = n",
}


@needs_sandbox
@pytest.mark.parametrize("how", READERS)
def test_every_way_to_read_the_input(code: Code, how: str) -> None:
    verdict = judged(code, READERS[how] + "\nprint(a + b)", [{"stdin": "3\n4\n", "stdout": "7\n"}])
    assert verdict.correct, verdict


@needs_sandbox
@pytest.mark.parametrize(
    "program",
    [
        "print(7); exit()",
        "print(7); quit(0)",
        "import sys; print(7); sys.exit()",
        "import sys; sys.stdout.write('7'); sys.stdout.flush()",
        "import os; os.write(1, b'7')",
        "print(7, end='')",
        "def main(): print(7)\nif __name__ == '__main__': main()",
        "import sys\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\nf(20_000); print(7)",
        "import sys, threading\nthreading.stack_size(1 << 28)\nt = threading.Thread(target=lambda: print(7))\nt.start(); t.join()",
        "print(len(str(10 ** 6000)) - 5994)",
        "import pickle\nclass A: x = 7\nprint(pickle.loads(pickle.dumps(A())).x)",
        "from typing import *; from dataclasses import dataclass\n@dataclass\nclass A:\n    x: int = 7\nprint(A().x)",
        "global x\nx = 7\ndef f():\n    global x\n    print(x)\nf()",
        "import zoneinfo, decimal, sqlite3, ctypes, ssl, bz2, lzma; print(7)",
        "help; copyright; credits; license; print(7)",
    ],
)
def test_what_scripts_may_use_is_there(code: Code, program: str) -> None:
    verdict = judged(code, program, [{"stdin": "", "stdout": "7"}])
    assert verdict.correct, verdict


@needs_sandbox
def test_an_exit_with_a_status_fails_and_the_input_is_no_file_to_change(code: Code) -> None:
    for end in ("exit(1)", "quit('no')", "raise ValueError", "import os; os.abort()"):
        assert judged(code, f"print(7)\n{end}", [{"stdin": "", "stdout": "7"}]).outcome is WRONG
    assert (
        judged(code, "open('/dev/stdin', 'w').write('7')\nprint(7)", [{"stdin": "3", "stdout": "7"}]).outcome is WRONG
    )


@needs_sandbox
def test_a_module_that_only_this_machine_lacks_is_ours(code: Code) -> None:
    for tests in ([{"stdin": "", "stdout": "7"}], ["assert f() == 7"], [{"call": "f", "args": [], "returns": 7}]):
        for lacks in (
            "import numpy as np\ndef f(): return 7\nprint(7)",
            "def f():\n    import scipy.stats\nprint(f())",
        ):
            verdict = judged(code, lacks, tests)
            assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.OURS), verdict
        for own in ("import no_such_module", "raise ModuleNotFoundError(\"No module named 'numpy'\", name='numpy')"):
            assert judged(code, own, tests).outcome is WRONG
        assert judged(
            code, "try:\n    import numpy\nexcept ImportError: pass\ndef f(): return 7\nprint(7)", tests
        ).correct


# ------------------------------------------------------------------------------------------------ layouts of tests


PYTEST = """
import pytest
from solution import add

@pytest.fixture
def three():
    yield 3

@pytest.mark.parametrize("a, b, c", [(1, 2, 3), pytest.param(2, 2, 4)])
def test_rows(a, b, c):
    assert add(a, b) == c

def test_fixture(three):
    assert add(1, 2) == three

class TestAdd:
    def setup_method(self):
        self.x = 1

    def test_floats(self):
        assert add(0.1, 0.2) == pytest.approx(0.3)
        assert add(self.x, [1][0]) == 2

def test_raises():
    with pytest.raises(TypeError, match="unsupported"):
        add(1, "2")
"""
UNITTEST = """
import unittest
import main

class Adding(unittest.TestCase):
    def setUp(self):
        self.three = 3

    def test_add(self):
        self.assertEqual(main.add(1, 2), self.three)
        with self.subTest("lists"):
            self.assertListEqual(main.add([1], [2]), [1, 2])

    def test_error(self):
        self.assertRaises(TypeError, main.add, 1, "2")
"""
LAYOUTS = {
    "asserts": ["assert add(1, 2) == 3", "assert add([1], [2]) == [1, 2]"],
    "check": ["def check(candidate):\n    assert candidate(1, 2) == 3\n    assert candidate([1], [2]) == [1, 2]\ncheck(add)"],
    "calls": [{"call": "add", "args": [1, 2], "returns": 3}, {"call": "add", "args": [[1], [2]], "returns": [1, 2]}],
    "keywords": [{"call": "add", "args": [1], "kwargs": {"b": 2}, "returns": 3}],
    "method for a function": [{"call": "Solution().add", "args": [1, 2], "returns": 3}],
    "pytest": [PYTEST],
    "pytest, called": ["def test_add():\n    assert add(1, 2) == 3\ntest_add()"],
    "pytest, bare": ["def test_add():\n    assert add(1, 2) == 3"],
    "unittest": [UNITTEST],
    "unittest.main": [UNITTEST + "\nif __name__ == '__main__':\n    unittest.main()"],
    "unittest, runner": [UNITTEST + "\nr = unittest.TextTestRunner().run(unittest.defaultTestLoader.loadTestsFromTestCase(Adding))\nassert r.wasSuccessful()"],
    "exceptions": ["try:\n    add(1, '2')\n    assert False\nexcept TypeError:\n    pass\nassert add(1, 2) == 3"],
    "raise": ["if add(1, 2) != 3:\n    raise ValueError"],
    "loop": ["for a, b in [(1, 2), (3, 4)]:\n    assert add(a, b) == a + b"],
    "iteration": ["assert all(x == 3 for x in map(add, [1, 2], [2, 1]))"],
    "library": ["assert math.isclose(add(0.1, 0.2), 0.3)"],
}  # fmt: skip
BAD = {
    "wrong": "def add(a, b): return a - b",
    "none": "def add(a, b): pass",
    "object": "def add(a, b): return object()",
    "stops": "def add(a, b): raise StopIteration",
    "skips": "import unittest\ndef add(a, b): raise unittest.SkipTest('x')",
    "leaves": "def add(a, b): raise SystemExit(0)",
    "empty": "pass",
    "equal to all": "class add:\n    def __init__(s, *a): pass\n    __eq__ = __ne__ = __lt__ = __ge__ = __contains__ = lambda *_: True\n"
    "    __sub__ = __rsub__ = lambda *_: 0\n    __float__ = lambda s: 7.0\n    __hash__ = lambda s: 0",
    "endless": "def add(a, b):\n    while True: yield 3",
    "own library": "import sys, types\nmath = pytest = unittest = types.SimpleNamespace(isclose=lambda *_: True)\ndef add(a, b): return 9",
}  # fmt: skip


@needs_sandbox
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_judges(code: Code, layout: str) -> None:
    tests = LAYOUTS[layout]
    verdict = judged(code, ADD, tests)
    assert verdict.correct, verdict
    assert judged(code, "class Solution:\n    def add(self, a, b): return a + b\n", LAYOUTS["calls"]).correct
    for name, program in BAD.items():
        verdict = judged(code, program, tests)
        assert not verdict.correct, name
        assert verdict.cause is not Cause.OURS, (name, verdict)
    problem = Problem("t", "q", ADD, {"tests": tests})
    assert code.fault(problem) is None


@needs_sandbox
def test_what_the_program_raises_does_not_end_the_tests_own_iteration(code: Code) -> None:
    for kind in ("StopIteration", "StopAsyncIteration", "GeneratorExit"):
        program = f"def add(a, b):\n    if a != 1: raise {kind}\n    return 3"
        assert judged(code, program, ["assert all(x == 3 for x in map(add, [1, 2], [2, 2]))"]).outcome is WRONG
        assert judged(code, program, ["assert set(map(add, [1, 2], [2, 2])) == {3}"]).outcome is WRONG
        assert judged(code, program, ["for x in map(add, [1, 2], [2, 2]):\n    assert x == 3"]).outcome is WRONG


@needs_sandbox
@pytest.mark.parametrize(
    ("tests", "why"),
    [
        (["x = 1\nassert x == 1"], "ask nothing"),
        (["def check(candidate):\n    assert candidate(1, 2) == 3"], "ask nothing"),
        (["add(1, 2)"], "checks nothing"),
        (["print(add(1, 2))"], "checks nothing"),
        (["x = add(1, 2) == 3"], "checks nothing"),
        (["def helper():\n    assert add(1, 2) == 3"], "asks nothing"),
        (["import unittest\nclass A(unittest.TestCase):\n    def helper(self): self.assertEqual(add(1, 2), 3)"], "asks nothing"),
        (["import pytest\n@pytest.mark.skip\ndef test_x():\n    assert add(1, 2) == 3"], "asks nothing"),
        (["def test_x(database):\n    assert add(1, 2) == 3"], "fixture"),
        (["assert add(1, 2) == "], "no Python"),
        (["import nosuch\nassert add(1, 2) == 3"], "No module named"),
        (["assert add(1, 2) + 0 == undefined(3)"], "reference is wrong"),
        (["assert add(1, 2) == 4"], "reference is wrong"),
        (["assert add(1, 2) in (3, None)"], "returns nothing passes"),
        ([{"stdin": "", "stdout": ""}], "empty program passes"),
        ([{"call": "add", "args": [1, 2], "returns": None}], "returns nothing passes"),
        ([{"call": "add"}], "is no test"),
        ([], "no meta"),
    ],
)  # fmt: skip
def test_tests_that_can_judge_nothing_are_found_at_load(code: Code, tests: Any, why: str) -> None:
    problem = Problem("t", "q", ADD, {"tests": tests})
    fault = code.fault(problem)
    assert fault is not None
    assert why in fault
    if "reference" not in fault and "passes" not in fault:
        verdict = code.judge(problem, ADD)
        assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.OURS)


def stack(push: str = "self.a.append(x)") -> str:
    return (
        "class Empty(Exception): pass\nclass Stack:\n    def __init__(self, *a): self.a = list(a)\n"
        f"    def push(self, x): {push}\n    def __len__(self): return len(self.a)\n"
        "    def pop(self):\n        if not self.a: raise Empty('empty')\n        return self.a.pop()\n"
        "    def __eq__(self, o): return self.a == o.a\n    def __contains__(self, x): return x in self.a\n"
        "    @property\n    def top(self): return self.a[-1]\n    def __add__(self, o): return Stack(*self.a, *o.a)\n"
        "    def __iter__(self): return iter(self.a)\n    def __getitem__(self, i): return self.a[i]\n"
    )


@needs_sandbox
@pytest.mark.parametrize(
    "test",
    [
        "s = Stack()\ns.push(1)\nassert s.pop() == 1",
        "s = Stack(1)\ns.push(2)\nassert s.top == 2 and len(s) == 2 and 2 in s and s[0] == 1",
        "s = Stack()\ns.push(3)\nassert list(s) == [3] and isinstance(s, Stack) and not isinstance(3, Stack)",
        "import pytest\nfrom solution import Stack, Empty\ndef test():\n    with pytest.raises(Empty):\n        Stack().pop()\n    s = Stack()\n    s.push(1)\n    assert s.pop() == 1",
        "s = Stack(1)\ntry:\n    s.pop(); s.pop()\n    assert False\nexcept Empty as e:\n    assert str(e) == 'empty'\ns.push(4)\nassert s.top == 4",
        "s = Stack(1)\ns.push(2)\nassert s == Stack(1, 2) and s != None",
        "s = Stack() + Stack(1)\ns.push(5)\nassert s.a == [1, 5]",
        "s = Stack()\ns.push(7)\ns.a = s.a + [8]\nassert s.top == 8 and s.a[0] == 7",
    ],
)
def test_objects_are_judged_where_they_lie(code: Code, test: str) -> None:
    assert judged(code, stack(), [test]).correct
    assert judged(code, stack("pass"), [test]).outcome is WRONG
    assert judged(code, "class Stack:\n    def __getattr__(self, n): return Stack\n", [test]).outcome is not CORRECT


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f(n): yield from range(0, n, 2)", "assert list(f(5)) == [0, 2, 4] and sum(f(5)) == 6 and 2 in f(5)"),
        ("def f(n):\n    while True: yield n", "import itertools\nassert list(itertools.islice(f(5), 2)) == [5, 5]\ng = f(3)\nassert next(g) == 3"),
        ("def f(n): return map(abs, [n, -n])", "a, b = f(5)\nassert (a, b) == (5, 5)"),
        ("def f(n): return range(n)", "assert f(3) == range(3) and list(f(2)) == [0, 1]"),
        ("from collections import deque\ndef f(n): return deque([n])", "from collections import deque\nassert f(3) == deque([3]) and f(3)[0] == 3"),
        ("def f(n): return {n: 1}.keys()", "assert f(3) == {3} and list(f(3)) == [3]"),
        ("def f(n): return lambda x: x + n", "assert f(3)(4) == 7"),
        ("from decimal import Decimal\ndef f(n): return Decimal(n) / 4", "from decimal import Decimal\nassert f(3) == Decimal('0.75')"),
        ("from fractions import Fraction as F\ndef f(n): return F(n, 6)", "from fractions import Fraction\nassert f(3) == Fraction(1, 2)"),
        ("import datetime as d\ndef f(n): return d.date(2024, 1, n)", "import datetime\nassert f(3) == datetime.date(2024, 1, 3)"),
        ("from collections import Counter\ndef f(n): return Counter('aab')", "assert f(3) == {'a': 2, 'b': 1}"),
        ("def f(n): return 10 ** 5000 + n", "assert f(3) == 10 ** 5000 + 3"),
        ("def g(x): return x + 1\ndef f(n): return [h(n) for h in [g]]", "assert f(3) == [4]"),
        ("def g(x): return x + 1\ndef f(h, n): return h(n)", "assert f(g, 3) == 4"),
    ],
)  # fmt: skip
def test_values_of_every_kind(code: Code, program: str, test: str) -> None:
    verdict = judged(code, program, [test])
    assert verdict.correct, verdict


@needs_sandbox
@pytest.mark.parametrize(
    ("program", "test"),
    [
        (
            "def f(n): yield n",
            "import inspect, types, collections.abc as c\ng = f(1)\nassert inspect.isgenerator(g) and isinstance(g, types.GeneratorType) and isinstance(g, c.Iterator)\nassert iter(g) is g and not callable(g)",
        ),
        ("def f(n): return lambda: n", "g = f(1)\nassert callable(g) and not hasattr(g, '__next__')\nassert g() == 1"),
        (
            "class One:\n    it = None\n    def __new__(c):\n        c.it = c.it or object.__new__(c)\n        return c.it",
            "assert One() is One()\ns = {One()}\nassert len(s) == 1",
        ),
        (
            "class B:\n    def __init__(s): s.t = ''\n    def add(s, x):\n        s.t += x\n        return s",
            "b = B()\nassert b.add('a') is b and b.add('b').t == 'ab'",
        ),
        (
            "class V:\n    def __init__(s, x): s.x = x\n    def __add__(s, o): return V(s.x + o.x)\n    def __radd__(s, o): return s if o == 0 else NotImplemented\n    def __eq__(s, o): return s.x == o.x\n    def __lt__(s, o): return s.x < o.x",
            "assert sum([V(1), V(2)]) == V(3) and V(1) != V(2)\nassert sorted([V(2), V(1)])[0].x == 1",
        ),
        (
            "def f(n): print('hello', n)",
            "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    f(3)\nassert out.getvalue() == 'hello 3\\n'",
        ),
        (
            "def f(n): print('hello', n)",
            "def test_f(capsys):\n    f(3)\n    assert capsys.readouterr().out == 'hello 3\\n'\n    f(4)\n    assert capsys.readouterr().out.strip() == 'hello 4'",
        ),
        (
            "class C:\n    def __enter__(s): return 3\n    def __exit__(s, *_): pass",
            "with C() as x:\n    assert x == 3",
        ),
        (
            "import resource\nresource.setrlimit(resource.RLIMIT_STACK, (1 << 28, resource.RLIM_INFINITY))\ndef f(): return 1",
            "assert f() == 1",
        ),
    ],
)
def test_objects_look_as_they_are(code: Code, program: str, test: str) -> None:
    verdict = judged(code, program, [test])
    assert verdict.correct, verdict


@needs_sandbox
def test_an_object_swallows_no_assertion_and_is_not_callable_by_being_far(code: Code) -> None:
    swallows = "class C:\n    def __enter__(s): return 4\n    def __exit__(s, *_): return True"
    assert judged(code, swallows, ["with C() as x:\n    assert x == 3"]).outcome is WRONG
    assert judged(code, "def f(): return object()", ["assert callable(f())"]).outcome is WRONG
    assert (
        judged(
            code, "class f:\n    __bool__ = __eq__ = lambda *_: True", ["assert f() == f()\nassert f() == 3"]
        ).outcome
        is not CORRECT
    )


@needs_sandbox
@pytest.mark.parametrize("feed", [
    "from unittest.mock import patch\nwith patch('builtins.input', side_effect=['3']):\n    assert f() == 3",
    "import io, sys\nsys.stdin = io.StringIO('3')\nassert f() == 3",
    "def test(monkeypatch):\n    monkeypatch.setattr('builtins.input', lambda: '3')\n    assert f() == 3",
])  # fmt: skip
def test_a_test_that_feeds_the_input_is_broken_not_the_program_wrong(code: Code, feed: str) -> None:
    verdict = judged(code, "def f(): return int(input())", [feed])
    assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.OURS), verdict


@needs_sandbox
def test_as_much_may_be_printed_as_is_expected(code: Code) -> None:
    long = "\n".join(map(str, range(300_000)))
    assert judged(code, "print(*range(int(input())), sep='\\n')", [{"stdin": "300000", "stdout": long}]).correct
    assert judged(code, "print(*range(10 ** 6), sep='\\n')", [{"stdin": "", "stdout": "7"}]).reason.startswith(
        "more than"
    )


@needs_sandbox
def test_work_in_place(code: Code) -> None:
    rotate = "def rotate(a):\n    a.insert(0, a.pop())"
    dropped = ["a = [1, 2, 3]\nrotate(a)\nassert a == [3, 1, 2]"]
    kept = ["a = [1, 2, 3]\nk = rotate(a)\nassert k is None and a == [3, 1, 2]"]
    assert judged(code, rotate, dropped).correct
    assert judged(code, "def rotate(a): return [3, 1, 2]", dropped).outcome is WRONG
    assert judged(code, rotate, kept).cause is Cause.MODEL
    assert judged(code, rotate, kept, in_place=True).correct
    grid = "def clear(g):\n    for row in g: row[0] = 0"
    assert judged(
        code, grid, ["g = [[1, 2], [3, 4]]\nrow = g[0]\nclear(g)\nassert g == [[0, 2], [0, 4]] and row == [0, 2]"]
    ).correct
    # a program must not empty what the test compares with
    cheat = "def order(xs):\n    xs.clear()\n    return []"
    assert judged(code, cheat, ["xs = [2, 1]\nassert order(xs) == sorted(xs)"]).outcome is not CORRECT
    assert judged(code, "def order(xs): return sorted(xs)", ["xs = [2, 1]\nassert order(xs) == sorted(xs)"]).correct


@needs_sandbox
def test_what_the_prompt_defines_is_the_tests(code: Code) -> None:
    prefix = (
        'def poly(xs, x):\n    return sum(c * x**i for i, c in enumerate(xs))\n\n\ndef root(xs):\n    """A root."""\n'
    )
    tests = ["def check(candidate):\n    assert abs(poly([1, 2], candidate([1, 2]))) < 1e-4\ncheck(root)"]
    assert judged(code, f"{prefix}    return -0.5", tests, prefix=prefix).correct
    for cheat in ("def poly(*_): return 0", "import builtins\nbuiltins.abs = lambda *_: 0"):
        assert judged(code, f"def root(xs): return 3\n{cheat}", tests, prefix=prefix).outcome is WRONG


@needs_sandbox
def test_a_program_that_waits_is_the_models_doing(code: Code) -> None:
    quick = confined_by(code.sandbox, Limits(seconds=0.1))
    for tests in ([{"stdin": "", "stdout": "7"}], ["assert f() == 7"]):
        verdict = judged(quick, "import time\ndef f(): time.sleep(9)\nprint(f())", tests)
        assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.MODEL), verdict


@needs_sandbox
def test_processes_that_crowd_each_other_are_no_busy_machine(code: Code) -> None:
    crowd = (
        "import os\nfor _ in range(6): os.fork() or exec('while True: pass')\nos.wait()\nimport time; time.sleep(60)"
    )
    verdict = judged(confined_by(code.sandbox, Limits(seconds=1)), crowd, [{"stdin": "", "stdout": "7"}])
    assert verdict.cause is not Cause.OURS, verdict


# ------------------------------------------------------------------------------------------------ checkers


PAIR = "def check(stdin, printed, expected):\n    a, b = map(int, printed.split())\n    return a + b == int(stdin)\n"


@needs_sandbox
def test_a_checker_decides_where_several_outputs_are_right(code: Code) -> None:
    tests = [{"stdin": "7\n"}, {"stdin": "9\n", "stdout": "4 5"}]
    for program in ("print(1, int(input()) - 1)", "n = int(input()); print(n, 0)"):
        assert judged(code, program, tests, checker=PAIR).correct
    for program in ("print(1, 2)", "print('x')", "pass", "print(3, 4, 5)"):
        assert judged(code, program, tests, checker=PAIR).outcome is WRONG
    order = "def check(args, value, expected):\n    return sorted(value) == sorted(args[0]) and value[0] == expected"
    calls = [{"call": "f", "args": [[3, 1, 2]], "returns": 1}]
    assert judged(code, "def f(a): return sorted(a)", calls, checker=order).correct
    assert judged(code, "def f(a): return [1, 3, 2]", calls, checker=order).correct
    assert judged(code, "def f(a): return a", calls, checker=order).outcome is WRONG
    lying = "class L(list):\n    __eq__ = lambda *_: True\n    __iter__ = lambda s: iter([1, 2, 3])\ndef f(a): return L([9])"
    assert judged(code, lying, calls, checker=order).outcome is WRONG


@needs_sandbox
def test_a_broken_checker_says_nothing_of_the_program(code: Code) -> None:
    tests = [{"stdin": "7\n", "stdout": "7"}]
    for checker in (
        "import nosuch\ndef check(*_): return True",
        "def check(*_): return nosuch",
        "def other(): pass",
        "def (",
    ):
        verdict = judged(code, "print(7)", tests, checker=checker)
        assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.OURS), verdict
    problem = Problem("t", "q", "print(7)", {"tests": tests, "checker": "def check(*_): return True"})
    assert code.fault(problem) == "an empty program passes the tests"
