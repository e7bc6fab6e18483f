"""Model-written programs: the three kinds of tests, and what a program cannot do to be paid or to stay."""

import importlib.util
import json
import os
import platform
import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from goldpanner.errors import InputError
from goldpanner.types import Completion, Outcome, Problem, Verdict
from goldpanner.verify import Code, Limits, Verifier
from goldpanner.verify.code_tests import extract
from goldpanner.verify.compare import same
from goldpanner.verify.sandbox import sandbox
from goldpanner.verify.sandbox.probe import self_test
from goldpanner.verify.sandbox.seccomp import AUDIT, CLONE, REFUSED, filter_program
from goldpanner.verify.sandbox.values import Opaque, decode, encode

LIMITS = Limits(seconds=1, memory_mb=256)
ADD = "def add(a, b):\n    return a + b\n"
CALLS = [{"call": "add", "args": [1, 2], "returns": 3}, {"call": "add", "args": [[1], [2]], "returns": [1, 2]}]
ASSERTS = ["assert add(1, 2) == 3", "assert add([1], [2]) == [1, 2]"]
SCRIPTS = [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "5 2\n", "stdout": "7"}]
CORRECT, WRONG, UNJUDGED = Outcome.CORRECT, Outcome.WRONG, Outcome.UNJUDGED


def candidates() -> list[sandbox.Sandbox]:
    """The real sandboxes that work here (bubblewrap, forked from a warm Python and started anew, WASI), each once."""
    found: dict[tuple[str, bool], sandbox.Sandbox] = {}
    for each in sandbox._candidates(None):
        if (each.name, each.warm) not in found and self_test(each.start) is None:
            found[each.name, each.warm] = each
    return list(found.values())


REAL = candidates()


@pytest.fixture(params=REAL, ids=lambda each: "warm" if each.warm else each.name)
def code(request: pytest.FixtureRequest) -> Code:
    return confined_by(request.param)


def confined_by(where: sandbox.Sandbox, limits: Limits = LIMITS) -> Code:
    verifier = Code.__new__(Code)
    for name, value in (("limits", limits), ("workers", 2), ("sandbox", where)):
        object.__setattr__(verifier, name, value)
    return verifier


if not REAL:

    def test_there_is_a_sandbox() -> None:
        pytest.skip("neither bubblewrap nor Python for WebAssembly works here: nothing that runs a program was tested")


def judge(verifier: Verifier, text: str, tests: Any, **meta: Any) -> Verdict:
    verdict = verifier(Problem("t", "q", "a", {"tests": tests, **meta}), Completion(text))
    assert bool(verdict.reason) is not verdict.correct
    return verdict


@pytest.mark.parametrize("tests", [CALLS, ASSERTS, [*CALLS, *ASSERTS]], ids=["calls", "asserts", "both"])
def test_functions(code: Code, tests: list[Any]) -> None:
    assert judge(code, ADD, tests).correct
    assert judge(code, f"Here it is:\n```python\n{ADD}```\nDone.", tests).correct
    assert judge(code, "def add(a, b):\n    return a - b if a == 1 else b", tests).outcome is WRONG
    assert judge(code, "print('hello')\n" + ADD, tests).correct


def test_scripts(code: Code) -> None:
    assert judge(code, "print(sum(map(int, input().split())), ' ')", SCRIPTS).correct
    assert judge(code, "print(3)", SCRIPTS).reason == "for '5 2\\n' line 1: expected '7', printed '3'"
    assert judge(code, "import sys\nprint(3); sys.exit(0)", SCRIPTS[:1]).correct
    assert judge(code, "print(3); raise SystemExit(2)", SCRIPTS[:1]).outcome is WRONG


def test_humaneval_layout(code: Code) -> None:
    prefix = 'from typing import List\n\ndef total(xs: List[int]) -> int:\n    """Sum."""\n'
    tests = [
        "def check(candidate):\n    for n in range(5):\n        assert candidate(list(range(n))) == n * (n - 1) // 2\n"
    ]
    tests[0] += (
        "    try:\n        candidate(3)\n        assert False\n    except TypeError:\n        pass\n\ncheck(total)"
    )
    for text in ("    return sum(xs)\n", "```python\n    return sum(xs)\n```"):
        assert judge(code, text, tests, prefix=prefix).correct
    whole = "```python\ndef total(xs: List[int]) -> int:\n    return sum(xs)\n```"
    assert judge(code, whole, tests, prefix=prefix).correct
    assert judge(code, "    return len(xs)\n", tests, prefix=prefix).outcome is WRONG


