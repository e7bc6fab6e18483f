"""Any table of verdicts or counts as a log: a sample a row, a list of samples a row, counts or rates, a 0/1 matrix.

What a column is taken for is found in `roles`; `table_format` makes a format of a tool whose rows are such a table.
"""

from collections.abc import Callable, Iterator, Mapping

from goldpanner.errors import InputError
from goldpanner.interop.format import Format, Head, read_head
from goldpanner.interop.records import Reading, Record
from goldpanner.interop.roles import find_layout
from goldpanner.interop.table_rows import Table
from goldpanner.interop.tally import tallies


def read_table(reading: Reading, task: str = "table", mapping: Mapping[str, str] | None = None) -> Iterator[Record]:
    """Yield the records of tables: one a row, or one a problem where counts are all that is asked for.

    Args:
        reading: the import; its `columns` go before those of `mapping`.
        task: what the problems' task is called.
        mapping: what the columns are taken for, in a tool's own table; those that a file lacks are passed over.

    Raises:
        InputError: file and row, what was expected, what to do.
    """
    for path in reading.files:
        score = {} if reading.score is None else {"correct": reading.score}
        fields = read_head(path).fields
        own = {role: column for role, column in (mapping or {}).items() if column.split(".", 1)[0] in fields}
        layout = find_layout(path, fields, {**own, **score, **reading.columns})
        reading.report.columns = layout.summary
        for note in layout.notes:
            reading.report.warn(note)
        table, before = Table(path, reading, layout, task), reading.report.rows
        if layout.shape in ("counts", "rates"):
            yield from table.counts()
        elif table.tallied:
            yield from tallies(table)
        else:
            yield from table.samples()
        if reading.report.rows == before:
            raise InputError(f"{path} is empty: it holds no row; was its writer stopped?")


def table_format(
    name: str,
    marks: str,
    recognises: Callable[[Head], bool],
    mapping: Mapping[str, str],
    names: tuple[str, ...] = (),
    *,
    one_model: bool = False,
) -> Format:
    """Return the format of a tool whose files are tables with columns of known meaning.

    Args:
        name: name of the format.
        marks: what its files are recognised by, for a person.
        recognises: whether the head of a file is of this format.
        mapping: what a column means (`id`, `correct`, ...) -> its name in the file.
        names: patterns of file names in a folder.
        one_model: whether the files of a folder are the repeats of one model.
    """
    anonymous = "policy" not in mapping and not one_model
    return Format(
        name,
        lambda reading: read_table(reading, name, mapping),
        marks,
        recognises,
        names,
        anonymous=anonymous,
        dated=True,
        table=True,
    )
