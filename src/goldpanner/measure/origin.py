"""Where did a gained problem come from? The base's own P(correct), far below what sampling it could show.

P_base = E_RL[1{correct} p_base(y) / p_RL(y)]: importance sampling with the RL model as the proposal. What it can say
and what it cannot:

- A route to the answer that the RL model (almost) never takes is invisible to it, and nothing in these samples shows
  that. So the estimate speaks of the routes that the RL model takes; P_base is *at least* that. This suffices for
  "amplified": the base had it.
- An upper bound on all routes can only come from the base's own samples: 0 correct of n leaves P_base up to about
  log(1/error)/n. So "new" is said only where that bound lies below 1/N, N being the rollouts in which RL could have
  found an answer, and where the routes that the RL model takes have practically no mass under the base. The error, 5%,
  is divided by the number of problems that were compared (Bonferroni): one of them will be shown around.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainccinv, chdtri, logsumexp, stdtrit

from goldpanner.errors import InputError
from goldpanner.measure.intervals import proportion
from goldpanner.measure.thresholds import WITHIN
from goldpanner.types import Estimate, FloatArray

Label = Literal["amplified", "new", "cannot say"]
LABELS: tuple[Label, ...] = get_args(Label)

RESOLUTION = 1e-15
"""Base probability below which the routes of the RL model count as practically absent from the base."""
NOVELTY_ERROR = 0.05
"""Chance that the base's own samples mislead a claim of novelty on any of the problems that were compared."""
MIN_CORRECT = 20
MAX_RELATIVE_ERROR = 0.2
"""Estimated standard error of the estimate over the estimate: a factor of 2 is then more than three of them away."""
MAX_LOGNORMAL_ERROR = 0.2
"""The same, if the weights are log-normal with the largest spread that the samples allow (95%)."""
MAX_SHARE = 0.2
MAX_TAIL = 0.5
"""Pareto shape of the largest weights: above it their variance is infinite, and the standard error means nothing."""


@dataclass(frozen=True)
class Diagnostics:
    """Whether the importance weights can be trusted."""

    samples: int
    correct: int
    effective: float
    """(sum w)^2 / sum w^2 over the correct samples."""
    relative_error: float
    """Estimated standard error of the estimate, divided by it."""
    max_share: float
    """Largest weight over the sum of the weights."""
    tail: float
    """Pareto shape k of the upper tail of the weights (0 = light; NaN = too few correct samples)."""
    reasons: tuple[str, ...]
    """Why the estimate is not reliable; empty if it is."""

    @property
    def reliable(self) -> bool:
        """Whether the estimate is good to a factor of 2 for the routes that the RL model takes."""
        return not self.reasons


@dataclass(frozen=True)
class Origin:
    """What the base had of a problem that the RL model solves."""

    label: Label
    summary: str
    """One sentence with the numbers."""
    p_base: Estimate
    """The base's P(correct) over the routes that the RL model takes; all routes together have at least this."""
    upper: float
    """Bound on the base's P(correct) over all routes, from its own samples (1 if there are none)."""
    p_rl: float
    """Share of the RL model's samples that are correct."""
    diagnostics: Diagnostics

    def to_json(self) -> dict[str, object]:
        """Return label, summary, estimate, bound and diagnostics."""
        d = self.diagnostics
        return {
            "label": self.label,
            "summary": self.summary,
            "p_base": self.p_base.to_json(),
            "upper": self.upper,
            "p_rl": self.p_rl,
            "effective_samples": d.effective,
            "correct": d.correct,
            "samples": d.samples,
            "max_share": d.max_share,
            "tail": None if np.isnan(d.tail) else d.tail,
            "reasons": list(d.reasons),
        }


