"""Reading a mathematical answer: where a completion declares it, what is not worth parsing, which number it is.

Everything here takes time linear in the text and no library, so it runs in the caller's own process on hostile text.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

LONGEST = 300
"""Characters of an answer at most."""

_INT = r"[0-9]{1,3}(?:,[0-9]{3}){1,20}(?![0-9])|[0-9]{1,60}"
_DECIMAL = rf"(?:(?:{_INT})(?:\.[0-9]{{0,60}})?|\.[0-9]{{1,60}})"
_NUMBER = re.compile(
    rf"""(?P<sign>[-+]?)\s*(?:\\?[$€£¥])?\s*(?P<sign2>-?)\s*
    (?:(?P<whole>[0-9]{{1,20}})(?:\s+(?=[0-9]+/)|\s*(?=\\frac)))?
    (?:\\frac\{{\s*(?P<a>-?{_DECIMAL})\s*\}}\{{\s*(?P<b>{_DECIMAL})\s*\}}
      |(?P<c>{_DECIMAL})(?:\s*/\s*(?P<d>{_DECIMAL}))?)""",
    re.VERBOSE,
)
_SIGN = re.compile(
    r"\s*(?:\\?[%€£]|\^\s*(?:\\circ|\{\\circ\})|°|\\(?:text|mbox|mathrm)\{([^{}\\$0-9]{0,40})\})(?:\^(?:[0-9]|\{[0-9]\}))?"
)
_WORD = re.compile(r"(?:\s+|\s*(/)\s*)([A-Za-z]{1,20})(?:\^(?:[0-9]|\{[0-9]\})|²|³)?(?![A-Za-z0-9])")
_SHORT_UNITS = frozenset(re.findall(r"\w+", "km cm mm kg mg ml lb ft in hr oz yd mi am pm"))
_NOT_UNITS = frozenset(
    re.findall(
        r"\w+",
        """not no nor never or and but if is are was were isn isnt aren wasn t than then to at about around
        approximately approx roughly nearly almost less more least most over under between plus minus times divided
        squared cubed false wrong incorrect either neither maybe perhaps except instead e i x y z n k pi sqrt sin cos
        tan log ln root mod base hundred thousand million billion trillion dozen dozens score half halves third thirds
        quarter quarters pair pairs factorial""",
    )
)
"""Words after a number that are no unit: they deny it, join it to another, or change its value."""

_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
_HASHES = re.compile(r"####[ \t]*(\S[^\n]*)")
_DECLARED = re.compile(r"\banswer\b[^\n.:=]{0,60}?(?:\b(?:is|was)\b|[:=])[ \t]*[:*_ \t]*", re.IGNORECASE)
_DENIAL = re.compile(r"\b(?:not|never|false|wrong|incorrect|deny|doubt)\b|n['’]t\b|\bno\s*\Z", re.IGNORECASE)
_CLAUSE = re.compile(r"[.!?;:,\n]|\b(?:so|thus|hence|then|therefore)\b", re.IGNORECASE)
_DENIED_BOX = re.compile(r"(?:\b(?:not|never)|n['’]t|≠|\\neq?)[\s*$:(\[]*\Z", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?](?=\s|\*|\Z)|\n")
_MATHS = re.compile(r"\$\$(.+?)\$\$|\$([^$]+)\$|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_LAST_NUMBER = re.compile(rf"(?<![\w.])-?\\?\$?(?:{_DECIMAL})(?!\w)")

# Full-width ASCII and typographic signs are other forms of the same text. Unicode's own compatibility form is not
# used: it turns 10² into 102 and 1½ into 11/2.
_FORMS = {0xFF01 + i: 0x21 + i for i in range(94)} | {ord(c): " " for c in "\u00a0\u2002\u2003\u2009\u202f\u3000"}
_FORMS |= {ord(c): "-" for c in "\u2212\u2010\u2011\u2012\u2013\ufe63"} | {0x2044: "/", 0x2215: "/"}
_INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u00ad\x00-\x08\x0e-\x1f]")


@dataclass(frozen=True, slots=True)
class Found:
    """Where a completion declares its answer, or why there is nothing to read."""

    answer: str | None
    """The answer as it stands in the text."""
    reason: str = ""
    """Why there is none, or why it cannot be used."""


def declared(text: str, flexible: bool = False) -> Found:
    r"""Return the answer that a completion declares. One rule, in this order, and never a second try:

    1. the last `\boxed{...}`, else the last `<answer>...</answer>`;
    2. the last line `#### 42` that holds a number;
    3. what follows the last "answer is", "answer:" or "answer =", to the end of its sentence or line, or its formula;
    4. the whole text if it is one line of at most 120 characters;
    5. only if `flexible`: the last number of the text. This reads answers that nobody gave.
    """
    boxes = list(_BOXED.finditer(text))
    if boxes:
        if _DENIED_BOX.search(text, max(0, boxes[-1].start() - 20), boxes[-1].start()):
            return Found(None, "the boxed answer is denied")
        inside = _braced(text, boxes[-1].end())
        return Found(inside) if inside is not None else Found(None, "the last \\boxed is not closed")
    end = text.rfind("</answer>")
    if end >= 0 and (start := text.rfind("<answer>", 0, end)) >= 0:
        return Found(text[start + len("<answer>") : end].strip())
    lines = [line for found in _HASHES.finditer(text) if number(line := found[1][:LONGEST]) is not None]
    if lines:
        return Found(lines[-1].strip())
    phrase = None
    for phrase in _DECLARED.finditer(text):  # noqa: B007  the last one counts
        pass
    if phrase is not None:
        before = _CLAUSE.split(text[max(0, phrase.start() - 200) : phrase.start()])[-1]
        if _DENIAL.search(before) or _DENIAL.search(phrase[0]):
            return Found(None, "the declared answer is denied")
        return _first_answer(text[phrase.end() : phrase.end() + 2 * LONGEST])
    whole = text.strip()
    if whole and "\n" not in whole and len(whole) <= 120:
        return Found(whole)
    if flexible:
        last = None
        for last in _LAST_NUMBER.finditer(text):  # noqa: B007
            pass
        if last is not None:
            return Found(last[0])
    return Found(None, "no answer is declared")


def _braced(text: str, start: int) -> str | None:
    """Return what stands between the brace before `start` and its partner, None without one in 4 x LONGEST."""
    depth = 1
    for i in range(start, min(len(text), start + 4 * LONGEST)):
        if text[i] in "{}" and text[i - 1] != "\\":
            depth += 1 if text[i] == "{" else -1
            if not depth:
                return text[start:i].strip()
    return None


def _first_answer(rest: str) -> Found:
    """Return the formula that `rest` begins with if only a unit follows it, else `rest` to the end of its sentence."""
    rest = rest.lstrip(" \t*_:").lstrip()
    end = _SENTENCE_END.search(rest)
    maths = _MATHS.match(rest)
    if maths is not None:
        after = rest[maths.end() :]
        end = _SENTENCE_END.search(after)
        after = after[: end.start()] if end else after
        inside = next(group for group in maths.groups() if group is not None)
        if _only_unit(" " + after.strip(" *_")):
            return Found(inside.strip())
        return Found(maths[0] + after)
    return Found((rest[: end.start()] if end else rest).strip(" \t*_\"'`"))


def tidy(answer: str) -> str:
    """Return the answer without formula signs around it, in plain characters, its spacing commands gone."""
    text = answer.translate(_FORMS).strip()
    while (m := _MATHS.fullmatch(text)) is not None:
        text = next(group for group in m.groups() if group is not None).strip()
    text = (
        re.sub(r"\\!\s*", "", text)
        .replace("{,}", ",")
        .replace("\\,", " ")
        .replace("\\;", " ")
        .replace("\\:", " ")
        .replace("\\ ", " ")
    )
    text = re.sub(r"\\(?:dfrac|tfrac|cfrac)(?![a-zA-Z])", r"\\frac", text)
    text = re.sub(r"\\(?:left|right|displaystyle|limits)(?![a-zA-Z])", "", text)
    text = re.sub(r"\\frac\s*(\{[^{}]*\}|[0-9])\s*(\{[^{}]*\}|[0-9])", _full_fraction, text)
    return re.sub(r"\s+", " ", text).strip().rstrip(".").strip()


def _full_fraction(match: re.Match[str]) -> str:
    top, bottom = match[1].strip("{}"), match[2].strip("{}")
    return f"\\frac{{{top}}}{{{bottom}}}"


def same_text(one: str, other: str) -> bool:
    """Return whether two tidied answers differ in spaces (not those between digits) and needless braces at most."""
    return _bare(one) == _bare(other)


@lru_cache(maxsize=4096)
def _bare(text: str) -> str:
    text = re.sub(r"(?<=\d)\s+(?=\d)", "\x1f", text)
    return re.sub(r"([_^])\{(\w)\}", r"\1\2", text).replace(" ", "")


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational number as it was written."""

    value: Fraction
    percent: bool
    decimal: bool
    """Written with a decimal point, so that it may stand for a rounded value."""


