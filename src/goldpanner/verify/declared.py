"""Where a completion declares its answer. Linear in the text, and no library: it runs on hostile text."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from goldpanner.verify.answer_part import without_emphasis
from goldpanner.verify.answers import Text
from goldpanner.verify.reading import read_answer
from goldpanner.verify.tex import LONGEST

_BOXED = re.compile(r"(?<![A-Za-z])(?:boxed|fbox)\s*\{")
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_JOINT = re.compile(r"[ \t$]*\\?|[\s$]*(?:,|,?\s*\\text\{\s*(?:and|or)\s*\}|,?\s*(?:and|or)\b)[\s$]*\\?")
"""What joins two boxes to one answer: nothing, a comma, `and`, `or`."""
_BOXES_READ = 40
"""Boxes that are looked at, from the last."""
_INNER_BOX = re.compile(r"\\?(?<![A-Za-z])(?:boxed|fbox)\s*\{")
_RUNS_IN = re.compile(r"(?:(?<!-)-|/|\^\{?|\\(?:[dt]?frac|sqrt|binom)\s*\{)\\?\Z")
_RUNS_ON = re.compile(r"[0-9]|[ \t]*(?:\^|/[ \t]*[0-9\\(]|\\(?:cdot|times|div)(?![A-Za-z])|[×·]|\*[ \t]*[0-9])")
"""What makes a box a part of a formula: before it, and after it."""
_SIGN_AFTER = re.compile(r"[ \t]*(?:\\?%|\^\{?\\circ\}?|°)")
"""What may stand after a box and belongs to its answer."""
_STRUCK = re.compile(r"~~[^~\n]+~~")
_PHRASE = re.compile(
    r"\b(?:answer|(?:correct|right) (?:option|choice))\b[^\n.:=]{0,60}?(?:\b(?:is|was)\b|[:=])[ \t]*[:*_ \t]*",
    re.IGNORECASE,
)
_HEADING = re.compile(r"^[#*_ \t]*(?:[a-z]+ ){0,3}answer[#*_ \t]*\n\s*", re.IGNORECASE | re.MULTILINE)
_FILLER = re.compile(
    r"(?:(?:therefore|thus|hence|then|so|simply|just|exactly|indeed|clearly|equal to|given by)\b[ ,:]*)+", re.IGNORECASE
)
_DENIAL = re.compile(r"\b(?:not|never|false|wrong|incorrect|deny|doubt)\b|n['’]t\b|\bno\s*\Z", re.IGNORECASE)
_CLAUSE = re.compile(r"[.!?;:,\n]|\b(?:so|thus|hence|then|therefore)\b", re.IGNORECASE)
_DENIED_BOX = re.compile(r"(?:\b(?:not|never)|n['’]t|≠|\\neq?)[\s*$:(\[\\]*\Z", re.IGNORECASE)
_SENTENCE_END = re.compile(r"(?<!\\)[.!?](?=\s|\*|\Z)|\n")
_MATHS = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_INT = r"[0-9]{1,3}(?:,[0-9]{3}){1,20}(?![0-9])|[0-9]{1,60}"
_LAST_NUMBER = re.compile(rf"(?<![\w.])-?\\?\$?(?:(?:{_INT})(?:\.[0-9]{{0,60}})?|\.[0-9]{{1,60}})(?!\w)")
_HASHES_READ = 20
"""Lines with `####` that are read at most, from the last."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What a completion declares as its answer, or why there is nothing to read."""

    answer: str | None
    """The answer as it stands in the text."""
    reason: str = ""
    """Why there is none, or why it cannot be used."""