def origin(
    correct: NDArray[np.bool_],
    logp_base: FloatArray,
    logp_rl: FloatArray,
    *,
    base_n: int = 0,
    base_c: int = 0,
    full_softmax: bool = True,
    problems: int = 1,
    rollouts: int = WITHIN,
    resolution: float = RESOLUTION,
    level: float = 0.95,
) -> Origin:
    """Say where a solved problem came from, by its RL samples' log-probabilities (nats) under both models.

    Args:
        correct: whether each RL sample is correct, shape (S,), unjudged samples left out.
        logp_base: log-probability of each under the base, shape (S,). Those of wrong samples are used only to check
            that the two fit together, and may be NaN.
        logp_rl: the same under the RL model.
        base_n: the base's own judged samples of the problem.
        base_c: how many of them are correct.
        full_softmax: whether the RL samples were drawn at T = 1 without truncation (SamplingParams.full_softmax); if
            not, the ratio is not the importance weight and the answer is "cannot say".
        problems: problems that were compared; the claim of novelty is corrected for their number.
        rollouts: N, the rollouts of the problem in which RL could have found an answer.
        resolution: base probability below which RL's routes count as absent.
        level: coverage of the interval of P_base.

    Returns:
        The label, its sentence, and the numbers under it.

    Raises:
        InputError: lengths differ, a log-probability of a correct sample is NaN or positive, or there is no sample.
    """
    correct = np.asarray(correct, dtype=bool)
    log_base, log_rl = np.asarray(logp_base, dtype=np.float64), np.asarray(logp_rl, dtype=np.float64)
    _check(correct, log_base, log_rl, base_n, base_c)
    log_w = log_base[correct] - log_rl[correct]
    reasons = [] if full_softmax else ["samples were drawn with truncation or T != 1: p_base/p_RL is not their weight"]
    estimate, diagnostics = _estimate(log_w, len(correct), reasons, level, log_base[~correct] - log_rl[~correct])
    error = NOVELTY_ERROR / max(problems, 1)
    upper = float(betainccinv(base_c + 1, base_n - base_c, error)) if base_n > base_c else 1.0
    if not estimate.value:  # no mass on the routes seen: what the base has elsewhere, only its own samples bound
        estimate = Estimate(0.0, 0.0, upper, level, estimate.method, estimate.n)
    needed = int(np.ceil(np.log(error) / np.log1p(-1 / max(rollouts, 2))))
    return _label(estimate, diagnostics, upper, float(correct.mean()), base_n, base_c, resolution, rollouts, needed)


def _check(correct: NDArray[np.bool_], log_base: FloatArray, log_rl: FloatArray, base_n: int, base_c: int) -> None:
    if not correct.shape == log_base.shape == log_rl.shape or correct.ndim != 1:
        raise InputError(
            f"origin: correct, logp_base, logp_rl have shapes {correct.shape}, {log_base.shape}, {log_rl.shape}; "
            "give one entry per RL sample in each"
        )
    if not len(correct):
        raise InputError("origin: no RL samples; draw some of this problem first")
    if not 0 <= base_c <= base_n:
        raise InputError(f"origin: base_c = {base_c} of base_n = {base_n}; counts need 0 <= c <= n")
    for name, array in (("logp_base", log_base), ("logp_rl", log_rl)):
        bad = correct & (np.isnan(array) | (array > 1e-6))
        if bad.any():
            i = int(np.argmax(bad))
            raise InputError(
                f"origin: {name} of correct sample {i} is {array[i]!r}; give a log-probability <= 0 (nats)"
            )
    if np.isneginf(log_rl[correct]).any():
        raise InputError("origin: logp_rl of a correct sample is -inf, but the RL model drew it; recompute logp_rl")


