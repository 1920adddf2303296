"""Detectors of QAM vectors against float64 NumPy that tries everything, closed forms, and each other."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy

pytestmark = pytest.mark.usefixtures("fast_compile")


def problem(num_rx, num_tx, bits_per_symbol, no, count=8, seed=0):
    """Bits, vectors, channels and what arrives, in float64."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return rng.normal(scale=0.5**0.5, size=(count, *shape, 2)) @ np.array([1, 1j])

    bits = rng.integers(0, 2, (count, num_tx * bits_per_symbol))
    labels = bits.reshape(count, num_tx, bits_per_symbol) @ (1 << np.arange(bits_per_symbol)[::-1])
    x, h = phy.qam_points(bits_per_symbol)[labels], normal(num_rx, num_tx)
    y = np.einsum("bmn,bn->bm", h, x) + np.sqrt(no) * normal(num_rx)
    return bits, x, h, y, rng.normal(scale=2.0, size=bits.shape)


def brute_force(y, h, no, bits_per_symbol, prior):
    """The likeliest vector and exact and max-log LLRs of one observation, from their definitions."""
    points, num_tx = phy.qam_points(bits_per_symbol), h.shape[1]
    vectors = np.array(list(itertools.product(range(points.size), repeat=num_tx)))
    bits = np.array([[label >> i & 1 for label in row for i in reversed(range(bits_per_symbol))] for row in vectors])
    belief = -np.sum(np.abs(y - points[vectors] @ h.T) ** 2, axis=1) / no + bits @ prior
    exact = [np.logaddexp.reduce(belief[b == 1]) - np.logaddexp.reduce(belief[b == 0]) for b in bits.T]
    largest = [belief[b == 1].max() - belief[b == 0].max() for b in bits.T]
    return points[vectors[belief.argmax()]], np.array(exact) - prior, np.array(largest) - prior


CASES = [(2, 2, 2), (4, 4, 2), (2, 2, 4), (1, 2, 2), (3, 1, 4)]


@pytest.mark.parametrize(("num_rx", "num_tx", "bits_per_symbol"), CASES)
def test_all_vectors_kept_is_maximum_likelihood(num_rx, num_tx, bits_per_symbol):
    no = 0.3
    _, _, h, y, told = problem(num_rx, num_tx, bits_per_symbol, no)

    @functools.partial(jax.jit, static_argnums=(3, 4))
    def run(y, h, prior, method, searched):
        detector = phy.exact_detector
        if searched:
            detector = functools.partial(phy.k_best_detector, num_kept=2 ** (num_tx * bits_per_symbol))
        return detector(y, h, no, bits_per_symbol, prior=prior, method=method)

    for prior, method in ((told, "app"), (0 * told, "maxlog")):
        want = [brute_force(*one, no, bits_per_symbol, p) for *one, p in zip(y, h, prior, strict=True)]
        with jax.enable_x64(True):
            found = [run(jnp.asarray(y), jnp.asarray(h), jnp.asarray(prior), method, s) for s in (False, True)]
        for symbols, llr in found:
            np.testing.assert_allclose(symbols, [one[0] for one in want], rtol=1e-12)
            np.testing.assert_allclose(llr, [one[1 if method == "app" else 2] for one in want], rtol=1e-8, atol=1e-8)
        assert np.abs(np.array([one[1] - one[2] for one in want])).max() > 0.1  # the two LLRs differ


def test_few_kept_vectors_give_finite_llrs_and_none_is_nearer_than_the_nearest():
    no = 0.3
    _, _, h, y, _ = problem(4, 4, 2, no, count=600)
    y, h = jnp.asarray(y, jnp.complex64), jnp.asarray(h, jnp.complex64)

    @jax.jit
    def run(y, h):
        few = phy.k_best_detector(y, h, no, 2, num_kept=2)
        each = jax.vmap(lambda y, h: phy.k_best_detector(y, h, no, 2, num_kept=2))(y, h)
        return few, each, phy.exact_detector(y, h, no, 2)

    few, each, exact = run(y, h)
    np.testing.assert_array_equal(few.symbols, each.symbols)
    np.testing.assert_allclose(few.llr, each.llr, rtol=1e-3, atol=1e-3)

    def distance(symbols):
        return np.linalg.norm(y - np.einsum("bmn,bn->bm", h, symbols), axis=-1)

    gap = distance(few.symbols) - distance(exact.symbols)
    assert gap.min() > -1e-4 and 0.002 < (gap > 1e-4).mean() < 0.1
    missing = np.abs(few.llr) == 8
    assert np.isfinite(few.llr).all() and 0.05 < missing.mean() < 0.95
    # Bits on which the kept vectors agree are those that the exact detector is surer of.
    assert np.median(np.abs(exact.llr)[missing]) > 2 * np.median(np.abs(exact.llr)[~missing])