def test_methods_and_values_of_many_kinds(code: Code) -> None:
    program = (
        "class Solution:\n    def f(self, x):\n        return (x, {1: 2.5}, {3}, b'4', None, True, float('inf'), 'ü')\n"
    )
    returns = [[1, 2], {1: 2.5}, {3}, b"4", None, True, float("inf"), "ü"]
    verifier_tests = [{"call": "Solution().f", "args": [[1, 2]], "returns": returns}]
    assert judge(code, program, verifier_tests).correct
    assert judge(code, program, ["assert Solution().f([1, 2])[3] == b'4'"]).correct


def free(name: str, program: str) -> Any:
    return pytest.param(program, id=name)


def filtered(name: str, program: str) -> Any:
    """What the filter of system calls holds back."""
    return pytest.param(program, id=name, marks=pytest.mark.skipif(filter_program() is None, reason="no filter here"))


FORGE = """
import os, time
for descriptor in range(9):
    try:
        os.write(descriptor, b'{"value": 9}\\n"loaded"\\n{"passed": 1}\\n' * 9)
    except OSError:
        pass
time.sleep(.2)
"""

SEARCH = """
import gc, sys
def add(a, b):
    for thing in gc.get_objects():
        if isinstance(thing, dict) and "returns" in thing:
            return thing["returns"]
    frame = sys._getframe()
    while frame:
        for thing in frame.f_locals.values():
            if isinstance(thing, dict) and "returns" in thing:
                return thing["returns"]
        frame = frame.f_back
    return 0
"""

ENVIRONMENT = """
import os, sys
def add(a, b):
    text = repr(os.environ) + repr(sys.argv) + repr(getattr(sys, "orig_argv", ""))
    return 3 if "assert add" in text else 0
"""

THREADS = """
import threading, time
for _ in range(40):
    threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
print(3)
"""

DAEMONS = """
import os, sys, time
for _ in range(3):
    if not os.fork():
        os.setsid()
        if not os.fork():
            os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(60)", "MARKER"])
        os._exit(0)
time.sleep(.2)
"""

CALL = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = libc.mmap.restype = ctypes.c_void_p
def got(result):
    if result in (-1, None, ctypes.c_void_p(-1).value):
        raise OSError(ctypes.get_errno())
    return result
"""

SHARED_MEMORY = """
for _ in range(4):
    size = 10**8
    place = ctypes.c_void_p(got(libc.shmat(got(libc.shmget(0, ctypes.c_size_t(size), 0o1600)), None, 0)))
    ctypes.memset(place, 1, size)
    libc.shmdt(place)
print(3)
"""

MEMORY_FILES = """
files = [os.memfd_create("x") for _ in range(30)]
for file in files:
    for _ in range(10): os.write(file, bytes(10**6))
