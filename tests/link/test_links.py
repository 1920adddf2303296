"""The chain on every kind of link: precoded downlink, numbers of each UAV, resource grids."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observed import observe, point_of

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, Slots
from lvm_mtc.phy import ResourceGrid
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc

B, K = 2, 3
CONFIG = LvmMtcConfig(variant="linear", image_size=32, patch_size=8, num_symbols=6, power_allocation=False)
GRID = ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=4, pilot_symbols=(0, 3))
MU_MIMO = LinkConfig.of(topology="mu_mimo", num_rx_ant=1, num_tx_ant=4)
SOME = 0.08  # a threshold below which some slots of the random pictures fall

pytestmark = pytest.mark.usefixtures("fast_compile")


def point(**numbers):
    numbers = dict(snr_db=10.0, csi_error_var=0.02, mask_prob=0.25, epsilon=0.0) | numbers
    return point_of(**{k: jnp.float32(v) for k, v in numbers.items()})


@functools.cache
@jax.ensure_compile_time_eval()  # numbers, even if the first to ask is being traced
def params():
    parameters = LvmMtc(CONFIG).init(jax.random.key(0))
    leaves, tree = jax.tree.flatten(parameters)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    return jax.tree.unflatten(
        tree, [a + 0.1 * jax.random.normal(k, a.shape) for a, k in zip(leaves, keys, strict=True)]
    )


@functools.cache
def _forward(link):
    return jax.jit(lambda params, *arrays, point: observe(LvmMtc(CONFIG), params, *arrays, link, point))


def through(link, keys, x, point, draws=None):
    """The carrier alone."""
    if draws is None:
        draws = link.carrier.draw(link, keys, x.shape[0], x.shape[-2], x.shape[-2], point)
    return link.carrier.send(link, Slots(x), draws, point)


def forward(link, point, num_uavs=K, key=0):
    images = jax.random.uniform(jax.random.key(3), (B, num_uavs, 32, 32, 3))
    loc = jnp.broadcast_to(jnp.array([14.0, 18.0, 16.0, 12.0]), (B, num_uavs, 4))
    return _forward(link)(params(), images, loc, jax.random.key(key), point=point)


@functools.cache
def _send(link):
    return jax.jit(lambda keys, x, point: through(link, keys, x, point))


def send(link, point, shape, key=7):
    """Random unit-power symbols through the link alone; also what was sent."""
    x = jax.random.normal(jax.random.key(5), shape, jnp.complex64)
    num_uavs = shape[1] if link.topology == "broadcast" else shape[2]
    return x, _send(link)(jax.random.split(jax.random.key(key), num_uavs), x, point)


def standard_errors(values, expected):
    """How many standard errors the mean over independent rows lies from what is expected."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1).mean(-1)
    return abs(rows.mean() - expected) / (rows.std(ddof=1) / np.sqrt(rows.size))


CLEAN = {
    "zero forcing": LinkConfig.of(topology="mu_mimo", num_rx_ant=1, num_tx_ant=4, precoding="zf"),
    "grid": LinkConfig.of(fading="exponential", delay_spread=1e-6, num_tx_ant=2, num_rx_ant=2, ofdm=GRID),
    "grid, joint": LinkConfig.of(
        fading="exponential", topology="joint", delay_spread=1e-6, num_tx_ant=K, num_rx_ant=K, ofdm=GRID
    ),
    "one tap": LinkConfig.of(fading="exponential", num_tx_ant=1, num_rx_ant=1, ofdm=GRID, csi="pilots_lmmse"),
}


@pytest.mark.slow
@pytest.mark.parametrize("link", CLEAN.values(), ids=CLEAN)
def test_a_clean_channel_hands_on_the_symbols_whatever_carries_them(link):
    clean = point(snr_db=80.0, csi_error_var=0.0, epsilon=SOME)
    out, wire = forward(link, clean), forward(LinkConfig(fading="awgn", num_tx_ant=2, num_rx_ant=2), clean)
    assert 0 < out.public.sum() < out.public.size
    np.testing.assert_allclose(out.tokens_received, wire.tokens_received, atol=0.02)


def test_interference_between_uavs_is_in_no_eff():
    x, out = send(MU_MIMO, point(snr_db=15.0, csi_error_var=0.1), (400, 6, K))
    # Of y - g_hat x, whose variance is believed rightly on average over the pilots' noise.
    power = np.abs(np.diagonal(out.gain_hat[:, 0], axis1=-2, axis2=-1)[:, None]) ** 2
    error, believed = power * np.abs(out.x_hat - x) ** 2, power * out.no_eff
    assert standard_errors(error - believed, 0.0) < 5
    assert standard_errors(error - believed / 2, 0.0) > 5
    quiet = 10**-1.5 / np.abs(np.einsum("bnkm,bnmk->bnk", out.h, out.w)) ** 2
    assert np.mean(out.no_eff > 1.5 * quiet) > 0.9  # most of it is interference


