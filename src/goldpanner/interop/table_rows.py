"""The rows of a table as records: a sample a row, a list of samples a row, counts or rates, or a 0/1 matrix."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.interop.cells import finish_of, members, number_of, problem_name, verdict_value
from goldpanner.interop.columns import Chunk, cells, table_chunks
from goldpanner.interop.formats.counts import counts_record
from goldpanner.interop.lines import TORN, LogRow, brief, log_verdict, message_text, unicode_text
from goldpanner.interop.records import LogOrigin, Reading, Record, problem_of, record_of
from goldpanner.interop.roles import FURTHER_COUNTS, Layout
from goldpanner.types import Verdict

Key = tuple[str, str | None, int | None]
"""Problem, policy and training step of a sample."""


@dataclass
class Table:
    """One table being read."""

    path: Path
    reading: Reading
    layout: Layout
    task: str
    origins: dict[str | None, LogOrigin] = field(default_factory=dict)

    def chunks(self) -> Iterator[Chunk]:
        """Yield the table a chunk of rows at a time, and count the rows."""
        report = self.reading.report
        torn = (lambda where: report.skip(TORN, where)) if self.reading.skip_partial_line else None
        for chunk in table_chunks(self.path, self.names, torn):
            report.rows += len(chunk.places)
            yield chunk

    @property
    def tallied(self) -> bool:
        """Whether counts are all that is asked for, and no text has to be read for them."""
        return self.reading.counts_only and self.reading.verifier is None

    @property
    def names(self) -> list[str]:
        """The columns to read."""
        text = self.layout.columns.get("text")
        return [name for name in self.layout.names if name != text or not self.tallied]

    def column(self, role: str) -> str:
        """Return the column of a role, to name it."""
        return self.layout.columns.get(role, role)

    def row(self, chunk: Chunk, index: int, values: Mapping[str, object]) -> LogRow:
        """Return a row of a chunk as it is named in errors, with its values by column."""
        return LogRow(self.path, chunk.places[index], {self.column(role): v for role, v in values.items()}, chunk.unit)

    def key(self, row: LogRow, values: Mapping[str, object], number: int) -> Key:
        """Return what a row is about; without id and prompt a problem is known by the row's `number`."""
        role = next((role for role in ("id", "prompt") if role in values), None)
        name = str(number) if role is None else problem_name(row, role, values[role])
        if role == "prompt":
            name = problem_of(self.task, name, self.answer(values)).id
        policy, step = values.get("policy"), number_of(values.get("step"))
        if step is not None:
            row.fields[self.column("step")] = step
            step = row.integer(self.column("step"))
        return name, None if policy is None else unicode_text(str(policy)), step if isinstance(step, int) else None

    def answer(self, values: Mapping[str, object]) -> str:
        """Return a row's right answer; empty where the table does not say it."""
        value = values.get("answer")
        return "" if value is None else unicode_text(value if isinstance(value, str) else str(value))

    def origin(self, policy: str | None) -> LogOrigin:
        """Return where the samples of one policy come from."""
        if policy not in self.origins:
            self.origins[policy] = LogOrigin(self.path, model=None if policy is None else {"name": policy})
        return self.origins[policy]

    def verdict(self, row: LogRow, value: object, column: str) -> Verdict:
        """Return the verdict of a cell, which may be a word."""
        return log_verdict(row, verdict_value(row, column, value), column, f"{self.task}/{column}", self.reading)

    def counts(self) -> Iterator[Record]:
        """Yield one record a row of counts or rates."""
        columns, places, number = self.layout.columns, dict[Key, int](), 0
        for chunk in self.chunks():
            lists = {role: cells(chunk.columns[name]) for role, name in columns.items()}
            for index, place in enumerate(chunk.places):
                number += 1
                numbers = ("n", "c", "rate", *FURTHER_COUNTS)
                values = {role: number_of(v[index]) if role in numbers else v[index] for role, v in lists.items()}
                row = self.row(chunk, index, values)
                name, policy, step = key = self.key(row, values, number)
                if key in places:
                    row.fail(f"problem {name!r} stands twice (first: {places[key]}); give every problem one row")
                places[key] = place
                n = row.integer(columns["n"], 1) if self.layout.n is None else self.layout.n
                c = row.integer(columns["c"]) if self.layout.shape == "counts" else _correct(row, columns["rate"], n)
                if c > n:
                    row.fail(f"c = {c} is more than n = {n}")
                yield counts_record(row, name, self.origin(policy), n, c, self.reading, step)

    def samples(self) -> Iterator[Record]:
        """Yield one record a row, with its samples as draws."""
        if self.reading.verifier is not None and "text" not in self.layout.columns:
            raise InputError(f"{self.path} holds no texts for a verifier to read; name them: --map text=COLUMN")
        number = 0
        for chunk in self.chunks():
            lists = {role: cells(chunk.columns[name]) for role, name in self.layout.columns.items()}
            if self.layout.samples:
                lists["correct"] = [list(row) for row in zip(*(cells(chunk.columns[s]) for s in self.layout.samples))]
            for index in range(len(chunk.places)):
                number += 1
                values = {role: column[index] for role, column in lists.items()}
                record = self.record(self.row(chunk, index, values), values, number)
                if record.n:
                    yield record
                else:
                    self.reading.report.skip("a problem without samples", f"{self.path}:{chunk.places[index]}")

    def record(self, row: LogRow, values: Mapping[str, object], number: int) -> Record:
        """Return the record of one row with its samples."""
        name, policy, step = self.key(row, values, number)
        verdicts, texts, finishes = (members(values.get(role)) for role in ("correct", "text", "finish"))
        for role, entries in (("text", texts), ("finish", finishes)):
            if role in values and len(entries) != len(verdicts):
                row.fail(
                    f"the column {self.column(role)!r} has {len(entries)} entries here, and "
                    f"{self.column('correct')!r} has {len(verdicts)}; give one for each sample"
                )
        prompt = message_text(values.get("prompt")) or ""
        problem = problem_of(self.task, prompt, self.answer(values))
        draws = [
            self.reading.draw(
                problem,
                (message_text(texts[place]) or "") if "text" in values else "",
                verdict=self.verdict(row, value, self.column("correct")),
                finish=finish_of(finishes[place]) if "finish" in values else "unknown",
            )
            for place, value in enumerate(verdicts)
        ]
        group = None if step is None else name
        label = "" if "id" not in values and prompt else name
        return record_of(problem, draws, self.origin(policy), problem_id=name, step=step, group=group, name=label)


def _correct(row: LogRow, column: str, n: int) -> int:
    """Return c from a rate, which must be a whole number of n."""
    rate = row.fields[column]
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        row.fail(f"the rate {column!r} is {brief(rate)}; expected a number from 0 to 1")
    c = round(rate * n)
    if abs(rate * n - c) > 0.01:
        row.fail(f"the rate {rate:g} is no whole number of n = {n} samples; was the rate rounded, or is n another?")
    return c
