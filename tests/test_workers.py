"""Worker processes: side by side, their errors told, none left behind."""

import os
import time

import pytest

from goldpanner.errors import InputError
from goldpanner.progress import Event
from goldpanner.runs.workers import WorkerDiedError, WorkerError, side_by_side


def counting(notify, name, steps):
    for i in range(steps):
        notify(Event(name, "measure", i + 1, steps))


def mistaken(notify):
    raise InputError("the value is 3; give 4")


def broken(notify):
    raise ZeroDivisionError("oh")


def dying(notify):
    os._exit(7)


def endless(notify, path):
    with open(path, "w") as file:  # noqa: PTH123
        file.write(str(os.getpid()))
    time.sleep(600)


def test_events_of_all_workers_arrive():
    events = []
    side_by_side([(counting, ("a", 5)), (counting, ("b", 3))], events.append)
    assert sorted((e.stage, e.done) for e in events) == [("a", i) for i in range(1, 6)] + [
        ("b", i) for i in range(1, 4)
    ]


@pytest.mark.parametrize(
    ("job", "kind", "says"),
    [
        (mistaken, InputError, "give 4"),
        (broken, WorkerError, "ZeroDivisionError"),
        (dying, WorkerDiedError, "exit code 7"),
    ],
)
def test_a_worker_s_failure_is_told(job, kind, says):
    with pytest.raises(kind, match=says):
        side_by_side([(job, ())], lambda event: None)


def test_the_others_are_stopped(tmp_path):
    pid = tmp_path / "pid"
    with pytest.raises(InputError):
        side_by_side([(endless, (str(pid),)), (waits_then_fails, (str(pid),))], lambda event: None)
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def waits_then_fails(notify, path):
    deadline = time.monotonic() + 60
    while not (os.path.exists(path) and open(path).read()) and time.monotonic() < deadline:  # noqa: PTH110, PTH123, SIM115
        time.sleep(0.05)
    raise InputError("now")
