"""What a row is: the schemas, and Samples to columns and back."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from goldpanner.errors import InputError
from goldpanner.types import Cause, Completion, FinishReason, Outcome, Sample, Verdict

KEY = ("problem", "policy", "params", "seed", "index")
"""What identifies a sample."""


def _schema(**fields: tuple[pa.DataType, bool]) -> pa.Schema:
    return pa.schema([pa.field(name, kind, nullable) for name, (kind, nullable) in fields.items()])


@dataclass(frozen=True)
class Kind:
    """One dataset of the store."""

    name: str
    """Also its folder and its view in SQL."""
    schema: pa.Schema
    key: tuple[str, ...]
    """Rows that agree in these count once."""
    identity: tuple[str, ...]
    """Rows that agree in these say the same, and compacting keeps one. Two RL runs from one base policy share
    samples of their first step: one key, but each run keeps its row."""
    order: tuple[str, ...]
    """How compacting sorts."""
    dictionary: tuple[str, ...]
    """Columns whose values repeat."""
    void: tuple[str, str] | None = None
    """Column and value of a row that says only that something failed: any other row of its key replaces it."""
    long: tuple[str, ...] = ()
    """Columns that hold most of the bytes, and that only questions about texts and tokens read."""


_TEXT, _INTEGER, _REAL = pa.string(), pa.int64(), pa.float64()
_NAMES = ("problem", "policy", "params", "verifier", "outcome", "cause", "reason")
_KEY_COLUMNS = dict(zip(KEY, ((_TEXT, False), (_TEXT, False), (_TEXT, False), (_INTEGER, False), (_INTEGER, False))))
_OUTCOMES = {str(outcome): outcome for outcome in Outcome}
_CAUSES: dict[str | None, Cause | None] = {None: None, **{str(cause): cause for cause in Cause}}

SAMPLES = Kind(
    "samples",
    _schema(
        run=(_TEXT, False),
        policy=(_TEXT, False),
        problem=(_TEXT, False),
        task=(_TEXT, False),
        params=(_TEXT, False),
        seed=(_INTEGER, False),
        index=(_INTEGER, False),
        text=(_TEXT, False),
        tokens=(pa.list_(pa.int32()), True),
        logprob=(_REAL, True),
        token_logprobs=(pa.list_(pa.float32()), True),
        finish=(_TEXT, False),
        thought=(_TEXT, True),
        outcome=(_TEXT, False),
        cause=(_TEXT, True),
        extracted=(_TEXT, True),
        reason=(_TEXT, False),
        verifier=(_TEXT, False),
        reward=(_REAL, True),
        step=(_INTEGER, True),
        group=(_INTEGER, True),
    ),
    key=KEY,
    identity=(*KEY, "run", "step", "group", "verifier"),
    order=("policy", "problem", "params", "seed", "index"),
    dictionary=(*_NAMES, "run", "task", "step", "finish", "tokens.list.element"),
    void=("finish", "error"),
    long=("text", "tokens", "token_logprobs", "thought"),
)

VERDICTS = Kind(
    "verdicts",
    _schema(
        **_KEY_COLUMNS,
        verifier=(_TEXT, False),
        outcome=(_TEXT, False),
        cause=(_TEXT, True),
        extracted=(_TEXT, True),
        reason=(_TEXT, False),
    ),
    key=(*KEY, "verifier"),
    identity=(*KEY, "verifier"),
    order=("policy", "verifier", "problem", "params", "seed", "index"),
    dictionary=_NAMES,
    void=("outcome", "unjudged"),
)

TRUTH = Kind(
    "truth",
    _schema(policy=(_TEXT, False), problem=(_TEXT, False), kind=(_TEXT, False), logp=(_REAL, False)),
    key=("policy", "problem", "kind"),
    identity=("policy", "problem", "kind"),
    order=("policy", "kind", "problem"),
    dictionary=("policy", "kind"),
)

SCORES = Kind(
    "scores",
    _schema(
        **_KEY_COLUMNS,
        scorer=(_TEXT, False),
        logp=(_REAL, False),
    ),
    key=(*KEY, "scorer"),
    identity=(*KEY, "scorer"),
    order=("policy", "scorer", "problem", "params", "seed", "index"),
    dictionary=("problem", "policy", "params", "scorer"),
)

KINDS = (SAMPLES, VERDICTS, TRUTH, SCORES)

_ALLOWED = {"outcome": tuple(_OUTCOMES), "cause": tuple(map(str, Cause)), "finish": get_args(FinishReason)}


def samples_table(samples: Sequence[Sample]) -> pa.Table:
    """Return `samples` as columns. Lone surrogates, which are not Unicode text, become U+FFFD."""
    completions = [s.completion for s in samples]
    return _build(
        SAMPLES,
        [
            _texts([s.run for s in samples]),
            *_keys(samples, task=True),
            _texts([c.text for c in completions]),
            _lists([c.tokens for c in completions], pa.int32()),
            [c.logprob for c in completions],
            _lists([c.token_logprobs for c in completions], pa.float32()),
            _texts([c.finish for c in completions]),
            _texts([c.thought for c in completions]),
            *_verdicts([s.verdict for s in samples]),
            [s.reward for s in samples],
            [s.step for s in samples],
            [s.group for s in samples],
        ],
    )


def verdicts_table(rows: Sequence[tuple[Sample, Verdict]]) -> pa.Table:
    """Return further verdicts as columns, each with the key of its sample."""
    policy, problem, params, seed, index = _keys([sample for sample, _ in rows], task=False)
    *said, verifier = _verdicts([verdict for _, verdict in rows])
    return _build(VERDICTS, [problem, policy, params, seed, index, verifier, *said])


def scores_table(scorer: str, rows: Sequence[tuple[Sample, float]]) -> pa.Table:
    """Return log-probabilities of samples under another policy as columns, each with the key of its sample."""
    policy, problem, params, seed, index = _keys([sample for sample, _ in rows], task=False)
    return _build(SCORES, [problem, policy, params, seed, index, _texts([scorer] * len(rows)), [x for _, x in rows]])


def to_samples(table: pa.Table) -> list[Sample]:
    """Return the rows of a table with the columns of SAMPLES (more are ignored) as Samples."""
    columns = [_values(table.column(name).combine_chunks()) for name in SAMPLES.schema.names]
    return [
        Sample(
            problem, policy, params, seed, index,
            Completion(
                text,
                tokens,
                logprob,
                finish,
                token_logprobs,
                thought,
            ),
            Verdict(_OUTCOMES[outcome], verifier, extracted, reason, _CAUSES[cause]),
            task, run, reward, step, group,
        )
        for (
            run, policy, problem, task, params, seed, index, text, tokens, logprob, token_logprobs, finish, thought,
            outcome, cause, extracted, reason, verifier, reward, step, group,
        ) in zip(*columns, strict=True)
    ]  # fmt: skip


def conform(table: pa.Table, kind: Kind) -> pa.Table:
    """Return `table` with exactly the columns of `kind`; nullable ones may be missing, integers and texts be narrower.

    Raises InputError naming the column that is missing, unknown, of another type, null, or out of its values.
    """
    schema = kind.schema
    if unknown := [name for name in table.column_names if name not in schema.names]:
        raise InputError(f"{kind.name}: unknown column {unknown[0]!r}; the columns are {', '.join(schema.names)}")
    columns = []
    for field in schema:
        if field.name in table.column_names:
            column = table.column(field.name)
        elif field.nullable:
            column = pa.nulls(len(table), field.type)
        else:
            raise InputError(f"{kind.name}: column {field.name!r} is missing; only nullable columns may be left out")
        if column.type != field.type:
            try:
                column = column.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InputError(
                    f"{kind.name}: column {field.name!r} is {column.type}, not {field.type}: {error}"
                ) from error
        if column.null_count and not field.nullable:
            raise InputError(
                f"{kind.name}: column {field.name!r} has {column.null_count} nulls; give every row a value"
            )
        if field.name in _ALLOWED:
            _check_values(kind, field.name, column)
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def distinct(table: pa.Table, key: Sequence[str]) -> bool:
    """Whether no two rows agree in all columns of `key`; False also where that is too long to find out."""
    size, code = 1, np.zeros(len(table), np.int64)
    for name in key:
        encoded = table.column(name).combine_chunks().dictionary_encode()
        size *= max(len(encoded.dictionary), 1)
        if size >= 2**63:
            return False
        code = code * len(encoded.dictionary) + encoded.indices.to_numpy(zero_copy_only=False)
    return len(np.unique(code)) == len(table)


def _check_values(kind: Kind, name: str, column: Any) -> None:
    """Raise InputError where a column of few known words has another one."""
    wrong = sorted(set(pc.unique(column).to_pylist()) - {*_ALLOWED[name], None})
    if wrong:
        raise InputError(f"{kind.name}: {name} is {wrong[0]!r}; it must be one of {', '.join(_ALLOWED[name])}")


def _values(column: Any) -> list[Any]:
    """Return a column as Python values, lists as tuples; ten times as fast as letting Arrow make each element."""
    if not pa.types.is_list(column.type):
        return list(column.to_pylist())
    flat = column.flatten().to_numpy(zero_copy_only=False).tolist()
    ends = np.cumsum(pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)).tolist()
    starts = [0, *ends[:-1]]
    return [tuple(flat[a:b]) if there else None for a, b, there in zip(starts, ends, column.is_valid().to_pylist())]


def _build(kind: Kind, columns: list[Any]) -> pa.Table:
    arrays = []
    for field, column in zip(kind.schema, columns, strict=True):
        try:
            arrays.append(column if isinstance(column, pa.Array | pa.ChunkedArray) else pa.array(column, field.type))
        except (pa.ArrowException, OverflowError, TypeError) as error:
            raise InputError(f"{kind.name}: {field.name} cannot be stored as {field.type}: {error}") from error
    return conform(pa.Table.from_arrays(arrays, schema=kind.schema), kind)


def _keys(samples: Sequence[Sample], *, task: bool) -> list[Any]:
    columns: list[Any] = [_texts([s.policy for s in samples]), _texts([s.problem for s in samples])]
    if task:
        columns.append(_texts([s.task for s in samples]))
    return [*columns, _texts([s.params for s in samples]), [s.seed for s in samples], [s.index for s in samples]]


def _verdicts(verdicts: Sequence[Verdict]) -> list[Any]:
    return [
        _texts([v.outcome for v in verdicts]),
        _texts([v.cause for v in verdicts]),
        _texts([v.extracted for v in verdicts]),
        _texts([v.reason for v in verdicts]),
        _texts([v.verifier for v in verdicts]),
    ]


def _texts(values: Sequence[str | None]) -> Any:
    try:
        return pa.array(values, pa.string())
    except UnicodeEncodeError:
        whole = [None if v is None else v.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for v in values]
        return pa.array(whole, pa.string())
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"a text of a sample is not a string: {error}") from error


def _lists(values: Sequence[Iterable[Any] | None], of: pa.DataType) -> Any:
    """Return a list column; ten times as fast as letting Arrow look at each tuple."""
    if all(v is None for v in values):
        return pa.nulls(len(values), pa.list_(of))
    lengths = np.fromiter((0 if v is None else len(v) for v in values), np.int32, len(values))  # type: ignore[arg-type]
    offsets = np.concatenate([np.zeros(1, np.int32), np.cumsum(lengths, dtype=np.int32)])
    flat = itertools.chain.from_iterable(v for v in values if v is not None)
    try:
        items = np.fromiter(flat, of.to_pandas_dtype(), int(offsets[-1]))
    except (OverflowError, TypeError, ValueError) as error:
        raise InputError(f"a token id or log-probability cannot be stored as {of}: {error}") from error
    missing = pa.array([v is None for v in values])
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(items, of), mask=missing)
