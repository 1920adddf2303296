"""Links end to end: believed and measured errors, blocks, sharing of draws, independence of UAVs, edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.phy import kernels, mimo

pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(autouse=True)
def _library_algebra(monkeypatch):
    # Unrolled code takes seconds to compile; that it agrees is a test of its own, here and in test_mimo.py.
    monkeypatch.setattr(kernels, "MIN_BATCH", 10**9)


def test_unrolled_link_equals_library_link(monkeypatch):
    x = _symbols(2, 33, 3)
    draws = phy.draw_link(_key(), (2,), 33, num_tx_ant=3, num_rx_ant=4, block_length=2)
    setting = {"no": 0.1, "csi_error_var": 0.05, "block_length": 2, "draws": draws}
    library = phy.joint(None, x, **setting)
    mimo._lmmse.clear_cache()
    monkeypatch.setattr(kernels, "MIN_BATCH", 1)
    unrolled = phy.joint(None, x, **setting)
    for a, b in zip(jax.tree.leaves(library), jax.tree.leaves(unrolled), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-4)


def _symbols(*shape, seed=0, dtype=jnp.complex64):
    # From NumPy, because JAX would compile its sampler anew for every shape.
    parts = np.random.default_rng(seed).normal(scale=0.5**0.5, size=(2, *shape))
    return jnp.asarray(parts[0] + 1j * parts[1], dtype)


def _key(seed=1, impl="rbg"):
    # "rbg" compiles in a third of the time; only threefry draws the same under vmap as in a loop.
    return jax.random.key(seed, impl=impl)


def _agrees(error, believed):
    """Whether squared error and belief have one mean, within 5 standard errors over the leading (independent) axis."""
    difference = np.asarray(error - believed).reshape(len(error), -1).mean(-1)
    return abs(difference.mean()) < 5 * difference.std() / np.sqrt(difference.size)


SETTINGS = {
    "additive": {"csi": "additive", "csi_error_var": 0.2},
    "mmse": {"csi": "mmse", "csi_error_var": 0.2},
    "pilots_ls": {"csi": "pilots_ls", "num_pilots": 4},
    "pilots_lmmse": {"csi": "pilots_lmmse", "num_pilots": 4},
}


@pytest.mark.parametrize("csi", SETTINGS)
def test_robust_believes_what_is_measured(csi):
    x = _symbols(5000, 1, 2, 3)
    out = phy.broadcast(_key(), x, no=0.3, num_rx_ant=5, **SETTINGS[csi])
    error = np.abs(np.asarray(out.x_hat - x)) ** 2
    assert _agrees(error, out.no_eff)
    assert not _agrees(error, 1.2 * out.no_eff)
    naive = phy.broadcast(_key(), x, no=0.3, num_rx_ant=5, equalizer="unbiased", **SETTINGS[csi])
    assert not _agrees(np.abs(np.asarray(naive.x_hat - x)) ** 2, naive.no_eff)


@pytest.mark.parametrize(("csi", "no", "s"), [("pilots_ls", 0.4, 0.1), ("pilots_lmmse", 0.4, 0.4 / 4.4)])
def test_pilots_are_an_error_model_with_the_variance_of_their_noise(csi, no, s):
    x = _symbols(3, 2, 6, 4)
    model = "additive" if csi == "pilots_ls" else "mmse"
    pilots = phy.broadcast(_key(), x, no=no, csi=csi, num_pilots=4)
    direct = phy.broadcast(_key(), x, no=no, csi=model, csi_error_var=s)
    np.testing.assert_allclose(pilots.h_hat, direct.h_hat, atol=1e-5)
    np.testing.assert_allclose(pilots.no_eff, direct.no_eff, rtol=1e-3)


def test_paper_has_the_closed_form_mse_given_the_channel():
    x = _symbols(4000, 2, 4)
    out = phy.joint(_key(), x, no=0.2, equalizer="paper")
    h = np.asarray(out.h, np.complex128)[:, 0]
    inverse = np.linalg.inv(np.eye(4) + h.conj().transpose(0, 2, 1) @ h / 0.2)
    expected = np.diagonal(inverse, axis1=1, axis2=2).real[:, None]
    np.testing.assert_allclose(out.no_eff, np.broadcast_to(expected, x.shape), rtol=5e-3)
    assert _agrees(np.abs(np.asarray(out.x_hat - x)) ** 2, expected)


def test_correlated_prior_makes_robust_right_again():
    corr = phy.exp_corr_mat(0.9, 4)
    fading = functools.partial(phy.rayleigh, rx_corr=corr, tx_corr=corr)
    x = _symbols(5000, 1, 2, 4)
    setting = {"no": 0.3, "csi_error_var": 0.5, "fading": fading}
    told = phy.broadcast(_key(), x, prior=phy.ChannelPrior(rx_corr=corr, tx_corr=corr), **setting)
    guess = phy.broadcast(_key(), x, **setting)
    # Scaled by 1 / (1 + no_eff), the estimate is the LMMSE one, of error variance no_eff / (1 + no_eff).
    error, guess_error = (np.abs(np.asarray(out.x_hat / (1 + out.no_eff) - x)) ** 2 for out in (told, guess))
    assert _agrees(error, told.no_eff / (1 + told.no_eff))
    assert not _agrees(guess_error, guess.no_eff / (1 + guess.no_eff))
    assert error.mean() < guess_error.mean()
    np.testing.assert_array_equal(told.h_hat, guess.h_hat)


def test_rician_prior():
    los = jnp.ones((3, 2), jnp.complex64)
    power_los, power_scattered = phy.rician_weights(6.0)
    prior = phy.ChannelPrior(mean=jnp.sqrt(power_los) * los, scattered_power=power_scattered)
    x = _symbols(5000, 1, 2, 2)
    fading = functools.partial(phy.rician, k_factor_db=6.0, los=los)
    for csi in ("additive", "mmse", "pilots_lmmse"):
        out = phy.broadcast(
            _key(), x, no=0.4, csi_error_var=0.1, csi=csi, num_pilots=2, num_rx_ant=3, fading=fading, prior=prior
        )
        weight = 1 / (1 + np.asarray(out.no_eff)) ** 2
        assert _agrees(np.abs(np.asarray(out.x_hat - x)) ** 2 * weight, out.no_eff * weight), csi


def test_awgn_is_parallel_links_with_their_own_errors():
    x = _symbols(2, 3, 5, 4)
    draws = phy.draw_link(_key(), (2, 3), 5, num_tx_ant=4, fading=None)
    assert draws.h is None and draws.csi.shape == (2, 3, 1, 4)
    out = phy.broadcast(None, x, no=0.1, csi_error_var=0.04, fading=None, draws=draws)
    h_hat = 1 + 0.2 * np.asarray(draws.csi)
    y = np.asarray(x) + np.sqrt(0.1) * np.asarray(draws.noise)
    np.testing.assert_allclose(out.h_hat, h_hat, rtol=1e-5)
    np.testing.assert_allclose(out.y, y, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.x_hat, y / h_hat, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(out.no_eff, np.broadcast_to(0.14 / np.abs(h_hat) ** 2, x.shape), rtol=1e-4)
    paper = phy.broadcast(None, x, no=0.1, csi_error_var=0.04, fading=None, draws=draws, equalizer="paper")
    np.testing.assert_allclose(paper.x_hat, y * h_hat.conj() / (np.abs(h_hat) ** 2 + 0.1), rtol=1e-4, atol=1e-5)
    perfect = phy.broadcast(_key(), x, no=0.1, fading=None)
    np.testing.assert_allclose(perfect.no_eff, 0.1, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("fading", [phy.rayleigh, None])
def test_uavs_are_independent_of_their_number(fading):
    x = _symbols(2, 8, 6, 4)
    keys = jax.random.split(_key(impl="threefry2x32"), 8)
    setting = {"csi_error_var": 0.05, "fading": fading, "block_length": 4}
    no = jnp.linspace(0.05, 0.4, 8)
    together = phy.broadcast(keys, x, no=no, **setting)
    one_key = phy.broadcast(_key(impl="threefry2x32"), x, no=no, **setting)
    np.testing.assert_array_equal(together.y, one_key.y)
    for k in (0, 3, 7):
        single = phy.broadcast(jax.random.clone(keys[k : k + 1]), x[:, k : k + 1], no=no[k], **setting)
        for a, b in zip(jax.tree.leaves(together), jax.tree.leaves(single), strict=True):
            np.testing.assert_allclose(a[:, k : k + 1], b, rtol=2e-4, atol=1e-5)
    # Another UAV's key gives another channel.
    assert not np.allclose(together.y[:, 0], together.y[:, 1])


def test_zero_csi_error_is_perfect_knowledge():
    x = _symbols(2, 3, 5, 4)
    out = phy.broadcast(_key(), x, no=0.1)
    np.testing.assert_array_equal(out.h_hat, out.h)
    unbiased = phy.broadcast(_key(), x, no=0.1, equalizer="unbiased")
    np.testing.assert_allclose(out.x_hat, unbiased.x_hat, rtol=1e-5)


@pytest.mark.parametrize(("block_length", "num_blocks"), [(None, 1), (1, 7), (3, 3), (9, 1)])
def test_blocks(block_length, num_blocks):
    x = _symbols(2, 7, 3)
    draws = phy.draw_link(_key(), (2,), 7, num_tx_ant=3, block_length=block_length)
    out = phy.joint(None, x, no=0.1, csi_error_var=0.02, block_length=block_length, draws=draws)
    assert out.h.shape == (2, num_blocks, 3, 3)
    of_slot = np.arange(7) // (block_length or 7)
    h = np.asarray(out.h)[:, of_slot]
    y = np.einsum("bsmn,bsn->bsm", h, x) + np.sqrt(0.1) * np.asarray(draws.noise)
    np.testing.assert_allclose(out.y, y, rtol=1e-4, atol=1e-5)
    mean, variance = phy.csi_posterior(out.h_hat[:, of_slot], 0.02)
    x_hat, no_eff = phy.lmmse_equalizer(out.y, mean, 0.1, variance)
    np.testing.assert_allclose(out.x_hat, x_hat, rtol=2e-3, atol=2e-4)
    np.testing.assert_allclose(out.no_eff, no_eff, rtol=2e-3)


def test_slots_can_be_placed_on_the_time_axis():
    x = _symbols(1, 2, 4, 3)
    index = jnp.array([[0, 5, 6, 11], [3, 2, 1, 0]])
    draws = phy.draw_link(_key(), (1, 2), 4, num_tx_ant=3, block_length=3, total_slots=12)
    setting = {"no": 0.1, "csi_error_var": 0.02, "block_length": 3, "total_slots": 12, "draws": draws}
    out = jax.jit(lambda index: phy.broadcast(None, x, slot_index=index, **setting))(index)
    assert out.h.shape == (1, 2, 4, 3, 3)
    h = np.take_along_axis(np.asarray(out.h), np.asarray(index)[None, ..., None, None] // 3, axis=2)
    y = np.einsum("bksmn,bksn->bksm", h, x) + np.sqrt(0.1) * np.asarray(draws.noise)
    np.testing.assert_allclose(out.y, y, rtol=1e-4, atol=1e-5)
    ordered = phy.broadcast(None, x, slot_index=jnp.broadcast_to(jnp.arange(4), (1, 2, 4)), **setting)
    default = phy.broadcast(None, x, **setting)
    np.testing.assert_allclose(ordered.x_hat, default.x_hat, rtol=1e-3, atol=1e-4)
    beyond = phy.broadcast(None, x, slot_index=index + 12, **setting)
    assert np.all(np.isnan(beyond.y))


def test_pilots_take_slots_of_the_block():
    assert phy.block_layout(20, 8) == (3, 8)
    assert phy.block_layout(20, 8, num_pilots=4) == (5, 4)
    out = phy.broadcast(_key(), _symbols(1, 20, 4), no=0.1, csi="pilots_ls", num_pilots=4, block_length=8)
    assert out.h.shape == (1, 5, 4, 4)


def test_joint_drops_silent_streams():
    x = _symbols(3, 6, 4)
    active = jnp.ones(x.shape, bool).at[:, :, 1].set(False).at[:, 2:, 3].set(False)
    draws = phy.draw_link(_key(), (3,), 6, num_tx_ant=4)
    out = phy.joint(None, x, no=0.1, csi_error_var=0.05, active=active, draws=draws)
    for slots, streams in ((slice(0, 2), [0, 2, 3]), (slice(2, 6), [0, 2])):
        small = phy.joint(
            None,
            x[:, slots][..., jnp.array(streams)],
            no=0.1,
            csi_error_var=0.05,
            draws=phy.LinkDraws(
                draws.h[..., jnp.array(streams)], draws.csi[..., jnp.array(streams)], draws.noise[:, slots]
            ),
        )
        np.testing.assert_allclose(out.x_hat[:, slots][..., streams], small.x_hat, rtol=2e-3, atol=2e-4)
        np.testing.assert_allclose(out.no_eff[:, slots][..., streams], small.no_eff, rtol=2e-3)
    silent = ~np.asarray(active)
    np.testing.assert_array_equal(np.asarray(out.x_hat)[silent], 0)
    np.testing.assert_array_equal(np.asarray(out.no_eff)[silent], 1)
    heard = phy.broadcast(_key(), x, no=0.1, active=active)
    np.testing.assert_array_equal(np.asarray(heard.no_eff)[silent], 1)


def test_injected_channel_estimate_and_noise_need_no_key():
    x, h, noise = _symbols(2, 3, 2), _symbols(2, 1, 4, 2, seed=5), 0.1 * _symbols(2, 3, 4, seed=6)
    h_hat = h + 0.01
    out = phy.joint(None, x, no=0.01, h=h, h_hat=h_hat, noise=noise, equalizer="unbiased")
    y = jnp.einsum("bmn,bsn->bsm", h[:, 0], x) + noise
    expected, no_eff = phy.lmmse_equalizer(y, h_hat, 0.01, variant="unbiased")
    np.testing.assert_allclose(out.y, y, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out.x_hat, expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(out.no_eff, no_eff, rtol=1e-3)


def test_operating_points_share_draws_compile_once_and_change_smoothly():
    x = _symbols(4, 2, 5, 4)
    draws = phy.draw_link(jax.random.split(_key(impl="threefry2x32"), 2), (4, 2), 5, num_tx_ant=4)
    traces = []

    @jax.jit
    def mse(no, s):
        traces.append(1)
        out = phy.broadcast(None, x, no=no, csi_error_var=s, draws=draws)
        return jnp.mean(jnp.real(out.x_hat - x) ** 2 + jnp.imag(out.x_hat - x) ** 2)

    base, step = mse(jnp.float32(0.1), jnp.float32(0.05)), mse(jnp.float32(0.1001), jnp.float32(0.05))
    other = mse(jnp.float32(0.1), jnp.float32(0.2))
    assert len(traces) == 1
    assert 0 < abs(step - base) < 0.01 * base
    assert other > base
    keyed = phy.broadcast(_key(impl="threefry2x32"), x, no=0.1, csi_error_var=0.05)
    shared = phy.broadcast(None, x, no=0.1, csi_error_var=0.05, draws=draws)
    np.testing.assert_array_equal(keyed.x_hat, shared.x_hat)


@pytest.mark.slow
def test_gradient_with_respect_to_the_operating_point_and_the_symbols():
    from jax.test_util import check_grads

    with jax.enable_x64(True):
        x = _symbols(1, 2, 3, dtype=jnp.complex128)
        draws = phy.draw_link(_key(), (1,), 2, num_tx_ant=3, dtype=jnp.complex128)

        def f(no, s, re, im):
            out = phy.joint(None, jax.lax.complex(re, im), no=no, csi_error_var=s, draws=draws)
            assert out.x_hat.dtype == jnp.complex128 and out.no_eff.dtype == jnp.float64
            return jnp.sum(jnp.real(out.x_hat) - 2 * jnp.imag(out.x_hat)) + jnp.sum(out.no_eff)

        check_grads(f, (0.3, 0.1, jnp.real(x), jnp.imag(x)), order=1, modes=["rev"], rtol=1e-5)


@pytest.mark.parametrize("fading", [phy.rayleigh, None])
def test_gradients_are_finite_at_the_edges(fading):
    def f(features, no, s):
        x, _ = phy.normalize_power(phy.features_to_symbols(features))
        out = phy.broadcast(_key(), x, no=no, csi_error_var=s, fading=fading)
        return jnp.sum(phy.symbols_to_features(out.x_hat)) + jnp.sum(jnp.log(out.no_eff))

    slopes = jax.jit(jax.value_and_grad(f, argnums=(0, 1, 2)))
    for s in (0.0, 0.01):
        value, (of_features, of_no, of_s) = slopes(jnp.zeros((2, 3, 8)), 0.1, s)
        assert np.isfinite(value) and np.isfinite(of_no) and np.all(np.isfinite(of_features))
        # At 0 the slope of a realisation is infinite: no number instead of a wrong one.
        assert np.isnan(of_s) == (s == 0)


NOISE_FREE = {
    "paper": {"num_rx_ant": 4},
    "unbiased": {"num_rx_ant": 5},
    "robust": {"num_rx_ant": 4},
    "zf": {"num_rx_ant": 4},
    "mf": {"fading": None},
    "sequential": {"num_rx_ant": 2, "equalizer": "robust"},
}


@pytest.mark.parametrize("name", NOISE_FREE)
def test_a_noise_free_link_has_all_bits(name):
    setting = {"equalizer": name} | NOISE_FREE[name]
    bits = np.random.default_rng(0).integers(0, 2, (50, 3, 8))
    x = phy.qam_map(bits, 2)
    active = jnp.ones(x.shape, bool)
    if name == "sequential":  # two antennas can tell two of the four streams apart
        active = active.at[:, 0, ::2].set(False).at[:, 1:, 2:].set(False)

    @jax.jit
    def receive(x, no):
        out = phy.joint(_key(), x, no=no, active=active, **setting)
        return phy.qam_llr(out.x_hat, out.no_eff, 2), out.no_eff

    def loss(re, no):
        llr, no_eff = receive(jax.lax.complex(re, jnp.imag(x)), no)
        return jnp.sum(jnp.tanh(1e-6 * llr)) + jnp.sum(no_eff)

    llr, no_eff = receive(x, 0.0)
    heard = np.repeat(np.asarray(active), 2, axis=-1)
    assert np.all(np.isfinite(llr)) and np.all(np.isfinite(no_eff)) and np.all(no_eff >= 0)
    np.testing.assert_array_equal((np.asarray(llr) > 0)[heard], (bits == 1)[heard])
    of_x, of_no = jax.grad(loss, argnums=(0, 1))(jnp.real(x), 0.0)
    assert np.all(np.isfinite(of_x)) and np.isnan(of_no)


def test_vmap_equals_batch():
    x = _symbols(3, 2, 4, 2)
    draws = phy.draw_link(_key(), (3, 2), 4, num_tx_ant=2)
    batch = phy.broadcast(None, x, no=0.1, csi_error_var=0.1, draws=draws)
    mapped = jax.vmap(lambda x, draws: phy.broadcast(None, x, no=0.1, csi_error_var=0.1, draws=draws))(x, draws)
    for a, b in zip(jax.tree.leaves(batch), jax.tree.leaves(mapped), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_eight_devices_equal_one():
    x = _symbols(8, 2, 4, 4)
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    sharding = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    run = jax.jit(lambda key, x: phy.broadcast(key, x, no=0.1, csi_error_var=0.1))
    alone, spread = run(_key(impl="threefry2x32"), x), run(_key(impl="threefry2x32"), jax.device_put(x, sharding))
    assert len(spread.x_hat.sharding.device_set) == 8
    for a, b in zip(jax.tree.leaves(alone), jax.tree.leaves(spread), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


X = jnp.ones((2, 5, 4), jnp.complex64)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X.real}, "x must be complex, got float32"),
        ({"x": X[0]}, r"\[..., num_uavs, num_slots, num_tx_ant\], got shape \(5, 4\)"),
        ({"equalizer": "lmmse"}, "unknown equalizer 'lmmse'; known: paper, unbiased, robust, zf, mf, none"),
        ({"csi": "perfect"}, "unknown csi 'perfect'; known: additive, mmse, pilots_ls, pilots_lmmse"),
        ({"csi": "pilots_ls"}, "num_pilots is needed"),
        ({"csi": "pilots_ls", "num_pilots": 3}, "got 3 < 4"),
        (
            {"csi": "pilots_ls", "num_pilots": 4, "block_length": 4},
            r"block_length must be >= num_pilots \+ 1 = 5, got 4",
        ),
        ({"block_length": 0}, "block_length must be an integer >= 1, got 0"),
        ({"block_length": 2.5}, "block_length must be an integer >= 1, got 2.5"),
        ({"fading": None, "num_rx_ant": 2}, "num_rx_ant=2, num_tx_ant=4"),
        ({"fading": None, "h": jnp.ones((2, 1, 4, 4))}, r"h of shape \(2, 1, 4, 4\) was given"),
        ({"key": None}, "key is None"),
        ({"key": jax.random.split(jax.random.key(0), 3)}, r"shape \(2,\), got \(3,\)"),
        ({"no": -1.0}, "no must be >= 0, got -1.0"),
        ({"no": jnp.ones(3)}, r"no of shape \(3,\) does not broadcast against the leading axes \(2,\)"),
        ({"csi_error_var": -0.1}, "csi_error_var must be >= 0, got -0.1"),
        ({"active": jnp.ones((2, 5), bool)}, r"shape of x \(2, 5, 4\), got bool \(2, 5\)"),
        ({"h": jnp.ones((2, 3, 4, 4))}, r"h must have shape \(2, 1, 4, 4\), got \(2, 3, 4, 4\)"),
        ({"noise": jnp.ones((2, 4, 4))}, r"noise must have shape \(2, 5, 4\), got \(2, 4, 4\)"),
        ({"total_slots": 4}, r"total_slots 4 is less than the 5 slots of x \(2, 5, 4\)"),
        ({"slot_index": jnp.zeros((2, 5), int), "block_length": 2}, "slot_index with a block_length needs total_slots"),
        ({"slot_index": jnp.zeros((2, 5))}, "slot_index must be integer, got float32"),
        ({"slot_index": jnp.zeros((2, 4), int)}, r"slot_index must have shape \(2, 5\), got \(2, 4\)"),
    ],
)
def test_errors(arguments, message):
    arguments = {"key": jax.random.key(0), "x": X, "no": 0.1} | arguments
    with pytest.raises(ValueError, match=message):
        phy.broadcast(**arguments)


@pytest.mark.parametrize("indexed", [False, True])
def test_an_error_variance_per_slot_is_used_slot_by_slot(indexed):
    rng = np.random.default_rng(3)
    slots, ant, no = 6, 2, 0.1
    h, h_hat, noise, x = (
        (rng.normal(size=shape) + 1j * rng.normal(size=shape)).astype(np.complex64)
        for shape in ((1, slots, ant, ant), (1, slots, ant, ant), (1, slots, ant), (1, slots, ant))
    )
    error_var = np.float32(rng.uniform(0.01, 0.5, slots))
    out = phy.broadcast(
        None,
        jnp.asarray(x),
        no=no,
        h=jnp.asarray(h),
        h_hat=jnp.asarray(h_hat),
        h_hat_error_var=jnp.asarray(error_var)[None],
        noise=jnp.asarray(noise),
        block_length=1,
        total_slots=slots,
        slot_index=jnp.arange(slots)[None] if indexed else None,
    )
    for slot in range(slots):
        alone, _ = phy.lmmse_equalizer(out.y[:, slot], jnp.asarray(h_hat[:, slot]), no, error_var[slot])
        np.testing.assert_allclose(out.x_hat[:, slot], alone, rtol=2e-4, atol=2e-5)
    assert np.unique(np.round(out.no_eff[..., 0], 4)).size == slots


def test_an_error_variance_of_an_estimate_needs_the_estimate():
    with pytest.raises(ValueError, match="h_hat_error_var was given without h_hat"):
        phy.broadcast(jax.random.key(0), jnp.ones((1, 4, 2), jnp.complex64), no=0.1, h_hat_error_var=0.1)