def _estimate(
    log_w: FloatArray, samples: int, reasons: list[str], level: float, log_w_wrong: FloatArray
) -> tuple[Estimate, Diagnostics]:
    """Estimate share correct x mean weight of the correct, and the diagnostics.

    The interval joins, on the logarithm, the exact interval of the share and Student's of the mean weight as the root
    of the sum of their squared arms (Zou & Donner 2008): it does not vanish where all samples are correct and alike.
    """
    n_right = len(log_w)
    if n_right < MIN_CORRECT:
        reasons.append(f"{n_right} correct RL samples, fewer than {MIN_CORRECT}")
    if not n_right or np.isneginf(log_w).all():
        nothing = Estimate(0.0, 0.0, 1.0, level, "importance-sampling", samples)
        return nothing, Diagnostics(samples, n_right, 0.0, np.inf, np.nan, np.nan, tuple(reasons))
    total = logsumexp(log_w)
    share = np.exp(log_w - total)
    effective = float(1 / np.sum(share**2))
    relative = float(np.sqrt(max(1 / effective - 1 / samples, 0.0) * samples / max(samples - 1, 1)))
    tail = pareto_tail(share)
    expected, pessimistic = _lognormal_error(log_w, share)
    if relative > MAX_RELATIVE_ERROR or pessimistic > MAX_LOGNORMAL_ERROR:
        worst = max(relative, pessimistic)
        length = bearable_length(log_w)
        shorter = f"; answers of {length:.0%} of this length or less would do" if length < 1 else ""
        reasons.append(f"standard error up to {worst:.0%} of the estimate ({effective:.1f} effective samples){shorter}")
    if share.max() > MAX_SHARE:
        reasons.append(f"one sample carries {share.max():.0%} of the weight")
    if tail > MAX_TAIL:
        reasons.append(f"heavy-tailed weights (Pareto shape {tail:.2f} > {MAX_TAIL})")
    log_value = float(total) - np.log(samples)
    every = np.exp(np.minimum(np.concatenate([log_w, log_w_wrong[np.isfinite(log_w_wrong)]]), 50.0))
    mean, error = float(every.sum() / samples), float(every.std() / np.sqrt(samples))
    if mean - 5 * error > 1.001 and n_right:
        reasons.append(f"the weights average {mean:.3g}, above 1: the log-probabilities do not belong to these samples")
    spread = np.sqrt(max(1 / effective - 1 / n_right, 0.0) * n_right / max(n_right - 1, 1))
    half = float(stdtrit(max(effective - 1, 1), (1 + level) / 2)) * max(float(spread), expected)
    least, most = (float(end) for end in proportion(n_right, samples, level=level))
    arms = (0.0, -np.hypot(half, np.log(n_right / samples / least)), np.hypot(half, np.log(most * samples / n_right)))
    value, low, high = (float(np.exp(min(log_value + arm, 0.0))) for arm in arms)
    estimate = Estimate(value, min(low, value), max(high, value), level, "importance-sampling", samples)
    return estimate, Diagnostics(samples, n_right, effective, relative, float(share.max()), tail, tuple(reasons))


def bearable_length(log_w: FloatArray) -> float:
    """Return up to which share of the answers' length importance weights hold, infinite where they are all equal.

    If each token adds its own part to the log-weight, the variance v of log-weights grows with the length. S weights
    have a relative error of sqrt((exp(v) - 1) / S) if they are log-normal, so they bear v = log(1 + S e^2), where e is
    `MAX_LOGNORMAL_ERROR`; v is taken at its upper 95% bound.

    Args:
        log_w: log-weights of the correct samples, shape (S,), in nats; those of -inf are left out.
    """
    finite = log_w[np.isfinite(log_w)]
    if len(finite) < 2:
        return float("nan")
    highest = float(finite.var(ddof=1)) * (len(finite) - 1) / float(chdtri(len(finite) - 1, 0.95))
    return float(np.log1p(len(finite) * MAX_LOGNORMAL_ERROR**2)) / highest if highest > 0 else float("inf")


