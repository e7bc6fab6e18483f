"""The glossary: each term once, in English and in Chinese, a line each."""

import re
from collections import Counter
from pathlib import Path

ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (Path(__file__).parents[1] / "docs" / "glossary.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| term")
]


def test_each_term_stands_once_in_both_languages():
    assert len(ROWS) > 40
    for column in (0, 1):
        twice = [term for term, count in Counter(row[column] for row in ROWS).items() if count > 1]
        assert not twice
    for term, _, meaning, chinese in ROWS:
        assert meaning.isascii(), term
        assert len(meaning) <= 100, term
        assert re.search(r"[\u4e00-\u9fff]", chinese), term