def test_public_tokens_go_over_one_beam_to_all():
    out = forward(MU_MIMO, point(epsilon=SOME))
    shared, private = np.asarray(out.public).sum(-1), np.asarray(out.sent.private)
    assert (shared > 0).all()
    np.testing.assert_array_equal(out.ledger.public_uses, 6 * shared * K)  # a symbol has the power of K private ones
    np.testing.assert_array_equal(out.ledger.private_uses, 6 * private.sum((1, 2)))
    np.testing.assert_array_equal(out.ledger.slots, 6 * (shared + private.any(1).sum(-1)))


@pytest.mark.slow
@pytest.mark.parametrize("link", [LinkConfig(num_tx_ant=2, num_rx_ant=2), CLEAN["grid"]], ids=["flat", "grid"])
def test_each_uav_can_have_an_snr_of_its_own(link):
    own = jnp.array([[0.0, 10.0, 20.0], [5.0, -5.0, 15.0]])
    together = forward(link, point()._replace(snr_db=own))
    for b, k in ((0, 1), (1, 2)):
        alone = forward(link, point(snr_db=own[b, k]))
        np.testing.assert_allclose(together.tokens_received[b, k], alone.tokens_received[b, k], atol=1e-4)
    assert not np.allclose(together.tokens_received[0, 0], forward(link, point()).tokens_received[0, 0], atol=1e-2)


@pytest.mark.parametrize("waveform", ["single_carrier", "ofdm"])
def test_each_uav_can_have_a_line_of_sight_of_its_own(waveform):
    grid = dict(ofdm=GRID) if waveform == "ofdm" else {}
    link = LinkConfig.of(fading="rician", num_tx_ant=2, num_rx_ant=2, waveform=waveform, **grid)
    numbers = point()._replace(k_factor_db=jnp.array([[-jnp.inf, 60.0], [60.0, -jnp.inf]]))
    _, out = send(link, numbers, (2, 2, 8, 2))
    spread = np.abs(np.asarray(out.h)).reshape(2, 2, -1).std(-1)
    assert spread[0, 1] < 5e-3 and spread[1, 0] < 5e-3
    assert spread[0, 0] > 0.1 and spread[1, 1] > 0.1


@pytest.mark.slow
def test_positions_become_the_snr_that_each_uav_measures():
    """Through the whole link budget: transmit power, path loss, shadowing, thermal noise, fading."""
    link = LinkConfig.of(
        fading="rician", waveform="ofdm", convention="rx_per_antenna", num_tx_ant=2, num_rx_ant=2, ofdm=GRID
    )
    positions = jnp.array([[80.0, 0.0, 60.0], [300.0, 200.0, 120.0], [1500.0, 0.0, 20.0]])
    budget = dict(scenario="UMa-AV", carrier_frequency=2e9, tx_power_dbm=20.0, bandwidth=480e3, noise_figure_db=7.0)
    found = phy.air_to_ground(jax.random.key(0), positions, velocity=jnp.full((3, 3), 10.0), **budget)
    names = ("snr_db", "k_factor_db", "max_doppler")
    of_each = {name: jnp.broadcast_to(getattr(found, name), (200, 3)) for name in names}
    x, out = send(link, point()._replace(**of_each), (200, 3, 16, 2))
    clean = jnp.einsum("bksrt,bkst->bksr", out.h, x)
    assert found.snr_db.max() - found.snr_db.min() > 10
    for k in range(3):
        noise = np.mean(np.abs(out.y[:, k] - clean[:, k]) ** 2)
        signal = np.abs(clean[:, k]) ** 2 / noise / 10 ** (found.snr_db[k] / 10)
        assert standard_errors(signal, 1.0) < 5
        assert standard_errors(signal / 2, 1.0) > 5


def test_each_uav_can_have_a_speed_of_its_own():
    link = dataclasses.replace(CLEAN["grid"], fading="rayleigh", delay_spread=LinkConfig().delay_spread)
    _, out = send(link, point(snr_db=60.0)._replace(max_doppler=jnp.array([[0.0, 3e3]])), (1, 2, 4 * 16, 2))
    h = np.asarray(out.h).reshape(2, 4, 16, 4)
    np.testing.assert_allclose(h[0], np.broadcast_to(h[0, :1], h[0].shape), atol=1e-5)
    assert np.abs(h[1, 0] - h[1, -1]).max() > 0.3