@lru_cache(maxsize=65536)
def number(answer: str, bare_units: bool = True) -> Number | None:
    r"""Return the number that the whole answer is, its unit set aside; None for anything else.

    Reads `1,234.5`, `-3/4`, `\frac{3}{4}`, `1 1/2`, `$18`, `90^\circ`, `15\text{ cm}^2`, `18%`, and with `bare_units`
    also `18 dollars` (in a right answer the letters after a number may be variables).
    """
    if len(answer) > LONGEST:
        return None
    text = tidy(answer)
    wrapped = _WRAPPED.fullmatch(text)
    text = wrapped[1].strip() if wrapped else text
    match = _NUMBER.match(text)
    if match is None or not _only_unit(rest := text[match.end() :], bare_units):
        return None
    get = match.groupdict()
    if (get["whole"] and get["a"] is None and get["d"] is None) or (get["sign"] and get["sign2"]):
        return None
    top, bottom = _fraction(get["a"] or get["c"]), _fraction(get["b"] or get["d"] or "1")
    if not bottom or (get["whole"] and not 0 <= top < bottom):
        return None
    value = top / bottom + int(get["whole"] or 0)
    if "-" in (get["sign"], get["sign2"]):
        value = -value
    decimal = any("." in (get[name] or "") for name in "abcd")
    return Number(value, "%" in rest or "percent" in rest.lower(), decimal)


