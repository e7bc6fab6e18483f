"""What else could make these counts: guessing, parsing, a verifier that errs, truncation, a truncated softmax."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv

from goldpanner import rng
from goldpanner.errors import InputError
from goldpanner.measure import intervals, passk
from goldpanner.measure.posterior import RateDistribution
from goldpanner.types import Counts, Estimate, FloatArray, IntArray, SamplingParams

LESS_GUESSES = "less lucky guesses, by its answers to other problems"
"""What is said of pass@k from which `chance_corrected` took the chance that own answers to other problems hit."""


def support_refusal(params: SamplingParams, override: bool = False) -> str | None:
    """Return why these samples cannot speak of the model's support, or None if they can.

    top-p < 1 and top-k > 0 set the probability of unlikely tokens to exactly 0, and T != 1 moves every small
    probability by orders of magnitude: 0 of n then says nothing of the model itself. With `override` the same sentence
    is returned, to be shown on every page, marked as overridden.
    """
    if params.full_softmax:
        return None
    settings = [("temperature", params.temperature, 1.0), ("top_p", params.top_p, 1.0), ("top_k", params.top_k, 0)]
    changed = ", ".join(f"{name} = {value:g}" for name, value, plain in settings if value != plain)
    reason = f"samples were drawn with {changed}: zeros may be made by the sampler, not by the model"
    if override:
        return f"{reason} (shown nevertheless, as asked)"
    return f"{reason}; sample again with temperature = 1, top_p = 1, top_k = 0 to speak of support"


def guess_floor(
    answers: Mapping[str, Sequence[str | None] | Mapping[str | None, int]], truth: Mapping[str, str]
) -> dict[str, float]:
    """Return, per problem, the chance that a blind guess is right: the model's own answers to the *other* problems.

    `answers`: what was extracted from each problem's samples, one by one or with how often each came (None = nothing
    parsed; such a sample guesses nothing and counts in the denominator). Every problem weighs the same. NaN with fewer
    than two problems.

        >>> guess_floor({"a": ["1", "2"], "b": ["2", None]}, {"a": "2", "b": "1"})
        {'a': 0.5, 'b': 0.5}
    """
    if missing := sorted(set(answers) - set(truth))[:3]:
        raise InputError(f"guess floor: no right answer given for problems {missing}")
    frequency: dict[str, Counter[str | None]] = {id_: Counter(texts) for id_, texts in answers.items() if len(texts)}
    pooled: Counter[str | None] = Counter()
    for counter in frequency.values():
        for answer, count in counter.items():
            pooled[answer] += count / counter.total()  # type: ignore[assignment]
    floor = {}
    for id_ in answers:
        counter = frequency.get(id_, Counter())
        own = counter[truth[id_]] / max(counter.total(), 1)
        others = len(frequency) - (id_ in frequency)
        floor[id_] = max(pooled[truth[id_]] - own, 0.0) / others if others else float("nan")
    return floor


def chance_corrected(
    counts: Counts, floor: float | FloatArray, k: Sequence[int] | IntArray, level: float = 0.95
) -> dict[int, Estimate]:
    """Return pass@k with lucky guesses taken out, for k <= n.

    A sample that does not know still hits with chance g: P = p + (1 - p) g. So 1 - p = (1 - P) / (1 - g), and
    corrected pass@k = 1 - mean[(1 - P)^k / (1 - g)^k], floored at 0. `floor` is g: 1 / (size of the answer space), or
    one per problem (see `guess_floor`). The interval is pass@k's own, corrected by the largest g at its low end and by
    the smallest at its high end.
    """
    g = np.broadcast_to(np.asarray(floor, dtype=np.float64), (len(counts),))
    if not ((g >= 0) & (g < 1)).all():
        raise InputError(f"guess floor is {floor!r}; give chances in [0, 1)")
    ks = passk.choose_ks(k, 1)
    band = passk.curve(counts, ks, level, simultaneous=False)
    out = {}
    for i, each in enumerate(ks.tolist()):
        raw = np.asarray(passk.pass_at_k(counts.judged, counts.c, each), dtype=np.float64)
        if np.isnan(raw).any():
            out[each] = Estimate.undefined("chance-corrected", level)
            continue
        value = float(np.clip(1 - np.mean(_knowing(raw, g, each)), 0, 1))
        low = float(np.clip(1 - _knowing(band.low[i], g.max(), each), 0, value))
        high = float(np.clip(1 - _knowing(band.high[i], g.min(), each), value, 1))
        out[each] = Estimate(value, low, high, level, "chance-corrected", len(counts))
    return out


def _knowing(value: FloatArray, g: FloatArray, k: int) -> FloatArray:
    """Return (1 - value) / (1 - g)^k, infinite where it overflows and 0 where nothing failed."""
    with np.errstate(divide="ignore", over="ignore"):
        out: FloatArray = np.exp(np.log1p(-np.minimum(value, 1)) - k * np.log1p(-g))
    return out


def pooled_share(n: IntArray, x: IntArray, level: float = 0.95, unknown: IntArray | None = None) -> Estimate:
    """Return the share x / n over all samples of all problems, with an interval that knows of the problems.

    Samples of one problem are alike: the exact interval is taken at the effective number of samples, n divided by the
    design effect (Korn & Graubard 1998). `unknown` samples widen it to [x / n, (x + unknown) / n].
    """
    n, x = np.asarray(n, dtype=np.int64), np.asarray(x, dtype=np.int64)
    u = np.zeros_like(n) if unknown is None else np.asarray(unknown, dtype=np.int64)
    judged_samples = int((n - u).sum())
    if not judged_samples:
        return Estimate.undefined("korn-graubard", level)
    value = float(x.sum() / judged_samples)
    ends = [_design_interval(n, y, level) for y in ((x, x + u) if u.any() else (x,))]
    return Estimate(value, min(ends[0][0], value), max(ends[-1][1], value), level, "korn-graubard", judged_samples)


def _design_interval(n: IntArray, x: IntArray, level: float) -> tuple[float, float]:
    total, share = int(n.sum()), float(x.sum() / n.sum())
    m = int((n > 0).sum())
    plain = share * (1 - share) / total
    clustered = float(((x - share * n) ** 2).sum()) / total**2 * m / max(m - 1, 1)
    effective = total / max(clustered / plain, 1.0) if plain > 0 and m > 1 else float(total)
    tail = (1 - level) / 2
    hits, misses = share * effective, (1 - share) * effective
    low = float(betaincinv(hits, misses + 1, tail)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, misses, 1 - tail)) if misses > 0 else 1.0
    return low, high


@dataclass(frozen=True)
class ParseSplit:
    """pass@1 = P(parses) x P(correct | parses)."""

    parses: Estimate
    correct_given_parsed: Estimate


def parse_split(n: IntArray, c: IntArray, parsed: IntArray, level: float = 0.95) -> ParseSplit:
    """Split pass@1 into its two factors: n samples, c correct, `parsed` with an answer found, per problem.

    Raises InputError where c > parsed or parsed > n.
    """
    n, c, parsed = (np.asarray(a, dtype=np.int64) for a in (n, c, parsed))
    if ((c > parsed) | (parsed > n)).any():
        i = int(np.argmax((c > parsed) | (parsed > n)))
        raise InputError(
            f"parse split: problem {i} has c = {c[i]}, parsed = {parsed[i]}, n = {n[i]}; need c <= parsed <= n"
        )
    return ParseSplit(pooled_share(n, parsed, level), pooled_share(parsed, c, level))


def truncated_share(counts: Counts, level: float = 0.95) -> Estimate:
    """Return the share of completions cut at the token limit; undefined where no finish reason is known."""
    return pooled_share(counts.n, counts.truncated, level, counts.finish_unknown)


@dataclass(frozen=True)
class VerifierErrors:
    """A verifier's audit: of `wrong` wrong answers it passed `false_positive`, of `right` ones it failed some."""

    false_positive: int
    wrong: int
    false_negative: int
    right: int

    def __post_init__(self) -> None:
        for x, n, name in (
            (self.false_positive, self.wrong, "false positives"),
            (self.false_negative, self.right, "false negatives"),
        ):
            if not 0 <= x <= n or n < 1:
                raise InputError(f"verifier: {x} {name} of {n} audited; give 0 <= errors <= audited and audited >= 1")

    @classmethod
    def read(cls, shares: Mapping[str, str | None]) -> "VerifierErrors":
        """Return the audit of two options: false positives, then false negatives, each as errors/audited (`3/200`).

        Raises InputError naming the option that is missing or written otherwise.
        """
        numbers = []
        for option, text in shares.items():
            if text is None:
                raise InputError(f"a verifier's audit needs both {' and '.join(shares)}, e.g. 3/200 and 5/200")
            errors, slash, audited = text.partition("/")
            if not slash or not errors.isdecimal() or not audited.isdecimal():
                raise InputError(f"{option} is {text!r}; write errors/audited, e.g. 3/200")
            numbers += [int(errors), int(audited)]
        return cls(*numbers)

    @property
    def rates(self) -> tuple[float, float]:
        """The rates of false positives and of false negatives in the audit."""
        return self.false_positive / self.wrong, self.false_negative / self.right

    def draws(self, size: int, seed: int) -> tuple[FloatArray, FloatArray]:
        """Draw both rates from their Jeffreys posteriors, stratified; shape (size,) each."""
        generator = rng.stream("bootstrap", seed, "verifier")
        rates = []
        for x, n in ((self.false_positive, self.wrong), (self.false_negative, self.right)):
            u = (generator.permutation(size) + generator.random(size)) / size
            rates.append(betaincinv(x + 0.5, n - x + 0.5, u))
        return rates[0], rates[1]


