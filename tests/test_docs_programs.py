"""The tables of docs/programs.md, executed."""

import re
from pathlib import Path

from goldpanner.verify import Limits
from goldpanner.verify.compare import printed_as
from goldpanner.verify.sandbox import confined, running
from goldpanner.verify.sandbox.sandbox import STACKS_WITHOUT

TEXT = (Path(__file__).parent.parent / "docs" / "programs.md").read_text(encoding="utf-8")


def test_what_is_the_same_output() -> None:
    rows = re.findall(r"^\| `([^`]+)` \| `([^`]+)` \| (yes|no) \|$", TEXT, re.MULTILINE)
    assert len(rows) >= 14
    for expected, printed, same in rows:
        assert (printed_as(printed, expected) is None) is (same == "yes"), (expected, printed)


def test_the_figures_are_those_of_the_code() -> None:
    limits = Limits()
    for words, value in (
        (r"(\d+) GB in use", limits.memory_mb / 1024),
        (r"(\d+) GB of address space a process \|", limits.memory_mb / 1024 + STACKS_WITHOUT / 2**30),
        (r"folder in memory, (\d+) MB", limits.disk_mb),
        (r"([\d,]+) files, gone", confined.FILES),
        (r"(\d+) s a process, by the kernel", limits.seconds),
        (r"clock \| (\d+) s", limits.clock),
        (r"up to (\d+) s on a busy machine", limits.clock * (1 + running.PATIENCE)),
        (r"\| (\d+) MB, then killed", limits.output_kb / 1024),
        (r"processes and threads \| (\d+)", limits.processes),
        (r"recursion \| ([\d,]+) calls", confined.RECURSION),
    ):
        found = re.search(words, TEXT)
        assert found is not None, words
        assert float(found[1].replace(",", "")) == value, words