def _fraction(text: str) -> Fraction:
    return Fraction(text.replace(",", "").rstrip("."))


def _only_unit(rest: str, bare: bool = True) -> bool:
    """Return whether only a unit follows: up to five words or signs, none that denies or changes a number."""
    at = 0
    for _ in range(6):
        if not rest[at:].strip(" .*_"):
            return True
        sign, word = _SIGN.match(rest, at), _WORD.match(rest, at)
        match = sign or word
        if match is None or (word and not bare):
            return False
        named = re.findall(r"[a-z]+", ((sign[1] or "") if sign else match[2]).lower())
        if any(name in _NOT_UNITS for name in named):
            return False
        if word and not word[1] and len(word[2]) < 3 and named[0] not in _SHORT_UNITS:
            return False
        at = match.end()
    return False


_WORDS = re.compile(r"[^\W\d_]{2,}")
_WRAPPED = re.compile(r"\\(?:text|mbox|mathrm|textbf|mathbf|textrm)\s*\{([^{}]*)\}")
_NUMBER_WORD = re.compile(
    r"\b(?:hundred|thousand|million|billion|trillion|dozens?|score|half|halves|thirds?|quarters?|pairs?)\b",
    re.IGNORECASE,
)


@lru_cache(maxsize=4096)
def words(answer: str) -> str | None:
    r"""Return the answer in lower case if it is words (`Evelyn`, `\text{(C)}`), None if it is a formula."""
    text = tidy(answer)
    wrapped = _WRAPPED.fullmatch(text)
    inner = (wrapped[1] if wrapped else text).strip()
    option = re.fullmatch(r"\(?([A-Z])\)?", inner)
    if option and (wrapped or inner.startswith("(")):
        return option[1].lower()
    if re.fullmatch(r"[^\W\d_]{2,}(?:[ '.-]+[^\W\d_]+)*", inner):
        return " ".join(inner.lower().split())
    return None


