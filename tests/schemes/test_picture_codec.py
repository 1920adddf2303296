"""Whole-picture codecs over the token system's channel: power, SNR, clean channel, gradients, ledger, topologies."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observed import observe

from lvm_mtc import link as links_room
from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint, draw, uav_keys
from lvm_mtc.phy import ResourceGrid
from lvm_mtc.schemes import feature_map, simulate
from lvm_mtc.schemes.deepjscc.scheme import DeepJscc, DeepJsccConfig
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.witt.scheme import Witt, WittConfig

B, K, SIDE = 2, 3, 16


def codec_system(codec, num_symbols, receiver="shrunk"):
    fields = dict(codec=codec, image_size=SIDE, num_symbols=num_symbols, receiver=receiver)
    return DeepJscc(DeepJsccConfig(**fields)) if codec == "deepjscc" else Witt(WittConfig(**fields))


class Through(NamedTuple):
    """What a link does to a codec's features."""

    received: jax.Array
    symbols: jax.Array
    link: phy.LinkOutput


JSCC, WITT = codec_system("deepjscc", 4), codec_system("witt_tiny", 3)
JSCC_WIENER, WITT_WIENER = codec_system("deepjscc", 4, "wiener"), codec_system("witt_tiny", 3, "wiener")
GRID = ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=4, pilot_symbols=(0, 3))
WIRE = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
AWGN, BROADCAST = LinkConfig(fading="awgn"), LinkConfig()
JOINT = LinkConfig.of(topology="joint", num_tx_ant=K, num_rx_ant=4)
MU_MIMO = LinkConfig.of(topology="mu_mimo", num_rx_ant=1, num_tx_ant=4)
OFDM = LinkConfig.of(fading="exponential", num_tx_ant=2, num_rx_ant=2, ofdm=GRID)
PILOTS = LinkConfig.of(csi="pilots_ls", num_pilots=4, block_length=7)

pytestmark = pytest.mark.usefixtures("fast_compile")


def pictures(num_uavs=K):
    return jax.random.uniform(jax.random.key(3), (B, num_uavs, SIDE, SIDE, 3))


def point(**numbers):
    return OperatingPoint(**{k: jnp.float32(v) for k, v in (dict(snr_db=10.0, csi_error_var=0.02) | numbers).items()})


@functools.cache
@jax.ensure_compile_time_eval()  # numbers, even if the first to ask is being traced
def parameters(system):
    """Random ones of the right shapes, with no zero among them; equal encoders for equal codecs."""

    def fill(shapes):
        rng = np.random.default_rng(0)
        scale = [2 * np.prod(a.shape[:-1] or (36,)) ** -0.5 for a in jax.tree.leaves(shapes)]
        leaves = [np.float32(s * rng.normal(size=a.shape)) for s, a in zip(scale, jax.tree.leaves(shapes), strict=True)]
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

    shapes = jax.eval_shape(lambda: system.init(jax.random.key(0)))
    return {name: fill(part) for name, part in shapes.items()}


@functools.cache
def _forward(system, link):
    return jax.jit(
        lambda params, images, key, point: (
            simulate.forward(system, params, Source(images), key, link, point).estimate.data
        )
    )


def forward(system, link, point):
    return _forward(system, link)(parameters(system), pictures(), jax.random.key(0), point)


@functools.cache
def _through(system, link):
    def run(params, tokens, key, point):
        draws = draw(link, uav_keys(key, K), B, *system.frames(), point)
        return carried(system, params, tokens, link, draws, point)

    return jax.jit(run)


def carried(system, params, tokens, link, draws, point):
    sent = system.modulate(params, tokens, point)
    received, output = links_room.send(link, sent.signal, draws, point)
    reliable = feature_map.reliable(system.config.receiver, params, received, sent.side)
    return Through(reliable.reshape(*tokens.shape[:4], -1), sent.signal.private.symbols, output)


def tokens():
    return np.float32(np.random.default_rng(1).normal(size=(B, K, SIDE // 4, SIDE // 4, 8)))


def through(system, link, point, tokens, key=0):
    """What the channel does to a codec's features; no picture is encoded or decoded."""
    return _through(system, link)(parameters(system), tokens, jax.random.key(key), point)


@functools.cache
def _send(system):
    return jax.jit(
        lambda params, images, point: system.modulate(params, system.encode(params, Source(images), None, {}), point)
    )


def send(system, point, images):
    return _send(system)(parameters(system), images, point)


@functools.cache
def ledger(system, link):
    """Costs alone; what they do not depend on is not compiled."""
    run = jax.jit(lambda params, images, key: simulate.forward(system, params, Source(images), key, link).ledger)
    return run(parameters(system), pictures(), jax.random.key(0))


def standard_errors(values, expected):
    """How many standard errors the mean over independent rows lies from what is expected."""
    rows = np.asarray(values, np.float64).reshape(len(values), -1).mean(-1)
    return abs(rows.mean() - expected) / (rows.std(ddof=1) / np.sqrt(rows.size))


@pytest.mark.slow
@pytest.mark.parametrize("system", [JSCC_WIENER, WITT_WIENER], ids=["deepjscc", "witt"])
def test_power_is_one_over_each_picture(system):
    images = pictures() * jnp.linspace(0.1, 1.0, B * K).reshape(B, K, 1, 1, 1)
    sent = send(system, point(), images)
    symbols, on_air = sent.signal.private
    assert symbols.shape == (B, K, *system.frames()) and on_air.all()
    np.testing.assert_allclose((np.abs(symbols) ** 2).mean((2, 3)), 1.0, rtol=1e-5)
    # The codec's own power is another one in every picture.
    assert np.ptp(sent.side) > 0.01 * np.mean(sent.side)


@pytest.mark.parametrize("link", [AWGN, BROADCAST], ids=["awgn", "rayleigh"])
def test_the_realised_snr_is_the_nominal_one(link):
    # Fading is drawn once a picture: sixty runs of six pictures.
    outs = [through(JSCC, link, point(snr_db=7.0), tokens(), key) for key in range(60)]
    out = jax.tree.map(lambda *a: np.concatenate(a).reshape(-1, *a[0].shape[2:]), *outs)
    x = np.asarray(phy.tokens_to_slots(jnp.asarray(out.symbols), 4)).reshape(360, -1, 4)
    h = np.eye(4) * out.link.h[:, 0, :, None] if link.is_awgn else out.link.h[:, 0]
    signal = np.einsum("prt,pst->psr", h, x)
    noise = np.abs(out.link.y - signal) ** 2
    assert standard_errors(noise, 10**-0.7) < 5
    assert standard_errors(noise, 10**-0.65) > 5  # half a dB off would be seen
    # Power 1 on each of four streams: as much per receive antenna for H = I, four times as much under fading.
    power = (np.abs(signal) ** 2).mean((1, 2))
    assert abs(power - 1).max() < 1e-5 if link.is_awgn else standard_errors(power, 4.0) < 5


@pytest.mark.parametrize(
    "system", [JSCC, pytest.param(WITT_WIENER, marks=pytest.mark.slow)], ids=["deepjscc-shrunk", "witt-wiener"]
)
def test_a_clean_channel_hands_on_what_was_encoded(system):
    codec, receiver = system.codec, system.config.receiver
    params, clean = parameters(system), point(snr_db=jnp.full((B, K), 100.0), csi_error_var=0.0)
    images, snr_db = pictures(), jnp.full(B * K, 100.0)

    @jax.jit
    def directly(params):
        features = codec.apply({"params": params["encoder"]}, images.reshape(-1, SIDE, SIDE, 3), snr_db)
        if receiver == "shrunk":  # the encoder's scale does not reach the decoder
            features = features / jnp.sqrt(2 * (features**2).mean((1, 2, 3), keepdims=True))
        return codec.apply({"params": params["decoder"]}, features, snr_db, method="decode").reshape(images.shape)

    want = directly(params)
    # Gains of 16 bits are off by 2^-11 at most.
    tolerance = (1e-3 if receiver == "wiener" else 1e-4) * float(np.ptp(want))
    np.testing.assert_allclose(forward(system, WIRE, clean), want, rtol=0, atol=tolerance)
    assert np.abs(forward(system, WIRE, point(snr_db=jnp.zeros((B, K)))) - want).max() > 20 * tolerance


@pytest.mark.parametrize("link", [BROADCAST, JOINT, MU_MIMO], ids=["broadcast", "joint", "mu_mimo"])
def test_every_topology_hands_symbols_on(link):
    clean = point(snr_db=70.0, csi_error_var=0.0)
    received = through(JSCC, WIRE, clean, tokens()).received
    assert received.shape == (B, K, 4, 4, 8)
    np.testing.assert_allclose(through(JSCC, link, clean, tokens()).received, received, atol=0.03)
    assert np.abs(through(JSCC, link, point(snr_db=0.0), tokens()).received - received).max() > 0.3


def test_uavs_do_not_see_each_other():
    other = tokens()
    other[:, 1] *= -1
    out, changed = (through(JSCC, BROADCAST, point(), t).received for t in (tokens(), other))
    np.testing.assert_array_equal(out[:, ::2], changed[:, ::2])
    assert np.abs(out[:, 1] - changed[:, 1]).max() > 0.1


def test_the_token_system_has_the_same_channel():
    system = LvmMtc(LvmMtcConfig(variant="linear", image_size=SIDE, patch_size=4, num_kept=16, num_symbols=4))

    @jax.jit
    def tokens_through(params, key):
        loc = jnp.broadcast_to(jnp.array([8.0, 8.0, 4.0, 4.0]), (B, K, 4))
        out = observe(system, params, pictures(), loc, key, BROADCAST, point())
        return out.sent.own, out.link, out.ledger

    params = jax.tree.map(
        lambda a: np.float32(np.random.default_rng(2).normal(size=a.shape)),
        jax.eval_shape(lambda: system.init(jax.random.key(0))),
    )
    out = through(JSCC, BROADCAST, point(), tokens())
    theirs, ours = tokens_through(params, jax.random.key(0)), (out.symbols, out.link, ledger(JSCC, BROADCAST))

    def noise(own, link, _):
        x = np.asarray(phy.tokens_to_slots(own, 4)).reshape(B, K, -1, 4)
        return link.y - np.einsum("bkrt,bkst->bksr", np.asarray(link.h)[:, :, 0], x)

    assert np.abs(theirs[0] - ours[0]).max() > 0.1
    np.testing.assert_array_equal(theirs[1].h, ours[1].h)
    np.testing.assert_array_equal(theirs[1].h_hat, ours[1].h_hat)
    np.testing.assert_allclose(noise(*theirs), noise(*ours), rtol=0, atol=1e-4)
    np.testing.assert_array_equal(theirs[2].channel_uses(), ours[2].channel_uses())
    np.testing.assert_array_equal(theirs[2].slots, ours[2].slots)


def test_draws_can_be_shared_by_points():
    @jax.jit
    def both(params, tokens, key, snr_db):
        draws = draw(BROADCAST, uav_keys(key, K), B, *JSCC.frames())

        def at(snr_db):
            return carried(JSCC, params, tokens, BROADCAST, draws, point(snr_db=snr_db)).received

        return jax.lax.map(at, snr_db)

    shared = both(parameters(JSCC), tokens(), jax.random.key(0), jnp.array([0.0, 10.0]))
    for i, snr_db in enumerate((0.0, 10.0)):
        alone = through(JSCC, BROADCAST, point(snr_db=snr_db), tokens()).received
        np.testing.assert_allclose(shared[i], alone, rtol=0, atol=1e-4)
    assert np.abs(through(JSCC, BROADCAST, point(snr_db=10.0), tokens(), key=1).received - alone).max() > 0.1


def test_what_the_decoder_is_given():
    out, more = (through(s, WIRE, point(), tokens()) for s in (JSCC, codec_system("deepjscc", 4, "log_no_eff")))
    x_hat, no_eff = (np.asarray(a).reshape(B, K, 4, 4, 4) for a in (out.link.x_hat, out.link.no_eff))
    assert np.abs(no_eff - 0.12).max() < 0.1  # (no + s) / abs(h_hat)^2
    pairs = np.stack([x_hat.real, x_hat.imag], axis=-1)
    np.testing.assert_allclose(out.received, (pairs / (1 + no_eff[..., None])).reshape(B, K, 4, 4, 8), rtol=1e-5)
    want = np.concatenate([pairs.reshape(B, K, 4, 4, 8), np.log(no_eff)], axis=-1)
    np.testing.assert_allclose(more.received, want, rtol=1e-5)


@pytest.mark.slow
def test_the_nominal_snr_reaches_the_modnet_and_nothing_else():
    for system, adapts in ((JSCC, False), (WITT, True)):
        low, high = (send(system, point(snr_db=snr_db), pictures()).signal.private.symbols for snr_db in (0.0, 20.0))
        assert bool((low == high).all()) != adapts
    own = jnp.array([[0.0, 10.0, 20.0], [5.0, -5.0, 15.0]])
    run = functools.partial(forward, WITT_WIENER, WIRE)
    together, alone = (run(point(snr_db=s)) for s in (own, jnp.full((B, K), -5.0)))
    np.testing.assert_allclose(together[1, 1], alone[1, 1], rtol=0, atol=1e-5)
    assert np.abs(together[0] - alone[0]).max() > 1e-2


def test_gradients_reach_both_ends():
    system, images = JSCC_WIENER, pictures()

    @jax.jit
    @jax.grad
    def gradient(params):
        out = simulate.forward(system, params, Source(images), jax.random.key(0), WIRE, point())
        return jnp.mean((out.estimate.data - images) ** 2)

    for leaf in jax.tree.leaves(gradient(parameters(system))):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0


@pytest.mark.parametrize(
    ("num_symbols", "link", "uses", "slots"),
    [
        (4, BROADCAST, 4, 1),  # 4 symbols fill a slot of 4 streams
        (3, BROADCAST, 4, 1),  # 3 symbols and a pad
        (3, WIRE, 3, 3),
        (4, JOINT, 4, 4 / K),  # stream k for UAV k, at the same time
        (4, MU_MIMO, 4, 4 / K),
        (4, PILOTS, 4, 1),
    ],
    ids=["fits", "padded", "one antenna", "joint", "mu_mimo", "pilots"],
)
def test_the_ledger_in_closed_form(num_symbols, link, uses, slots):
    found = ledger(codec_system("deepjscc", num_symbols), link)
    positions = K * (SIDE // 4) ** 2
    np.testing.assert_array_equal(found.private_uses, np.full(B, positions * uses))
    np.testing.assert_array_equal(found.slots, np.full(B, round(positions * slots)))
    # Blocks of seven slots: four of pilots on four antennas, three of symbols. Of one block: 2 K slots of power K.
    pilots = {PILOTS: positions / 3 * 4 * 4, MU_MIMO: 2 * K * K}.get(link, 0)
    np.testing.assert_array_equal(found.pilot_uses, np.full(B, pilots))
    for nothing in (found.public_uses, found.prefix_uses, found.idle_uses, found.side_information_bits):
        np.testing.assert_array_equal(nothing, np.zeros(B))


def test_a_grid_is_paid_for_whole_and_gains_are_side_information():
    grids = -(-K * 16 * 2 // GRID.slots_per_grid)
    np.testing.assert_array_equal(ledger(JSCC, OFDM).channel_uses(), np.full(B, grids * 2 * 6 * (16 + 4)))
    found = ledger(JSCC_WIENER, AWGN)
    np.testing.assert_array_equal(found.side_information_bits, np.full(B, 16 * K))


@pytest.mark.parametrize(("num_symbols", "cbr"), [(4, 1 / 12), (8, 1 / 6), (16, 1 / 3)])
def test_the_bandwidth_ratio_is_the_published_one(num_symbols, cbr):
    for scheme in (DeepJscc(DeepJsccConfig(num_symbols=num_symbols)), Witt(WittConfig(num_symbols=num_symbols))):
        assert np.prod(scheme.frames()) / (32 * 32 * 3) == cbr
    if num_symbols == 4:
        assert ledger(JSCC, BROADCAST).cbr(K * SIDE * SIDE * 3)[0] == np.float32(cbr)


def test_initial_parameters_are_finite_and_their_own_at_each_end():
    params = jax.jit(JSCC.init)(jax.random.key(0))
    assert set(params) == {"encoder", "decoder"}
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    assert np.abs(params["encoder"]["down3"]["kernel"] - params["decoder"]["up1"]["kernel"]).max() > 0.01


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="DeepJsccConfig.receiver 'best' is unknown; known: shrunk"):
        DeepJsccConfig(receiver="best")
    with pytest.raises(ValueError, match="DeepJsccConfig.codec 'wit' is unknown; known: deepjscc"):
        DeepJsccConfig(codec="wit")
    with pytest.raises(ValueError, match="DeepJsccConfig.image_size 30 is no multiple of the 4 pixels"):
        DeepJsccConfig(image_size=30)
    with pytest.raises(ValueError, match="DeepJsccConfig.num_symbols must be a whole number >= 1, got 0"):
        DeepJsccConfig(num_symbols=0)
    params = parameters(JSCC)
    with pytest.raises(ValueError, match=r"images must be \[batch, num_uavs, 16, 16, 3\], got \(2, 16, 16, 3\)"):
        JSCC.encode(params, Source(pictures()[:, 0]), None, {})
    with pytest.raises(ValueError, match="num_tx_ant must equal the number of UAVs, 2, under topology 'joint', got 3"):
        jax.eval_shape(lambda: simulate.forward(JSCC, params, Source(pictures(2)), jax.random.key(0), JOINT))