def _lognormal_error(log_w: FloatArray, share: FloatArray) -> tuple[float, float]:
    """Return the relative standard error if the weights that matter are log-normal, and its upper 95% bound.

    sqrt((exp(s^2) - 1) / count). The plain estimate is too small just when the largest weights have not been seen yet.
    The weights that matter are the largest ones that carry 99.9% of the sum: a route of negligible weight is no spread.
    """
    order = np.argsort(-share)
    body = log_w[order[: int(np.searchsorted(np.cumsum(share[order]), 0.999)) + 1]]
    if len(body) < 2:
        return 0.0, np.inf
    variance = float(body.var(ddof=1))
    highest = variance * (len(body) - 1) / float(chdtri(len(body) - 1, 0.95))
    plain, upper = (float(np.sqrt(np.expm1(min(v, 50.0)) / len(body))) for v in (variance, highest))
    return plain, upper


def pareto_tail(weights: FloatArray) -> float:
    """Return the shape k of a generalised Pareto fitted to the largest weights (Vehtari et al., arXiv 1507.02646).

    The tail is the largest min(S/5, 3 sqrt(S)) of S weights; the fit is Zhang & Stephens 2009, drawn towards 1/2 by a
    weak prior as there. NaN below 25 weights; 0 where the tail's weights are all equal.
    """
    ordered = np.sort(weights)
    size = int(min(len(ordered) / 5, 3 * np.sqrt(len(ordered))))
    if size < 5:
        return float("nan")
    excess = ordered[-size:] - ordered[-size - 1]
    if excess[-1] <= 1e-9 * ordered[-1]:
        return 0.0
    excess = np.maximum(excess, 1e-12 * excess[-1])
    candidates = 30 + int(np.sqrt(size))
    quartile = excess[int(size / 4 + 0.5) - 1]
    b = 1 / excess[-1] + (1 - np.sqrt(candidates / (np.arange(1, candidates + 1) - 0.5))) / (3 * quartile)
    k = np.log1p(-b[:, None] * excess).mean(axis=1)
    profile = size * (np.log(-b / k) - k - 1)
    weight = np.exp(profile - logsumexp(profile))
    shape = float(np.log1p(-(b @ weight) * excess).mean())
    return (size * shape + 10 * 0.5) / (size + 10)


def _label(
    estimate: Estimate,
    diagnostics: Diagnostics,
    upper: float,
    p_rl: float,
    base_n: int,
    base_c: int,
    resolution: float,
    rollouts: int,
    needed: int,
) -> Origin:
    """Choose the label and the sentence; `needed`: samples of the base, none correct, that would bound P by 1/N."""

    def labelled(label: Label, summary: str) -> Origin:
        return Origin(label, summary, estimate, upper, p_rl, diagnostics)

    own = f"the base's own samples: {base_c} of {base_n} correct, so P_base <= {upper:.2g}" if base_n else ""
    if base_c:
        return labelled("amplified", f"the base solved it in {base_c} of {base_n} samples")
    if not diagnostics.reliable:
        return labelled("cannot say", "; ".join([*diagnostics.reasons, *([own] if own else [])]))
    if estimate.low > upper:
        return labelled(
            "cannot say", f"importance sampling gives {estimate.value:.2g}, but {own}: they contradict each other"
        )
    if estimate.low >= resolution:
        had = f"the base had it at {estimate.value:.2g} [{estimate.low:.2g}, {estimate.high:.2g}] or more"
        return labelled("amplified", f"{had}; RL made it {p_rl / estimate.value:.2g} times likelier")
    if estimate.value and estimate.high >= resolution:
        return labelled("cannot say", own or "the base was not sampled")
    if upper < 1 / rollouts:
        return labelled(
            "new",
            f"P_base <= {upper:.2g}, below 1/{rollouts:,} ({own}); the RL model's own routes have less than "
            f"{resolution:.0e} under the base",
        )
    return labelled(
        "cannot say",
        f"the RL model's own routes have less than {resolution:.0e} under the base, but the base may have others: "
        f"{own or 'it was not sampled'}; {needed:,} samples of the base, none correct, would show that the answer is "
        f"new to {rollouts:,} rollouts",
    )