def rogan_gladen(
    counts: Counts, errors: VerifierErrors, level: float = 0.95, seed: int = 0, draws: int = 2000
) -> Estimate:
    """Return pass@1 as a perfect verifier would see it (Rogan & Gladen 1978): (q - fp) / (1 - fp - fn), in [0, 1].

    q is the observed share (`pooled_share`). The interval carries its uncertainty and that of both audits (Jeffreys
    draws).

    Args:
        counts: the verifier's verdicts.
        errors: audits of its false positives and false negatives.
        level: coverage of the interval.
        seed: seed of the draws.
        draws: number of draws of (q, fp, fn).

    Returns:
        The share; undefined where the verifier is no better than chance (fp + fn >= 1 at the median).
    """
    method = "rogan-gladen"
    observed = pooled_share(counts.n, counts.c, 0.6827, counts.unjudged)
    fp, fn = errors.false_positive / errors.wrong, errors.false_negative / errors.right
    if np.isnan(observed.value) or fp + fn >= 1:
        return Estimate.undefined(method, level)
    generator = rng.stream("bootstrap", seed, "share")
    z = generator.standard_normal(draws)
    q = observed.value + np.where(z < 0, observed.value - observed.low, observed.high - observed.value) * z
    fps, fns = errors.draws(draws, seed)
    usable = fps + fns < 0.999
    corrected = np.clip((q - fps) / np.where(usable, 1 - fps - fns, 1.0), 0, 1)[usable]
    value = float(np.clip((observed.value - fp) / (1 - fp - fn), 0, 1))
    low, high = np.quantile(corrected, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(min(low, value)), float(max(high, value)), level, method, observed.n)


