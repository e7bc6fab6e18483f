"""What a sandbox shows, holds and survives: files bound one by one, memory in use, a server in its place."""

# ruff: noqa: E501 (programs on one line each)

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from goldpanner.errors import InputError
from goldpanner.types import Cause, Completion, Outcome, Problem
from goldpanner.verify import Code, Limits
from goldpanner.verify.sandbox import bubblewrap, memory, probe, sandbox, warm
from goldpanner.verify.sandbox.probe import self_test
from test_verify_code import ADD, ASSERTS, ATTACKS, CALLS, REAL, SCRIPTS, confined_by
from test_verify_code_layouts import LAYOUTS

WRONG, UNJUDGED = Outcome.WRONG, Outcome.UNJUDGED
BUBBLEWRAP = next((each for each in REAL if each.name == "bubblewrap"), None)
needs_bubblewrap = pytest.mark.skipif(BUBBLEWRAP is None, reason="bubblewrap does not work here")
SEVEN = [{"stdin": "", "stdout": "7"}]


def judged(code: Code, program: str, tests: Any = SEVEN) -> Any:
    return code.judge(Problem("t", "q", "", {"tests": tests}), program)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder that is also the prefix of a Python, with a secret in it."""
    folder = tmp_path_factory.mktemp("home")
    source = Path(os.path.realpath(sys.executable))
    library = Path(os.__file__).parent
    (folder / "bin").mkdir()
    shutil.copy(source, folder / "bin" / source.name)
    ignored = shutil.ignore_patterns("site-packages", "test", "idlelib", "__pycache__", "config-*", "tkinter")
    shutil.copytree(library, folder / "lib" / library.name, ignore=ignored)
    (folder / "lib" / library.name / "site-packages" / "mine").mkdir(parents=True)
    (folder / ".ssh").mkdir()
    (folder / ".ssh" / "id").write_text("secret")
    (folder / "notes").write_text("mine")
    folder.chmod(0o755)
    return folder


# ------------------------------------------------------------------------------------------------ files


@needs_bubblewrap
def test_a_python_whose_prefix_is_the_home_folder_shows_nothing_of_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert BUBBLEWRAP is not None
    monkeypatch.setenv("HOME", str(home))
    (python,) = (home / "bin").iterdir()
    there = sandbox.Sandbox("bubblewrap", str(python), BUBBLEWRAP.users, BUBBLEWRAP.space)
    assert self_test(there.start) is None
    code = confined_by(there)
    assert judged(code, f"import sys; assert sys.prefix == {str(home)!r}; print(7)").correct
    assert judged(code, f"import os; print(7 if sorted(os.listdir({str(home)!r})) == ['bin', 'lib'] else 0)").correct
    for secret in (home / ".ssh" / "id", home / "notes"):
        assert judged(code, f"open({str(secret)!r}); print(7)").outcome is WRONG
    assert judged(
        code, f"import os; print(7 + len(os.listdir({str(home / 'lib' / python.name / 'site-packages')!r})))"
    ).correct


@needs_bubblewrap
def test_a_sandbox_that_shows_more_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUBBLEWRAP is not None
    monkeypatch.setenv("HOME", str(home))
    files, cold = bubblewrap.files(BUBBLEWRAP.python), replace(BUBBLEWRAP, warm=False)
    for shown in (home, home / ".ssh", Path("/etc"), Path.cwd()):
        more = bubblewrap.Files((*files.folders, str(shown)), files.files, files.hidden, files.version)
        monkeypatch.setattr(bubblewrap, "files", lambda *_, more=more: more)
        leak = self_test(cold.start)
        assert leak is not None
        assert "sees" in leak or "users" in leak
        sandbox.find.cache_clear()
        monkeypatch.setattr(sandbox, "_candidates", lambda _: [cold])
        with pytest.raises(InputError, match="no sandbox for model-written code works here"):
            sandbox.find()
    sandbox.find.cache_clear()
    assert not list(home.glob(".goldpanner-bait-*"))


@needs_bubblewrap
def test_only_pythons_own_files_are_bound() -> None:
    assert BUBBLEWRAP is not None
    shown = bubblewrap.files(BUBBLEWRAP.python)
    assert BUBBLEWRAP.python in shown.files
    assert all(Path(name).is_file() and (".so" in name or name == BUBBLEWRAP.python) for name in shown.files)
    assert all((Path(folder) / "os.py").is_file() or Path(folder).name == "lib-dynload" for folder in shown.folders)
    code = confined_by(BUBBLEWRAP)
    look = "import os\nfor p in ('/usr/bin', '/usr/share/doc', '/etc/passwd', '/var', '/home', '/opt', '/proc', '/sys'):\n    assert not os.path.exists(p), p\nprint(7)"
    if not BUBBLEWRAP.python.startswith("/usr/bin"):
        assert judged(code, look).correct, judged(code, look)


@needs_bubblewrap
def test_an_interpreter_with_packages(tmp_path: Path) -> None:
    """A virtual environment with a package of one file, and nothing installed from anywhere."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "venv")], check=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    (packages / "sortedcontainers.py").write_text("SortedList = sorted\n")
    program = "from sortedcontainers import SortedList\ndef f(): return SortedList([2, 1])\nprint(7)"
    for tests in (SEVEN, ["assert f() == [1, 2]"]):
        bare = judged(Code(), program, tests)
        assert (bare.outcome, bare.cause) == (UNJUDGED, Cause.OURS)
        code = Code(python=str(tmp_path / "venv" / "bin" / "python"))
        assert code.id.endswith("-packages")
        assert judged(code, program, tests).correct
    with pytest.raises(InputError, match="does not run"):
        Code(python=str(tmp_path / "nothing"))


