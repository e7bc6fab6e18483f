"""Whether two unions of intervals are the same: in order, what touches joined, end by end."""

from collections.abc import Sequence

from goldpanner.verify import evaluate
from goldpanner.verify.answers import DIFFERENT, SAME, UNDECIDED, Answer, Equality, Span, all_equal, as_spans
from goldpanner.verify.formula import Node, variables


def same_intervals(expected: Answer, answer: Answer) -> Equality:
    """Return whether two answers, read as unions of intervals, are equal; what cannot be read so is different."""
    one, other = as_spans(expected), as_spans(answer)
    if one is None or other is None:
        return DIFFERENT
    spans = [_ordered(one.spans), _ordered(other.spans)]
    if spans[0] is None or spans[1] is None:
        return (
            all_equal(_ends(a, b) for a, b in zip(one.spans, other.spans))
            if len(one.spans) == len(other.spans)
            else UNDECIDED
        )
    if len(spans[0]) != len(spans[1]):
        return DIFFERENT
    return all_equal(_ends(a, b) for a, b in zip(*spans))


def _ends(one: Span, other: Span) -> Equality:
    ends = [evaluate.equal(one.low, other.low), evaluate.equal(one.high, other.high)]
    if one.closed != other.closed or False in ends:
        return DIFFERENT
    return UNDECIDED if None in ends else SAME


def _ordered(spans: Sequence[Span]) -> list[Span] | None:
    """Return a union of intervals in order, what touches joined, without empty ones; None if an end has a letter."""
    if any(variables(span.low) | variables(span.high) for span in spans):
        return None
    try:
        places = sorted(
            ((_place(s.low), _place(s.high), s) for s in spans), key=lambda each: (each[0], not each[2].closed[0])
        )
    except evaluate.Undefined:
        return None
    joined: list[tuple[float, float, Span]] = []
    for low, high, span in places:
        if high < low or (high == low and not all(span.closed)):
            continue
        if joined and (joined[-1][1] > low or (joined[-1][1] == low and (joined[-1][2].closed[1] or span.closed[0]))):
            last_low, last_high, last = joined[-1]
            if high > last_high or (high == last_high and span.closed[1]):
                joined[-1] = (last_low, high, Span(last.low, span.high, (last.closed[0], span.closed[1])))
            continue
        joined.append((low, high, span))
    return [span for _, _, span in joined]


def _place(node: Node) -> float:
    """Return where on the line an end lies. Raises Undefined for what is no real number."""
    sign, inner = (-1, node.args[0]) if node.op == "-" else (1, node)
    if inner.op == "constant" and inner.name == "inf":
        return sign * float("inf")
    if (value := evaluate.exact_value(node)) is not None:
        return float(value)
    point = evaluate.value_at(node, {}, evaluate.DIGITS)
    if abs(point.imag) > 0:
        raise evaluate.Undefined("an end that is not real")
    return float(point.real)
