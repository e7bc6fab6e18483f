"""What stands after a number: its unit, or a word that changes its value.

The rule: a unit on one side alone is set aside (`18` is `18 dollars`); two known units of one kind are converted
(`5 cm` is `0.05 m`); known ones of different kinds are told apart (`15 cm`, `15 cm^2`); unknown words are set aside.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

from goldpanner.verify.tex import Token

_KINDS: dict[str, dict[str, Fraction | int]] = {
    "length": {
        "mm millimeter millimetre": Fraction(1, 1000), "cm centimeter centimetre": Fraction(1, 100),
        "m meter metre": 1, "km kilometer kilometre": 1000, "in inch inche": Fraction(254, 10000),
        "ft foot feet": Fraction(3048, 10000), "yd yard": Fraction(9144, 10000), "mi mile": Fraction(1609344, 1000),
    },
    "mass": {"mg milligram": Fraction(1, 1000), "g gram": 1, "kg kilogram": 1000},
    "weight": {"oz ounce": 1, "lb lbs": 16},
    "time": {
        "ms millisecond": Fraction(1, 1000), "s sec second": 1, "min minute": 60, "h hr hour": 3600, "day": 86400,
        "week": 604800,
    },
    "years": {"month": 1, "year yr": 12},
    "volume": {"ml mL milliliter millilitre": Fraction(1, 1000), "l L liter litre": 1},
    "money": {"$ dollar usd": 1, "cent ¢": Fraction(1, 100)},
    "euros": {"€ euro eur": 1}, "pounds sterling": {"£": 1}, "yen": {"¥ yen": 1},
    "celsius": {"celsius": 1}, "fahrenheit": {"fahrenheit": 1},
    "degrees": {"degree deg": 1}, "radians": {"rad radian": 1},
}  # fmt: skip
_UNITS = {
    name: (kind, Fraction(factor))
    for kind, units in _KINDS.items()
    for names, factor in units.items()
    for name in names.split()
}
_TIMES = {"hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12, "dozen": 12}
SHORT = frozenset(name for name in _UNITS if len(name) == 2) | {"am", "pm"}
"""Units of two letters: after a number they are no variables."""
_NO_UNITS = frozenset(
    re.findall(
        r"\w+",
        """not no nor never or and but if is are was were isn isnt aren wasn t than then to at about around
        approx approximately roughly nearly almost less more least most over under between plus minus
        divided false wrong incorrect either neither maybe perhaps except instead e i x y z n k pi sqrt sin
        cos tan log ln root mod base score half halves third thirds quarter quarters pair pairs factorial
        answer basis permille permil mille""",
    )
)
"""Words that are no unit: they deny the number, join it to another, or change it."""
_COMMANDS = frozenset(re.findall(r"\w+", "euro pounds square blacksquare qed checkmark degree celsius ohm Omega"))
"""TeX commands that may follow a number and leave it as it is."""
MOST = 6
"""Words of a unit at most."""
_WORD = re.compile(r"\s*(?:([^\W\d_]+|[$€£¥¢])\.?|(/)|\^\s*\{?\s*(-?[0-9])\s*\}?|(-))")


class Units(NamedTuple):
    """A unit of measurement."""

    kinds: tuple[tuple[str, int], ...]
    """What is measured, with its power: (("length", 1), ("time", -1)) for a speed."""
    factor: Fraction = Fraction(1)
    """How many units of the kind's first it is."""
    known: bool = True
    """Whether every word of it is known."""


class After(NamedTuple):
    """What the words after a number say."""

    unit: Units | None
    times: Fraction = Fraction(1)
    """What the number is multiplied by: 1000 for `18 thousand`."""
    percent: bool = False


def after(tokens: Sequence[Token]) -> After | None:
    """Return what stands after a number, None for what is no unit."""
    if any(token.kind == "command" and token.text not in _COMMANDS for token in tokens):
        return None
    return _after(" ".join(token.text for token in tokens)) if tokens else After(None)


@lru_cache(maxsize=1024)
def _after(text: str) -> After | None:
    kinds: dict[str, int] = {}
    factor, times, one, certain = Fraction(1), Fraction(1), Fraction(1), True
    sign = power = 1
    percent, last, words = False, "", 0
    text, at = re.sub(r"\bper cent\b", "percent", text), 0
    while text[at:].strip(" .,!*"):
        match = _WORD.match(text, at)
        if match is None:
            return None
        at = match.end()
        if match[4]:
            continue
        if match[3]:
            if not last:
                return None
            kinds[last] += sign * (int(match[3]) - 1)
            factor *= one ** (sign * (int(match[3]) - 1))
            continue
        word = (match[1] or "/").lower()
        words += 1
        if words > MOST or word in _NO_UNITS:
            return None
        if word in ("/", "per"):
            sign = -1
        elif word in ("square", "sq", "cubic", "cu"):
            power = 2 if word[0] == "s" else 3
        elif word in ("squared", "cubed"):
            if not last:
                return None
            kinds[last] += sign * (1 if word == "squared" else 2)
            factor *= one ** (sign * (1 if word == "squared" else 2))
        elif word in _TIMES or word.removesuffix("s") in _TIMES:
            if kinds or sign < 0:
                return None
            times *= _TIMES.get(word) or _TIMES[word.removesuffix("s")]
        elif word in ("percent", "percentage"):
            percent = True
        elif word not in ("unit", "units", "of", "point", "points"):
            unit = _UNITS.get(match[1] or "") or _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
            certain &= unit is not None
            last, one = unit or (word, Fraction(1))
            kinds[last] = kinds.get(last, 0) + sign * power
            factor *= one ** (sign * power)
            power = 1
    dimension = tuple(sorted((kind, n) for kind, n in kinds.items() if n))
    return After(Units(dimension, factor, certain) if dimension else None, times, percent)


MONEY = {sign: Units(((_UNITS[sign][0], 1),)) for sign in "$€£¥"}
"""By the sign before a number."""
DEGREES = Units((("degrees", 1),))
