r"""An answer as tokens: TeX, plain text and typographic signs brought into one form.

Normalising works on tokens, so that a rule about `\ ` never eats half of `\\ `. Time is linear in the text.
"""

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

LONGEST = 2000
"""Characters of an answer that are read at most."""


class Token(NamedTuple):
    """One sign of an answer."""

    kind: str
    """`number`, `letters` (a run of them), `text` (of a `\\text{...}`), `command` (its name), or `sign`."""
    text: str
    gap: bool = False
    """Whether white space stands before it."""


# Full-width ASCII and typographic signs are other forms of the same text. Unicode's own compatibility form is not
# used: it turns 10² into 102 and 1½ into 11/2.
_FORMS: dict[int, str] = {0xFF01 + i: chr(0x21 + i) for i in range(94)}
_FORMS |= {ord(c): " " for c in "\u00a0\u2002\u2003\u2004\u2005\u2007\u3000"}
_FORMS |= {ord(c): "\\," for c in "\u2006\u2008\u2009\u200a\u202f"}
_FORMS |= {ord(c): "-" for c in "\u2212\u2010\u2011\u2012\u2013\ufe63"} | {0x2044: "/", 0x2215: "/"}
_FORMS |= {ord(c): f"^{{{d}}}" for d, c in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")} | {
    ord(c): f"_{{{d}}}" for d, c in enumerate("₀₁₂₃₄₅₆₇₈₉")
}
_FORMS |= {
    ord(c): f"\\frac{{{a}}}{{{b}}}"
    for c, a, b in ("½12", "⅓13", "⅔23", "¼14", "¾34", "⅕15", "⅖25", "⅗35", "⅘45", "⅙16", "⅛18")
}
_FORMS |= {
    ord(sign): f"\\{name} "
    for sign, name in {
        "π": "pi", "√": "sqrt", "×": "times", "·": "cdot", "⋅": "cdot", "∙": "cdot", "÷": "div", "≤": "le", "≥": "ge",
        "≠": "ne", "∞": "infty", "∪": "cup", "∩": "cap", "∅": "emptyset", "∈": "in", "±": "pm", "∓": "mp", "ℝ": "reals",
        "≈": "approx", "⟨": "langle", "⟩": "rangle", "α": "alpha", "β": "beta", "γ": "gamma", "θ": "theta",
        "λ": "lambda", "φ": "phi", "ω": "omega", "…": "ldots",
    }.items()
}  # fmt: skip
_FORMS |= {ord("°"): "^\\circ ", ord("′"): "'", ord("’"): "'", ord("‘"): "'"}

INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff\u00ad\x00-\x08\x0e-\x1f]")

_THIN = r"(?:\\,|\\:|\\;)"
_GROUPED = r"\{,\}|\\!,(?:\\!)?|,\\!"
"""What groups digits in threes and can be nothing else, but for a decimal comma in braces."""
_TEXT = r"\\(?:text(?:rm|bf|it|sf|tt|normal)?|mbox|hbox|emph|mathrm|mathbf|mathit|mathsf|operatorname|boldsymbol|bm)\*?"
_REPEAT = r"\\(?:overline|bar|dot)\s*(?:\{\s*[0-9]+\s*\}|[0-9])"
_LEX = re.compile(
    rf"""(?P<gap>(?:\s|~|\\[,;:!>\ ]|\\q?quad(?![A-Za-z])
        |\\(?:left|right|middle|[bB]igg?[lrm]?|displaystyle|textstyle|limits)(?![A-Za-z])\.?)+)
    |(?P<number>(?:(?P<whole>[0-9]{{1,3}}(?:(?:{_GROUPED})\s*[0-9]{{3}})+(?![0-9])
        |[0-9]{{1,3}}(?:{_THIN}[0-9]{{3}})+(?![0-9])
        |[0-9]{{1,3}}(?:,[0-9]{{3}})+(?![0-9])
        |[0-9]+)(?:\{{,\}}(?P<comma>[0-9]+))?(?P<point>\.[0-9]*(?P<repeat>{_REPEAT})?)?|(?P<bare>\.[0-9]+))
        (?P<power>[eE][-+]?[0-9]{{1,4}}(?![A-Za-z0-9]|\.[0-9]))?)
    |{_TEXT}\s*\{{(?P<text>[^{{}}]*)\}}
    |\\(?P<command>[A-Za-z]+|.)
    |(?P<letters>[A-Za-z]+)
    |(?P<sign>.)""",
    re.VERBOSE | re.DOTALL,
)
_MATHS = re.compile(r"\$\$(.+?)\$\$|\$(?=\S)([^$]*[^$\s])\$(?![0-9])|\\\((.+?)\\\)|\\\[(.+?)\\\]", re.DOTALL)
_TEMPERATURE = re.compile(r"\^\{?\s*\\circ\s*\}?\s*(?:\\(?:text|mathrm)\s*\{\s*)?(C|F)\b\s*\}?")
_ALONE = re.compile(r"\$((?:[^$\\]|\\.)*)\$", re.DOTALL)
_ALIASES = {
    "dfrac": "frac", "tfrac": "frac", "cfrac": "frac", "leq": "le", "leqslant": "le", "geq": "ge", "geqslant": "ge",
    "neq": "ne", "lt": "<", "gt": ">", "varnothing": "emptyset", "lbrace": "{", "rbrace": "}", "lbrack": "[",
    "rbrack": "]", "ast": "*", "colon": ":", "lvert": "|", "rvert": "|", "vert": "|", "dots": "ldots",
    "cdots": "ldots", "lor": "or", "vee": "or", "land": "and", "wedge": "and",
}  # fmt: skip