def test_shared_channels_and_coloured_noise():
    """A channel that slots share, and noise that is white behind a filter known to both."""
    _, _, h, y, _ = problem(3, 2, 2, 0.2, count=6)
    root = np.linalg.cholesky(np.eye(3) + 0.5 * np.ones((3, 3)))
    detectors = phy.exact_detector, phy.k_best_detector, phy.pic_detector, phy.sic_equalizer

    @jax.jit
    def run(y, h, mixed_y, mixed_h, cov):
        plain = [detector(y, jnp.broadcast_to(h, (2, 3, 3, 2)), 0.2, 2) for detector in detectors]
        shared = [detector(y, h, 0.2, 2) for detector in detectors]
        return plain, shared, [detector(mixed_y, mixed_h, 0.2, 2, noise_cov=cov) for detector in detectors]

    y, h, cov = y.reshape(2, 3, 3), h[:2, None], (0.2 + 0j) * (root @ root.T - np.eye(3))
    with jax.enable_x64(True):
        plain, shared, coloured = run(*map(jnp.asarray, (y, h, y @ root.T, root @ h, cov)))
    for got in (shared, coloured):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), got, plain)


def test_soft_symbols_are_sums_over_the_constellation():
    rng, bits_per_symbol = np.random.default_rng(3), 4
    points = phy.qam_points(bits_per_symbol)
    bits = (np.arange(16)[:, None] >> np.arange(4)[::-1]) & 1
    llr, x_hat, no_eff = rng.normal(scale=2, size=(5, 4)), rng.normal(size=(5, 2)) @ [1, 1j], rng.uniform(0.05, 1, 5)

    @jax.jit
    def run(llr, x_hat, no_eff):
        return phy.qam_mean(llr, bits_per_symbol), phy.qam_posterior(x_hat, no_eff, bits_per_symbol)

    with jax.enable_x64(True):
        given, heard = run(*map(jnp.asarray, (llr, x_hat, no_eff)))
    beliefs = (llr @ bits.T, -(np.abs(x_hat[:, None] - points) ** 2) / no_eff[:, None])
    for belief, (mean, variance) in zip(beliefs, (given, heard), strict=True):
        chances = np.exp(belief - np.logaddexp.reduce(belief, axis=1, keepdims=True))
        np.testing.assert_allclose(np.ravel(mean), chances @ points, rtol=1e-9, atol=1e-12)
        spread = chances @ np.abs(points) ** 2 - np.abs(chances @ points) ** 2
        np.testing.assert_allclose(np.ravel(variance), spread, rtol=1e-9, atol=1e-12)


def test_successive_cancellation_with_right_decisions_is_the_genies():
    """Stage SINRs from their definition; their capacities add up to that of the channel, whatever the order."""
    no = 1e-3
    _, x, h, y, _ = problem(4, 3, 2, no, count=40)
    with jax.enable_x64(True):
        hard, soft = (
            phy.sic_equalizer(jnp.asarray(y), jnp.asarray(h), no, 2, cancellation=name) for name in ("hard", "mean")
        )
    right = (np.sign(hard[0].real) == np.sign(x.real)) & (np.sign(hard[0].imag) == np.sign(x.imag))
    assert right.all()
    for b in range(40):
        waiting, error = [0, 1, 2], np.zeros(3)
        x_hat = np.zeros(3, complex)
        while waiting:
            cov = {n: no * np.eye(4) + sum(np.outer(h[b, :, j], h[b, :, j].conj()) for j in waiting if j != n)
                   for n in waiting}  # fmt: skip
            sinr = {n: (h[b, :, n].conj() @ np.linalg.solve(cov[n], h[b, :, n])).real for n in waiting}
            n = max(waiting, key=sinr.get)
            left = y[b] - sum(h[b, :, j] * x[b, j] for j in range(3) if j not in waiting)
            error[n], x_hat[n] = 1 / sinr[n], h[b, :, n].conj() @ np.linalg.solve(cov[n], left) / sinr[n]
            waiting.remove(n)
        np.testing.assert_allclose(hard[1][b], error, rtol=1e-8)
        np.testing.assert_allclose(hard[0][b], x_hat, rtol=1e-8, atol=1e-10)
        capacity = np.log2(np.linalg.det(np.eye(4) + h[b] @ h[b].conj().T / no).real)
        np.testing.assert_allclose(np.log2(1 + 1 / np.asarray(hard[1][b])).sum(), capacity, rtol=1e-9)
    # At 30 dB means are decisions, where the errors are small.
    np.testing.assert_allclose(soft[1], hard[1], rtol=0.05)


