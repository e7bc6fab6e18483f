"""Countdown: an expression of given numbers, each used once, that makes a target."""

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from goldpanner.types import Cause, Completion, Outcome, Problem, Verdict
from goldpanner.verify.base import counted, unjudged
from goldpanner.verify.declared import declared
from goldpanner.verify.tex import plain

_SIGNS = str.maketrans({"×": "*", "·": "*", "÷": "/", "[": "(", "]": ")", "{": "(", "}": ")"})
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


@dataclass(frozen=True)
class Countdown:
    """CORRECT if the declared expression uses each of `meta["numbers"]` once and equals `meta["target"]` exactly.

    Allowed are + - * / and brackets; `= target` may stand beside it. WRONG: an expression of other numbers, of
    another value, or with other operators. UNJUDGED: no expression declared, or a problem without numbers and target.
    """

    id: str = "countdown@2"

    def __call__(self, problem: Problem, completion: Completion) -> Verdict:
        """Judge; never raises."""
        text = counted(self.id, completion)
        if isinstance(text, Verdict):
            return text
        try:
            numbers, target = Counter(int(x) for x in problem.meta["numbers"]), int(problem.meta["target"])
        except (KeyError, TypeError, ValueError):
            return unjudged(self.id, "the problem has no meta['numbers'] and meta['target']")
        declaration = declared(text)
        if declaration.answer is None:
            return unjudged(self.id, declaration.reason, Cause.MODEL)
        text = _expression(declaration.answer)
        sides = [side.strip() for side in text.split("=")]
        expression = next((side for side in sides if re.search(r"[-+*/]", side)), sides[0])
        if len(text) > 200 or len(sides) > 2 or not re.fullmatch(r"[0-9+*/() -]+", expression):
            return unjudged(self.id, "the answer is no expression of numbers", Cause.MODEL, declaration.answer[:200])
        try:
            used: Counter[int] = Counter()
            value = _value(ast.parse(expression, mode="eval").body, used)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return Verdict(Outcome.WRONG, self.id, expression, f"no allowed expression: {error}"[:200])
        except ZeroDivisionError:
            return Verdict(Outcome.WRONG, self.id, expression, "a division by zero")
        if used != numbers:
            return Verdict(
                Outcome.WRONG, self.id, expression, f"it does not use each of {sorted(numbers.elements())} once"
            )
        if value != target:
            return Verdict(Outcome.WRONG, self.id, expression, f"it makes {value}, not {target}")
        if any(side != str(target) for side in sides if side != expression):
            return Verdict(Outcome.WRONG, self.id, text, f"the equation is false: it makes {target}")
        return Verdict(Outcome.CORRECT, self.id, expression)


def _expression(answer: str) -> str:
    text = re.sub(r"\\(?:left|right|[,;:! ])", " ", plain(answer)).replace("\\times", "*").replace("\\cdot", "*")
    text = re.sub(r"\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}", r"((\1)/(\2))", text)
    return text.replace("\\div", "/").translate(_SIGNS).strip().rstrip(".").strip()


def _value(node: ast.expr, used: Counter[int]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        used[node.value] += 1
        return Fraction(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, used), _value(node.right, used))
    raise ValueError(f"{type(node).__name__} is not allowed")