FUNCTIONS = frozenset(
    re.findall(
        r"\w+",
        """sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh ln log exp abs floor ceil gcd lcm max min""",
    )
)
"""Functions, as TeX commands or in plain text."""
CONSTANTS = {"pi": "pi", "e": "e", "i": "i", "infty": "inf", "infinity": "inf"}
"""Names of constants, and what a formula calls them."""
GREEK = frozenset(
    re.findall(
        r"\w+",
        """alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi
        varphi chi psi omega Gamma Delta Theta Lambda Phi Psi Omega ell""",
    )
)
"""Letters that TeX writes as commands: variables."""
MARKS = frozenset(re.findall(r"\w+", "overline bar vec hat angle triangle widehat overrightarrow tilde dot"))
"""Marks on a name: what they say is not computed."""


def plain(text: str) -> str:
    """Return the text in ordinary characters, without the signs that begin and end a formula."""
    text = text.translate(_FORMS).replace("<=", "\\le ").replace(">=", "\\ge ").replace("...", "\\ldots ")
    if "circ" in text:
        text = _TEMPERATURE.sub(lambda m: r"\text{ celsius}" if m[1] == "C" else r"\text{ fahrenheit}", text)
    while (without := _MATHS.sub(lambda m: " " + next(g for g in m.groups() if g is not None) + " ", text)) != text:
        text = without
    text = text.strip()
    if len(text) > 2 and text[0] == text[-1] and text[0] in "`\"'" and text[0] not in text[1:-1]:
        text = text[1:-1].strip()
    alone = _ALONE.fullmatch(text)
    return alone[1].strip() if alone else text


@lru_cache(maxsize=8192)
def tokens(text: str) -> tuple[Token, ...]:
    r"""Return the tokens of an answer, spacing gone but for `gap`, a full stop at the end dropped.

    `\text{18}` and `\mathbf{x}` stand for what is in them; a number is one token, `1,234`, `1{,}234` and `1\,234` too.
    A comma within brackets separates: `(1,234)` is a pair.
    """
    stream = _lex(plain(text))
    while stream and stream[-1].text in (".", ",", ";") and stream[-1].kind == "sign":
        stream.pop()
    return tuple(stream)


def _lex(text: str) -> list[Token]:
    stream: list[Token] = []
    gap, at, depth = False, 0, 0
    while (match := _LEX.match(text, at)) is not None:
        at = match.end()
        if match["gap"] is not None:
            gap = True
            continue
        if match["text"] is not None:
            stream += _of_text(match["text"], gap)
        elif match["command"] is not None:
            name = _ALIASES.get(match["command"], match["command"])
            kind = "command" if len(name) > 1 or name == "\\" else "sign"
            stream.append(Token(kind, "\\" + name if name in "{}" else name, gap))
        elif match["number"] is not None and depth and re.search(r"[0-9],[0-9]", match["number"]):
            digits = match["number"].partition(",")[0]
            stream.append(Token("number", digits, gap))
            at = match.start() + len(digits)
        elif match["power"] is not None and stream and stream[-1].text in ("frac", "sqrt", "binom"):
            at = match.start("power")  # one over e, and what follows: no power of ten
            stream.append(Token("number", match[0][: at - match.start()], gap))
        elif match["number"] is not None:
            stream.append(Token("number", _number(match), gap))
        else:
            kind = "letters" if match["letters"] else "sign"
            stream.append(Token(kind, match[0], gap))
        last = stream[-1].text if stream else ""
        depth = max(0, depth + (last in _OPEN) - (last in _CLOSE))
        gap = False
    return stream