def verified_p(
    counts: Counts, errors: VerifierErrors, level: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return (value, low, high), each shape (P,): every problem's P as a perfect verifier would see it.

    Rogan & Gladen 1978, (q - fp) / (1 - fp - fn) clipped to [0, 1], problem by problem. It falls with fp and rises with
    q and fn, so that the exact intervals of all three give exact ends: alpha/2 is spent on q, alpha/4 on each rate.
    Where fp + fn may be 1 the interval is [0, 1], where it is estimated so the value is NaN.
    """
    alpha = 1 - level
    q_low, q_high = intervals.proportion(counts.c, counts.n, counts.unjudged, 1 - alpha / 2)
    (fp_low, fn_low), (fp_high, fn_high) = intervals.proportion(
        [errors.false_positive, errors.false_negative], [errors.wrong, errors.right], level=1 - alpha / 4
    )
    fp, fn = errors.false_positive / errors.wrong, errors.false_negative / errors.right
    judged = counts.judged
    q = np.divide(counts.c, judged, out=np.full(len(counts), np.nan), where=judged > 0)

    def corrected(seen: FloatArray, false_positive: float, false_negative: float) -> FloatArray:
        return np.clip((seen - false_positive) / (1 - false_positive - false_negative), 0, 1)

    value = corrected(q, fp, fn) if fp + fn < 1 else np.full(len(counts), np.nan)
    if fp_high + fn_high >= 1:
        return value, np.zeros(len(counts)), np.ones(len(counts))
    return value, corrected(q_low, fp_high, fn_low), corrected(q_high, fp_low, fn_high)


def verified_pass_at_k(
    counts: Counts,
    errors: VerifierErrors,
    k: Sequence[int] | IntArray,
    level: float = 0.95,
    seed: int = 0,
    audits: int = 16,
) -> dict[int, Estimate]:
    """Return pass@k as a perfect verifier would see it, for any k.

    A false-positive rate f lets every problem pass in the end: observed pass@k >= 1 - (1-f)^k. Here the counts are
    seen through the verifier, c ~ Binomial(n, P (1 - fn) + (1 - P) fp), by the Bayesian average of `RateDistribution`.

    Args:
        counts: the verifier's verdicts.
        errors: audits of its false positives and false negatives.
        k: numbers of tries, beyond n too.
        level: coverage of the intervals.
        seed: seed of the draws.
        audits: draws of (fp, fn) from their posteriors; the results are pooled.

    Returns:
        k -> estimate.
    """
    ks = np.asarray(k, dtype=np.float64)
    fps, fns = errors.draws(audits, seed)
    pooled: list[FloatArray] = []
    for i, (fp, fn) in enumerate(zip(fps, fns)):
        if fp + fn >= 0.999:
            continue
        shapes = RateDistribution.of(
            counts, seed + i, particles=200, false_positive=float(fp), false_negative=float(fn)
        )
        for ensemble in (shapes.judged, *shapes.bounds):
            pooled.append(np.stack([ensemble.draws(value) for value in 1 - ensemble.grid.failing(ks)]))
    if not pooled:
        return {int(each): Estimate.undefined("verifier-corrected", level) for each in ks}
    quantiles = np.quantile(np.hstack(pooled), [(1 - level) / 2, 0.5, (1 + level) / 2], axis=1)
    return {
        int(each): Estimate(float(v), float(a), float(b), level, "verifier-corrected", len(counts))
        for each, a, v, b in zip(ks, *quantiles)
    }
