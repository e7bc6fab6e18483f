"""The distribution of P over problems: grids against closed forms and quadrature, and the Bayesian average."""

import numpy as np
import pytest
from baselines import beta_binomial
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betaln, logit

from goldpanner.errors import InputError
from goldpanner.measure import mixture, posterior
from goldpanner.measure.mixture import Grid, Tally
from goldpanner.types import Counts


def average(counts):
    """The mean of the posterior draws of the distribution of P."""
    return posterior.RateDistribution.of(counts, particles=100).judged.mixture


def draw(seed, m, n, a, b, zero=0.0):
    r = np.random.default_rng(seed)
    p = np.where(r.random(m) < zero, 0.0, r.beta(a, b, m))
    return p, Counts.of(np.full(m, n), r.binomial(n, p))


@pytest.mark.parametrize(("a", "b"), [(0.2, 5.0), (0.3, 0.3), (1.0, 1.0), (0.05, 2.0), (30.0, 4.0)])
def test_grid_holds_a_beta_as_its_closed_form(a, b):
    grid = Grid.resolving(100)
    mix = mixture.Mixture("beta", grid, mixture.beta_weights(grid, a, b))
    k = np.array([1, 16, 1000, 100_000, 1_000_000])
    np.testing.assert_allclose(mix.pass_at_k(k), 1 - np.exp(betaln(a, b + k) - betaln(a, b)), atol=2e-5)
    assert mix.weight.sum() == pytest.approx(1)


def test_posterior_of_one_problem_is_the_conjugate_beta():
    grid = Grid.resolving(50)
    mix = mixture.Mixture("beta", grid, mixture.beta_weights(grid, 0.4, 3.0))
    posterior = mix.posterior(np.array([50, 50, 20]), np.array([0, 7, 20]))
    np.testing.assert_allclose(posterior @ grid.p, [0.4 / 53.4, 7.4 / 53.4, 20.4 / 23.4], rtol=1e-4)


def test_grid_integrates_a_likelihood_like_quadrature():
    grid = Grid.resolving(1000)
    weight = mixture.beta_weights(grid, 0.7, 1.3)
    ratio = grid.likelihood(np.array([1000]), np.array([3]))[0]
    exact = quad(lambda p: p**3 * (1 - p) ** 997 * p**-0.3 * (1 - p) ** 0.3, 0, 0.2, points=[0.003])[0]
    exact /= np.exp(betaln(0.7, 1.3)) * (0.003**3 * 0.997**997)
    # rows are scaled to maximum 1 over the nodes, the exact one at c / n: the two maxima agree within a cell
    assert ratio @ weight == pytest.approx(exact, rel=5e-3)


@pytest.mark.parametrize(
    ("n", "c"),
    [
        ([100] * 20, [0] * 20),
        ([100] * 20, [100] * 20),
        ([10_000] * 5, [0] * 5),
        ([1], [0]),
        ([1], [1]),
        ([1] * 9, [0, 1, 0] * 3),
        ([7], [3]),
        ([1, 10, 1000], [1, 0, 999]),
    ],
)
def test_edges_never_break_a_fit(n, c):
    counts = Counts.of(n, c)
    mix = average(counts)
    assert np.isfinite(mix.weight).all()
    assert mix.weight.sum() == pytest.approx(1)
    assert ((mix.pass_at_k([1, 10, 1e6]) >= -1e-12) & (mix.pass_at_k([1, 10, 1e6]) <= 1 + 1e-12)).all()
    (share,) = posterior.RateDistribution.of(counts, particles=100).estimate(lambda g: g.p[None, :])
    assert 0 <= share.low <= share.value <= share.high <= 1


def test_nothing_judged_is_an_error_that_says_so():
    counts = Counts.of([4, 4], [0, 0], unjudged=[4, 4])
    with pytest.raises(InputError, match="no judged sample in 2 problems"):
        average(counts)
    with pytest.raises(InputError, match="no judged sample in 0 problems"):
        average(Counts.of([], []))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 60), st.floats(0, 1)), min_size=1, max_size=12))
def test_any_counts_give_distributions(rows):
    counts = Counts.of([n for n, _ in rows], [round(n * share) for n, share in rows])
    mix = average(counts)
    assert mix.weight.min() >= 0
    assert mix.weight.sum() == pytest.approx(1)
    assert (np.diff(mix.pass_at_k(np.array([1, 4, 64, 1e4]))) >= -1e-9).all()


