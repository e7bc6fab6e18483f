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
    match = next((hit for pattern in _PATTERNS if (hit := pattern.fullmatch(text.strip(" .")))), None)
    if match is None:
        return None
    parts = match.groupdict()
    if "hour" in parts:
        hour, minute = int(parts["hour"]), int(parts.get("minute") or 0)
        if hour > (12 if parts["half"] else 24) or (parts["half"] and not hour):
            return None
        hour = hour % 12 + 12 * (parts["half"] == "p") if parts["half"] else hour
        return Moment(minute=60 * hour + minute, sure=bool(parts["half"]) or hour > 12 or hour == 0)
    month = _MONTHS[parts["month"]] if "month" in parts else int(parts["number"])
    day, year = int(parts["day"]), parts.get("year")
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
    words = re.findall(r"\\?[^\W_]+(?:['-][^\W_]+)*", bare(text).lower())
    return tuple(word for word in words if word not in _ARTICLES)


def bare(text: str) -> str:
    r"""Return a text without its `\text{...}`, braces, formula signs, emphasis, and a label before it."""
    text = re.sub(r"\\(?:text|mbox|math|displaystyle|q?quad)[a-z]*\s*", " ", plain(text))
    text = re.sub(r"\\[ ,;:!]|[{}$*_~]|\\(?=[%$&#])", " ", text)
    return " ".join(re.sub(r"\A\s*(?:final )?answer\s*:", " ", text, flags=re.IGNORECASE).split())


_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
)
_COUNTS = {word: n for n, word in enumerate(re.findall(r"\w+", _ONES + " eighteen nineteen"))}
_COUNTS |= {
    word: 10 * n
    for n, word in enumerate(re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety"), 2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}


def count_in_words(words: Sequence[str]) -> int | None:
    """Return the number that words count: `twenty-one`, `two hundred and five`; None for other words."""
    total = part = 0
    for word in (piece for each in words for piece in each.split("-")):
        if word in _COUNTS:
            part += _COUNTS[word]
        elif word == "hundred" and 0 < part < 10:
            part *= 100
        elif word in _SCALES and part:
            total, part = total + part * _SCALES[word], 0
        elif word != "and" or not part:
            return None
    return total + part if words else None


def is_prose(words: Sequence[str]) -> bool:
    """Return whether words are words: at least one of two letters, and none a command.

    >>> is_prose(["the", "answer"])
    True
    """
    return any(re.search(r"[^\W\d_]{2}|[^\x00-\x7f]", word) for word in words) and not any(
        "\\" in word for word in words
    )


_LETTERS = re.compile(r"\(?[A-Z]\)?(?: ?(?:,|;|&|and)? ?\(?[A-Z]\)?){1,6}")


def read_option(text: str) -> Option | None:
    r"""Return the option that a text names, `C`, `(C)`, `\text{C. } 12`, or several, `A, C`; else None."""
    if "mathbb" in text:
        return None
    alone = re.sub(r"\(\s*([A-Za-z])\s*\)", r"(\1)", bare(text)).rstrip(".")
    if _LETTERS.fullmatch(alone):
        return Option("".join(sorted(set(re.findall("[A-Z]", alone)))))
    match = _OPTION.fullmatch(alone)
    if match is None:
        return None
    letter, rest = match[1].upper(), match[2].strip()
    if not rest:
        return Option(letter)
    marked = re.search(rf"{match[1]}\s*[.:)]", alone) is not None
    more = rest[0] in "+-*/^=<>&" or re.search(r"(?<![A-Za-z\\])\(?[B-Z]\)?(?![A-Za-z])|\b(?:or|and)\b", rest)
    return Option(letter, more=True) if marked and not more else None