@needs_bubblewrap
@pytest.mark.skipif(os.getuid() != 0 or shutil.which("setpriv") is None, reason="to give up root, be root")
def test_a_user_without_rights_has_a_sandbox_too(tmp_path: Path) -> None:
    """The system's Python, since another user may not read root's."""
    system = shutil.which("python3", path="/usr/bin")
    if system is None:
        pytest.skip("no Python that everybody may read")
    tmp_path.chmod(0o755)
    script = tmp_path / "run.py"
    source = str(Path(sandbox.__file__).parents[3])
    copy = tmp_path / "goldpanner"
    shutil.copytree(Path(source) / "goldpanner" / "verify" / "sandbox", copy / "verify" / "sandbox")
    for name in ("__init__.py", "verify/__init__.py", "errors.py"):
        (copy / name).write_text((Path(source) / "goldpanner" / "errors.py").read_text() if name == "errors.py" else "")
    script.write_text(
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from goldpanner.verify.sandbox.sandbox import find\nfrom goldpanner.verify.sandbox.running import Limits\n"
        "with find().start('script', 'import os; print(os.getuid())', Limits(), stdin='') as r:\n"
        "    print(find().name, r.rest())\n"
    )
    for path in (*tmp_path.rglob("*"), *tmp_path.parents):
        if os.access(path, os.W_OK) and path.is_relative_to("/tmp"):
            path.chmod(0o755)
    done = subprocess.run(
        ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", system, str(script), str(tmp_path)],
        capture_output=True, text=True, cwd="/", env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"},
    )  # fmt: skip
    if "no sandbox" in done.stderr:
        pytest.skip("this machine gives users no namespaces: " + done.stderr[-200:])
    assert done.stdout.startswith("bubblewrap (b'started"), done.stderr


# ------------------------------------------------------------------------------------------------ a warm Python

WARM = next((each for each in REAL if each.warm), None)
needs_warm = pytest.mark.skipif(WARM is None, reason="no Python can be kept warm here")


def the_zygote() -> warm.Zygote:
    assert WARM is not None
    return warm.zygote(WARM.warm_command)