def test_order_of_problems_does_not_matter():
    _, counts = draw(3, 60, 20, 0.4, 2.0)
    shuffled = counts.select(np.random.default_rng(0).permutation(60))
    one, other = (
        posterior.RateDistribution.of(x, 5, 100).estimate(lambda g: g.p[None, :])[0] for x in (counts, shuffled)
    )
    assert one == other


def test_prior_weights_are_distributions_and_contain_the_beta():
    grid = Grid.resolving(100)
    u = np.random.default_rng(0).random((500, posterior.DIMENSION))
    drawn = posterior.weights(grid, u)
    assert drawn.min() >= 0
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    plain = np.zeros((1, posterior.DIMENSION))
    plain[0, 10] = 1.0  # no tight population
    plain[0, 1:3] = np.log(0.3 / 0.05) / np.log(60), np.log(5 / 0.1) / np.log(100)
    np.testing.assert_allclose(
        posterior.weights(grid, plain)[0], mixture.beta_weights(grid, 0.3, 5.0), rtol=2e-3, atol=1e-9
    )


def test_shape_average_agrees_with_exact_importance_sampling_from_its_prior():
    _, counts = draw(4, 30, 10, 0.5, 1.0)
    ensemble = posterior.posterior(counts, seed=1, particles=800)
    value = 1 - ensemble.grid.failing(200.0)
    tally, table = ensemble.tally, ensemble.table
    u = np.random.default_rng(0).random((40_000, posterior.DIMENSION))
    prior = posterior.weights(ensemble.grid, u)
    log = np.log(prior @ table.T) @ tally.problems * posterior.TRUST
    weight = np.exp(log - log.max())
    assert weight.sum() ** 2 / (weight**2).sum() > 300, "the reference itself must be good"
    exact = weight @ (prior @ value) / weight.sum()
    assert ensemble.draws(value, population=True).mean() == pytest.approx(exact, abs=0.015)


def test_mass_that_cannot_be_told_from_zero_covers_the_truth():
    hits = 0
    for seed in range(12):
        p, counts = draw(seed, 100, 100, 0.4, 2.0, zero=0.3)
        (found,) = posterior.RateDistribution.of(counts, seed, 300).estimate(
            lambda g: mixture.below(g, 0.005)[None, :], 0.9
        )
        hits += found.low <= (p < 0.005).mean() <= found.high
    assert hits >= 9


def test_unjudged_samples_widen_every_interval():
    n, c = [20] * 30, [3] * 30
    plain = posterior.RateDistribution.of(Counts.of(n, c), 0, 200).estimate(lambda g: g.p[None, :])[0]
    wide = posterior.RateDistribution.of(Counts.of(n, c, unjudged=[10] * 30), 0, 200).estimate(lambda g: g.p[None, :])[
        0
    ]
    assert wide.low < 0.17
    assert wide.high > 0.6
    assert plain.high - plain.low < wide.high - wide.low
    assert wide.value == pytest.approx(0.3, abs=0.06)


def test_coarse_counts_keep_the_small_ones_and_the_mean():
    n = np.full(4000, 2500)
    c = np.random.default_rng(0).binomial(n, np.random.default_rng(1).beta(0.4, 0.6, 4000))
    tally = Tally.of(n, c).coarse()
    coarse = tally.c[tally.index]
    few = np.minimum(c, n - c) <= 32
    assert (coarse[few] == c[few]).all()
    assert len(np.unique(coarse)) < 160 < len(np.unique(c))
    logits = logit(coarse[~few] / 2500) - logit(c[~few] / 2500)
    assert np.abs(logits).max() < 0.07
    assert coarse.mean() == pytest.approx(c.mean(), rel=0.002)


def test_uneven_n_are_rounded_and_the_distribution_is_not_moved():
    generator = np.random.default_rng(0)
    n = generator.integers(50, 1025, 3000)
    counts = Counts.of(n, generator.binomial(n, generator.beta(0.3, 1, 3000)))
    tally = Tally.judged(counts)
    rough = tally.coarse()
    assert len(rough.n) < len(tally.n) / 2
    assert rough.size == tally.size
    assert (rough.c <= rough.n).all()
    assert ((rough.c == 0)[rough.index] == (counts.c == 0)).all()
    assert rough.problems @ rough.n == pytest.approx(n.sum(), rel=1e-3)
    exact, coarse = (beta_binomial(Counts.of(t.n[t.index], t.c[t.index])) for t in (tally, rough))
    assert coarse.pass_at_k([1, 100, 10_000]) == pytest.approx(exact.pass_at_k([1, 100, 10_000]), abs=0.002)
    same = Tally.judged(Counts.of([100] * 50, range(50)))
    assert set(same.coarse().n) == {100}
