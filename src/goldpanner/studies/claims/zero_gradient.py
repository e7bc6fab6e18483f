"""One prompt, two outcomes: what gradient P(correct) leaves, computed, sampled, and followed until P = 1/2.

Nothing but P differs between the cells, and everything that turns rewards into a gradient is the trainer's own code:
advantages and loss of `grpo.VARIANTS`, differentiated by autograd. The policy is a softmax over right and wrong with
logits (z, 0), P = sigmoid(z), so with advantages A_right(c), A_wrong(c) of a group with c of G right the expected
gradient is g = sum_c Binomial(c; G, P) [c A_right (1 - P) - (G - c) A_wrong P] / G, and that of z is all there is.

Take-off under SGD jumps from one group with a right answer to the next: the groups between have advantage 0 and leave z
where it is, so their number is geometric. Adam's momentum moves on in them: it is run step by step.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

import numpy as np
import torch
from scipy.special import expit, logit
from scipy.stats import binom
from torch import Tensor

from goldpanner import rng
from goldpanner.studies.decide import Effect
from goldpanner.studies.lab import Lab
from goldpanner.studies.statistics import bootstrap, computed
from goldpanner.studies.study import Finding, Plot, Study
from goldpanner.train import grpo
from goldpanner.train.objective import Totals, reduce_loss
from goldpanner.types import Estimate, FloatArray

VARIANTS: tuple[str, ...] = ("dr-grpo", "grpo", "maxrl")
CELLS = {f"{name}-{size}": (name, size) for name in VARIANTS for size in (8, 32)}
GRID = (0.5, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-8, 1e-10, 1e-12)
SAMPLED = (0.5, 0.1, 0.01, 0.001)
STARTS, FITTED, TINY = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6), (1e-2, 1e-3, 1e-4, 1e-5, 1e-6), (1e-4, 1e-5, 1e-6)
ADAM_STARTS = (1e-1, 1e-2, 1e-3)


class CellResult(TypedDict):
    """What one variant at one group size gave."""

    zero: float
    """Largest gradient where nothing was right."""
    expected: list[float]
    """Expected gradient at each P of `GRID`."""
    ratio: dict[str, list[float]]
    """P -> sampled over expected gradient, block by block."""
    sgd: dict[str, list[float]]
    """Start -> steps of every run to P = 1/2."""
    adam: dict[str, list[float | None]]
    """The same by Adam; None where a run did not arrive."""


Result = dict[str, CellResult]  # by cell
Effects = dict[str, list[Estimate]]  # by cell, one per world
BLOCKS, SUCCESSES, RUNS, ADAM_RUNS, ADAM_LIMIT = 50, 400, 400, 200, 5_000
SGD_RATE, ADAM_RATE, TRUNCATED = 0.5, 0.05, 0.01  # P in the softmax of what the truncated sampler never draws


def expected_push(name: str, size: int, p: float) -> float:
    """Return the expected gradient of z at P = p: the sum over every number of right answers in a group."""
    right = np.arange(size + 1)
    rows = torch.from_numpy((np.arange(size) < right[:, None]).astype(np.float64))
    advantage = grpo.VARIANTS[name].advantages(rows).numpy()
    score = np.where(rows.numpy() == 1, 1 - p, -p)
    return float((binom.pmf(right, size, p) * (advantage * score).mean(1)).sum())


def gradient(name: str, z: FloatArray, reward_RPG: Tensor) -> FloatArray:
    """Return the gradient of each run's z, uphill, from P groups of G a run; shapes (R,), (R, P, G) -> (R,)."""
    variant, (_, groups, size) = grpo.VARIANTS[name], reward_RPG.shape
    logit_R = torch.tensor(z, dtype=reward_RPG.dtype, requires_grad=True)
    logp_R2 = torch.stack([torch.zeros_like(logit_R), logit_R], 1).log_softmax(1)
    logp = torch.where(reward_RPG == 1, logp_R2[:, 1, None, None], logp_R2[:, 0, None, None]).reshape(-1, 1)
    advantage = variant.advantages(reward_RPG.flatten(0, 1)).flatten()
    mask = torch.ones_like(logp, dtype=torch.bool)
    loss, _ = variant.token_loss(logp, logp, advantage, mask)
    total = reduce_loss(loss, mask, variant.reduction, Totals(groups * size, groups * size, max_tokens=1))
    return -np.asarray(torch.autograd.grad(total, logit_R)[0].double())