print(3)
"""

MANY_FILES = """
import os
for i in range(10**7): os.mkdir(str(i))
print(3)
"""

MACHINE_CODE = """
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(bytes([0xB8, 20, 0, 0, 0, 0xCD, 0x80, 0xC3]))  # getpid as a 32-bit program calls it
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print(3)
"""

ORDINARY = """
import asyncio, concurrent.futures, socket, sqlite3, subprocess, sys, tempfile, threading, uuid
def add(a, b):
    uuid.uuid1()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        a, b = pool.map(lambda value: value, [a, b])
    async def total():
        await asyncio.sleep(0)
        return a + b
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    try:
        socket.getaddrinfo("example.org", 80)
    except OSError:
        pass
    with sqlite3.connect(":memory:") as base:
        base.execute("select 1")
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return asyncio.run(total())
"""

ATTACKS = [
    free("exit before the tests", "import sys; sys.exit(0)"),
    free("exit hard", "import os; os._exit(0)"),
    free("exit in the function", "def add(a, b):\n    import os; os._exit(0)"),
    free("exit quietly in the function", "def add(a, b):\n    raise SystemExit(0)"),
    free("equal to everything", "class E:\n    def __eq__(s, o): return True\ndef add(a, b): return E()"),
    free(
        "a number equal to everything", "class E(int):\n    def __eq__(s, o): return True\ndef add(a, b): return E(9)"
    ),
    free("a list equal to everything", "class E(list):\n    def __eq__(s, o): return True\ndef add(a, b): return E()"),
    free("no assertions", "import builtins\nbuiltins.AssertionError = None\ndef add(a, b): return 0"),
    free("swallow assertions", "import sys\nsys.excepthook = lambda *a: None\ndef add(a, b): return 0"),
    free("patch json", "import json\njson.dumps = lambda *a, **k: '{\"value\": true}'\ndef add(a, b): return 0"),
    free(
        "patch the comparison",
        "import operator, math\noperator.eq = math.isclose = lambda *a, **k: True\ndef add(a, b): return 0",
    ),
    free("forge replies", FORGE),
    free("read the expected answer", SEARCH),
    free("read the tests from the environment", ENVIRONMENT),
    free(
        "kill the parent",
        "import os\nfor p in (os.getppid(), 1, -1, 0):\n    try: os.kill(p, 9)\n    except OSError: pass",
    ),
    free("broken recursion", "def add(a, b): return add(a, b)"),
    free("does not compile", "def add(a, b:\n    return 3"),
    free("null byte", "def add(a, b): return 3\0"),
    free("lone surrogate", "def add(a, b): return '\ud800'"),
    free("deep brackets", "x = " + "(" * 5000 + ")" * 5000),
    free("deep value", "def add(a, b):\n    x = []\n    for _ in range(10**5): x = [x]\n    return x"),
    free("cycle", "def add(a, b):\n    x = []; x.append(x); return x"),
    free("huge number", "def add(a, b): return 10 ** 5000"),
    free("memory hog", "x = []\nwhile True: x.append(bytearray(10**7))"),
    free("one huge object", "x = 'a' * 10**11"),
    free("output flood", "import sys\ndef add(a, b): return 'x' * 10**7"),
    free("generator", "def add(a, b):\n    yield 3"),
]


@pytest.mark.parametrize("program", ATTACKS)
def test_no_attack_is_paid(code: Code, program: str) -> None:
    start = time.monotonic()
    for tests in (CALLS, ASSERTS):
        assert not judge(code, program, tests).correct
    assert time.monotonic() - start < 2 * LIMITS.clock


@pytest.mark.parametrize(
    "program",
    [
        free("output flood", "while True: print('x' * 1000)"),
        free("error flood", "import sys\nwhile True: sys.stderr.write('x' * 1000)"),
        free("infinite loop", "while True: pass"),
        free(
            "ignored time limit",
            "import signal\ntry: signal.signal(24, signal.SIG_IGN)\nexcept Exception: pass\nwhile True: pass",
        ),
    ],
)
def test_floods_and_loops_are_the_programs_fault(code: Code, program: str) -> None:
    start = time.monotonic()
    verdict = judge(code, program, SCRIPTS)
    assert verdict.outcome is WRONG
    assert time.monotonic() - start < LIMITS.clock + 2


def test_sleeping_is_not_judged(code: Code) -> None:
    verifier = confined_by(code.sandbox, Limits(seconds=0.1, memory_mb=256))
    verdict = judge(verifier, "import time; time.sleep(60)", SCRIPTS)
    assert verdict.outcome is UNJUDGED
    assert "by the clock" in verdict.reason


@pytest.mark.parametrize(
    "program",
    [
        free("users", "print(3 if open('/etc/passwd').read() else 3)"),
        free("a file of the user", "open('{secret}'); print(3)"),
        free("this repository", f"open({str(Path(__file__))!r}); print(3)"),
        free("processes", "import os; os.listdir('/proc/1'); print(3)"),
        free("write to /", "open('/written', 'w'); print(3)"),
        free("write to /usr", "open('/usr/written', 'w'); print(3)"),
        free("write to /dev/shm", "open('/dev/shm/written', 'w'); print(3)"),
        free("connect", "import socket; socket.create_connection(('192.0.2.1', 9), 1); print(3)"),
        free("connect to this machine", "import socket; socket.create_connection(('127.0.0.1', {port}), 1); print(3)"),
        free("become root", "import os; os.setuid(0); print(3)"),
        free(
            "mount",
            "import ctypes, os\nif ctypes.CDLL(None).mount(b'none', b'/box', b'tmpfs', 0, 0): raise OSError\nprint(3)",
        ),
        free("fill the folder", "for i in range(40): open(f'f{i}', 'wb').write(b'x' * 10**6)\nprint(3)"),
        free("make processes", "import os, time\nfor _ in range(40):\n    if not os.fork(): time.sleep(9)\nprint(3)"),
        free("make threads", THREADS),
        free("make files", MANY_FILES),
        filtered("System V shared memory", CALL + SHARED_MEMORY),
        filtered("files in memory", CALL + MEMORY_FILES),
        filtered("ask the host", "import socket; socket.socket(40, 1); print(3)"),
        filtered("routes of the kernel", "import socket; socket.socket(16, 3); print(3)"),
        filtered("user namespace", CALL + "got(libc.unshare(0x10000000)); print(3)"),
        filtered("user namespace by clone", CALL + "if got(libc.syscall({clone}, 0x10000011, 0, 0, 0, 0)): print(3)"),
        filtered("trace", CALL + "got(libc.ptrace(0, 0, 0, 0)); print(3)"),
        filtered("keys", CALL + "got(libc.syscall({keyctl}, 0, -3, 1)); print(3)"),
        filtered("calls of another architecture", CALL + MACHINE_CODE),
    ],
)
def test_what_is_held_back(code: Code, program: str, tmp_path: Path) -> None:
    """Each program prints the right answer if it gets what it wants."""
    secret = tmp_path / "secret"
    secret.write_text("for the user alone")
    at = list(AUDIT).index(platform.machine()) if platform.machine() in AUDIT else 0
    for name, value in (("secret", secret), ("clone", CLONE[at]), ("keyctl", REFUSED["keyctl"][at])):
        program = program.replace(f"{{{name}}}", str(value))
    with socket.create_server(("127.0.0.1", 0)) as server:
        verdict = judge(code, program.replace("{port}", str(server.getsockname()[1])), SCRIPTS[:1])
    assert verdict.outcome is WRONG, verdict
    assert judge(code, "print(3)", SCRIPTS[:1]).correct


def test_ordinary_programs_lack_nothing(code: Code) -> None:
    if code.sandbox.name != "bubblewrap":
        pytest.skip("WebAssembly has no threads and no processes")
    assert judge(code, ORDINARY, CALLS).correct


def test_too_many_files_are_told(code: Code) -> None:
    if code.sandbox.name == "bubblewrap":
        assert judge(code, MANY_FILES, CALLS).reason == "the program ended: more than 10000 files"


def test_it_may_write_in_its_own_folder(code: Code) -> None:
    if code.sandbox.name != "bubblewrap":
        pytest.skip("WebAssembly has no folder at all")
    assert judge(code, "open('x', 'w').write('3'); print(open('x').read())", SCRIPTS[:1]).correct
    assert judge(code, "import os; print(3 if not os.path.exists('x') else 4)", SCRIPTS[:1]).correct


def running_with(marker: str) -> list[int]:
    """Processes of this machine whose command line holds `marker`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if marker.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("ends", ["print(3)", "while True: pass", "import time; time.sleep(60)"])