@pytest.mark.parametrize("bits_per_symbol", [2, 4])
def test_parallel_cancellation_is_its_definition(bits_per_symbol):
    """Filters worked out one by one; without a prior they are those of L-MMSE."""
    no = 0.2
    _, x, h, y, prior = problem(3, 3, bits_per_symbol, no, count=5)
    bits = (np.arange(2**bits_per_symbol)[:, None] >> np.arange(bits_per_symbol)[::-1]) & 1
    points = phy.qam_points(bits_per_symbol)

    @jax.jit
    def run(y, h, prior):
        equalised = phy.lmmse_equalizer(y, h, no, variant="unbiased")
        return (
            phy.pic_detector(y, h, no, bits_per_symbol, prior=prior),
            phy.pic_detector(y, h, no, bits_per_symbol),
            phy.qam_llr(*equalised, bits_per_symbol),
        )

    with jax.enable_x64(True):
        found, without, plain = run(*map(jnp.asarray, (y, h, prior)))
    np.testing.assert_allclose(without, plain, rtol=1e-9, atol=1e-9)
    for b in range(5):
        belief = prior[b].reshape(3, -1) @ bits.T
        chances = np.exp(belief - np.logaddexp.reduce(belief, axis=1, keepdims=True))
        mean = chances @ points
        variance = chances @ np.abs(points) ** 2 - np.abs(mean) ** 2
        for n in range(3):
            others = [j for j in range(3) if j != n]
            cov = no * np.eye(3) + (h[b][:, others] * variance[others]) @ h[b][:, others].conj().T
            sinr = (h[b, :, n].conj() @ np.linalg.solve(cov, h[b, :, n])).real
            left = y[b] - h[b][:, others] @ mean[others]
            estimate = h[b, :, n].conj() @ np.linalg.solve(cov, left) / sinr
            metric = belief[n] - np.abs(estimate - points) ** 2 * sinr
            told = prior[b].reshape(3, -1)[n]
            llr = [np.logaddexp.reduce(metric[bit == 1]) - np.logaddexp.reduce(metric[bit == 0]) for bit in bits.T]
            got = np.asarray(found)[b].reshape(3, -1)[n]
            np.testing.assert_allclose(got, llr - told, rtol=1e-7, atol=1e-7)


@pytest.mark.slow
def test_error_rates_stand_in_the_known_order():
    """4x4 QPSK over Rayleigh fading, the same 20,000 vectors for all: each pair apart by 3 standard errors."""
    no, count = 0.3, 20_000
    bits, _, h, y, _ = problem(4, 4, 2, no, count=count, seed=5)

    @jax.jit
    def run(y, h):
        sic = {name: phy.sic_equalizer(y, h, no, 2, cancellation=name) for name in phy.CANCELLATIONS}
        return {
            "ml": phy.exact_detector(y, h, no, 2, method="maxlog").llr,
            "k_best": phy.k_best_detector(y, h, no, 2, num_kept=2, method="maxlog").llr,
            **{name: phy.qam_llr(*one, 2) for name, one in sic.items()},
            "lmmse": phy.qam_llr(*phy.lmmse_equalizer(y, h, no, variant="unbiased"), 2),
        }

    found = run(jnp.asarray(y, jnp.complex64), jnp.asarray(h, jnp.complex64))
    wrong = {name: ((np.asarray(llr) > 0) != bits).sum(1) for name, llr in found.items()}
    for better, worse in itertools.pairwise(("ml", "k_best", "mean", "hard", "lmmse")):
        difference = wrong[worse] - wrong[better]
        z = difference.mean() / (difference.std() / np.sqrt(count))
        assert z > 3, (better, worse, z)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda y, h: phy.exact_detector(y, h, 0.1, 6), r"3 streams of bits_per_symbol 6 have 2\^18 vectors"),
        (
            lambda y, h: phy.exact_detector(y, h, 0.1, 3),
            r"must be 1 \(BPSK\) or one of 2, 4, 6, 8 \(QPSK to 256-QAM\), got 3",
        ),
        (lambda y, h: phy.exact_detector(y, h, 0.1, 2, method="sum"), "unknown method 'sum'; known: app, maxlog"),
        (lambda y, h: phy.exact_detector(y, h, 0.1, 2, prior=np.zeros(4)), r"prior must have shape \(6,\)"),
        (lambda y, h: phy.k_best_detector(y, h, 0.1, 2, num_kept=0), "num_kept must be an integer >= 1, got 0"),
        (lambda y, h: phy.sic_equalizer(y, h, 0.1, 2, cancellation="none"), "unknown cancellation 'none'; known: hard"),
        (lambda y, h: phy.pic_detector(y[:2], h, 0.1, 2), "the antenna axes of y"),
    ],
)
def test_bad_arguments_are_named(run, message):
    with pytest.raises(ValueError, match=message):
        run(jnp.ones(3, jnp.complex64), jnp.ones((3, 3), jnp.complex64))