def danger(answer: str) -> str | None:
    """Return why an answer is not worth handing to a parser, None if it is.

    Powers of a thousand and more, powers of powers, factorials of what is not a small number, and depth cost a computer
    algebra system minutes; prose makes it multiply letters.
    """
    if len(answer) > LONGEST:
        return f"the answer is longer than {LONGEST} characters"
    if _INVISIBLE.search(answer):
        return "invisible characters in the answer"
    if re.search(r"[0-9]{61}", answer):
        return "more than 60 digits in a row"
    if _depth(answer) > 20:
        return "brackets more than 20 deep"
    for power in re.finditer(r"(?:\^|\*\*)\s*(?:\{([^{}]*)(\})?|\(([^()]*)\)?|(-?\d+|.))", answer, re.DOTALL):
        exponent = next((group for i, group in enumerate(power.groups()) if group is not None and i != 1), "")
        tower = re.search(r"\^|\*\*|!", exponent) or (power[1] is not None and power[2] is None)
        if tower and not re.search("[A-Za-z]", exponent):
            return "a power of a power"
        if any(int(digits) >= 1000 for digits in re.findall(r"\d+", exponent)):
            return "a power of 1000 or more"
        if re.match(r"\s*(?:\^|\*\*)", answer[power.end() :]):
            return "a power of a power"
    for factorial in re.finditer(r"(\d*)\s*!", answer):
        if not factorial[1] or int(factorial[1]) > 1000:
            return "a factorial of a large number"
    values = {side.value for part in re.split(r"(?<![<>!\\])=", answer) if (side := number(part)) is not None}
    if len(values) > 1:
        return "an equation of different numbers"
    plain = re.sub(r"\\(?:begin|end)\s*\{[a-zA-Z]*\*?\}", " ", _WRAPPED.sub(" ", answer))
    if _NUMBER_WORD.search(answer):
        return "a number word in the answer"
    if re.search(r"\d\s+\d", re.sub(r"\\\\|&", ";", plain)) and not re.search(r"\\frac\s*\d\s+\d", plain):
        return "numbers side by side"
    if len(_WORDS.findall(re.sub(r"\\[a-zA-Z]+", " ", plain))) > 1:
        return "prose, not a formula"
    return None


def values_before(answer: str) -> tuple[str, ...]:
    r"""Return the sides of an equation before its last one that are values: `2+2` of `x = 2+2 = 4`, not `x`."""
    sides = [side.strip() for side in re.split(r"(?<![<>!\\])=", answer)]
    return tuple(side for side in sides[:-1] if side and not has_letters(side))


def has_letters(text: str) -> bool:
    """Return whether words or variables remain when commands and an imaginary unit after a digit are set aside."""
    plain = re.sub(r"\\(?:begin|end)\s*\{[a-zA-Z]*\*?\}", " ", text)
    plain = re.sub(r"(?<=\d)i(?![a-zA-Z])", "", re.sub(r"\\(?!text|mbox|math)[a-zA-Z]+", " ", plain))
    return re.search(r"[^\W\d_]", plain) is not None


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest
