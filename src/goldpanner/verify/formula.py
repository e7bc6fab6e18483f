r"""A formula as a tree, read from tokens: what an answer of numbers, variables and functions says.

The grammar is that of handwriting: `2x`, `1\frac{4}{5}`, `\sin^2 x`, `52_8`, `n!`, `|x|`, `\sqrt[3]{8}`.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from goldpanner.verify.tex import CONSTANTS, FUNCTIONS, GREEK, MARKS, Token, number_value
from goldpanner.verify.units import SHORT

DEEPEST = 40
"""Brackets within one another that are read at most."""

_TIMES, _BARE = ("*", "times", "cdot"), frozenset({"displaystyle", "mathbf", "mathrm", "boldsymbol", "bm", "mathit"})
_SHORT_WORDS = frozenset(re.findall(r"\w+", "no or if is it to up by of at as on an we he so"))
_BASES = dict(
    zip(re.findall(r"\w+", "two three four five six seven eight nine ten twelve sixteen"), (*range(2, 11), 12, 16))
)


class Unreadable(Exception):
    """The tokens are no formula; the message says where it ends."""


@dataclass(frozen=True, slots=True)
class Node:
    """A formula: `op` of `args`. `number` has a value, `variable`, `constant` and `call` a name."""

    op: str
    args: tuple["Node", ...] = ()
    value: Fraction = Fraction(0)
    name: str = ""

    def walk(self) -> Iterator["Node"]:
        """Yield this node and all below it."""
        yield self
        for arg in self.args:
            yield from arg.walk()


def rational(value: Fraction | int, decimal: bool = False) -> Node:
    """Return the node of a number; `decimal` if it was written with a point, so that it may be a rounded one."""
    return Node("number", value=Fraction(value), name="decimal" if decimal else "")


def variables(node: Node) -> frozenset[str]:
    """Return the names of a formula's variables."""
    return frozenset(each.name for each in node.walk() if each.op == "variable")


class Parser:
    """Reads a formula from the tokens at `at`, as far as it goes.

    `tight` is the other reading of `1/2x`, 1/(2x); `loose` says whether the tokens held such a place.
    """

    def __init__(self, tokens: Sequence[Token], tight: bool = False) -> None:
        self.tokens = list(tokens)
        self.tight = tight
        self.loose = False
        self.at = 0
        self._depth = 0

    @property
    def done(self) -> bool:
        """Whether every token was read."""
        return self.at >= len(self.tokens)

    def peek(self, ahead: int = 0) -> str:
        """Return the text of the next token, "" at the end."""
        return self.tokens[self.at + ahead].text if self.at + ahead < len(self.tokens) else ""

    def _take(self, *texts: str) -> bool:
        if self.done or self.tokens[self.at].kind == "text" or self.peek() not in texts:
            return False
        self.at += 1
        return True

    def _need(self, text: str) -> None:
        if not self._take(text):
            raise Unreadable(f"{text!r} is missing before {self.peek()!r}")

    # --- sums, products, powers

    def sum(self) -> Node:
        """Read terms that + and - join; +- between them makes a node of its own."""
        self._depth += 1
        if self._depth > DEEPEST:
            raise Unreadable(f"brackets more than {DEEPEST} deep")
        node = self._term()
        while not self.done:
            sign = self.peek()
            if not self._take("+", "-", "pm", "mp"):
                break
            other = self._term()
            if sign in ("pm", "mp"):
                node = Node(sign, (node, other))
            else:
                node = Node("+", (node, other if sign == "+" else Node("-", (other,))))
        self._depth -= 1
        return node

    def _term(self) -> Node:
        sign = self.peek()
        if self._take("pm", "mp"):
            return Node(sign, (rational(0), self._term()))
        if self._take("-"):
            return Node("-", (self._term(),))
        self._take("+")
        return self._product()

    def _product(self) -> Node:
        node = self._power()
        divided = False
        while not self.done:
            if self._take(*_TIMES) and not self._take("*"):
                node = Node("*", (node, self._signed()))
            elif self._take("/", "div"):
                divisor = self._signed()
                if self._starts_factor():
                    self.loose = True
                    while self.tight and self._starts_factor():
                        divisor = Node("*", (divisor, self._power()))
                node, divided = Node("/", (node, divisor)), True
            elif self._starts_factor():
                self.loose |= divided
                node = Node("*", (node, self._power()))
            else:
                break
        return node

    def _signed(self) -> Node:
        """Read a factor that may have a sign of its own: 2 * -3."""
        if self._take("-"):
            return Node("-", (self._signed(),))
        return self._power()

    def _starts_factor(self) -> bool:
        """Whether the next token begins a factor that is multiplied without a sign."""
        if self.done or self.tokens[self.at].kind == "text":
            return False
        token = self.tokens[self.at]
        if token.kind == "number":
            return self.at > 0 and self.tokens[self.at - 1].text in (")", "}", "]", "|", "!")
        if token.kind == "letters":
            return not self._word()
        if token.kind == "command":
            return token.text in FUNCTIONS | GREEK | CONSTANTS.keys() | {"frac", "sqrt", "binom", "lfloor", "lceil"}
        return token.text in ("(", "{", "[")

    def _power(self) -> Node:
        node = self._atom()
        while not self.done:
            if self._take("!"):
                node = Node("!", (node,))
            elif self._take("%"):
                node = Node("percent", (node,))
            elif self._take("degree"):
                node = Node("degree", (node,))
            elif self.peek() == "^" or (self.peek() == "*" and self.peek(1) == "*"):
                self.at += 1 if self.peek() == "^" else 2
                node = self._raised(node)
            else:
                break
        return node

    def _raised(self, node: Node) -> Node:
        if self._take("circ"):
            return Node("degree", (node,))
        if self.peek() == "{" and self.peek(1) == "circ":
            self.at += 2
            self._need("}")
            return Node("degree", (node,))
        if self._take("-"):
            return Node("^", (node, Node("-", (self._atom(),))))
        exponent = self._atom()
        if self.peek() == "^":  # a tower reads from the right
            self.at += 1
            exponent = self._raised(exponent)
        return Node("^", (node, exponent))

    # --- atoms

    def _atom(self) -> Node:
        if self.done:
            raise Unreadable("it ends where a value is missing")
        token = self.tokens[self.at]
        if token.kind == "number":
            return self._number()
        if token.kind == "letters":
            return self._letters()
        if token.kind == "text":
            if len(token.text) == 1 and not self.at:
                self.at += 1
                return Node("variable", name=token.text)
            raise Unreadable(f"the words {token.text!r}")
        if token.kind == "command":
            self.at += 1
            return self._command(token.text)
        for opening, closing in (("(", ")"), ("[", "]"), ("{", "}")):
            if self._take(opening):
                node = self.sum()
                self._need(closing)
                return self._subscript(node) if opening == "(" else node
        if self._take("|"):
            node = self.sum()
            self._need("|")
            return Node("call", (node,), name="abs")
        raise Unreadable(f"the sign {token.text!r}")

    def _number(self) -> Node:
        text = self.peek()
        self.at += 1
        if text.isdigit() and self.peek().isupper() and self.peek(1) == "_" and not self.tokens[self.at].gap:
            text += self.peek()  # 1A_{16}
            self.at += 1
        if text.isalnum() and self.peek() == "_":
            self.at += 1
            return _based(text, self._base())
        node = rational(number_value(text), "." in text and "(" not in text)
        mixed = self._mixed() if text.isdigit() else None
        return node if mixed is None else rational(node.value + mixed)

    def _mixed(self) -> Fraction | None:
        r"""Return the fraction below 1 that a whole number goes on with: `1\frac{4}{5}`, `1 4/5`; None without one."""
        start = self.at
        if self.peek() == "frac":
            self.at += 1
            above, below = self._argument(), self._argument()
            if above.op == below.op == "number" and 0 < above.value < below.value:
                return above.value / below.value
        elif not self.done and self.tokens[self.at].gap and self.peek(1) == "/" and self.peek(2).isdigit():
            above_, below_ = self.peek(), self.peek(2)
            if above_.isdigit() and 0 < int(above_) < int(below_):
                self.at += 3
                return Fraction(int(above_), int(below_))
        self.at = start
        return None

    def _base(self) -> int:
        braces = 0
        while self._take("{"):
            braces += 1
        text = self.peek().lower()
        self.at += 1
        for _ in range(braces):
            self._need("}")
        base = int(text) if text.isdigit() and len(text) < 3 else _BASES.get(text, 0)
        if not 2 <= base <= 36:
            raise Unreadable(f"the base {text!r}")
        return base

    def _letters(self) -> Node:
        text = self.peek()
        named = text in FUNCTIONS or text in ("sqrt", "infinity", "pi") or text in GREEK
        if named:
            self.at += 1
            return self._command(text)
        token = self.tokens[self.at]
        if text[:-1] in FUNCTIONS and text[-1] in "xy":
            self.tokens[self.at : self.at + 1] = [Token("letters", text[:-1], token.gap), Token("letters", text[-1])]
            return self._letters()
        if self._word():
            raise Unreadable(f"the word {text!r}")
        if len(text) > 1:  # variables side by side: one at a time
            self.tokens[self.at : self.at + 1] = [Token("letters", text[0], token.gap), Token("letters", text[1:])]
            text = text[0]
        self.at += 1
        if text in ("e", "i") and self.peek() != "_":
            return Node("constant", name=text)
        return self._subscript(Node("variable", name=text))

    def _word(self) -> bool:
        """Whether the next letters are a word or a unit rather than variables side by side."""
        token = self.tokens[self.at]
        if len(token.text) == 2:
            after_value = self.at > 0 and (token.gap or self.tokens[self.at - 1].kind == "number")
            return token.text.lower() in _SHORT_WORDS or (token.text in SHORT and after_value)
        steps = {ord(b) - ord(a) for a, b in pairwise(token.text)}
        return len(token.text) > 2 and not steps <= {1} and token.text not in FUNCTIONS

    def _subscript(self, node: Node) -> Node:
        """Read what stands below a variable, as a part of its name; below a bracketed number it is a base."""
        if not self._take("_"):
            primes = 0
            while node.op == "variable" and self._take("'"):
                primes += 1
            return Node("variable", name=node.name + "'" * primes) if primes else node
        if node.op == "number":
            return _based(str(node.value), self._base())
        if node.op != "variable":
            raise Unreadable("a subscript of what is no variable")
        if not self._take("{"):
            name = self.peek()
            self.at += 1
            return Node("variable", name=f"{node.name}_{name}")
        parts = []
        while not self.done and not self._take("}"):
            parts.append(self.peek())
            self.at += 1
        return Node("variable", name=f"{node.name}_{''.join(parts)}")

    def _command(self, name: str) -> Node:
        if name == "ldots":
            return Node("variable", name="...")
        if name in CONSTANTS:
            return Node("constant", name=CONSTANTS[name])
        if name in GREEK:
            return self._subscript(Node("variable", name=name))
        if name in _BARE:
            return self._atom()
        if name in MARKS:
            return Node("call", (self._argument(),), name=name)
        if name == "frac":
            return Node("/", (self._argument(), self._argument()))
        if name == "binom":
            return Node("call", (self._argument(), self._argument()), name="binom")
        if name == "sqrt":
            return self._root()
        if name in ("lfloor", "lceil"):
            node = self.sum()
            self._need("r" + name[1:])
            return Node("call", (node,), name=name[1:])
        if name in FUNCTIONS:
            return self._function(name)
        raise Unreadable(f"the command \\{name}")

    def _argument(self) -> Node:
        r"""Read an argument of a command: a group, or one sign; of the number in `\frac12` one digit."""
        text = self.peek()
        if not self.done and self.tokens[self.at].kind == "number" and text.isdigit() and len(text) > 1:
            self.tokens[self.at : self.at + 1] = [Token("number", text[0]), Token("number", text[1:])]
            self.at += 1
            return rational(int(text[0]))
        if not self.done and self.tokens[self.at].kind == "number":
            self.at += 1
            return rational(number_value(text), "." in text)
        if not self.done and self.tokens[self.at].kind == "letters" and len(text) > 1:
            self.tokens[self.at : self.at + 1] = [Token("letters", text[0]), Token("letters", text[1:])]
        return self._atom()

    def _root(self) -> Node:
        degree = rational(2)
        if self._take("["):
            degree = self.sum()
            self._need("]")
        return Node("root", (self._atom(), degree))

    def _function(self, name: str) -> Node:
        base = power = None
        for _ in range(2):
            if name == "log" and self._take("_"):
                base = self._argument() if self.peek() == "{" else self._atom()
            elif self._take("^"):
                power = self._signed()
        if self.peek() in ("(", "{", "["):
            args = self._arguments()
        else:
            node = self._signed()
            while self._starts_factor() and self.peek() not in FUNCTIONS:
                node = Node("*", (node, self._power()))
            args = (node,)
        if base is not None:
            args = (*args, base)
        call = Node("call", args, name=name)
        if power is None:
            return call
        if power == Node("-", (rational(1),)) and name in ("sin", "cos", "tan"):
            return Node("call", args, name=f"arc{name}")
        return Node("^", (call, power))

    def _arguments(self) -> tuple[Node, ...]:
        closing = {"(": ")", "{": "}", "[": "]"}[self.peek()]
        self.at += 1
        args = [self.sum()]
        while self._take(","):
            args.append(self.sum())
        self._need(closing)
        return tuple(args)


def _based(digits: str, base: int) -> Node:
    try:
        return Node("based", value=Fraction(int(digits, base)), name=str(base))
    except ValueError:
        raise Unreadable(f"{digits} has digits that base {base} lacks") from None
