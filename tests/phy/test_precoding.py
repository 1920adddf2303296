"""Precoders against float64 NumPy and closed forms, their limits, power, gradients and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden import stored

from lvm_mtc import phy
from lvm_mtc.phy import kernels

pytestmark = pytest.mark.usefixtures("fast_compile")


def _channel(*shape, seed=0, dtype=np.complex128):
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return (parts[0] + 1j * parts[1]).astype(dtype)


@pytest.fixture
def precoder(monkeypatch, request):
    """The precoder, compiled afresh: unrolled where its parameter is 1, else by library."""
    monkeypatch.setattr(kernels, "MIN_BATCH", getattr(request, "param", 10**9))
    return jax.jit(lambda h, **numbers: phy.precoder(h, **numbers), static_argnames=("method", "constraint"))


def _reference(h, no, power, method, error_var, constraint):
    """One matrix, float64; ``no`` and ``error_var`` hold one number per UAV."""
    num_uavs, num_tx_ant = h.shape
    ridge = np.sum(no / power + error_var) if method == "rzf" else 0.0
    w = h.conj().T
    if method != "mf":
        w = w @ np.linalg.inv(h @ h.conj().T + ridge * np.eye(num_uavs))
    spent = np.diagonal(w @ w.conj().T).real
    return w * np.sqrt(power / (spent.sum() if constraint == "total" else num_tx_ant * spent.max()))


CASES = [
    (method, shape)
    for method in phy.PRECODINGS
    for shape in [(3, 5), (4, 4), (3, 1), (2, 12)]
    if method != "zf" or shape[0] <= shape[1]
]


def _is_its_definition(precoder, method, shape):
    with jax.enable_x64(True):
        h = _channel(2, *shape)
        no, v = np.random.default_rng(1).uniform(0.05, 1, (2, 2, shape[0]))
        power = np.array([2.0, 5.0])
        for constraint in phy.POWER_CONSTRAINTS:
            w = precoder(jnp.asarray(h), no=no, total_power=power, method=method, error_var=v, constraint=constraint)
            assert w.dtype == jnp.complex128
            for b in range(2):
                expected = _reference(h[b], no[b], power[b], method, v[b], constraint)
                np.testing.assert_allclose(w[b], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("method", "shape"), CASES)
def test_precoders_are_their_definitions(precoder, method, shape):
    _is_its_definition(precoder, method, shape)


@pytest.mark.parametrize("precoder", [1], ids=["unrolled"], indirect=True)
@pytest.mark.parametrize("shape", [(2, 3), (3, 2), (1, 1)])
def test_unrolled_precoder_is_its_definition(precoder, shape):
    _is_its_definition(precoder, "rzf", shape)


def test_one_number_for_all_is_the_same_number_for_each(precoder):
    h = jnp.asarray(_channel(2, 3, 4, dtype=np.complex64))
    one = precoder(h, no=0.3, total_power=2.0, error_var=0.1)
    each = precoder(h, no=jnp.full((2, 1), 0.3), total_power=2.0, error_var=jnp.full(3, 0.1))
    np.testing.assert_allclose(one, each, rtol=1e-5)


def _leak(h, w):
    """Largest interfering gain over the smallest own gain, per matrix."""
    gains = np.abs(h @ np.asarray(w, np.complex128))
    own = np.diagonal(gains, axis1=-2, axis2=-1).min(-1)
    return np.where(np.eye(gains.shape[-1], dtype=bool), 0, gains).max((-2, -1)) / own


@pytest.mark.parametrize(
    ("dtype", "precoder"),
    [(np.complex64, 1), (np.complex64, 10**9), (np.complex128, 10**9)],
    ids=["unrolled", "library", "library, double"],
    indirect=["precoder"],
)
def test_zero_forcing_leaks_nothing_to_rounding(dtype, precoder):
    with jax.enable_x64(dtype is np.complex128):
        h = _channel(200, 4, 4, seed=3, dtype=dtype)
        w = precoder(jnp.asarray(h), no=0.1, total_power=4.0, method="zf")
        exact = h.astype(np.complex128)
        # A = H H^H is formed with an error below 4 M eps ||A||_F (M complex products in a sum), factored and solved
        # with one below 4 (3 K + 1) K eps ||A||_F (Higham, Accuracy and Stability, Th. 10.4, complex arithmetic), and
        # H^H is applied with one below 4 K eps: H W - I is at most their sum times ||A||_F ||A^-1||_F.
        a = exact @ exact.conj().transpose(0, 2, 1)
        condition = np.linalg.norm(a, axis=(1, 2)) * np.linalg.norm(np.linalg.inv(a), axis=(1, 2))
        bound = 4 * (4 + 13 * 4 + 4) * np.finfo(dtype).eps * condition
        # Where the bound is above 0.1 it says nothing about the quotient of two gains.
        told = bound < 0.1
        assert told.mean() > 0.5
        assert np.all(_leak(exact, w)[told] < 1.2 * bound[told])
        # In the middle it is a small multiple of eps cond(A), and a ridge is seen.
        ridged = precoder(jnp.asarray(h), no=1e-3, total_power=4.0, method="rzf")
        assert np.median(_leak(exact, w) / condition) < 4 * np.finfo(dtype).eps
        assert np.median(_leak(exact, ridged) / condition) > 4 * np.finfo(dtype).eps


def test_regularised_precoder_between_its_limits(precoder):
    with jax.enable_x64(True):
        h = _channel(6, 3, 5, seed=4)
        eigenvalues = np.linalg.eigvalsh(h @ h.conj().transpose(0, 2, 1))

        def distance(no, method):
            w = precoder(jnp.asarray(h), no=no, total_power=1.0)
            limit = precoder(jnp.asarray(h), no=no, total_power=1.0, method=method)
            return np.linalg.norm(np.asarray(w - limit), axis=(1, 2))

        # V_rzf - V_zf = -a H^H A^-1 (A + a I)^-1, so ||V_rzf - V_zf|| <= a / lambda_min ||V_zf|| with a = K no / P, and
        # a distance doubles at most when both are scaled to norm 1. Likewise V_rzf a - V_mf, with lambda_max / a.
        for no in (1e-2, 1e-4, 1e-6):
            assert np.all(distance(no, "zf") <= 2 * 3 * no / eigenvalues[:, 0])
        for no in (1e2, 1e4, 1e6):
            assert np.all(distance(no, "mf") <= 2 * eigenvalues[:, -1] / (3 * no))
        # Each limit is reached on its own side only.
        assert np.all(distance(1e-6, "mf") > 1e-2) and np.all(distance(1e6, "zf") > 1e-2)
    # Far out in single precision there is neither overflow nor underflow.
    single = jnp.asarray(h.astype(np.complex64))
    for no, method in ((1e-30, "zf"), (1e30, "mf")):
        limit = precoder(single, no=0.0, total_power=1.0, method=method)
        np.testing.assert_allclose(precoder(single, no=no, total_power=1.0), limit, atol=2e-5)


@pytest.mark.parametrize("method", phy.PRECODINGS)
def test_power_is_exact_for_every_channel(precoder, method):
    with jax.enable_x64(True):
        h = jnp.asarray(_channel(50, 3, 6, seed=5) * np.logspace(-3, 3, 50)[:, None, None])
        for power in (0.5, 3.0):
            w = precoder(h, no=0.1, total_power=power, method=method)
            np.testing.assert_allclose(np.sum(np.abs(w) ** 2, axis=(1, 2)), power, rtol=1e-13)
            w = precoder(h, no=0.1, total_power=power, method=method, constraint="per_antenna")
            antennas = np.sum(np.abs(w) ** 2, axis=2)
            np.testing.assert_allclose(antennas.max(1), power / 6, rtol=1e-13)
            assert np.all(antennas.sum(1) < power)
            for constraint, spent in (("total", lambda p: p.sum(1)), ("per_antenna", lambda p: 6 * p.max(1))):
                beam = phy.multicast_beam(w, total_power=power, constraint=constraint)
                np.testing.assert_allclose(spent(np.abs(beam) ** 2), power, rtol=1e-13)
                along = np.sum(np.asarray(w), -1)
                cosine = np.abs(np.sum(along.conj() * beam, -1)) / np.linalg.norm(along, axis=-1)
                np.testing.assert_allclose(cosine, np.linalg.norm(beam, axis=-1), rtol=1e-12)


def _mean_squared_error(w, mean, v, no):
    """Sum over UAVs of E|x_k - y_k / b|^2 with the best real b, over errors of variance v_k in row k of the channel."""
    gain = np.trace(mean @ w).real
    spread = np.sum(np.abs(mean @ w) ** 2) + np.sum(v) * np.sum(np.abs(w) ** 2) + np.sum(no)
    return len(mean) - gain**2 / spread


def test_regularised_precoder_minimises_the_mean_squared_error(precoder):
    with jax.enable_x64(True):
        mean, (no, v) = _channel(3, 4, seed=6), np.array([[0.1, 0.4, 0.2], [0.05, 0.3, 0.2]])
        setting = {"total_power": 2.0, "no": no}
        w = np.asarray(precoder(jnp.asarray(mean), error_var=v, **setting))
        best = _mean_squared_error(w, mean, v, no)
        rng = np.random.default_rng(7)
        for size in (1e-3, 1e-1):
            for _ in range(20):
                other = w + size * (rng.normal(size=w.shape) + 1j * rng.normal(size=w.shape))
                other *= np.sqrt(2 / np.sum(np.abs(other) ** 2))
                assert _mean_squared_error(other, mean, v, no) > best
        # One that trusts the estimate is worse, and so is one of twice the variance.
        for wrong in (0 * v, 2 * v):
            w = np.asarray(precoder(jnp.asarray(mean), error_var=wrong, **setting))
            assert _mean_squared_error(w, mean, v, no) > best * (1 + 1e-4)


def test_vmap_is_a_loop_and_jit_is_eager():
    h = jnp.asarray(_channel(5, 3, 4, dtype=np.complex64))
    no = jnp.linspace(0.1, 1, 5)

    def beams(h, no):
        return phy.precoder(h, no=no, total_power=3.0, error_var=0.1, constraint="per_antenna")

    together = beams(h, no[:, None])
    compiled = jax.jit(beams)
    np.testing.assert_allclose(jax.jit(jax.vmap(beams))(h, no), together, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose([compiled(*one) for one in zip(h, no, strict=True)], together, atol=1e-6)
    np.testing.assert_allclose(compiled(h, no[:, None]), together, rtol=1e-5, atol=1e-6)


def test_numbers_do_not_recompile():
    h = jnp.asarray(_channel(2, 3, 4, dtype=np.complex64))
    traces = []
    compiled = jax.jit(
        lambda h, no, power, v: traces.append(1) or phy.precoder(h, no=no, total_power=power, error_var=v)
    )
    for numbers in ((0.1, 3.0, 0.0), (0.4, 1.0, 0.2)):
        no, power, v = numbers
        expected = [_reference(one, np.full(3, no), power, "rzf", v, "total") for one in np.asarray(h, np.complex128)]
        np.testing.assert_allclose(compiled(h, *map(jnp.float32, numbers)), expected, rtol=1e-4, atol=1e-5)
    assert len(traces) == 1


@pytest.mark.parametrize(
    ("method", "min_batch"),
    [pytest.param("rzf", 1, marks=pytest.mark.slow), ("rzf", 10**9), ("zf", 10**9), ("mf", 10**9)],
)
def test_gradients(monkeypatch, method, min_batch):
    from jax.test_util import check_grads

    monkeypatch.setattr(kernels, "MIN_BATCH", min_batch)
    with jax.enable_x64(True):
        re, im = (jnp.asarray(part(_channel(2, 3, seed=8))) for part in (np.real, np.imag))
        weight = jnp.asarray(_channel(3, 2, seed=9))

        def score(re, im, no, power, v, constraint="total"):
            h = jax.lax.complex(re, im)
            w = phy.precoder(h, no=no, total_power=power, method=method, error_var=v, constraint=constraint)
            return jnp.sum(jnp.real(weight * w))

        check_grads(jax.jit(score), (re, im, 0.3, 2.0, 0.1), order=1, modes=["rev"], rtol=1e-5)
        slope = jax.jit(jax.grad(score, argnums=(0, 1, 2, 3, 4)), static_argnums=5)
        edge = slope(re, im, 0.0, 2.0, 0.0, "per_antenna")
        assert all(np.all(np.isfinite(part)) for part in edge)
        if method != "zf":
            edge = slope(0 * re, 0 * im, 0.3, 2.0, 0.0, "per_antenna")
            assert all(np.all(np.isfinite(part)) for part in edge)
            silent = phy.precoder(jnp.zeros((2, 3), jnp.complex128), no=0.3, total_power=2.0, method=method)
            np.testing.assert_array_equal(silent, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "dpc"}, "unknown precoding method 'dpc'; known: rzf, zf, mf"),
        ({"constraint": "peak"}, "unknown power constraint 'peak'; known: total, per_antenna"),
        ({"no": -0.1}, "no must be >= 0, got -0.1"),
        ({"total_power": 0.0}, "total_power must be > 0, got 0.0"),
        ({"error_var": -1.0}, "error_var must be >= 0, got -1.0"),
        ({"no": np.ones(4)}, r"no of shape \(4,\) does not broadcast against the leading axes \(2, 3\)"),
        ({"total_power": np.ones(3)}, r"total_power of shape \(3,\) does not broadcast"),
        ({"h_hat": np.ones((3, 2))}, "h_hat must be complex, got float"),
        ({"h_hat": np.ones(3, np.complex64)}, r"h_hat must be \[..., num_uavs, num_tx_ant\], got shape \(3,\)"),
        (
            {"h_hat": np.ones((3, 2), np.complex64), "method": "zf"},
            "zf precoding needs num_uavs <= num_tx_ant, got 3 > 2",
        ),
    ],
)
def test_errors(change, message):
    arguments = {"h_hat": _channel(2, 3, 4, dtype=np.complex64), "no": 0.1, "total_power": 1.0} | change
    h_hat = jnp.asarray(arguments.pop("h_hat"))
    with pytest.raises(ValueError, match=message):
        jax.eval_shape(lambda: phy.precoder(h_hat, **arguments))


def test_errors_of_the_common_beam():
    with pytest.raises(ValueError, match=r"w must be \[..., num_tx_ant, num_uavs\], got shape \(3,\)"):
        phy.multicast_beam(jnp.ones(3, jnp.complex64), total_power=1.0)
    with pytest.raises(ValueError, match="w must be complex"):
        phy.multicast_beam(jnp.ones((3, 2)), total_power=1.0)


def _unit_columns(w):
    return w / np.linalg.norm(w, axis=-2, keepdims=True)


def _beams_like_sionna(h, ridge):
    """With K no / P = ridge; Sionna scales each beam to power 1, which leaves its direction and phase."""
    num_uavs = h.shape[-2]
    numbers = {"no": jnp.asarray(ridge)[..., None] / num_uavs, "total_power": 1.0}
    return _unit_columns(np.asarray(jax.jit(phy.precoder)(jnp.asarray(h), **numbers)))


def _assert_equal_to_sionna(cases):
    with jax.enable_x64(True):
        for name in sorted(key[2:] for key in cases if key.startswith("h_")):
            h, ridge, g = (cases[f"{part}_{name}"] for part in ("h", "alpha", "g"))
            ours = _beams_like_sionna(h, ridge)
            np.testing.assert_allclose(ours, g, rtol=0, atol=1e-10 * np.abs(g).max(), err_msg=name)
            # Another ridge, or the beams of the conjugate channel, would be seen.
            for wrong in (_beams_like_sionna(h, 1.01 * ridge + 1e-3), _beams_like_sionna(h.conj(), ridge)):
                assert np.abs(wrong - g).max() > 1e-6, name


def test_beams_are_those_of_sionna_up_to_their_scale():
    cases = stored("precoding")
    assert str(cases["sionna_version"]) == "1.2.2"
    _assert_equal_to_sionna(cases)


def test_precoded_grid_is_that_of_sionna():
    """Sionna's OFDM precoder, one matrix per resource element: what leaves the antennas, and the gains that result."""
    cases = stored("precoding")
    with jax.enable_x64(True):
        h, x, ridge = cases["grid_h"], cases["grid_x"], cases["grid_alpha"]
        w = _beams_like_sionna(h, ridge)
        np.testing.assert_allclose(np.einsum("bsfmk,bsfk->bsfm", w, x), cases["grid_precoded"], atol=1e-12)
        np.testing.assert_allclose(h @ w, cases["grid_gains"], atol=1e-12)
        assert not np.allclose(_unit_columns(h.conj().swapaxes(-1, -2)), w, atol=1e-3)


@pytest.mark.sionna
def test_goldens_are_what_sionna_computes_today():
    from golden import make_precoding

    fresh, cases = make_precoding.cases(), stored("precoding")
    _assert_equal_to_sionna(fresh)
    assert set(cases) == set(fresh)
    for name, array in cases.items():
        if array.dtype.kind != "U":
            np.testing.assert_allclose(fresh[name], array, atol=1e-12, err_msg=name)
