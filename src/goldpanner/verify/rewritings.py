r"""Other spellings of an answer, and near misses in the same spellings: what a verifier is rehearsed with.

A spelling says the same (`36/2` for `18`, `\left( 2, 4 \right)` for `(2,4)`): a verifier must not call it WRONG. A near
miss says something else (19, -18, (4,2)): in no spelling may it be CORRECT.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction

from goldpanner.verify.answers import Items, Matrix, Option, Spans, Text, Value, When
from goldpanner.verify.evaluate import exact_value
from goldpanner.verify.references import Reference, right_answer

Rewrite = Callable[[str], str | None]
"""Makes another text of an answer; None where it has no such spelling."""
_DIGITS = {ord(str(d)): chr(0xFF10 + d) for d in range(10)}


def _if(pattern: str, replacement: str) -> Rewrite:
    """Return the rewriting that replaces a pattern, None where there is none."""
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(replacement, text) if compiled.search(text) else None


AROUND: dict[str, Rewrite] = {
    "as it stands": str,
    "dollars": lambda t: f"${t}$",
    "two dollars": lambda t: f"$${t}$$",
    "round brackets of TeX": lambda t: f"\\({t}\\)",
    "square brackets of TeX": lambda t: f"\\[{t}\\]",
    "braces": lambda t: f"{{{t}}}",
    "spaces": lambda t: f"  {t}  ",
    "lines": lambda t: f"\n{t}\n",
    "full stop": lambda t: f"{t}.",
    "bold": lambda t: f"**{t}**",
    "underscores": lambda t: f"__{t}__",
    "display style": lambda t: f"\\displaystyle {t}",
    "no-break spaces": lambda t: f"\u00a0{t}\u00a0",
    "thin spaces": lambda t: f"\\,{t}\\,",
    "wide spaces": lambda t: f"\\;{t}\\quad",
    "dollars and spaces": lambda t: f"$ {t} $",
    "bold dollars": lambda t: f"**${t}$**",
    "full stop in dollars": lambda t: f"${t}.$",
    "bold and slanted": lambda t: f"***{t}***",
    "two boxes": lambda t: f"\\boxed{{{t}}}",
    "a label": lambda t: f"\\text{{Answer: }}{t}",
}
"""Spellings of an answer of any type."""
INSIDE: dict[str, Rewrite] = {
    "wide digits": lambda t: t.translate(_DIGITS) if re.search(r"\d", t) and "\\" not in t else None,
    "a minus sign": _if("-", "\u2212"),
    "dfrac": _if(r"\\[dt]?frac", r"\\dfrac"),
    "tfrac": _if(r"\\[dt]?frac", r"\\tfrac"),
    "spaces after fractions": _if(r"\\frac\{", r"\\frac {"),
    "left and right": lambda t: (
        re.sub(r"(?<!\\left)\(", r"\\left(", re.sub(r"(?<!\\right)\)", r"\\right)", t))
        if "(" in t and "[" not in t and "]" not in t
        else None
    ),
    "no left and right": _if(r"\\(?:left|right)", ""),
    "spaces after commas": _if(r",\s*(?!\\!|[0-9]{3}(?![0-9]))", ", "),
    "no spaces after commas": _if(r",\s+(?![0-9]{3}(?![0-9]))", ","),
    "braces around exponents": _if(r"\^([0-9a-z])(?![0-9])", r"^{\1}"),
    "a root sign": _if(r"\\sqrt\{([0-9]+)\}", r"√{\1}"),
    "a pi": _if(r"\\pi(?![A-Za-z])", "π"),
    "times": _if(r"(?<=[0-9])(?=\\(?:sqrt|pi))", r" \\cdot "),
    "an infinity sign": _if(r"\\infty", "∞"),
    "spaces around signs": _if(r"(?<=[0-9a-z}])(?<![0-9]e)([-+])(?=[0-9a-z\\])", r" \1 "),
    "no spaces around signs": _if(r"(?<=[0-9a-z}]) ([-+]) (?=[0-9a-z\\])", r"\1"),
}
"""Spellings of parts of an answer."""


def _number(value: Fraction) -> str:
    if value.denominator == 1:
        return str(value.numerator)
    return f"{'-' if value < 0 else ''}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"


def _decimal(value: Fraction) -> str | None:
    """Return a fraction as a decimal, its period under a line: `0.1\\overline{6}`."""
    whole, rest = divmod(abs(value), 1)
    digits, seen = "", {}
    numerator = rest.numerator * (value.denominator // rest.denominator)
    while numerator and numerator not in seen and len(digits) < 40:
        seen[numerator] = len(digits)
        digit, numerator = divmod(numerator * 10, value.denominator)
        digits += str(digit)
    if not digits or len(digits) == 40:
        return None
    sign = "-" if value < 0 else ""
    if not numerator:
        return f"{sign}{whole}.{digits}"
    at = seen[numerator]
    return f"{sign}{whole}.{digits[:at]}\\overline{{{digits[at:]}}}"


def _numbers(value: Fraction) -> Iterator[tuple[str, str | None]]:
    """Yield spellings of a rational number."""
    plain, whole = _number(value), value.denominator == 1
    n = int(value) if whole else 0
    yield "fraction", plain
    yield "fraction times three", _number(value) if not whole else f"\\frac{{{3 * n}}}{{3}}"
    yield "slash", f"{value.numerator}/{value.denominator}" if not whole else f"{2 * n}/2"
    yield "fraction not reduced", f"\\frac{{{2 * value.numerator}}}{{{2 * value.denominator}}}"
    yield "decimal", f"{n}.00" if whole else _decimal(value)
    yield "sum", f"{_number(value - 7)} + 7"
    yield "difference", f"{_number(value + 5)} - 5"
    yield "equation", f"x = {plain}"
    yield "equation of values", f"x = {_number(value - 1)} + 1 = {plain}"
    yield "words around it", f"\\text{{total}} = {plain}"
    yield "bold in TeX", f"\\mathbf{{{plain}}}" if whole else None
    yield "as text", f"\\text{{{n}}}" if whole else None
    yield "brackets", f"({plain})"
    yield "product", f"\\frac{{1}}{{2}} \\cdot ({_number(2 * value)})"
    yield "power", f"({plain})^1"
    yield "thousands", f"{n:,}" if whole and abs(n) > 999 else None
    yield "thousands in braces", f"{n:,}".replace(",", "{,}") if whole and abs(n) > 999 else None
    yield "thousands by thin spaces", f"{n:,}".replace(",", "\\,") if whole and abs(n) > 999 else None
    yield "plus sign", f"+{plain}" if value > 0 else None
    yield (
        "scientific",
        f"{n / 10 ** (len(str(abs(n))) - 1):.15g} \\times 10^{{{len(str(abs(n))) - 1}}}"
        if whole and 9 < abs(n) < 10**15
        else None,
    )
    yield "e-notation", f"{n}e0" if whole else None
    yield "root of the square", f"\\sqrt{{{n * n}}}" if whole and n >= 0 else None
    yield "base ten", f"{n}_{{10}}" if whole and n >= 0 else None
    yield "per cent", f"{_number(100 * value)}\\%" if (100 * value).denominator == 1 else None
    mixed, rest = divmod(abs(value), 1)
    sign = "-" if value < 0 else ""
    yield "mixed number", f"{sign}{mixed}\\frac{{{rest.numerator}}}{{{rest.denominator}}}" if mixed and rest else None
    yield "mixed number, slash", f"{sign}{mixed} {rest.numerator}/{rest.denominator}" if mixed and rest else None


def _options(letter: str) -> Iterator[tuple[str, str | None]]:
    for name, form in (
        ("alone", "{}"), ("brackets", "({})"), ("text", "\\text{{{}}}"), ("text in brackets", "\\text{{({})}}"),
        ("bold in TeX", "\\textbf{{({})}}"), ("roman", "\\mathrm{{{}}}"), ("math bold", "\\mathbf{{{}}}"),
        ("full stop", "{}."), ("bracket after", "{})"), ("with its text", "{}. 12"), ("with a formula", "({}) $x^2$"),
        ("colon", "{}: yes"), ("option", "option {}"), ("Option", "Option ({})"), ("choice", "choice {}"),
        ("text and value", "\\text{{({}) }} \\frac{{1}}{{2}}"), ("bold", "**({})**"), ("box of text", "\\text{{{}.}}"),
    ):  # fmt: skip
        yield name, form.format(letter)
    yield "small letter", letter.lower()


def _texts(text: str) -> Iterator[tuple[str, str | None]]:
    inner = re.sub(r"\\(?:text|mbox)\{([^{}]*)\}", r"\1", text).strip()
    for name, form in (
        ("plain", "{}"), ("text", "\\text{{{}}}"), ("mbox", "\\mbox{{{}}}"), ("textbf", "\\textbf{{{}}}"),
        ("article", "the {}"), ("article in text", "\\text{{the {}}}"), ("roman", "\\mathrm{{{}}}"), ("quotes", '"{}"'),
        ("spaced text", "\\text{{ {} }}"), ("textit", "\\textit{{{}}}"),
    ):  # fmt: skip
        yield name, form.format(inner)
    yield "capitals", inner.upper()
    yield "small", inner.lower()


def spellings(text: str) -> Iterator[tuple[str, str]]:
    """Yield (name, text) for spellings of a right answer, each once; none for one that cannot be read."""
    answer = right_answer(text)
    if answer is None:
        return
    seen = set()
    for name, spelled in _spellings(answer):
        if spelled is not None and spelled not in seen:
            seen.add(spelled)
            yield name, spelled


def _spellings(reference: Reference) -> Iterator[tuple[str, str | None]]:
    text, answer = reference.text, reference.answer
    yield from ((name, rewrite(text)) for name, rewrite in AROUND.items())
    if isinstance(answer, Option):
        yield from _options(answer.letter)
        return
    if isinstance(answer, Text | When):
        yield from _texts(text)
        return
    yield from ((name, rewrite(text)) for name, rewrite in INSIDE.items())
    if isinstance(answer, Value):
        yield from _valued(text, answer)
    elif isinstance(answer, Items):
        yield from _listed(text, answer)
    elif isinstance(answer, Spans):
        yield "membership", f"x \\in {text}" if "x" not in text else None
    elif isinstance(answer, Matrix):
        yield "square brackets", text.replace("pmatrix", "bmatrix")
        yield "array", re.sub(r"\\begin\{pmatrix\}(.*?)\\end\{pmatrix\}", _array, text, flags=re.DOTALL)
        yield "no spaces", re.sub(r"\s*(&|\\\\)\s*", r"\1", text)
        yield "line breaks", re.sub(r"\\\\\s*", "\\\\\\\\\n", text)


def _array(match: re.Match[str]) -> str:
    columns = "c" * (match[1].split("\\\\")[0].count("&") + 1)
    return f"\\left(\\begin{{array}}{{{columns}}}{match[1]}\\end{{array}}\\right)"


def _valued(text: str, answer: Value) -> Iterator[tuple[str, str | None]]:
    value = exact_value(answer.node)
    if value is not None and answer.node.op != "based":
        yield from ((name, text) for name, text in _numbers(value) if name != "per cent" or not answer.percent)
    elif answer.node.op != "based":
        yield "plus zero", f"{text} + 0" if answer.unit is None else None
        yield "once", f"1 \\cdot ({text})" if answer.unit is None and not answer.name else None
        yield "named", f"f = {text}" if not answer.name else None
        yield "halved and doubled", f"\\frac{{2({text})}}{{2}}" if answer.unit is None and not answer.name else None
    else:
        yield "braces around the base", re.sub(r"_\{?([0-9]+)\}?", r"_{\1}", text)
        yield "base as text", re.sub(r"_\{?([0-9]+)\}?", r"_{\\text{\1}}", text)


def _listed(text: str, answer: Items) -> Iterator[tuple[str, str | None]]:
    inner = re.fullmatch(r"(?:\\left)?\(?(.*?)(?:\\right)?\)?", text, re.DOTALL)
    parts = [part.strip() for part in inner[1].split(",")] if inner else []
    if answer.type == "list" and len(parts) > 1:
        yield "another order", ", ".join(parts[::-1])
        yield "and", " \\text{ and } ".join(parts)
        yield "in braces", f"\\{{{text}\\}}"
        yield "or", " \\text{ or } ".join(f"x = {part}" for part in parts)
    if answer.type == "tuple":
        yield "named", f"P = {text}"


# --- near misses


def near_misses(text: str, others: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Yield (name, text) for wrong answers near to a right one; `others` are right answers of other problems."""
    answer = right_answer(text)
    if answer is None:
        return
    for name, near in _near(answer, others):
        if near is not None and near != answer.text:
            yield name, near