@needs_warm
def test_forks_share_nothing() -> None:
    assert WARM is not None
    code = confined_by(WARM)
    leave = "import builtins, json, os, sys, random\njson.dumps = builtins.len = None\nopen('left', 'w').write('x')\nos.environ['left'] = 'x'\nprint(7)"
    look = "import json, os\nassert len(json.dumps([1])) == 3 and not os.path.exists('left') and 'left' not in os.environ\nprint(7)"
    fds = "import os\nopened = []\nfor d in range(3, 300):\n    try: os.fstat(d); opened.append(d)\n    except OSError: pass\nprint(7 + len(opened))"
    talk = "import socket\ns = socket.socket(); s.bind(('127.0.0.1', 7777)); s.listen(); c = socket.create_connection(('127.0.0.1', 7777)); print(7)"
    lone = "import os\nassert os.getpid() == 2 and os.getppid() == 1, os.getpid()\nprint(7)"
    with ThreadPoolExecutor(4) as pool:
        for verdict in pool.map(lambda program: judged(code, program), [leave, look, fds, talk, lone] * 4):
            assert verdict.correct, verdict
    assert (
        judged(code, "import random; print(random.random())").reason
        != judged(code, "import random; print(random.random())").reason
    )


@needs_warm
def test_a_warm_python_that_has_ended_is_started_anew_and_never_the_programs_fault() -> None:
    assert WARM is not None
    code = confined_by(WARM)
    assert judged(code, "print(7)").correct
    process = the_zygote()._process
    assert process is not None
    process.kill()
    process.wait()
    assert judged(code, "print(7)").correct
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(judged, code, "import time; time.sleep(3)")
        time.sleep(0.5)
        process = the_zygote()._process
        assert process is not None
        inside = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(inside[0]), signal.SIGKILL)
        verdict = running.result()
    assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.OURS), verdict
    assert judged(code, "print(7)").correct


@needs_warm
def test_the_thread_that_started_a_warm_python_may_end() -> None:
    assert WARM is not None
    the_zygote().close()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(judged, confined_by(WARM), "print(7)").result().correct
    process = the_zygote()._process
    time.sleep(0.2)
    assert process is not None
    assert process.poll() is None
    assert judged(confined_by(WARM), "print(7)").correct
    assert the_zygote()._process is process


