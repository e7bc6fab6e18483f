"""Small things as JSON: records, each read and checked by its class, and batches of problems."""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, TypeVar

from pydantic import ValidationError

from goldpanner.errors import InputError, StoreError
from goldpanner.files import fresh_name, listing, write_atomically
from goldpanner.store.argument import MissionRecord
from goldpanner.store.findings import FindingRecord, ForecastRecord, ResultRecord
from goldpanner.store.manifest import Entry, Manifest, checksums
from goldpanner.store.parts import lost_error
from goldpanner.store.schema import (
    CheckRecord,
    ImportRecord,
    ParamsRecord,
    PolicyRecord,
    ProbeRecord,
    RunRecord,
    StoredRecord,
)
from goldpanner.store.studies import PlanRecord, RecipeRecord, StudyRecord
from goldpanner.types import Problem

KINDS: Mapping[str, type[StoredRecord]] = {
    kind.folder: kind
    for kind in (
        CheckRecord, FindingRecord, ForecastRecord, ImportRecord, MissionRecord, ParamsRecord, PlanRecord, PolicyRecord,
        ProbeRecord, RecipeRecord, ResultRecord, RunRecord, StudyRecord,
    )
}  # fmt: skip
"""Folder -> the class of the records in it."""
R = TypeVar("R", bound=StoredRecord)
_PLAIN = re.compile(r"[a-z0-9][a-z0-9_.-]{0,79}")


class RecordVersionError(StoreError):
    """A record has another version than those that this build reads."""


class Records:
    """`records/FOLDER/NAME.json`, one file a record, replaced whole."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.folder = root / "records"
        self._manifest = manifest

    def put(self, record: StoredRecord) -> None:
        """Write or replace a record."""
        try:
            text = json.dumps(record.model_dump(), indent=1, ensure_ascii=True)
        except (TypeError, ValueError) as error:
            raise InputError(
                f"{type(record).__name__} {record.id!r} is not JSON: {error}; give plain values"
            ) from error
        self._manifest.begin()
        write_atomically(self._path(record.folder, record.id), lambda file: _write(file, text))

    def get(self, kind: type[R], record_id: str) -> R | None:
        """Return a record, None where there is none."""
        path = self._path(kind.folder, record_id)
        self._manifest.read()
        return load_record(path, kind) if path.exists() else None

    def all(self, kind: type[R]) -> dict[str, R]:
        """Return every record of a kind by id, sorted by id."""
        folder = self._path(kind.folder, "x").parent
        self._manifest.read()
        records = [load_record(folder / name, kind) for name in listing(folder, ".json")]
        return {record.id: record for record in sorted(records, key=lambda record: record.id)}

    def paths(self) -> list[Path]:
        """Return the path of every record of every kind."""
        return sorted(self.folder.glob("*/*.json"))

    def _path(self, folder: str, record_id: str) -> Path:
        if not _PLAIN.fullmatch(folder):
            raise InputError(f"record kind {folder!r} cannot name a folder; use a-z, 0-9, '-', '_'")
        name = record_id
        if not _PLAIN.fullmatch(record_id):  # unsafe as a file name, or equal to another where case is ignored
            digest = hashlib.sha256(record_id.encode("utf-8", "surrogatepass")).hexdigest()[:16]
            name = re.sub(r"[^a-z0-9_-]+", "-", record_id[:60].lower()).strip("-") + "~" + digest
        return self.folder / folder / f"{name}.json"


def check_record(path: Path) -> None:
    """Read a record of any kind. Raises StoreError naming a damaged one, RecordVersionError for another version."""
    load_record(path, KINDS.get(path.parent.name, StoredRecord))


def load_record(path: Path, kind: type[R]) -> R:
    """Return the record in a file.

    Raises StoreError naming the file and the field of a damaged one, RecordVersionError for another version.
    """
    content = read_record(path)
    version, current = content.get("version"), kind.model_fields["version"].default
    if version is not None and version != current:
        raise RecordVersionError(
            f"record {path} is a {kind.__name__} of version {version!r}, and this build reads version {current}; "
            "read it with the goldpanner that wrote it"
        )
    try:
        if version is None:
            raise ValueError("version is missing")
        return kind.model_validate(content)
    except ValueError as error:  # pydantic's are
        reason = _field_error(error) if isinstance(error, ValidationError) else error
        raise _damaged_record(path, reason) from reason


def _field_error(error: ValidationError) -> ValueError:
    first = error.errors()[0]
    field = ".".join(map(str, first["loc"]))
    return ValueError(
        f"{field} is missing" if first["type"] == "missing" else f"{field} = {first['input']!r:.60}: {first['msg']}"
    )


def read_record(path: Path) -> dict[str, object]:
    """Return the JSON object in a file. Raises StoreError naming a damaged one."""
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        return content
    except ValueError as error:
        raise _damaged_record(path, error) from error


def _damaged_record(path: Path, reason: ValueError) -> StoreError:
    return StoreError(f"record {path} is damaged: {reason}. Run: goldpanner store repair {path.parent.parent.parent}")


class Problems:
    """`problems/*.jsonl`: immutable batches, de-duplicated by id on reading."""

    def __init__(self, root: Path, manifest: Manifest) -> None:
        self.folder = root / "problems"
        self._manifest = manifest
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
        self._manifest.begin()
        write_atomically(path, lambda file: _write(file, "".join(line + "\n" for line in lines)))
        self._manifest.append([batch_entry(path, len(new)).line()], exists=path)
        return len(new)

    def all(self) -> dict[str, Problem]:
        """Return every problem by id, in the order they were stored."""
        problems: dict[str, Problem] = {}
        state = self._manifest.folder("problems", ".jsonl")
        if state.lost:
            raise lost_error(self._manifest.root, [f"problems/{name}" for name in state.lost])
        for name in state.entries:
            if name not in self._batches:
                self._batches[name] = load_problems(self.folder / name)
            for problem_id, problem in self._batches[name].items():
                problems.setdefault(problem_id, problem)
        return problems


def batch_entry(path: Path, problems: int) -> Entry:
    """Return the manifest's entry of a batch of problems."""
    return Entry(f"problems/{path.name}", path.stat().st_size, problems, checksums(path)[0])


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
        f"problem batch {path} is damaged at line {line}: {reason}. Run: goldpanner store repair {path.parent.parent}"
    )


def _write(file: BinaryIO, text: str) -> None:
    file.write(text.encode())
