"""Small things as JSON: records of runs, policies and params, and batches of problems."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from goldpanner.errors import InputError, StoreError
from goldpanner.files import fresh_name, listing, write_atomically
from goldpanner.types import Problem

_PLAIN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}")


class Records:
    """`records/KIND/NAME.json`, one file a record, replaced whole."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "records"

    def put(self, kind: str, record_id: str, record: Mapping[str, Any]) -> None:
        """Write or replace a record."""
        try:
            text = json.dumps({"id": record_id, "record": dict(record)}, indent=1, ensure_ascii=True)
        except (TypeError, ValueError) as error:
            raise InputError(f"{kind} record {record_id!r} is not JSON: {error}; give plain values") from error
        write_atomically(self._path(kind, record_id), lambda file: _write(file, text))

    def get(self, kind: str, record_id: str) -> dict[str, Any] | None:
        """Return a record, None where there is none."""
        path = self._path(kind, record_id)
        return load_record(path)[1] if path.exists() else None

    def all(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return every record of a kind by id, sorted by id."""
        folder = self._path(kind, "x").parent
        return dict(sorted(load_record(folder / name) for name in listing(folder, ".json")))

    def paths(self) -> list[Path]:
        """Return the path of every record of every kind."""
        return sorted(self.folder.glob("*/*.json"))

    def _path(self, kind: str, record_id: str) -> Path:
        if not _PLAIN.fullmatch(kind):
            raise InputError(f"record kind {kind!r} cannot name a folder; use a-z, 0-9, '-', '_'")
        name = record_id
        if not _PLAIN.fullmatch(record_id):  # unsafe as a file name, or equal to another where case is ignored
            digest = hashlib.sha256(record_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            name = re.sub(r"[^a-z0-9_-]+", "-", record_id[:60].lower()).strip("-") + "~" + digest
        return self.folder / kind / f"{name}.json"


def load_record(path: Path) -> tuple[str, dict[str, Any]]:
    """Return (id, record) of a record file. Raises StoreError naming a damaged one."""
    try:
        content = json.loads(path.read_bytes())
        return content["id"], dict(content["record"])
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"record {path} is damaged: {error}. Run: goldpanner store check {path.parent.parent.parent}"
        ) from error


class Problems:
    """`problems/*.jsonl`: immutable batches, de-duplicated by id on reading."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "problems"
        self._batches: dict[str, dict[str, Problem]] = {}

    def put(self, problems: Iterable[Problem]) -> int:
        """Store the problems that are not there yet as one batch; return how many these were."""
        present = self.all()
        new = {p.id: p for p in problems if p.id not in present}
        if not new:
            return 0
        try:
            lines = [
                json.dumps({"id": i, "task": p.task, "prompt": p.prompt, "answer": p.answer, "meta": dict(p.meta)})
                for i, p in new.items()
            ]
        except (TypeError, ValueError) as error:
            raise InputError(f"a problem's meta is not JSON: {error}; give plain values") from error
        for line, (problem_id, problem) in zip(lines, new.items(), strict=True):
            if _load_problem(line)[0].id != problem_id:
                raise InputError(f"meta of problem {problem_id} changes as JSON: {problem.meta!r}; give it text keys")
        path = self.folder / f"{fresh_name('batch')}.jsonl"
        write_atomically(path, lambda file: _write(file, "".join(line + "\n" for line in lines)))
        return len(new)

    def all(self) -> dict[str, Problem]:
        """Return every problem by id, in the order they were stored."""
        problems: dict[str, Problem] = {}
        for name in listing(self.folder, ".jsonl"):
            if name not in self._batches:
                self._batches[name] = load_problems(self.folder / name)
            for problem_id, problem in self._batches[name].items():
                problems.setdefault(problem_id, problem)
        return problems


def load_problems(path: Path) -> dict[str, Problem]:
    """Return a batch of problems by id. Raises StoreError naming the damaged line."""
    problems = {}
    content = path.read_bytes()
    if not content.endswith(b"\n"):
        raise _damaged_batch(path, content.count(b"\n") + 1, "the file ends in the middle of a line")
    for number, line in enumerate(content.splitlines(), 1):
        try:
            problem, stored = _load_problem(line)
        except (ValueError, KeyError, TypeError) as error:
            raise _damaged_batch(path, number, repr(error)) from error
        if problem.id != stored:
            raise _damaged_batch(path, number, f"its content hashes to {problem.id}, not to its id {stored!r}")
        problems[problem.id] = problem
    return problems


def _load_problem(line: str | bytes) -> tuple[Problem, str]:
    """Return a problem and the id it was stored under."""
    row = json.loads(line)
    return Problem(row["task"], row["prompt"], row["answer"], row["meta"]), row["id"]


def _damaged_batch(path: Path, line: int, reason: str) -> StoreError:
    return StoreError(
        f"problem batch {path} is damaged at line {line}: {reason}. Run: goldpanner store check {path.parent.parent}"
    )


def _write(file: Any, text: str) -> None:
    file.write(text.encode())