def test_no_daemon_is_left_behind(code: Code, ends: str) -> None:
    if code.sandbox.name != "bubblewrap":
        pytest.skip("WebAssembly starts no processes")
    marker = f"goldpanner-daemon-{os.getpid()}-{len(ends)}"
    program = DAEMONS.replace("MARKER", marker) + ends
    judge(confined_by(code.sandbox, Limits(seconds=0.2, memory_mb=256)), program, SCRIPTS[:1])
    deadline = time.monotonic() + 3
    while running_with(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not running_with(marker)


def test_broken_tests_say_nothing_of_the_program(code: Code) -> None:
    for tests in (
        ["import nosuch"],
        ["assert 1 == "],
        ["assert 1 == 2"],
        ["raise KeyError"],
    ):
        assert judge(code, ADD, tests).outcome is UNJUDGED, tests
    assert "assert nope(1)" not in judge(code, ADD, ["assert nope(1) == 1"]).reason
    assert judge(code, ADD, ["assert nope(1) == 1"]).outcome is WRONG
    assert judge(code, ADD, ["assert add(lambda: 1, 2) == 3"]).outcome is UNJUDGED
    for tests in (None, [], "assert 1", [3], [{"stdin": ""}], [{"call": "add"}]):
        assert judge(code, ADD, tests).outcome is UNJUDGED


@pytest.mark.parametrize(
    "body",
    [
        "raise NameError",
        "raise ImportError('numpy')",
        "raise UnicodeDecodeError('utf-8', b'', 0, 1, '')",
        "return nosuch",
        "import nosuch",
        "return add2(a, b)",
        "if b > 99: c = a\n    return c",
        "return a + b if a == 1 else nosuch",
        "class Opaque(Exception): pass\n    raise Opaque",
    ],
)
def test_what_the_program_raises_is_no_broken_test(code: Code, body: str) -> None:
    swallowed = [
        "try:\n    add(1, 2); x = add([1], [2])\nexcept Exception:\n    pass\ndef f():\n    if 0: y = 1\n    y\nf()"
    ]
    for tests in (CALLS, ASSERTS, swallowed):
        assert judge(code, f"def add(a, b):\n    {body}", tests).outcome is WRONG


def test_a_later_fault_of_the_test_says_nothing_of_the_program(code: Code) -> None:
    assert judge(code, ADD, [ASSERTS[0], "import nosuch"]).outcome is UNJUDGED
    assert judge(code, ADD, [ASSERTS[0], "assert add(lambda: 1, 2) == 3"]).outcome is UNJUDGED
    assert judge(code, "def plus(a, b): return a + b", ASSERTS).outcome is WRONG, "what is asked for is not there"


def test_keyword_arguments_cross(code: Code) -> None:
    assert judge(code, ADD, [ASSERTS[0], "assert add(a=1, b=2) == 3", "assert add(1, b=2) == 3"]).correct
    assert judge(code, ADD, [ASSERTS[0], "assert add(a=1, c=2) == 3"]).outcome is WRONG
    assert judge(code, "def add(a, b): return a if b == 2 else 0", ["assert add(b=2, a=3) == 3"]).correct


def test_a_function_with_the_name_of_a_builtin(code: Code) -> None:
    program = ADD + "def sum(a, b): return a + b"
    for tests in (["assert sum(1, 2) == 3"], [*ASSERTS, "assert sum(1, 2) == 3"]):
        assert judge(code, program, tests).correct
        assert judge(code, program + " + 1", tests).outcome is WRONG
        assert judge(code, ADD, tests).outcome is WRONG
    # and the test's own builtins stay the test's
    patched = "def abs(x): return 0\nlen = isinstance = abs\ndef add(a, b): return 9"
    assert judge(code, patched, ["assert abs(add(1, 2) - 3) < 1e-6"]).outcome is WRONG
    assert judge(code, patched, ["x = add(1, 2)", "assert abs(x - 3) == 0"]).outcome is WRONG


def test_no_program_is_unjudged(code: Code) -> None:
    for text in ("", " \n", "```python\n```", "```bash\npip install add\n```", "```"):
        assert judge(code, text, CALLS).reason == "the completion holds no program"
    problem = Problem("t", "q", "a", {"tests": CALLS})
    assert code(problem, Completion(ADD, finish="length")).outcome is WRONG
    assert code(problem, Completion(ADD, finish="error")).outcome is UNJUDGED
    assert code(Problem("t", "q", "a", 3), Completion(ADD)).outcome is UNJUDGED  # type: ignore[arg-type]


def test_many_at_once(code: Code) -> None:
    texts = [ADD, "def add(a, b): return 0", ADD, "while True: pass", ADD]
    problem = Problem("t", "q", "a", {"tests": CALLS})
    verdicts = code.judge_many([(problem, Completion(text)) for text in texts])
    assert [verdict.outcome for verdict in verdicts] == [CORRECT, WRONG, CORRECT, WRONG, CORRECT]
    assert isinstance(code, Verifier)
    assert code.id == f"code@4+{code.sandbox.id}"


pieces = st.sampled_from(
    [
        "def add(a, b):\n",
        "    return ",
        "a",
        "+",
        "b",
        "\n",
        "(",
        ")",
        "while True: pass\n",
        "import os\n",
        "os._exit(",
        "raise ",
        "print(",
        "```python\n",
        "```",
        "\x00",
        "\ud800",
        "lambda: ",
        "[",
        "]",
        "*",
        "10**9",
        "'x'",
        "{",
        "}",
        "class A:\n",
        "    pass\n",
        "exec(",
        "#",
    ]
)
hostile = st.one_of(st.text(max_size=80), st.lists(pieces, max_size=25).map("".join))


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile)
def test_hostile_programs(code: Code, text: str) -> None:
    judge(code, text, CALLS)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))