@needs_warm
def test_a_warm_python_ends_with_its_process() -> None:
    script = (
        "import os\nfrom goldpanner.verify import Code\nfrom goldpanner.verify.sandbox import warm\nc = Code()\n"
        "print(c.sandbox.warm, warm.zygote(c.sandbox.warm_command)._process.pid, flush=True)\nos.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    warm_there, pid = done.stdout.split()
    assert warm_there == "True"
    deadline = time.monotonic() + 5
    while Path(f"/proc/{pid}/cmdline").exists() and b"bwrap" in Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "it has outlived its process"
        time.sleep(0.02)


# ------------------------------------------------------------------------------------------------ memory

TOGETHER = """
import os, time
blocks = []
for _ in range(3):
    if not os.fork():
        blocks.append(b"x" * (120 << 20)); time.sleep(2); os._exit(0)
blocks.append(b"x" * (60 << 20)); time.sleep(1); print(7)
for _ in range(3): os.wait()
"""


@needs_bubblewrap
@pytest.mark.skipif(not memory.available(), reason="no control group can be made here")
def test_memory_is_what_is_in_use_of_all_processes_together() -> None:
    assert BUBBLEWRAP is not None
    code = confined_by(BUBBLEWRAP, Limits(seconds=2, memory_mb=256))
    assert judged(code, "x = b'x' * (300 << 20); print(7)").reason == "more than 256 MB of memory"
    assert judged(code, TOGETHER).outcome is WRONG
    assert judged(code, "import mmap; m = mmap.mmap(-1, 2 << 30); print(7)").correct, "what is not used does not count"
    assert judged(code, "open('f', 'wb').write(bytes(10 << 20)); x = b'x' * (250 << 20); print(7)").outcome is WRONG
    assert judged(code, "def f():\n    x = b'x' * (300 << 20)\n    return 7", ["assert f() == 7"]).outcome is WRONG
    parent = memory._parent()
    assert parent is not None
    assert not list(parent.glob(f"goldpanner-{os.getpid()}-*"))


@needs_bubblewrap
def test_without_a_control_group_the_address_space_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BUBBLEWRAP is not None
    monkeypatch.setattr(memory, "_parent", lambda: None)
    assert not memory.available()
    code = confined_by(BUBBLEWRAP, Limits(seconds=2, memory_mb=256))
    assert self_test(BUBBLEWRAP.start) is None
    assert judged(code, "x = b'x' * (1400 << 20); print(7)").outcome is WRONG
    deep = "import sys, threading\nthreading.stack_size(1 << 29)\nt = threading.Thread(target=print, args=(7,)); t.start(); t.join()"
    assert judged(code, deep).correct


@pytest.mark.skipif(platform.system() != "Linux", reason="the kernel's groups")
def test_groups_of_both_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their files as a folder: what is written where, and when a program has been killed."""
    for limit, counter, hits in (
        ("memory.max", "memory.events", "memory.events"),
        ("memory.limit_in_bytes", "memory.oom_control", "memory.max_usage_in_bytes"),
    ):
        parent = tmp_path / limit
        parent.mkdir()
        make = Path.mkdir

        def mkdir(
            self: Path, *args: Any, limit: str = limit, counter: str = counter, make: Any = make, **kwargs: Any
        ) -> None:
            make(self, *args, **kwargs)
            for name in (limit, "cgroup.procs"):
                (self / name).write_text("")
            (self / counter).write_text("low 0\noom 0\noom_kill 0\n")

        monkeypatch.setattr(Path, "mkdir", mkdir)
        group = memory._made(parent, 12345)
        monkeypatch.setattr(Path, "mkdir", make)
        assert (group.path / limit).read_text() == "12345"
        group.add(7)
        assert (group.path / "cgroup.procs").read_text() == "7"
        assert not group.exceeded()
        (group.path / counter).write_text("low 0\noom_kill 2\n")
        assert group.starved(), "killed, though its limit was never reached"
        assert not group.exceeded()
        (group.path / hits).write_text("max 3\noom_kill 2\n" if hits == counter else "12340\n")
        assert group.exceeded()
        assert not group.starved()


# ------------------------------------------------------------------------------------------------ a server


class Server:
    """A small server that speaks SandboxFusion's protocol: `POST /run_code`; `fault` makes it misbehave."""

    def __init__(self) -> None:
        self.fault = ""
        self.requests: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(request)
                status, reply = outer.answer(self.path, request)
                data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def answer(self, path: str, request: dict[str, Any]) -> tuple[int, Any]:
        if path != "/run_code" or self.fault == "500":
            return 500, b"Internal Server Error"
        if self.fault == "once":
            self.fault = ""
            return 503, b"busy"
        if self.fault == "text":
            return 200, b"<html>"
        if self.fault in ("SandboxError", "no result"):
            return 200, {
                "status": "SandboxError" if self.fault == "SandboxError" else "Success",
                "message": "no pod",
                "run_result": None,
            }
        command = [sys.executable, "-c", request["code"]]
        result: dict[str, Any] = {"status": "Finished", "execution_time": 0.1}
        try:
            done = subprocess.run(command, input=request["stdin"], capture_output=True, text=True, timeout=request["run_timeout"], cwd="/tmp")  # fmt: skip
            result |= {"return_code": done.returncode, "stdout": done.stdout, "stderr": done.stderr}
        except subprocess.TimeoutExpired as late:
            result = {
                "status": "TimeLimitExceeded",
                "execution_time": request["run_timeout"],
                "return_code": None,
                "stdout": (late.stdout or b"").decode(),
                "stderr": "",
            }
        good = result["status"] == "Finished" and result["return_code"] == 0
        return 200, {"status": "Success" if good else "Failed", "message": "", "compile_result": None, "run_result": result,
                     "executor_pod_name": None, "files": {}}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


@pytest.fixture
def far(server: Server) -> Code:
    server.fault = ""
    return Code(limits=Limits(seconds=1, memory_mb=256), url=server.url)


def test_a_server_judges_like_this_machine(far: Code) -> None:
    assert far.id == "code@4+remote"
    for tests in (CALLS, ASSERTS, [*CALLS, *ASSERTS]):
        assert judged(far, ADD, tests).correct
        assert judged(far, "def add(a, b): return a - b", tests).outcome is WRONG
        assert judged(far, "def add(a, b): return object()", tests).cause is Cause.MODEL
    assert judged(far, "print(sum(map(int, open('/dev/stdin').read().split())))", SCRIPTS).outcome in (
        WRONG,
        Outcome.CORRECT,
    )
    assert judged(far, "print(sum(map(int, input().split())))", SCRIPTS).correct
    assert judged(far, "print(3)", SCRIPTS).outcome is WRONG
    assert judged(far, "print(3); exit(1)", SCRIPTS[:1]).outcome is WRONG
    checker = "def check(stdin, printed, expected): return printed.strip() in ('7', '8')"
    problem = Problem("t", "q", "", {"tests": [{"stdin": "1"}, {"stdin": "2"}], "checker": checker})
    assert far.judge(problem, "print(7)").correct
    assert far.judge(problem, "print(9)").outcome is WRONG


@pytest.mark.parametrize("layout", ["check", "pytest", "unittest", "iteration", "exceptions"])
def test_every_layout_is_judged_by_a_server(far: Code, layout: str) -> None:
    assert judged(far, ADD, LAYOUTS[layout]).correct
    assert judged(far, "def add(a, b): pass", LAYOUTS[layout]).outcome is WRONG


@pytest.mark.parametrize("program", [p for p in ATTACKS if p.id in (
    "exit before the tests", "exit hard", "exit in the function", "equal to everything", "forge replies", "patch json",
    "read the expected answer", "does not compile",
)])  # fmt: skip
def test_no_attack_on_a_server_is_paid(far: Code, program: str) -> None:
    for tests in (CALLS, ASSERTS):
        assert not judged(far, program, tests).correct


def test_how_many_requests_a_server_gets(far: Code, server: Server) -> None:
    for tests, most in ((CALLS, 1), (SCRIPTS, len(SCRIPTS)), (ASSERTS, 2 + 2 * len(ASSERTS))):
        server.requests.clear()
        judged(far, ADD + "print(sum(map(int, open(0).read().split())))" if tests is SCRIPTS else ADD, tests)
        assert 0 < len(server.requests) <= most


def test_expected_answers_are_not_sent_with_the_program(far: Code, server: Server) -> None:
    server.requests.clear()
    judged(far, ADD, [{"call": "add", "args": [1, 2], "returns": 90210}])
    judged(far, "print(1)", [{"stdin": "", "stdout": "90210"}])
    judged(far, ADD, ["assert add(1, 2) == 90210"])
    with_program = [r for r in server.requests if "return a + b" in r["stdin"] or "print(1)" in r["stdin"]]
    assert len(with_program) >= 3
    assert not any("90210" in json.dumps(request) for request in with_program)


@pytest.mark.parametrize("fault", ["500", "text", "SandboxError", "no result"])
def test_a_server_that_fails_is_ours(far: Code, server: Server, fault: str) -> None:
    server.fault = fault
    for tests in (CALLS, ASSERTS, SCRIPTS):
        verdict = judged(far, ADD, tests)
        assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.OURS)
        assert "failed 3 times" in verdict.reason
    server.fault = "once"
    assert judged(far, ADD, CALLS).correct, "a busy server is asked again"


def test_a_program_that_waits_on_a_server_is_the_models_doing(server: Server) -> None:
    server.fault = ""
    quick = Code(limits=Limits(seconds=0.1), url=server.url)
    verdict = judged(quick, "import time; time.sleep(9)", SCRIPTS)
    assert (verdict.outcome, verdict.cause) == (UNJUDGED, Cause.MODEL), verdict


def test_no_server_is_told_at_once() -> None:
    with pytest.raises(InputError, match=r"remote \(http://127.0.0.1:9\): .*failed 3 times"):
        Code(url="http://127.0.0.1:9")


def test_the_environment_names_server_and_interpreter(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.find.cache_clear()
    monkeypatch.setenv(sandbox.URL, server.url)
    try:
        assert Code().id == "code@4+remote"
        assert Code()(Problem("t", "q", "", {"tests": CALLS}), Completion(ADD)).correct
    finally:
        sandbox.find.cache_clear()
    assert probe.PROBE
