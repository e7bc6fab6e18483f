"""Answers in words: texts, options by their letter, dates and times of day, in the spellings that people use."""

import re
from collections.abc import Sequence
from functools import lru_cache

from goldpanner.verify.answers import Moment, Option
from goldpanner.verify.tex import plain

_NAMES = "january february march april may june july august september october november december"
_MONTHS = {
    name[:length]: number for number, name in enumerate(re.findall(r"\w+", _NAMES), 1) for length in (3, 4, len(name))
}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\.?"
_DAY = r"(?P<day>[0-3]?[0-9])(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[0-9]{4})"
_WEEKDAY = r"(?:(?:mon|tues|wednes|thurs|fri|satur|sun)day,? +)?"
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"{_WEEKDAY}{_MONTH} *{_DAY}(?:,? *{_YEAR})?",
        rf"{_WEEKDAY}(?:the )?{_DAY} *(?:of )?{_MONTH}(?:,? *{_YEAR})?",
        rf"{_YEAR}-(?P<number>[01][0-9])-(?P<day>[0-3][0-9])",
        r"(?P<hour>[0-2]?[0-9])(?::(?P<minute>[0-5][0-9]))(?: *(?P<half>[ap])\.? ?m\.?)?",
        r"(?P<hour>[0-2]?[0-9]) *(?P<half>[ap])\.? ?m\.?",
    )
)


@lru_cache(maxsize=4096)
def moment(text: str) -> Moment | None:
    """Return the date or time that a text, in lower case, is; None for any other."""
    if len(text) > 40:
        return None
    match = next((found for pattern in _PATTERNS if (found := pattern.fullmatch(text.strip(" .")))), None)
    if match is None:
        return None
    said = match.groupdict()
    if "hour" in said:
        hour, minute = int(said["hour"]), int(said.get("minute") or 0)
        if hour > (12 if said["half"] else 24) or (said["half"] and not hour):
            return None
        hour = hour % 12 + 12 * (said["half"] == "p") if said["half"] else hour
        return Moment(minute=60 * hour + minute, sure=bool(said["half"]) or hour > 12 or hour == 0)
    month = _MONTHS[said["month"]] if "month" in said else int(said["number"])
    day, year = int(said["day"]), said.get("year")
    return Moment(int(year) if year else None, month, day) if 1 <= day <= 31 and 1 <= month <= 12 else None


def same_moment(expected: Moment, answer: Moment) -> bool | None:
    """Return whether two moments are the same, None where one leaves open what the other says."""
    if (expected.minute is None) != (answer.minute is None):
        return False
    if expected.minute is not None and answer.minute is not None:
        if expected.sure == answer.sure:
            return expected.minute == answer.minute
        return None if (expected.minute - answer.minute) % 720 == 0 else False
    if (expected.month, expected.day) != (answer.month, answer.day):
        return False
    return expected.year == answer.year or (None if None in (expected.year, answer.year) else False)


# --- words and options

_OPTION = re.compile(
    r"(?:(?:option|choice|answer)\s*:?\s*)?\(?([A-Za-z])(?:\)|(?=[\s.:,]|$))[.:]?\s*(.*)", re.DOTALL | re.IGNORECASE
)
_ARTICLES = frozenset({"a", "an", "the"})


def words_of(text: str) -> tuple[str, ...]:
    """Return the words and numbers of a text in lower case, articles and marks dropped."""
    found = re.findall(r"\\?[^\W_]+(?:['-][^\W_]+)*", bare(text).lower())
    return tuple(word for word in found if word not in _ARTICLES)


def bare(text: str) -> str:
    r"""Return a text without its `\text{...}`, braces, formula signs and emphasis."""
    text = re.sub(r"\\(?:text|mbox|math)[a-z]*\s*", " ", plain(text))
    return " ".join(re.sub(r"\\[ ,;:!]|[{}$*_~]|\\(?=[%$&#])", " ", text).split())


def is_prose(said: Sequence[str]) -> bool:
    """Return whether words are words: at least one of two letters, and none a command."""
    return any(re.search(r"[^\W\d_]{2}|[^\x00-\x7f]", word) for word in said) and not any("\\" in word for word in said)


def option(text: str) -> Option | None:
    r"""Return the option that a text names: `C`, `(C)`, `\text{C. } 12`; None where it names none, or several."""
    alone = bare(text)
    match = _OPTION.fullmatch(re.sub(r"\(\s*([A-Za-z])\s*\)", r"(\1)", alone).rstrip("."))
    if match is None:
        return None
    letter, rest = match[1].upper(), match[2].strip()
    marked = re.search(rf"{match[1]}\s*[.:)]", alone) is not None
    if rest and (
        not marked
        or rest[0] in "+-*/^=<>&"
        or re.search(r"(?<![A-Za-z\\])\(?[B-Z]\)?(?![A-Za-z])|\b(?:or|and)\b", rest)
    ):
        return None
    return Option(letter, bool(rest))