@given(hostile)
def test_thousands_of_hostile_programs(code: Code, text: str) -> None:
    judge(code, text, CALLS)


# ------------------------------------------------------------------------------------------------ without a sandbox


def test_without_a_sandbox_it_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.find.cache_clear()
    monkeypatch.setattr(sandbox.shutil, "which", lambda *a, **k: None)
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(sandbox.util, "find_spec", lambda name: None if name == "wasmtime" else find_spec(name))
    try:
        with pytest.raises(InputError, match=r"bubblewrap \(bwrap\) is not installed.*unconfined=True"):
            Code()
        plain = Code(limits=LIMITS, unconfined=True)
        sandbox.find.cache_clear()
        monkeypatch.setenv(sandbox.UNCONFINED, "1")
        assert Code().id == "code@4+unconfined", "told so by the environment"
    finally:
        sandbox.find.cache_clear()
    assert plain.id == "code@4+unconfined"
    assert judge(plain, ADD, [*CALLS, *ASSERTS]).correct
    assert judge(plain, "print(sum(map(int, input().split())))", SCRIPTS).correct
    assert judge(plain, "while True: pass", SCRIPTS).outcome is WRONG
    assert judge(plain, "import os; os._exit(0)", CALLS).outcome is WRONG


def test_a_sandbox_that_leaks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    leaks = self_test(sandbox.Sandbox("unconfined", sys.executable).start)
    assert leaks is not None
    assert "users" in leaks or "processes" in leaks
    assert self_test(sandbox.Sandbox("unconfined", "/no/such/python").start) is not None


