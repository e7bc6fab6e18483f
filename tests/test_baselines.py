"""The models that the Bayesian average is compared with in `benchmarks/`: against closed forms and scipy."""

import baselines
import numpy as np
import pytest
from scipy.stats import betabinom, binom

from goldpanner.measure import passk
from goldpanner.measure.mixture import Tally
from goldpanner.types import Counts


def draw(seed, m, n, a, b, zero=0.0):
    r = np.random.default_rng(seed)
    p = np.where(r.random(m) < zero, 0.0, r.beta(a, b, m))
    return p, Counts.of(np.full(m, n), r.binomial(n, p))


def test_power_law_continues_its_own_law_exactly(monkeypatch):
    # counts whose unbiased curve is the law itself cannot be made; so fit the law's numbers through a stub of the curve
    k = np.unique(np.round(np.geomspace(1, 100, 30)).astype(int))
    monkeypatch.setattr(baselines, "unbiased", lambda tally, ks: np.exp(-np.exp(0.5 - 0.3 * np.log(k))))
    value = baselines.power_law(Tally.of(np.array([100]), np.array([5])), np.array([1e4]))
    assert value[0] == pytest.approx(np.exp(-np.exp(0.5 - 0.3 * np.log(1e4))))


def test_unbiased_is_pass_at_k():
    n, c = np.array([10, 12, 30]), np.array([0, 3, 29])
    k = np.array([1, 2, 5, 10])
    expected = [np.mean([float(passk.pass_at_k(a, b, x)) for a, b in zip(n, c)]) for x in k]
    np.testing.assert_allclose(baselines.unbiased(Tally.of(n, c), k), expected)


def test_beta_binomial_finds_the_parameters_and_the_maximum():
    _, counts = draw(0, 4000, 40, 0.5, 2.0)
    fit = baselines.beta_binomial(counts)
    found = dict(fit.parameters)
    assert found["a"] == pytest.approx(0.5, rel=0.1)
    assert found["b"] == pytest.approx(2.0, rel=0.15)
    # log-likelihood up to the binomial coefficients, against scipy's own distribution
    constant = binom.logpmf(counts.c, 40, 0.5).sum() - 4000 * 40 * np.log(0.5)
    assert fit.loglik + constant == pytest.approx(betabinom.logpmf(counts.c, 40, found["a"], found["b"]).sum())


def test_zero_inflation_is_found_and_costs_nothing_when_absent():
    _, counts = draw(1, 3000, 60, 2.0, 5.0, zero=0.3)
    fit = baselines.zero_inflated(counts)
    assert dict(fit.parameters)["zero"] == pytest.approx(0.3, abs=0.04)
    assert fit.loglik > baselines.beta_binomial(counts).loglik + 50
    _, plain = draw(2, 500, 60, 2.0, 5.0)
    assert baselines.zero_inflated(plain).loglik >= baselines.beta_binomial(plain).loglik - 1e-4


@pytest.mark.parametrize("seed", range(5))
def test_npmle_beats_every_other_distribution_on_its_grid(seed):
    _, counts = draw(seed, 200, 30, 0.3, 1.0, zero=0.2)
    fit = baselines.npmle(counts)
    assert fit.loglik >= baselines.zero_inflated(counts).loglik - 0.02
    # Lindsay's condition: no node can gain, so the directional derivative is at most the number of problems
    tally = Tally.judged(counts)
    table = fit.grid.likelihood(tally.n, tally.c)
    gain = (tally.problems / (table @ fit.weight)) @ table
    assert gain.max() <= counts.n.size + 0.01