def take_off(name: str, size: int, p0: FloatArray, draw: np.random.Generator) -> FloatArray:
    """Return the steps of SGD, a group each, from each p0 to P = 1/2, shape (R,)."""
    z, clock = logit(np.asarray(p0, np.float64)), np.zeros(len(p0))
    going, member = np.arange(len(p0)), np.arange(size)
    while going.size:
        p = expit(z[going])
        some = -np.expm1(size * np.log1p(-p))  # P(a group holds a right answer)
        clock[going] += draw.geometric(some)
        first = np.floor(np.log1p(-draw.random(len(p)) * some) / np.log1p(-p)).clip(max=size - 1)[:, None]
        reward = (member == first) | ((member > first) & (draw.random((len(p), size)) < p[:, None]))
        z[going] += SGD_RATE * gradient(name, z[going], torch.from_numpy(reward).double()[:, None])
        going = going[z[going] < 0]
    return clock


def take_off_adam(name: str, size: int, p0: FloatArray, draw: Any, limit: int) -> FloatArray:
    """Return the steps of Adam from each p0 to P = 1/2, infinite where `limit` were not enough, shape (R,).

    Args:
        name: name of the objective.
        size: group size G.
        p0: P(correct) at the start, shape (R,).
        draw: random generator.
        limit: largest number of steps.
    """
    z = torch.from_numpy(logit(np.asarray(p0, np.float64)))
    adam = torch.optim.Adam([z], ADAM_RATE, (0.9, 0.95))
    clock, step = np.full(len(p0), np.inf), 0
    while step < limit and np.isinf(clock).any():
        reward = torch.from_numpy(draw.random((len(p0), 1, size)) < expit(z.numpy())[:, None, None])
        z.grad = torch.from_numpy(-gradient(name, z.numpy(), reward.double()))
        adam.step()
        step += 1
        clock[(z.numpy() >= 0) & np.isinf(clock)] = step
    return clock


def _measure(lab: Lab) -> Result:
    """Return expected and sampled gradients, and the steps that every run took to P = 1/2, by cell."""
    results: Result = {}
    for cell, (name, size) in CELLS.items():
        draw = rng.stream("studies/zero-gradient", lab.seed, cell)
        untouched = gradient(name, logit([TRUNCATED]), torch.zeros(1, lab.size(1_000), size))
        ratios = {}
        for p in SAMPLED:
            groups = max(2, round(lab.size(SUCCESSES) / p / size))
            blocks = (torch.from_numpy(draw.random((1, groups, size)) < p).float() for _ in range(BLOCKS))
            ratios[str(p)] = [float(gradient(name, logit([p]), r)[0]) / expected_push(name, size, p) for r in blocks]
        starts, slow_starts = np.repeat(STARTS, lab.size(RUNS)), np.repeat(ADAM_STARTS, lab.size(ADAM_RUNS))
        sgd = take_off(name, size, starts, draw).reshape(len(STARTS), -1)
        adam = take_off_adam(name, size, slow_starts, draw, lab.steps(ADAM_LIMIT)).reshape(len(ADAM_STARTS), -1)
        results[cell] = {
            "zero": max(abs(float(untouched[0])), abs(expected_push(name, size, 0.0))),
            "expected": [expected_push(name, size, p) for p in GRID],
            "ratio": ratios,
            "sgd": {str(p): steps.tolist() for p, steps in zip(STARTS, sgd)},
            "adam": {str(p): [t if t < np.inf else None for t in row] for p, row in zip(ADAM_STARTS, adam.tolist())},
        }
    return results


def order(gradients: Sequence[float]) -> float:
    """Return the slope of the log gradient on log P between 1e-6 and 1e-12, NaN where there is no gradient."""
    near, far = (gradients[GRID.index(p)] for p in (1e-6, 1e-12))
    return float(np.log(near / far) / np.log(1e6)) if near * far > 0 else float("nan")


def runs(result: Result, cell: str, how: str, starts: Sequence[float]) -> list[FloatArray]:
    """Return the steps of every run from each start; infinite where a run did not arrive."""
    steps: Mapping[str, Sequence[float | None]] = result[cell]["adam"] if how == "adam" else result[cell]["sgd"]
    return [np.array([np.inf if t is None else t for t in steps[str(p)]]) for p in starts]


def medians(steps: Sequence[FloatArray]) -> FloatArray:
    """Return log of the median number of steps from each start, NaN where most runs did not arrive; (starts,)."""
    middle = np.median(np.stack(steps), axis=1)
    return np.log(np.where(np.isinf(middle), np.nan, middle))