def test_limits_are_numbers_above_zero() -> None:
    with pytest.raises(InputError, match="seconds is 0"):
        Limits(seconds=0)
    with pytest.raises(InputError, match="workers is 0"):
        Code(workers=0)


plain_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text() | st.binary(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3)
        | st.sets(st.integers() | st.text(max_size=3), max_size=3)
        | st.frozensets(st.integers(), max_size=3)
    ),
    max_leaves=8,
)


@given(plain_data)
def test_plain_data_cross_unchanged(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert repr(back) == repr(value) or back == value
    assert type(back) is type(value)


def test_what_is_no_plain_data_does_not_cross() -> None:
    for value in (object(), iter([]), lambda: 1, {1: object()}, [iter([])]):
        with pytest.raises(Opaque):
            encode(value)
    for forged in (
        {"value": 1},
        {},
        {"set": [[1]]},
        {"float": "x"},
        {"dict": [1]},
        {"set": 3},
        {"bytes": "zz"},
        {"a": 1, "b": 2},
    ):
        with pytest.raises((ValueError, TypeError, KeyError)):
            decode(forged)


def test_same() -> None:
    assert same((1, [2.0]), [1, (2,)])
    assert same(0.1 + 0.2, 0.3)
    assert same({"a": 0.1 + 0.2}, {"a": 0.3})
    assert same(float("inf"), float("inf"))
    for one, other in (
        (1, "1"),
        (0.1, 0.2),
        ([1], [1, 2]),
        ({1: 2}, {1: 3}),
        (10**400, 1.0),
        (float("nan"), 1.0),
    ):
        assert not same(one, other)


BLOCK = f"```python\n{ADD}```\n"
RIGHT_BLOCKS = {
    "usage after": f"{BLOCK}Usage:\n```python\nprint(add(1, 2))\n```",
    "usage after, with names of its own": f"{BLOCK}\n```python\nx = add(1, 2)\ndef test(): assert x == 3\n```",
    "output after": f"{BLOCK}Output:\n```\n3\n```",
    "output after, nothing tagged": f"```\n{ADD}```\nOutput:\n```\n3\n```",
    "other languages": f"```bash\npip install add\n```\n{BLOCK}```json\n3\n```",
    "upper case": BLOCK.replace("python", "Python"),
    "attributes": BLOCK.replace("python", 'python title="add.py"'),
    "no end": f"Here it is:\n```python\n{ADD}",
    "no end, no tag": f"Here it is:\n```\n{ADD}",
    "begun by the prompt": f"{ADD}```\nThis adds.",
    "corrected": f"```python\ndef add(a, b): return 0\n```\nNo:\n{BLOCK}",
    "assigned": "```python\nimport operator\nadd = operator.add\n```\nThen:\n```python\nadd == 3\n```",
    "Windows": BLOCK.replace("\n", "\r\n"),
}


@pytest.mark.parametrize("tests", [CALLS, ASSERTS], ids=["calls", "asserts"])
@pytest.mark.parametrize("form", RIGHT_BLOCKS)
def test_the_block_that_defines_what_is_asked_is_judged(form: str, tests: list[Any]) -> None:
    program = extract(RIGHT_BLOCKS[form], Problem("t", "q", "a", {"tests": tests}))
    space: dict[str, Any] = {}
    exec(program or "", space)
    assert space["add"](1, 2) == 3
    assert "```" not in (program or "")


def test_one_program_is_judged_not_the_best_of_several(code: Code) -> None:
    wrong = "```python\ndef add(a, b): return 0\n```\n"
    for tests in (CALLS, ASSERTS):
        assert judge(code, BLOCK + wrong, tests).outcome is WRONG
        assert judge(code, f"{BLOCK}```python\ndef add(a, b:\n```", tests).outcome is WRONG, "the last is broken"
        assert judge(code, wrong + RIGHT_BLOCKS["usage after"], tests).correct
    # a script has no name: its last block counts
    assert judge(code, "```python\nprint(3)\n```\n```python\nprint(4)\n```", SCRIPTS[:1]).outcome is WRONG
    assert judge(code, "```python\nprint(3)\n```\nOutput:\n```\n4\n```", SCRIPTS[:1]).correct


def test_extract() -> None:
    tests = ["def check(candidate):\n    assert candidate() == 1\ncheck(f)"]
    problem = Problem("t", "q", "a", {"prefix": "import re\ndef f():\n", "tests": tests})
    assert extract("    return 1", problem) == "import re\ndef f():\n    return 1"
    assert extract("x\n```py\nA\n```\ny\n```py\nB\n```", problem) == "import re\nB\n"
    assert extract("    return 1\n```\nThis returns 1.", problem) == "import re\ndef f():\n    return 1\n"
    body = "```python\n    return 1\n```\n```python\ndef check(f): pass\n```"
    assert extract(body, problem) == "import re\ndef f():\n    return 1\n", "the test's own names are not asked for"
    assert extract("text ``` open", problem) is None


@pytest.mark.parametrize(
    "part", ["```a", "```", "a", "` ", "``` ", "```a\n", "\n", " \n", "``", "```\na\n```", "def ", "add "]
)
def test_reading_takes_time_in_proportion(part: str) -> None:
    problem = Problem("t", "q", "a", {"tests": CALLS})
    start = time.process_time()
    for text in (part * 20_000, "```" + part[-1] * 100_000, "```python\n" + part * 20_000 + "```"):
        extract(text, problem)
    assert time.process_time() - start < 2
