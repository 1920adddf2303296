"""Against NumPy in extended precision: every receiver over SNR, shapes and silent streams, with derived bounds.

u is the unit roundoff. With B = [H / sqrt(no); I] on the streams on air (for zero forcing without I), A = B^H B:

* num_rx_ant >= num_tx_ant, few matrices or more than 8 antennas: B is made orthogonal, and its condition number, its
  columns scaled to length 1, carries the rounding on.
* num_rx_ant >= num_tx_ant, many small matrices: A is formed and factored. Its entries are rounded num_rx_ant times, its
  factor num_tx_ant times, and the condition number of A, the square of the other, carries that on.
* Fewer receive antennas: each of them updates a square root of A^-1 with sums of num_tx_ant terms, rounded relative to
  B, whose smallest singular value is 1.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_mtc import phy
from lvm_mtc.phy import kernels, mimo

pytestmark = pytest.mark.usefixtures("fast_compile")

ROUNDOFF = float(np.finfo(np.float32).eps) / 2
COUNT = 300
EXACT = np.clongdouble
"""Of what is compared with: float64 where a computer has no more, and then single precision alone is tested."""
DTYPES = [np.complex64, np.complex128] if np.finfo(EXACT).eps < 1e-18 else [np.complex64]
SHAPES = [(1, 2), (2, 4), (3, 10), (1, 1), (4, 4), (4, 2), (12, 9)]
EQUALIZERS = [name for name in phy.EQUALIZERS if name != "none"]
CASES = [(name, shape) for name in EQUALIZERS for shape in SHAPES if name != "zf" or shape[0] >= shape[1]]


@functools.cache
def _compiled(name):
    return jax.jit(lambda y, h, no, active: phy.EQUALIZERS[name](y, h, no, active=active))


def _problem(seed, shape, alike=0.0, spread_db=0.0, dtype=np.complex64):
    """Channels with columns more or less alike and strong, SNRs of 0 to 70 dB, and streams on air, at least one."""
    rng = np.random.default_rng(seed)
    rx, tx = shape

    def normal(*size):
        return rng.normal(scale=0.5**0.5, size=(*size, 2)) @ np.array([1, 1j])

    h = np.sqrt(alike) * normal(COUNT, rx, 1) + np.sqrt(1 - alike) * normal(COUNT, rx, tx)
    h = (h * 10 ** (rng.uniform(-spread_db, spread_db, (COUNT, 1, tx)) / 20)).astype(dtype)
    no = (10 ** -np.linspace(0, 7, COUNT)).astype(np.finfo(dtype).dtype)
    active = rng.permuted(np.arange(tx) < rng.integers(1, tx + 1, (COUNT, 1)), axis=1)
    y = np.einsum("bmn,bn->bm", h, normal(COUNT, tx) * active) + np.sqrt(no)[:, None] * normal(COUNT, rx)
    return y.astype(dtype), h, no, active


def _norm(a):
    return np.sqrt(np.sum(np.abs(a) ** 2, axis=-1, keepdims=True))


def _matched_filter(y, h, no, roundoff):
    """Results in float64; bound of the relative error of no_eff and of the error of x_hat."""
    norms = _norm(np.swapaxes(h, 1, 2))[..., 0]
    power = np.where(norms > 0, norms, 1) ** 2
    products = np.abs(np.conj(np.swapaxes(h, 1, 2)) @ h) * (1 - np.eye(h.shape[2]))
    total = np.sum(products**2, axis=2) + no * power
    rounded = np.sum(products * norms[:, :, None] * norms[:, None, :], axis=2)
    steps = 2 * (h.shape[1] + 4) * roundoff
    x = np.einsum("bmn,bm->bn", np.conj(h), y) / power
    return x, total / power**2, steps * (h.shape[2] + rounded / total), steps * _norm(y) / np.sqrt(power)


def _inverse(a):
    """Of positive definite matrices, by elimination in the precision that they have: LAPACK has float64 alone."""
    size = a.shape[-1]
    rows = np.concatenate([a, np.broadcast_to(np.eye(size, dtype=a.dtype), a.shape)], axis=-1)
    for i in range(size):
        rows[:, i] /= rows[:, i, i, None]
        others = rows[:, :, i].copy()
        others[:, i] = 0
        rows -= others[..., None] * rows[:, i, None]
    return rows[..., size:]


def _linear(name, y, h, no, active, unrolled, roundoff):
    """The same for LMMSE and zero forcing."""
    _, rx, tx = h.shape
    b = h / np.sqrt(no)[..., None]
    ridge = np.ones(active.shape) if name != "zf" else (~active).astype(float)
    a = np.conj(np.swapaxes(b, 1, 2)) @ b + ridge[..., None] * np.eye(tx)
    scale = np.sqrt(np.real(np.diagonal(a, axis1=1, axis2=2)))
    scaled = a / scale[:, :, None] / scale[:, None, :]
    condition = np.linalg.cond(scaled.astype(complex))[:, None]
    known = condition < 1e15  # nothing is told of the others
    inverse = _inverse(np.where(known[..., None], scaled, np.eye(tx)))
    error = np.real(np.diagonal(inverse, axis1=1, axis2=2)) / scale**2
    observed = y / np.sqrt(no)
    matched = np.einsum("bmk,bm->bk", np.conj(b), observed) / scale
    x = np.einsum("bnk,bk->bn", inverse, matched) / scale
    size = _norm(scale * x) + _norm(observed)
    if rx < tx:
        strength = np.linalg.norm(b.astype(complex), 2, axis=(1, 2))[:, None]
        relative = rx * (4 * tx + 20) * roundoff * np.sqrt(1 + strength**2)
        # y^H (B B^H + I)^-1 y, by the matrix inversion lemma.
        surprise = np.sum(np.abs(observed) ** 2 - np.real(np.conj(observed) * np.einsum("bmn,bn->bm", b, x)), axis=1)
        of_x = relative * np.sqrt(error) * (1 + np.sqrt(np.maximum(surprise, 0)))[:, None]
    elif not unrolled:
        relative = 4 * tx * (rx + tx) * roundoff * np.sqrt(condition)
        left = _norm(observed - np.einsum("bmn,bn->bm", b, x)) + _norm(x)
        of_x = relative * (size + np.sqrt(condition) * left) / scale
    else:
        relative = 2 * tx * (rx + tx + 4) * roundoff * condition
        of_x = relative * size / scale
    own = tx * (rx + tx + 4) * np.finfo(EXACT).eps * condition  # what is compared with has rounded too
    relative, of_x = np.where(known, relative + own, np.inf), of_x + own * size / scale
    if name in ("paper", "zf"):
        return x, error, np.broadcast_to(relative, x.shape), of_x
    gain = np.where(active, 1 - error, 1)
    left_over = own + 4 * np.finfo(EXACT).eps if rx < tx else relative * error + 4 * roundoff
    of_gain = left_over / gain + (relative if rx < tx else 0)
    return x / gain, error / gain, relative + of_gain, of_x / gain + np.abs(x / gain) * of_gain


def _check(name, problem, unrolled=False):
    """Finite and positive everywhere, and within the bound wherever that says anything; how often it does."""
    y, h, no, active = problem
    x_hat, no_eff = (np.asarray(a) for a in _compiled(name)(y, h, no, active))
    assert x_hat.dtype == h.dtype and no_eff.dtype == no.dtype
    assert np.all(np.isfinite(x_hat)) and np.all(np.isfinite(no_eff)) and np.all(no_eff > 0)
    roundoff = np.finfo(h.dtype).eps / 2
    y, h, no = y.astype(EXACT), h.astype(EXACT) * active[:, None], no.astype(np.finfo(EXACT).dtype)[:, None]
    expected, variance, of_variance, of_x = (
        _matched_filter(y, h, no, roundoff) if name == "mf" else _linear(name, y, h, no, active, unrolled, roundoff)
    )
    told = active & (of_variance < 0.3)
    np.testing.assert_array_less((np.abs(no_eff / variance - 1) / of_variance)[told], 1.5)
    np.testing.assert_array_less((np.abs(x_hat - expected) / of_x)[told], 1.5)
    return told[active].mean()


@pytest.mark.parametrize(("name", "shape"), CASES)
def test_rayleigh_channels_with_silent_streams(name, shape):
    assert _check(name, _problem(1, shape)) > 0.9


@pytest.mark.slow
@settings(max_examples=50, deadline=None, derandomize=True, database=None)
@given(
    case=st.sampled_from(CASES),
    seed=st.integers(0, 2**32 - 1),
    alike=st.sampled_from([0.0, 0.5, 0.999, 1 - 1e-6, 1.0]),
    spread_db=st.sampled_from([0.0, 20.0, 60.0]),
    dtype=st.sampled_from(DTYPES),
)
def test_columns_that_are_alike_or_of_other_strength(case, seed, alike, spread_db, dtype):
    name, shape = case
    with jax.enable_x64(dtype == np.complex128):
        _check(name, _problem(seed, shape, alike, spread_db, dtype))


@pytest.mark.parametrize("name", ["unbiased", "zf"])
def test_unrolled_elimination(monkeypatch, name):
    monkeypatch.setattr(kernels, "MIN_BATCH", 1)
    caches = (mimo._lmmse.clear_cache, mimo._zf.clear_cache, _compiled.cache_clear)
    for clear in caches:
        clear()
    assert _check(name, _problem(2, (3, 3)), unrolled=True) > 0.9
    for alike in (0.999, 1.0):
        _check(name, _problem(3, (3, 3), alike), unrolled=True)
    for clear in caches:
        clear()


def test_one_stream_of_four_on_two_antennas():
    # Fault 1 of the audit: at 65 dB one in twelve no_eff was <= 0 or NaN. Right is no / |h|^2 to first order.
    x = jnp.zeros((5000, 1, 4), jnp.complex64).at[np.arange(5000), 0, np.arange(5000) % 4].set(1)
    no = 10**-6.5
    out = phy.joint(jax.random.key(0), x, no=no, num_rx_ant=2, active=x != 0)
    heard = np.asarray(x) != 0
    power = np.sum(np.abs(np.asarray(out.h, complex)) ** 2, axis=-2)
    bound = 2 * 36 * ROUNDOFF * np.sqrt(1 + power / no)
    np.testing.assert_array_less((np.abs(out.no_eff * power / no - 1) / bound)[heard], 1.5)
    np.testing.assert_array_less(0, np.asarray(out.no_eff))
    assert np.all(np.isfinite(np.asarray(out.x_hat)))
    error = np.abs(np.asarray(out.x_hat)[heard] - 1) ** 2 / np.asarray(out.no_eff)[heard]
    assert abs(error.mean() - 1) < 5 / np.sqrt(error.size)


def test_many_antennas_at_60_db():
    rng = np.random.default_rng(4)
    h = (rng.normal(scale=0.5**0.5, size=(3, 64, 64, 2)) @ np.array([1, 1j])).astype(np.complex64)
    x = (rng.normal(scale=0.5**0.5, size=(3, 64, 2)) @ np.array([1, 1j])).astype(np.complex64)
    y = jnp.einsum("bmn,bn->bm", h, x, precision="highest")
    exact = np.linalg.inv(np.eye(64) + 1e6 * np.conj(np.swapaxes(h, 1, 2)).astype(complex) @ h)
    exact = np.real(np.diagonal(exact, axis1=1, axis2=2))
    _, mse = phy.lmmse_equalizer(y, h, 1e-6, variant="paper")
    condition = np.linalg.cond(h.astype(complex), 2).max()
    # Rounding of an orthogonal factorisation grows with the root of the number of its operations per entry, as a rule.
    np.testing.assert_allclose(mse, exact, rtol=64 * condition * ROUNDOFF)
    # The normal equations lose more than that.
    a = np.eye(64, dtype=np.complex64) + 1e6 * np.conj(np.swapaxes(h, 1, 2)) @ h
    normal = np.real(np.diagonal(np.linalg.inv(a.astype(np.complex64)), axis1=1, axis2=2))
    assert np.max(np.abs(normal / exact - 1)) > 10 * np.max(np.abs(np.asarray(mse) / exact - 1))


@pytest.mark.parametrize("shape", [(2, 4), (12, 9)])
def test_gradients_of_the_other_solvers(shape):
    with jax.enable_x64(True):
        y, h, _, _ = (np.asarray(a[:2], complex) for a in _problem(5, shape))
        active = jnp.ones(shape[1], bool).at[0].set(False)

        def f(re, im, no):
            x_hat, no_eff = phy.lmmse_equalizer(jnp.asarray(y), jax.lax.complex(re, im), no, active=active)
            return jnp.sum(jnp.real(x_hat) - 2 * jnp.imag(x_hat)) + jnp.sum(no_eff)

        point = (jnp.asarray(h.real), jnp.asarray(h.imag), jnp.asarray(0.3))
        slopes = jax.jit(jax.grad(f, argnums=(0, 1, 2)))(*point)
        direction = (point[1], -point[0], jnp.asarray(0.5))
        ahead, behind = (
            jax.jit(f)(*(p + step * d for p, d in zip(point, direction, strict=True))) for step in (1e-6, -1e-6)
        )
        expected = sum(float(jnp.sum(slope * d)) for slope, d in zip(slopes, direction, strict=True))
        np.testing.assert_allclose((ahead - behind) / 2e-6, expected, rtol=1e-6)