def _near(reference: Reference, others: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    text, answer = reference.text, reference.answer
    if isinstance(answer, Option):
        after = chr((ord(answer.letter[0]) - 64) % 26 + 65)
        yield "next letter", after + answer.letter[1:]
        yield "one letter more", ", ".join([*answer.letter, after]) if after not in answer.letter else None
    elif isinstance(answer, Text):
        yield from (("another", other) for other in others[:3])
        yield "denied", f"not {' '.join(answer.words)}"
    elif isinstance(answer, When):
        yield "next", _bumped(text, -1)
        yield "other half", re.sub(r"a(?=\.?m)", "p", text) if re.search(r"a\.?m", text) else None
    elif isinstance(answer, Value) and exact_value(answer.node) is not None:
        yield from _near_number(text, answer)
    elif isinstance(answer, Value):
        yield "one more", f"{text} + 1" if answer.unit is None else None
        yield "negative", f"-({text})" if answer.unit is None and not answer.name else None
        yield "double", f"2({text})" if answer.unit is None and not answer.name else None
        yield "a number changed", _bumped(text, 0)
    elif isinstance(answer, Matrix):
        yield from _near_matrix(text)
    elif isinstance(answer, Spans):
        yield from _near_interval(text, answer)
    else:
        yield "first number changed", _bumped(text, 0)
        yield "last number changed", _bumped(text, -1)
        if answer == Items((), "{}"):
            yield "not empty", "\\{0\\}"
        elif isinstance(answer, Items):
            yield from _near_items(text, answer)


def _near_number(text: str, answer: Value) -> Iterator[tuple[str, str | None]]:
    value = exact_value(answer.node)
    assert value is not None
    if answer.node.op == "based":
        yield "another base", re.sub(r"_\{?[0-9]+\}?", "_{11}", text)
        yield "next", _bumped(text, 0)
        return
    yield "one more", _number(value + 1)
    yield "negative", _number(-value) if value else None
    yield "tenfold", _number(10 * value) if value else None
    yield "a millionth more", _number(value + Fraction(1, 10**5) * max(abs(value), Fraction(1)))
    yield "turned over", _number(1 / value) if value and abs(value) != 1 else None
    digits, sign = str(abs(value.numerator)), "-" if value < 0 else ""
    swapped = digits[:-2] + digits[-1] + digits[-2] if len(digits) > 1 else digits
    if swapped != digits:
        yield "digits swapped", _number(Fraction(int(sign + swapped), value.denominator))


def _near_matrix(text: str) -> Iterator[tuple[str, str | None]]:
    parts = re.fullmatch(r"(\\begin\{\w+\})(.*)(\\end\{\w+\})", text, re.DOTALL)
    if parts is None:
        yield "first number changed", _bumped(text, 0)
        return
    start, inner, end = parts.groups()
    rows = [[cell.strip() for cell in row.split("&")] for row in inner.split("\\\\") if row.strip()]

    def matrix(rows: Sequence[Sequence[str]]) -> str:
        return start + " \\\\ ".join(" & ".join(row) for row in rows) + end

    yield "transposed", matrix(list(zip(*rows))) if rows != [list(column) for column in zip(*rows)] else None
    yield "rows turned", matrix(rows[::-1]) if rows != rows[::-1] else None
    yield "a row less", matrix(rows[:-1]) if len(rows) > 1 else None
    yield "an entry changed", matrix([[f"{rows[0][0]}+1", *rows[0][1:]], *rows[1:]])
    yield (
        "a sign changed",
        matrix([*rows[:-1], [*rows[-1][:-1], f"-({rows[-1][-1]})"]]) if rows[-1][-1] != "0" else None,
    )
    yield "one row", matrix([[cell for row in rows for cell in row]]) if len(rows) > 1 else None


def _near_interval(text: str, answer: Spans) -> Iterator[tuple[str, str | None]]:
    yield "closed at the left", re.sub(r"\(", "[", text, count=1) if "\\infty" not in text.split(",")[0] else None
    yield "open at the right", re.sub(r"\](?=[^\]]*$)", ")", text) if "]" in text else None
    yield (
        "strict",
        re.sub(r"\\[gl]eq?", lambda m: "<" if "l" in m[0] else ">", text) if re.search(r"\\[gl]e", text) else None,
    )
    yield "an end changed", _bumped(text, -1)
    yield "half a line", "(0, \\infty)" if len(answer.spans) == 1 and "R" in text else None
    yield "one interval less", text.split("\\cup")[0] if "\\cup" in text else None
    endless = any(node.name == "inf" for span in answer.spans for node in span.high.walk())
    yield "an interval more", f"{text} \\cup (1000, 1001)" if not endless and "\\in" not in text else None


def _near_items(text: str, answer: Items) -> Iterator[tuple[str, str | None]]:
    if answer.type == "list":
        yield "one less", text.rpartition(",")[0] or None
        yield "one more", f"{text}, 1009"
    elif answer.type == "tuple":
        inner = re.sub(r"\\left|\\right|[()]", "", text)
        parts = [part.strip() for part in inner.split(",")]
        swapped = [parts[1], parts[0], *parts[2:]] if len(parts) > 1 and parts[0] != parts[1] else None
        yield "two swapped", f"({', '.join(swapped)})" if swapped else None
        yield "one less", f"({', '.join(parts[:-1])})" if len(parts) > 2 else None
        yield "a sign changed", f"({', '.join([*parts[:-1], f'-({parts[-1]})'])})" if parts[-1] != "0" else None


def _bumped(text: str, which: int) -> str | None:
    """Return a text with its first (0) or last (-1) number raised by one."""
    numbers = list(re.finditer(r"(?<![0-9.])[0-9]+(?![0-9.])", text))
    if not numbers:
        return None
    match = numbers[which]
    return f"{text[: match.start()]}{int(match[0]) + 1}{text[match.end() :]}"


def rehearsal_pairs(text: str, others: Sequence[str] = ()) -> Iterator[tuple[str, str, bool]]:
    """Yield (name, text, right): the spellings of an answer, and its near misses in their own spellings."""
    yield from ((name, spelled, True) for name, spelled in spellings(text))
    for name, near in near_misses(text, others):
        if right_answer(near) is None:
            yield f"{name}, as it stands", near, False
        else:
            for spelling, spelled in spellings(near):
                if spelling != "per cent":  # 0.1 as 10% is 10 with a sign that is set aside
                    yield f"{name}, {spelling}", spelled, False