def test_a_static_grid_of_one_path_is_flat_block_fading():
    """Same h, same noise: the same symbols come out, whatever carried them."""
    grid_link = LinkConfig.of(fading="rayleigh", waveform="ofdm", ofdm=GRID, num_tx_ant=2, num_rx_ant=2, csi="additive")
    x, out = send(grid_link, point(csi_error_var=0.0), (2, 2, 40, 2))
    noise = out.y - jnp.einsum("bksrt,bkst->bksr", out.h, x)
    flat = phy.broadcast(None, x, no=0.1, h=out.h[:, :, :1], h_hat=out.h[:, :, :1], noise=noise)
    np.testing.assert_allclose(out.x_hat, flat.x_hat, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(out.no_eff, flat.no_eff, rtol=1e-3)


@pytest.mark.parametrize("convention", ["esno", "rx_per_antenna"])
def test_the_snr_of_a_grid_is_per_data_subcarrier(convention):
    link = dataclasses.replace(CLEAN["grid"], convention=convention)
    x, out = send(link, point(snr_db=4.0), (200, 2, 60, 2))
    clean = jnp.einsum("bksrt,bkst->bksr", out.h, x)
    signal = np.abs(x if convention == "esno" else clean) ** 2
    noise = np.mean(np.abs(out.y - clean) ** 2)
    assert standard_errors(signal / noise, 10**0.4) < 5
    assert standard_errors(2 * signal / noise, 10**0.4) > 5


def test_the_ledger_of_a_grid_counts_whole_grids():
    out = forward(CLEAN["grid"], point())
    slots = 3 * 8 * 3  # UAVs, tokens, slots of a token
    grids = -(-slots // (4 * 16))
    np.testing.assert_array_equal(out.ledger.slots, slots)
    np.testing.assert_array_equal(out.ledger.channel_uses(), grids * 2 * 6 * (16 + 4))


@pytest.mark.parametrize("link", [MU_MIMO, CLEAN["grid"]], ids=["mu_mimo", "grid"])
def test_points_can_share_draws_and_compile_nothing_anew(link):
    shape = (B, 12, K) if link.topology == "mu_mimo" else (B, K, 12, 2)
    keys, traces = jax.random.split(jax.random.key(2), K), []
    draws = jax.jit(lambda keys: link.carrier.draw(link, keys, B, 12, 12, point()))(jax.random.clone(keys))
    x = jax.random.normal(jax.random.key(3), shape, jnp.complex64)

    @jax.jit
    def run(keys, point, draws):
        traces.append(1)
        return through(link, keys, x, point, draws).x_hat

    low, high = (run(keys, point(snr_db=snr), draws) for snr in (0.0, 20.0))
    assert len(traces) == 1 and not np.allclose(low, high)
    fresh = jax.jit(lambda keys, point: through(link, keys, x, point).x_hat)
    np.testing.assert_allclose(high, fresh(jax.random.clone(keys), point(snr_db=20.0)), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("link", [MU_MIMO, CLEAN["grid"]], ids=["mu_mimo", "grid"])
def test_gradients_through_the_link(link):
    shape = (B, 4, K) if link.topology == "mu_mimo" else (B, K, 4, 2)
    keys = jax.random.split(jax.random.key(2), K)
    x = jax.random.normal(jax.random.key(3), shape, jnp.complex64)

    @jax.jit
    def loss(scale, snr_db, s):
        out = through(link, keys, scale * x, point()._replace(snr_db=snr_db, csi_error_var=s))
        return jnp.mean(jnp.abs(out.x_hat / (1 + out.no_eff) - x) ** 2)

    at = (jnp.float32(1.0), jnp.float32(8.0), jnp.float32(0.05))
    gradient = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*at)
    for i, step in enumerate((1e-2, 0.2, 1e-2)):
        high, low = (loss(*(v + sign * step * (j == i) for j, v in enumerate(at))) for sign in (1, -1))
        np.testing.assert_allclose(gradient[i], (high - low) / (2 * step), rtol=3e-2, atol=1e-4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(topology="mu_mimo"), "num_rx_ant must be 1 under topology 'mu_mimo' .one stream a UAV., got 4"),
        (
            dict(topology="mu_mimo", num_rx_ant=1, fading="awgn"),
            "LinkConfig.topology 'mu_mimo' needs flat fading, got 'awgn'",
        ),
        (dict(topology="mu_mimo", num_rx_ant=1, convention="received_total"), "convention must be 'esno' under"),
        (dict(precoding="dpc"), "LinkConfig.precoding 'dpc' goes with carrier 'mu_mimo', not with 'single_carrier'"),
        (dict(topology="mu_mimo", num_rx_ant=1, precoding="dpc"), "precoding 'dpc' is unknown; known: rzf, zf, mf"),
        (dict(topology="mu_mimo", num_rx_ant=1, power_constraint="per_user"), "power_constraint 'per_user' is unknown"),
        (dict(waveform="fbmc"), "LinkConfig.waveform 'fbmc' is unknown"),
        (dict(fading="exponential", waveform="single_carrier"), "'exponential' is frequency-selective and needs"),
        (dict(fading="sionna_tdl_e", delay_spread=1e-6), "LinkConfig.delay_spread 1e-06: the longest delay of"),
        (
            dict(fading="nakagami", waveform="ofdm"),
            "Ofdm carries frequency-selective fading, rayleigh and rician, not 'nakagami'",
        ),
        (
            dict(fading="exponential", block_length=4),
            "block_length 4 goes with carrier 'single_carrier' or 'mu_mimo' or 'mac', not with",
        ),
        (
            dict(fading="exponential", num_pilots=4),
            "num_pilots 4 goes with carrier 'single_carrier' or 'mu_mimo' or 'mac', not with 'ofdm'",
        ),
        (dict(speed=3.0), "LinkConfig.speed 3.0 goes with carrier 'ofdm' or 'ofdm_ici' or 'otfs', not with"),
        (dict(speed=-3.0), "LinkConfig.speed"),
        (dict(delay_spread=0.0, fading="exponential"), "LinkConfig.delay_spread must be a finite number > 0, got 0.0"),
        (
            dict(delay_spread=3e-6, fading="exponential"),
            "LinkConfig.delay_spread must be at most 2.552e-06 s",
        ),
        (
            dict(topology="mu_mimo", num_rx_ant=1, demodulation="told"),
            "demodulation 'told' is unknown; known: pilots",
        ),
        (
            dict(rx_corr=0.5, waveform="ofdm"),
            "LinkConfig.rx_corr and tx_corr act on flat fading, not on a resource grid",
        ),
        (
            dict(waveform="ofdm", interpolation="cubic"),
            "Ofdm.interpolation 'cubic' is unknown; known: nearest, linear, hold",
        ),
        (dict(fading="sionna_tdl_f"), "LinkConfig.fading 'sionna_tdl_f' is unknown"),
        (dict(fading="exponential", num_tx_ant=65, num_rx_ant=65), "num_tx_ant 65 .* 64 subcarriers"),
    ],
)
def test_wrong_links(fields, message):
    with pytest.raises(ValueError, match=message):
        LinkConfig.of(**fields)


