"""What holds of every way to carry symbols: power, costs, knowledge and beliefs."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from observed import PerfectCarrier

from lvm_mtc import link as links_room
from lvm_mtc import phy
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Signal, Slots, error_exponent

B, K, NO, T = 400, 3, 0.2, 12
TOLD_ERROR = 0.1  # of the CSI, where it is not from pilots
GRID = phy.ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=7, pilot_symbols=(0, 3))
FIELDS = {
    "broadcast": dict(num_tx_ant=2, num_rx_ant=2, num_pilots=T),
    "joint": dict(topology="joint", num_tx_ant=K, num_rx_ant=K, num_pilots=T),
    "mu_mimo": dict(topology="mu_mimo", num_tx_ant=8, num_rx_ant=1, num_pilots=T),
    "per antenna": dict(
        topology="mu_mimo", num_tx_ant=8, num_rx_ant=1, num_pilots=T, power_constraint="per_antenna", precoding="zf"
    ),
    "mac": dict(topology="mac", num_tx_ant=1, num_rx_ant=4, num_pilots=T),
    "mac, orthogonal": dict(topology="mac", access="orthogonal", num_tx_ant=1, num_rx_ant=4, num_pilots=T),
    "mac, correlated": dict(topology="mac", num_tx_ant=1, num_rx_ant=4, num_pilots=T, rx_corr=0.6),
    "grid": dict(waveform="ofdm", ofdm=GRID, num_tx_ant=2, num_rx_ant=2),
    "grid, joint": dict(waveform="ofdm", ofdm=GRID, topology="joint", num_tx_ant=K, num_rx_ant=K),
    "grid, own fading": dict(fading=phy.rayleigh_path, waveform="ofdm", ofdm=GRID, num_tx_ant=4, num_rx_ant=4),
    "grid, taps": dict(fading="exponential", delay_spread=4e-6, ofdm=GRID, num_tx_ant=2, num_rx_ant=2),
}
SMALL = phy.ResourceGrid(fft_size=8, num_ofdm_symbols=4, cyclic_prefix_length=3, pilot_symbols=(2,))
FAST = dict(fading="exponential", delay_spread=4e-6, ofdm=SMALL, num_tx_ant=2, num_rx_ant=2, speed=250.0)  # m/s
SAMPLED = {
    "otfs": dict(waveform="otfs"),
    "ofdm_ici": dict(waveform="ofdm_ici", csi="mmse"),
    "ofdm_ici, one tap": dict(waveform="ofdm_ici", receiver="one_tap"),
    "otfs, pilots": dict(waveform="otfs", csi="pilots_lmmse"),
    "otfs, joint": dict(
        waveform="otfs", topology="joint", fading="rayleigh", delay_spread=100e-9, num_tx_ant=K, num_rx_ant=K
    ),
}
LINKS = {name: LinkConfig.of(csi="pilots_lmmse", **fields) for name, fields in FIELDS.items()}
LINKS |= {name: LinkConfig.of(**(FAST | fields)) for name, fields in SAMPLED.items()}
SLOT_POWER = {name: K if link.topology in ("mu_mimo", "mac") else link.num_tx_ant for name, link in LINKS.items()}
TURNS = {name: K if "orthogonal" in name else 1 for name in LINKS}

pytestmark = pytest.mark.usefixtures("fast_compile")


@functools.cache
@jax.ensure_compile_time_eval()
def sent(link, num_slots=2):
    """Random symbols of power 1 through a link: them, and what came of them."""
    shape = (B, K, num_slots, link.num_tx_ant) if link.topology == "broadcast" else (B, num_slots, K)
    x = jax.random.normal(jax.random.key(1), shape, jnp.complex64)
    at = OperatingPoint(snr_db=jnp.float32(-10 * np.log10(NO)), csi_error_var=jnp.float32(TOLD_ERROR))

    @jax.jit
    def run(keys, x):
        draws = link.carrier.draw(link, keys, B, num_slots, num_slots, at)
        return link.carrier.send(link, Slots(x), draws, at)

    return x, run(jax.random.split(jax.random.key(2), K), x)


def standard_errors(values, expected):
    """How far the mean over independent groups lies from what is expected, which may be of each value."""
    rows = np.asarray(values - expected, np.float64).reshape(B, -1).mean(-1)
    return abs(rows.mean()) / (rows.std(ddof=1) / np.sqrt(B))


@pytest.mark.parametrize("name", [name for name, link in LINKS.items() if link.num_pilots and not link.rx_corr])
def test_a_slot_of_pilots_has_the_power_of_a_slot_of_data(name):
    link, power = LINKS[name], SLOT_POWER[name]
    x, out = sent(link)
    on_air = x if link.topology != "mu_mimo" else jnp.einsum("bmk,bsk->bsm", out.w[:, 0], x, precision="highest")
    spent = np.sum(np.abs(on_air) ** 2, axis=-1)
    if link.topology == "mu_mimo" and link.carrier.power_constraint == "per_antenna":
        spent = link.num_tx_ant * np.max(np.sum(np.abs(out.w[:, 0]) ** 2, axis=-1), axis=-1)  # of the busiest antenna
        np.testing.assert_allclose(spent, power, rtol=1e-4)
    else:
        assert standard_errors(spent, power) < 5
    # All antennas share that power over T slots: LMMSE then has the error s / (1 + s) for s = no M / (T P).
    s = NO * (K if link.topology == "mac" else link.num_tx_ant) / (T * power)
    error = np.abs(out.h_hat - out.h) ** 2 / TURNS[name]  # who sends alone has the power of all in its channel
    assert standard_errors(error, s / (1 + s)) < 5
    assert standard_errors(error, 1.2 * s / (1 + s)) > 5


@pytest.mark.parametrize("num_tx_ant", [2, 3])
def test_an_element_of_pilots_has_the_power_of_an_element_of_data(num_tx_ant):
    h, draw = jax.random.normal(jax.random.key(3), (2, B, 1, 2, 16, 1, num_tx_ant), jnp.complex64)
    own = np.arange(16) % num_tx_ant
    error = phy.observe_pilots(h, draw, NO) - np.asarray(h)[:, :, :, np.arange(16), :, own].transpose(1, 2, 3, 0, 4)
    assert standard_errors(np.abs(error) ** 2, NO / num_tx_ant) < 5


@pytest.mark.parametrize("name", ["broadcast", "joint", "mu_mimo", "mac", "mac, orthogonal", *SAMPLED])
def test_uses_slots_and_energy_agree(name):
    topology, num_symbols, frames = LINKS[name].topology, 6, 5
    streams = {"mu_mimo": 1, "mac": K}.get(topology, LINKS[name].num_tx_ant)
    public = jax.random.bernoulli(jax.random.key(1), 0.4, (B, frames))
    private = jax.random.bernoulli(jax.random.key(2), 0.7, (B, K, frames)) & ~public[:, None]
    symbols = jnp.ones((B, K, frames, num_symbols), jnp.complex64)
    signal = Signal(Frames(symbols, private), Frames(symbols[:, 0], public))
    carrier = PerfectCarrier(topology)
    link = LinkConfig(num_tx_ant=LINKS[name].num_tx_ant, num_rx_ant=LINKS[name].num_rx_ant, carrier=carrier)
    links_room.send(link, signal, (), OperatingPoint())
    active, time = np.asarray(carrier.seen["active"]), np.asarray(carrier.seen["time"])
    ledger = links_room.book(LINKS[name], signal)
    if LINKS[name].grid is None:
        pilot_slots = T + (2 * K if topology == "mu_mimo" else 0)
    else:
        grids = np.ceil(np.asarray(ledger.slots) / SMALL.slots_per_grid)
        pilot_slots = grids * SMALL.fft_size
        samples = SMALL.num_ofdm_symbols * (SMALL.fft_size + SMALL.cyclic_prefix_length)
        np.testing.assert_array_equal(ledger.channel_uses(), grids * samples * SLOT_POWER[name])
    np.testing.assert_array_equal(ledger.pilot_uses, pilot_slots * SLOT_POWER[name])
    for b in range(0, B, 40):
        heard = active[b].reshape(-1, active.shape[-1])
        of_slot = dict(zip(time[b].ravel()[heard.any(-1)], heard[heard.any(-1)].sum(-1), strict=True))
        assert ledger.slots[b] == len(of_slot) * TURNS[name]
        assert ledger.private_uses[b] + ledger.public_uses[b] == sum(of_slot.values()) * TURNS[name]
        assert ledger.public_uses[b] == public[b].sum() * num_symbols / streams * SLOT_POWER[name] * TURNS[name]


@pytest.mark.slow
@pytest.mark.parametrize("name", LINKS)
def test_believed_and_true_error_agree(name):
    # What is not on air of a grid makes receivers that hear all of it too careful.
    x, out = sent(LINKS[name], SMALL.slots_per_grid if name in SAMPLED else 2)
    weight = 1 / np.asarray(out.no_eff)
    if LINKS[name].topology == "mu_mimo":  # what is believed is the variance of y - g_hat x, which is exact on average
        weight = np.abs(np.diagonal(out.gain_hat[:, 0], axis1=-2, axis2=-1)[:, None]) ** 2
    error, believed = weight * np.abs(out.x_hat - x) ** 2, weight * out.no_eff
    assert standard_errors(error, believed) < 5
    assert standard_errors(error, 1.2 * believed) > 5


@pytest.mark.parametrize("equalizer", phy.EQUALIZERS)
@pytest.mark.parametrize("send", [phy.broadcast, phy.joint])
def test_a_receiver_of_streams_knows_its_pilots_and_what_it_hears(send, equalizer):
    x, h, other, h_hat, noise = jax.random.normal(jax.random.key(4), (5, 2, 3, 3), jnp.complex64)
    h, other, h_hat = (a[..., None, :, :] for a in (h, other, h_hat))
    if send is phy.broadcast:
        x, h, other, h_hat, noise = (a[None] for a in (x, h, other, h_hat, noise))
    same = noise + jnp.einsum("...ij,...sj->...si", (h - other)[..., 0, :, :], x, precision="highest")
    options = dict(no=0.1, csi="pilots_lmmse", num_pilots=3, equalizer=equalizer, h_hat=h_hat)
    first = send(None, x, h=h, noise=noise, **options)
    second = send(None, x, h=other, noise=same, **options)
    for name in ("y", "x_hat", "no_eff"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-3, atol=1e-4)
    different = send(None, x, h=other, noise=noise, **options)
    assert not np.allclose(first.x_hat, different.x_hat, rtol=0.1)


@pytest.mark.slow
def test_a_receiver_of_a_beam_knows_its_pilots_and_what_it_hears():
    x, noise = jax.random.normal(jax.random.key(5), (2, 4, 5, K), jnp.complex64)
    h, other, h_hat = jax.random.normal(jax.random.key(6), (3, 4, 1, K, 6), jnp.complex64)
    pilots = jax.random.normal(jax.random.key(7), (4, K, 1, 1, 2 * K), jnp.complex64)
    options = dict(no=NO, h_hat=h_hat, common=jnp.broadcast_to(jnp.arange(5) < 2, (4, 5)), tx_csi_error_var=0.1)

    def send(h, noise, pilots, **more):
        return phy.mu_mimo(None, x, h=h, noise=noise, draws=phy.LinkDraws(None, None, None, pilots), **options, **more)

    first = send(h, noise, pilots)
    private, common = first.w[:, 0], phy.multicast_beam(first.w, total_power=float(K))[:, 0]
    on_air = jnp.einsum("bmk,bsk->bsm", private, x).at[:, :2].set(common[:, None] * x[:, :2, :1])
    sounded = [private @ phy.pilot_matrix(K, K), jnp.repeat(common[..., None], K, axis=-1)]
    change = (h - other)[:, 0]
    same = noise + jnp.einsum("bkm,bsm->bsk", change, on_air, precision="highest")
    heard = jnp.matmul(change, jnp.concatenate(sounded, axis=-1), precision="highest") / np.sqrt(NO)
    second = send(other, same, pilots + heard[:, :, None, None])
    for name in ("y", "gain_hat", "x_hat", "no_eff"):
        np.testing.assert_allclose(getattr(first, name), getattr(second, name), rtol=1e-3, atol=1e-3)
    # The genie is told what nobody sent.
    told = [send(h, noise, pilots, demodulation="genie"), send(other, same, pilots, demodulation="genie")]
    assert not np.allclose(told[0].x_hat, told[1].x_hat, rtol=0.1)


@pytest.mark.slow
def test_a_receiver_on_a_grid_knows_its_pilots_and_what_it_hears():
    x = jax.random.normal(jax.random.key(8), (2, 9, 2), jnp.complex64)
    draws = phy.draw_ofdm(jax.random.key(9), (2,), 9, grid=GRID, paths=phy.rayleigh_path, num_tx_ant=2)
    other = jax.random.normal(jax.random.key(10), draws.h.shape, jnp.complex64)
    change = jnp.einsum("...sij,...sj->...si", (draws.h - other)[:, :9], x, precision="highest")
    same = draws._replace(h=other, noise=draws.noise + change / np.sqrt(NO))
    for equalizer in ("robust", "unbiased"):
        run = functools.partial(phy.ofdm_link, None, x, no=NO, grid=GRID, csi="pilots_ls", equalizer=equalizer)
        first, second, different = run(draws=draws), run(draws=same), run(draws=draws._replace(h=other))
        np.testing.assert_allclose(first.x_hat, second.x_hat, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(first.no_eff, second.no_eff, rtol=1e-4)
        assert not np.allclose(first.x_hat, different.x_hat, rtol=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["otfs", "ofdm_ici, one tap", "otfs, pilots"])
def test_a_receiver_of_samples_knows_what_it_is_told_and_what_it_hears(name):
    link, slots = LINKS[name], SMALL.slots_per_grid
    x = jax.random.normal(jax.random.key(13), (1, 1, slots, 2), jnp.complex64)
    at = OperatingPoint(snr_db=jnp.float32(-10 * np.log10(NO)), csi_error_var=jnp.float32(TOLD_ERROR))
    draws = link.carrier.draw(link, jax.random.split(jax.random.key(14), 1), 1, slots, slots, at)
    # Another channel, of another first path, that is told and heard as the first one is.
    change = jax.random.normal(jax.random.key(15), (1, 1, 2, 2), jnp.complex64)
    gains = draws.gains.at[:, :, 0].add(change[:, :, None, None])
    on_air = phy.isfft(x.reshape(-1, 8, 2)) if link.carrier.waveform == "otfs" else x.reshape(-1, 8, 2)
    samples = np.fft.ifft(np.fft.ifftshift(on_air, axes=-2), axis=-2, norm="ortho")
    heard = jnp.zeros(draws.noise.shape, jnp.complex64)
    heard = heard.at[:, :, SMALL.data_symbols].set(np.einsum("ij,nmj->nmi", change[0, 0], samples))
    impulses = np.sqrt(8) * np.eye(8)[[0, 4]].T  # of both antennas, in a symbol of pilots
    heard = heard.at[:, :, SMALL.pilot_symbols[0]].set(np.einsum("ij,mj->mi", change[0, 0], impulses))
    told = draws.csi - change[:, :, None, None] / np.sqrt(TOLD_ERROR)
    same = draws._replace(gains=gains, csi=told, noise=draws.noise - heard / np.sqrt(NO))
    send = jax.jit(lambda draws: link.carrier.send(link, Slots(x), draws, at))
    first, second, different = send(draws), send(same), send(draws._replace(gains=gains))
    np.testing.assert_allclose(first.x_hat, second.x_hat, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(first.no_eff, second.no_eff, rtol=1e-3)
    assert not np.allclose(first.x_hat, different.x_hat, rtol=0.1)


def test_who_is_told_books_nothing_and_who_measures_books_its_pilots():
    frames = Frames(jnp.ones((1, K, 4, 6), jnp.complex64), jnp.ones((1, K, 4), bool))
    booked = {
        kind: links_room.book(
            LinkConfig.of(topology="mu_mimo", num_rx_ant=1, demodulation=kind, block_length=10), Signal(frames)
        )
        for kind in phy.DEMODULATIONS
    }
    assert booked["genie"].pilot_uses == 0
    assert booked["pilots"].pilot_uses == 6 * 2 * K * K  # 24 slots in blocks of 10 with 6 pilots
    assert booked["pilots"].slots == booked["genie"].slots == 24


@pytest.mark.parametrize(
    ("fields", "exponent"),
    [
        (dict(num_rx_ant=1, num_tx_ant=1), 1),
        (dict(num_rx_ant=2, num_tx_ant=2, equalizer="zf"), 1),
        (dict(num_rx_ant=2, num_tx_ant=2, equalizer="mf"), 2),
        pytest.param(dict(num_rx_ant=1, num_tx_ant=3, equalizer="unbiased"), 1, marks=pytest.mark.slow),
        pytest.param(dict(num_rx_ant=2, num_tx_ant=4), 2, marks=pytest.mark.slow),
        pytest.param(dict(num_rx_ant=4, num_tx_ant=2, equalizer="zf"), 3, marks=pytest.mark.slow),
        pytest.param(dict(num_rx_ant=1, num_tx_ant=1, fading="nakagami", nakagami_m=0.5), 0.5, marks=pytest.mark.slow),
        pytest.param(
            dict(num_rx_ant=1, num_tx_ant=1, fading="fisher_snedecor", m_f=0.75), 0.75, marks=pytest.mark.slow
        ),
    ],
)
def test_the_error_of_who_divides_has_the_tail_that_is_claimed(fields, exponent):
    link = LinkConfig(**fields)
    assert error_exponent(link) == exponent
    count, kept = 400_000, 400
    draws = jax.jit(lambda keys: link.carrier.draw(link, keys, count, 1, 1, OperatingPoint()))(
        jax.random.split(jax.random.key(11), 1)
    )
    h = np.asarray(draws.h[:, 0, 0], np.complex128)
    # Variance of the error in float64: LMMSE and ZF of the first stream, or the matched filter.
    own, others, no = h[:, :, 0], h[:, :, 1:], 0.5
    power = np.sum(np.abs(own) ** 2, axis=-1)
    if link.equalizer == "mf":
        error = no / power + np.sum(np.abs(np.einsum("bm,bmn->bn", own.conj(), others)) ** 2, axis=-1) / power**2
    else:
        ridge = 1e-12 if link.equalizer == "zf" else no
        noise = others @ others.conj().swapaxes(1, 2) + ridge * np.eye(h.shape[1])
        gain = np.einsum("bm,bm->b", own.conj(), np.linalg.solve(noise, own[..., None])[..., 0]).real
        error = (no / ridge if link.equalizer == "zf" else 1) / gain
    largest = np.sort(error)[-kept - 1 :]
    hill = 1 / np.mean(np.log(largest[1:] / largest[0]))  # standard error: exponent / sqrt(kept)
    assert abs(hill / exponent - 1) < 5 / np.sqrt(kept)


@pytest.mark.parametrize(
    "link",
    [LinkConfig(equalizer="paper", num_rx_ant=1), LinkConfig(fading="awgn"), LinkConfig.witt_rayleigh()],
)
def test_who_does_not_divide_has_an_error_with_all_moments(link):
    assert error_exponent(link) == np.inf


@pytest.mark.slow
@pytest.mark.parametrize(("num_rx_ant", "finite"), [(1, False), (2, True)])
def test_an_error_whose_mean_is_infinite_is_not_shown_as_a_number(num_rx_ant, finite):
    link = LinkConfig(num_rx_ant=num_rx_ant, num_tx_ant=1)
    frames = Frames(jnp.ones((2, K, 4, 6), jnp.complex64), jnp.ones((2, K, 4), bool))
    draws = links_room.draw(link, jax.random.split(jax.random.key(12), K), 2, 4, 6)
    _, output = links_room.send(link, Signal(frames), draws, OperatingPoint())
    assert np.isfinite(links_room.measure(link, Signal(frames), output).nmse_symbols).all() == finite