def declared(text: str, flexible: bool = False) -> Declared:
    r"""Return the answer that a text declares. One rule, in this order, and never a second try:

    1. the last `\boxed{...}` that is in no other (with those that nothing, a comma, `and`, `or` joins to it), else the
       last `<answer>...</answer>`;
    2. the last line `#### 42` that holds a value, or is the text's last;
    3. what follows the last "answer is", "answer:" or "answer =", to the end of its sentence or line, or its formula;
       after a heading ("### Answer") the next line;
    4. the whole text if it is one line of at most 120 characters;
    5. only if `flexible`: the last number of the text. This reads answers that nobody gave.

        >>> declared("So the answer is 42.").answer
        '42'
    """
    if boxes := list(_BOXED.finditer(text)):
        return _boxed(text, boxes)
    end = text.rfind("</answer>")
    if end >= 0 and (start := text.rfind("<answer>", 0, end)) >= 0:
        return Declared(without_emphasis(text[start + len("<answer>") : end]))
    if (line := _hashed(text)) is not None:
        return Declared(line)
    mentioned = any(part in text for part in ("nswer", "NSWER", "ption", "hoice"))  # quickly
    phrase = _last(_PHRASE, text) if mentioned else None
    heading = _last(_HEADING, text) if mentioned else None
    if heading is not None and (phrase is None or heading.start() > phrase.start()):
        return _first_answer(text[heading.end() : heading.end() + LONGEST])
    if phrase is not None:
        before = _CLAUSE.split(text[max(0, phrase.start() - 200) : phrase.start()])[-1]
        if _DENIAL.search(before) or _DENIAL.search(phrase[0]):
            return Declared(None, "the declared answer is denied")
        return _first_answer(text[phrase.end() : phrase.end() + LONGEST])
    whole = text.strip()
    if whole and "\n" not in whole and len(whole) <= 120:
        return Declared(without_emphasis(whole))
    if flexible and (last := _last(_LAST_NUMBER, text)) is not None:
        return Declared(last[0])
    return Declared(None, "no answer is declared")


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for last in pattern.finditer(text):  # noqa: B007  the last one counts
        pass
    return last


def _hashed(text: str) -> str | None:
    """Return the last line after `####` that holds a value, or ends the text; None without one."""
    matches = list(_HASHES.finditer(text))[-_HASHES_READ:]
    for match in reversed(matches):
        line = without_emphasis(match[1])
        answer = read_answer(line) if len(line) < LONGEST else None
        ends = match is matches[-1] and not text[match.end() :].strip()
        if (answer is not None and not isinstance(answer, Text)) or ends:
            return line
    return None


def _boxed(text: str, boxes: Sequence[re.Match[str]]) -> Declared:
    """Return what the last box that is in no other holds; of boxes that are joined to it the list of all."""
    spans: list[tuple[int, int, int]] = []
    """Start, begin of what it holds, and end of each box that lies in no other."""
    for box in boxes[-_BOXES_READ:]:
        end = _closing(text, box.end())
        if end is not None and not (spans and box.start() < spans[-1][2]):
            spans.append((box.start(), box.end(), end))
    if end is None:
        return Declared(None, "the last \\boxed is not closed")
    start, begin, end = spans.pop()
    before, after = text[max(0, start - 20) : start], text[end + 1 : end + 40]
    if _DENIED_BOX.search(before) or (before.rstrip("\\$ ").endswith("~~") and after.lstrip("$ ").startswith("~~")):
        return Declared(None, "the boxed answer is denied")
    sign = _SIGN_AFTER.match(after)
    if _RUNS_IN.search(before) or (_RUNS_ON.match(after) and not sign):
        return Declared(None, "the boxed answer is a part of a formula")
    answers = [_held(text, begin, end) + (sign[0] if sign else "")]
    for first, begin, end in reversed(spans):
        if not _JOINT.fullmatch(text, end + 1, start):
            break
        answers.insert(0, _held(text, begin, end))
        start = first
    return Declared(", ".join(dict.fromkeys(answers)))


def _held(text: str, begin: int, end: int) -> str:
    """Return what a box holds, boxes in it as braces."""
    return without_emphasis(_INNER_BOX.sub("{", text[begin:end]))


def _closing(text: str, start: int) -> int | None:
    """Return where the brace before `start` is closed, None where it is not within 2 x LONGEST."""
    depth = 1
    for i in range(start, min(len(text), start + 2 * LONGEST)):
        if text[i] in "{}" and text[i - 1] != "\\":
            depth += 1 if text[i] == "{" else -1
            if not depth:
                return i
    return None


def _first_answer(rest: str) -> Declared:
    """Return the formula that `rest` begins with if nothing follows it, else `rest` to the end of its sentence."""
    rest = (_STRUCK.sub(" ", rest) if "~~" in rest else rest).lstrip(" \t*_:\n")
    filler = _FILLER.match(rest)
    rest = rest[filler.end() :] if filler else rest
    maths = _MATHS.match(rest)
    if maths is not None:
        after = rest[maths.end() :]
        end = _SENTENCE_END.search(after)
        after = after[: end.start()] if end else after
        if not after.strip(" *_"):
            return Declared(next(group for group in maths.groups() if group is not None).strip())
        return Declared((maths[0] + after).strip(" \t*_"))
    end = _SENTENCE_END.search(rest)
    if end is not None and end[0] == "?":
        return Declared(None, "the declared answer is a question")
    answer = (rest[: end.start()] if end else rest).strip(" \t*_\"'`,")
    return Declared(answer.rstrip("} ") if answer.count("}") > answer.count("{") else answer)  # of JSON