def slope(starts: Sequence[float], steps: Sequence[FloatArray]) -> float:
    """Return the least-squares slope of log median steps on log p0."""
    x = np.log(starts) - np.log(starts).mean()
    return float(x @ medians(steps) / (x @ x))


def quotient(both: Sequence[FloatArray]) -> float:
    """Return the geometric mean over starts of the first half's median steps over the second half's."""
    log_steps = medians(both).reshape(2, -1)
    return float(np.exp((log_steps[0] - log_steps[1]).mean()))


def _judge(results: Sequence[Result]) -> Finding:
    """Every world gives one estimate of each effect in each cell."""

    def each(estimate: Callable[[Result, str], Estimate], cells: Sequence[str] = tuple(CELLS)) -> Effects:
        return {cell: [estimate(result, cell) for result in results] for cell in cells}

    def farthest(result: Result, cell: str) -> Estimate:
        estimates = [bootstrap(np.mean, blocks, key=cell + p) for p, blocks in result[cell]["ratio"].items()]
        return max(estimates, key=lambda e: abs(e.value - 1))

    def slopes(how: str, starts: Sequence[float]) -> Effects:
        return each(lambda r, c: bootstrap(lambda *t: slope(starts, t), *runs(r, c, how, starts), key=c + how))

    def speeds(how: str, starts: Sequence[float], predicted: Callable[[str, int], float]) -> Effects:
        def estimate(result: Result, cell: str) -> Estimate:
            name, size = CELLS[cell]
            both = [steps for c in (f"dr-grpo-{size}", cell) for steps in runs(result, c, how, starts)]
            return bootstrap(lambda *t: quotient(t) / predicted(name, size), *both, key=cell + how)

        return each(estimate, [cell for cell, (name, _) in CELLS.items() if name != "dr-grpo"])

    rollouts = {c: [float(np.median(r[c]["sgd"][str(TINY[-1])])) * CELLS[c][1] for r in results] for c in CELLS}
    ranges = {
        "zero": (each(lambda r, c: computed(r[c]["zero"])), -np.inf, 0.0),
        "proportional": (each(lambda r, c: computed(order(r[c]["expected"]))), 0.99, 1.01),
        "measured": (each(farthest), 0.95, 1.05),
        "take-off": (slopes("sgd", FITTED), -1.15, -0.85),
        "speed": (speeds("sgd", TINY, lambda name, size: size if name == "maxrl" else size**0.5), 0.7, 1.3),
        "adam": (slopes("adam", ADAM_STARTS), -0.8, np.inf),
        "adam-levels": (speeds("adam", ADAM_STARTS[-1:], lambda name, size: 1.0), 0.7, 1.3),
    }
    return Finding(
        {name: [Effect(cell, e, *edges) for cell, e in effects.items()] for name, (effects, *edges) in ranges.items()},
        {"rollouts": rollouts, **{name.replace("-", "_"): effects for name, (effects, *_) in ranges.items()}},
        _plots(results),
    )


def _plots(results: Sequence[Result]) -> list[Plot]:
    """Return the exact gradients (the same in every world) with the sampled ones, and the median steps to P = 1/2."""
    gradients, steps = list[dict[str, object]](), list[dict[str, object]]()
    for cell, (name, size) in CELLS.items():
        panel, push = {"panel": f"G = {size}"}, dict(zip(GRID, results[0][cell]["expected"]))
        gradients += [{"x": p, "y": y, "series": name, **panel} for p, y in sorted(push.items()) if y > 0]
        for w, r in enumerate(results):
            place = {"world": w, **panel}
            measured = [(p, push[p] * float(np.mean(r[cell]["ratio"][str(p)]))) for p in SAMPLED]
            gradients += [{"x": p, "y": y, "series": f"{name}-measured", **place} for p, y in measured if y > 0]
            for how, starts, series in (("sgd", STARTS, name), ("adam", ADAM_STARTS, f"{name}-adam")):
                points = zip(starts, np.exp(medians(runs(r, cell, how, starts))))
                steps += [{"x": p, "y": float(y), "series": series, **place} for p, y in points if np.isfinite(y)]
    return [Plot(title, rows, log_x=True, log_y=True) for title, rows in (("gradient", gradients), ("take-off", steps))]


STUDY = Study("zero-gradient", _measure, _judge)
