"""What is no file yet becomes one: standard input, and tables in memory."""

import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from goldpanner.errors import InputError


def file_of(source: object) -> tuple[Path, Path | None]:
    """Return the file or folder of a source, and the temporary folder that it lies in, if it does.

    A log is read more than once, so standard input (`-`) and tables in memory are written to a file first.
    Raises InputError for a source that is neither.
    """
    if isinstance(source, str | Path) and str(source) != "-":
        return Path(source), None
    folder = Path(tempfile.mkdtemp(prefix="goldpanner-"))
    if isinstance(source, str | Path):
        path = folder / "stdin"
        with path.open("wb") as file:
            shutil.copyfileobj(sys.stdin.buffer, file)
        return path, folder
    path = folder / "table.arrow"
    try:
        table = _arrow_table(source)
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    except (pa.ArrowException, AttributeError, TypeError, ValueError, OverflowError) as error:
        shutil.rmtree(folder)
        raise InputError(f"a {type(source).__name__} is no table that can be read ({error}); give a file") from None
    return path, folder


def _arrow_table(source: object) -> pa.Table:
    if isinstance(source, pa.Table):
        return source
    if isinstance(source, np.ndarray):
        if source.ndim != 2:
            raise InputError(f"an array of {source.ndim} dimensions is no matrix; give problems by samples")
        return pa.table({str(place): column for place, column in enumerate(source.T)})
    if hasattr(source, "__arrow_c_stream__"):
        return pa.table(source)
    if isinstance(source, list):
        return pa.Table.from_pylist(source)
    raise TypeError("expected a path, -, or a table of pandas, polars, pyarrow or numpy, or a list of dicts")