_OPEN, _CLOSE = ("(", "[", "\\{", "langle"), (")", "]", "\\}", "rangle")


def _of_text(inside: str, gap: bool) -> list[Token]:
    """Return the tokens of a `\\text{...}`: words as one, what is no word as if it stood there."""
    words = " ".join(inside.replace("\\", " ").replace("~", " ").split())
    if re.match(r"[-+$]?[0-9.]", words) and re.search(r"[^\W\d_]", words):
        return _lex(words)  # 18 apples
    if re.search(r"[^\W\d_]", words) and not re.fullmatch(r"[eid]|\(?[A-Z]\)?", words):
        return [Token("text", words, gap)]
    return [Token("sign", "{", gap), *_lex(words), Token("sign", "}")] if words else []


def _number(match: re.Match[str]) -> str:
    """Return a number in one spelling: digits, a point, repeating digits in brackets, a power of ten."""
    whole = re.sub(r"[^0-9]", "", match["whole"] or "0")
    point, _, repeat = (match["point"] or match["bare"] or "." * bool(match["comma"])).partition("\\")
    repeat = re.sub(r"[^0-9]", "", repeat)
    if point == "." and not repeat and not match["comma"]:
        point = ""  # a full stop
    return whole + point + (match["comma"] or "") + (f"({repeat})" if repeat else "") + (match["power"] or "").lower()


def number_value(number: str) -> Fraction:
    """Return the value of a number token, exactly."""
    digits, _, power = number.partition("e")
    digits, _, repeat = digits.rstrip(")").partition("(")
    whole, _, after = digits.partition(".")
    value = Fraction(int(whole + after), 10 ** len(after))
    if repeat:
        value += Fraction(int(repeat), (10 ** len(repeat) - 1) * 10 ** len(after))
    return value * Fraction(10) ** int(power or 0)


def written(stream: Sequence[Token]) -> str:
    """Return tokens in one spelling, without spaces and without braces around a single sign."""
    parts: list[str] = []
    for i, token in enumerate(stream):
        around = (
            stream[i - 1 : i + 2]
            if token.text not in "{}"
            else stream[i : i + 3]
            if token.text == "{"
            else stream[i - 2 : i + 1]
        )
        if token.text in ("{", "}") and [t.text for t in around[::2]] == ["{", "}"] and _single(around[1]):
            continue
        parts.append(f"\\{token.text} " if token.kind == "command" else token.text)
        if token.kind == "number":
            parts.append(" ")
    return "".join(parts)


def _single(token: Token) -> bool:
    return token.kind in ("number", "command") or len(token.text) == 1


# --- the structure of tokens

PAIRS = {"(": ")", "[": "]", "\\{": "\\}", "langle": "rangle", "{": "}"}
"""What opens a bracket, and what closes it."""
_ENDS = frozenset({*PAIRS.values(), "end"})


def _outside(stream: Sequence[Token], signs: Sequence[str]) -> Iterator[tuple[Token, bool]]:
    """Yield each token with whether it is one of the signs and stands in no brackets."""
    depth = 0
    for token in stream:
        opens, ends = token.text in PAIRS or token.text == "begin", token.text in _ENDS
        depth += opens - ends
        yield token, depth == 0 and token.text in signs and not ends


def split(stream: Sequence[Token], separators: Sequence[str]) -> list[list[Token]]:
    """Return the parts of tokens between separators that stand in no brackets."""
    parts: list[list[Token]] = [[]]
    for token, separates in _outside(stream, separators):
        if separates:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def separators_in(stream: Sequence[Token], separators: Sequence[str]) -> list[str]:
    """Return the separators that stand in no brackets, in their order."""
    return [token.text for token, separates in _outside(stream, separators) if separates]


def without_braces(stream: Sequence[Token]) -> Sequence[Token]:
    """Return tokens without a pair of TeX's own braces around all of them."""
    while len(stream) > 1 and stream[0].text == "{" and closes(stream, 0) == len(stream) - 1:
        if len(split(stream[1:-1], (",",))) > 1:
            return [Token("sign", "\\{"), *stream[1:-1], Token("sign", "\\}")]
        stream = stream[1:-1]
    return stream


def closes(stream: Sequence[Token], start: int) -> int:
    """Return where the bracket at `start` is closed, -1 where it is not; the brackets of an interval may differ."""
    depth = 0
    for i in range(start, len(stream)):
        depth += (stream[i].text in PAIRS) - (stream[i].text in PAIRS.values())
        if not depth:
            return i
    return -1
