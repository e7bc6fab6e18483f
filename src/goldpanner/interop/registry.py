"""Every format by name: those of `formats/`, found by themselves, and those that are added from outside."""

import pkgutil
from importlib import import_module
from pathlib import Path

from goldpanner.errors import InputError
from goldpanner.interop import formats
from goldpanner.interop.format import Format, Head, read_head
from goldpanner.interop.roles import find_layout

FORMATS: dict[str, Format] = {}
"""Name -> format."""


def register_format(*additions: Format) -> None:
    """Add formats, so that logs of theirs are recognised and read like any other.

    Raises:
        InputError: another format has the name already.
    """
    for addition in additions:
        if FORMATS.setdefault(addition.name, addition) is not addition:
            raise InputError(f"there is a format {addition.name!r} already; give this one another name")


def _register_own() -> None:
    for info in pkgutil.iter_modules(formats.__path__):
        module = import_module(f"{formats.__name__}.{info.name}")
        register_format(*(module.FORMATS if hasattr(module, "FORMATS") else (module.FORMAT,)))


_register_own()


def format_named(name: str) -> Format:
    """Return the format of a name. Raises InputError for an unknown one."""
    if name not in FORMATS:
        raise InputError(f"unknown format {name!r}; there are {', '.join(FORMATS)}")
    return FORMATS[name]


def detect(path: Path | str) -> Format:
    """Return the format of a file or folder. Raises InputError listing the formats where not exactly one fits."""
    path = Path(path)
    check_readable(path)
    if path.is_dir():
        return _detect_folder(path)
    head = read_head(path)
    matches = [f for f in FORMATS.values() if not f.general and f.recognises(head)]
    matches = matches or [f for f in FORMATS.values() if f.general and f.recognises(head)]
    if len(matches) == 1:
        return matches[0]
    if not matches and head.kind == "lines" and {"task_id", "completion"} <= set(head.fields):
        names = ", ".join(sorted(map(str, head.fields))[:12])
        raise InputError(
            f"{path} holds completions without verdicts ({names}); run the benchmark's own evaluation first"
        )
    raise _unclear(path, matches, head.summary, _table_fault(head))


def _table_fault(head: Head) -> str:
    """Return what keeps a file from being read as a table."""
    if head.kind in ("zip", "document"):
        return ""
    try:
        find_layout(head.path, head.fields, {})
    except InputError as error:
        return str(error).removeprefix(f"{head.path}: ")
    return ""


def log_files(path: Path, of: Format) -> list[Path]:
    """Return the files of one format that a path stands for. Raises InputError where a folder holds none."""
    check_readable(path)
    if not path.is_dir():
        return [path]
    files = sorted({file for pattern in of.names for file in path.glob(pattern) if file.is_file()})
    if not files:
        raise InputError(
            f"{path} holds no file of the format {of.name} ({' or '.join(of.names) or 'give the file itself'})"
        )
    if of.anonymous and len(files) > 1:
        raise InputError(
            f"{path} holds {len(files)} files of the format {of.name} ({', '.join(f.name for f in files[:3])}), "
            "and nothing in them says whether one model wrote them; give one file"
        )
    return files


def check_readable(path: Path) -> None:
    """Raise InputError where a path is neither a file nor a folder."""
    if not path.exists():
        raise InputError(f"{path} does not exist; give a file or folder to import")
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path} is a pipe or a device, and a log is read more than once; write it to a file first")


def _detect_folder(path: Path) -> Format:
    matches: list[Format] = []
    first: Path | None = None
    for candidate in sorted(FORMATS.values(), key=lambda f: f.general):
        if candidate.general and matches:
            break
        files = sorted(file for pattern in candidate.names for file in path.glob(pattern) if file.is_file())
        if files:
            matches.append(candidate)
            first = first or files[0]
    if first is not None and len(matches) == 1 and detect(first) is matches[0]:
        return matches[0]
    raise _unclear(path, matches, "a folder without files of one known format")


def _unclear(path: Path, matches: list[Format], what: str, fault: str = "") -> InputError:
    width = max(map(len, FORMATS))
    rows = "".join(f"\n  {f.name:{width}} {f.marks}" for f in FORMATS.values())
    if len(matches) > 1:
        what = f"both {' and '.join(f.name for f in matches)}"
    as_table = f"As a table: {fault}\n" if fault else ""
    return InputError(f"{path} is {what}. {as_table}Name its format with --format, one of:{rows}")