def test_topologies_that_serve_all_at_once_have_one_snr():
    with pytest.raises(ValueError, match=r"snr_db per UAV needs LinkConfig.topology 'broadcast', got 'mu_mimo'"):
        jax.eval_shape(lambda: forward(MU_MIMO, point()._replace(snr_db=jnp.zeros((B, K)))))
    with pytest.raises(ValueError, match=r"zf precoding needs num_uavs <= num_tx_ant, got 3 > 2"):
        link = LinkConfig.of(topology="mu_mimo", num_rx_ant=1, num_tx_ant=2, precoding="zf")
        jax.eval_shape(lambda: forward(link, point()))


@pytest.mark.parametrize("fading", ["rayleigh", "rician"])
def test_blocks_that_fade_on_from_one_another(fading):
    """The autocorrelation over blocks is Clarke's, J0(2 pi block_doppler n), and the power stays 1."""
    link = LinkConfig.of(fading=fading, num_rx_ant=1, num_tx_ant=2, block_length=4, block_doppler=0.06)
    batch, factor = 20_000, {"k_factor_db": jnp.array([3.0, -5.0])[None]} if fading == "rician" else {}
    draw = jax.jit(lambda keys: link.carrier.draw(link, keys, batch, 32, 32, point(**factor)).h)
    h = np.asarray(draw(jax.random.split(jax.random.key(5), 2)), np.complex128)
    assert h.shape == (batch, 2, 8, 1, 2)
    for lag in (0, 1, 3, 7):
        products = (h[:, :, lag] * h[:, :, 0].conj()).real.mean((2, 3))
        error = products.std(0) / np.sqrt(batch)
        assert np.all(np.abs(products.mean(0) - phy.bessel_j0(2 * np.pi * 0.06 * lag)) < 5 * error)
    assert LinkConfig.of(**link.described()) == link
    assert "block_doppler" not in LinkConfig(fading=fading).described()
