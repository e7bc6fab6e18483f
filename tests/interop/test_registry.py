"""A format from outside the package is read like any other."""

import json

import pytest

from goldpanner import interop
from goldpanner.cli import main
from goldpanner.errors import InputError
from goldpanner.interop.lines import log_rows, log_verdict
from goldpanner.interop.records import problem_of, record_of
from goldpanner.interop.registry import FORMATS


def read_toy(reading):
    for row in log_rows(reading):
        problem = problem_of("toy", row.text("ask"), "")
        verdict = log_verdict(row, row.need("right"), "right", "toy", reading)
        yield record_of(
            problem, [reading.draw(problem, row.text("reply"), verdict=verdict)], interop.LogOrigin(row.file)
        )


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr("goldpanner.interop.registry.FORMATS", FORMATS.copy())  # what a test adds goes with it
    return interop.Format("toy", read_toy, "JSON lines with ask, reply, right", interop.json_with("ask", "right"))


def test_a_format_from_outside_is_imported_by_the_command(tmp_path, monkeypatch, toy):
    log, out = tmp_path / "log.jsonl", tmp_path / "counts.jsonl"
    log.write_text(
        "".join(json.dumps({"ask": q, "reply": "4", "right": q == "2 + 2"}) + "\n" for q in ("2 + 2", "1 + 1"))
    )
    with pytest.raises(InputError, match="JSON lines with the fields ask, reply, right"):
        interop.read(log)
    interop.register_format(toy)
    monkeypatch.setattr("sys.argv", ["goldpanner", "import", str(log), "--counts", str(out)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, None)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted((row["n"], row["c"]) for row in rows) == [(1, 0), (1, 1)]


def test_a_name_is_given_once(toy):
    interop.register_format(toy)
    interop.register_format(toy)
    with pytest.raises(InputError, match="there is a format 'counts' already"):
        interop.register_format(interop.Format("counts", read_toy, "", interop.json_with("ask")))
