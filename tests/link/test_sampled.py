"""Carriers over a sampled channel: what shares a grid interferes, schemes and sweeps run over them unchanged."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import link as links_room
from lvm_mtc import phy
from lvm_mtc.link import Frames, LinkConfig, OfdmIci, OperatingPoint, Otfs, RankedStreams, Signal
from lvm_mtc.report.references import picture_capacities
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.separation import digital
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import run_sweep
from lvm_mtc.sweep.stopping import StoppingRule

pytestmark = pytest.mark.usefixtures("fast_compile")

B, K, FRAMES, SYMBOLS = 2, 2, 5, 8
GRID = phy.ResourceGrid(fft_size=8, num_ofdm_symbols=4, cyclic_prefix_length=3, pilot_symbols=(1,))
FAST = dict(fading="exponential", delay_spread=4e-6, num_rx_ant=2, num_tx_ant=2)
POINT = OperatingPoint(snr_db=jnp.float32(12.0), csi_error_var=jnp.float32(0.05))


@pytest.mark.slow
@pytest.mark.parametrize("carrier", [Otfs(grid=GRID, speed=250.0), OfdmIci(grid=GRID, speed=250.0)])
def test_a_receiver_hears_all_that_shares_its_grid(carrier):
    link = LinkConfig(carrier=carrier, **FAST)
    symbols = jax.random.normal(jax.random.key(1), (B, K, FRAMES, SYMBOLS), jnp.complex64)
    common = jax.random.normal(jax.random.key(2), (B, FRAMES, SYMBOLS), jnp.complex64)
    public = np.zeros((B, FRAMES), bool)
    public[0, [1, 4]] = public[1, 0] = True
    private = np.ones((B, K, FRAMES), bool) & ~public[:, None]
    private[0, 1, 0] = False
    signal = Signal(Frames(symbols, jnp.asarray(private)), Frames(common, jnp.asarray(public)))
    per_frame, total = SYMBOLS // 2, K * FRAMES * SYMBOLS // 2
    air, place = np.zeros((B, total, 2), complex), -np.ones((B, K, FRAMES), int)
    for b in range(B):  # public frames, then UAV after UAV; of token i symbol c goes over antenna (c + i) mod 2
        now = 0
        for k, i in [(None, i) for i in np.flatnonzero(public[b])] + list(zip(*np.nonzero(private[b]), strict=True)):
            frame = np.asarray(common[b, i] if k is None else symbols[b, k, i]).reshape(per_frame, 2)
            air[b, now : now + per_frame] = np.roll(frame, i, axis=1)
            place[b, slice(None) if k is None else k, i] = now
            now += per_frame

    @jax.jit
    def run(keys, air):
        draws = links_room.draw(link, keys, B, FRAMES, SYMBOLS)
        options = dict(no=10**-1.2, csi_error_var=0.05, grid=GRID, waveform=carrier.waveform)
        alone = [  # each UAV's receiver, of the whole time axis
            phy.sampled_link(air, jax.tree.map(lambda a, k=k: a[:, k], draws), **options) for k in range(K)
        ]
        return links_room.send(link, signal, draws, POINT)[0], alone

    received, alone = run(jax.random.split(jax.random.key(3), K), jnp.complex64(air))
    for b, k, i in np.ndindex(B, K, FRAMES):
        if place[b, k, i] < 0:
            assert (received.symbols[b, k, i] == 0).all() and (received.no_eff[b, k, i] == 1).all()
            continue
        for got, of_axis in zip(received, alone[k], strict=True):
            want = np.asarray(of_axis)[b, place[b, k, i] : place[b, k, i] + per_frame]
            np.testing.assert_allclose(got[b, k, i], np.roll(want, -i, axis=1).ravel(), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_scheme_goes_over_them_unchanged_in_one_sweep(tmp_path, small_scheme, small_pictures):
    carriers = {
        "otfs": Otfs(grid=GRID, speed=700.0),
        "ofdm": OfdmIci(grid=GRID, speed=700.0),
        "one tap": OfdmIci(grid=GRID, speed=700.0, receiver="one_tap"),
    }
    links = tuple(LinkConfig(name=name, carrier=carrier, **FAST) for name, carrier in carriers.items())
    spec = SweepSpec(
        schemes=(small_scheme,), links=links, sources={2: picture_source(*small_pictures)}, snr_db=(25.0,),
        metrics=("psnr_db",), stopping=StoppingRule(target_half_width=None, max_units=4),
    )  # fmt: skip
    with ResultStore(tmp_path / "s.sqlite") as store:
        points = {point.coordinates["channel"]: point for point in store.read(run_sweep(spec, store))}
    psnr = {name: point.metrics["psnr_db"].mean for name, point in points.items()}
    assert min(psnr["otfs"], psnr["ofdm"]) > psnr["one tap"] + 0.5
    assert len({str(point.ledger) for point in points.values()}) == 1  # one cost for all three
    per_grid = 2 * GRID.num_ofdm_symbols * (GRID.fft_size + GRID.cyclic_prefix_length)
    assert points["otfs"].ledger["channel_uses"] * 2 % per_grid == 0 < points["otfs"].ledger["prefix_uses"]


def test_coded_bits_go_over_cells_and_no_snr_is_measured():
    link = LinkConfig(carrier=Otfs(grid=GRID, speed=250.0), **FAST)
    bits = jax.random.bernoulli(jax.random.key(4), shape=(8, 1, 24 * 2 * 2)).astype(jnp.int32)
    draws = digital.draw_pictures(link, 8, 1, 24, jax.random.key(5))
    llr, snr, _ = digital.send_bits(link, 2, bits, draws, jnp.float32(30.0), jnp.float32(0.0))
    assert np.mean((llr > 0) != (bits == 1)) < 0.01 and np.isnan(snr)
    with pytest.raises(ValueError, match="detector 'exact' needs a carrier that gives what it heard, not Otfs"):
        digital.send_bits(link, 2, bits, draws, jnp.float32(30.0), jnp.float32(0.0), detector="exact")
    with pytest.raises(ValueError, match="references need a channel for each slot, which Otfs does not tell"):
        picture_capacities(link, jax.random.key(6), snr_db=(10.0,), num_slots=24, num_draws=2)


def test_what_an_embedded_pilot_takes_is_booked_and_a_store_reads_it():
    grid = phy.ResourceGrid(fft_size=16, num_ofdm_symbols=12, cyclic_prefix_length=3, pilot_symbols=())
    embedded = phy.EmbeddedPilot(max_delay=2, max_doppler=1)
    link = LinkConfig(
        csi="pilots_ls", carrier=Otfs(grid=grid, embedded=embedded, speed=250.0), **(FAST | dict(delay_spread=1e-6))
    )
    frames = Frames(jnp.ones((1, 1, 23, 16), jnp.complex64), jnp.ones((1, 1, 23), bool))
    ledger = links_room.book(link, Signal(frames))
    guard = 5 * (2 * 3 + 2)
    assert ledger.slots[0] == 23 * 8 > 12 * 16 - guard  # into a second grid
    assert ledger.pilot_uses[0] == 2 * 2 * guard and ledger.prefix_uses[0] == 2 * 2 * 12 * 3
    assert ledger.channel_uses()[0] == 2 * 2 * 12 * (16 + 3)
    described = link.described()
    assert described["embedded"] == dict(max_delay=2, max_doppler=1, threshold=3.0)
    assert LinkConfig.of(**described) == link
    assert "embedded" not in LinkConfig(carrier=Otfs(grid=GRID), **FAST).described()
    with pytest.raises(ValueError, match="RankedStreams.carrier must have no embedded pilot"):
        dataclasses.replace(link, carrier=RankedStreams(carrier=link.carrier))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(waveform="otfs", csi="pilots_ls", num_pilots=4), "num_pilots 4 goes with carrier"),
        (dict(waveform="otfs", csi="pilots_ls"), "Otfs: LinkConfig.csi 'pilots_ls' needs a pilot among the cells"),
        (dict(waveform="ofdm_ici", csi="pilots_ls"), "OfdmIci: LinkConfig.csi 'pilots_ls' needs a pilot among"),
        (
            dict(waveform="otfs", csi="pilots_lmmse", embedded={}, num_tx_ant=1, ofdm=dict(pilot_symbols=())),
            "Otfs.embedded is for LinkConfig.csi additive, mmse or pilots_ls, not 'pilots_lmmse'",
        ),
        (dict(waveform="otfs", ofdm=dict(pilot_symbols=())), r"pilot_symbols \(\) is for OTFS with an embedded"),
        (dict(waveform="otfs", embedded={}), "an embedded pilot needs all subcarriers and symbols of data one after"),
        (dict(waveform="otfs", embedded=dict(max_delay=-1)), "embedded: EmbeddedPilot.max_delay must be an integer"),
        (dict(waveform="ofdm", embedded={}), "LinkConfig.embedded {} goes with carrier 'otfs', not with 'ofdm'"),
        (
            dict(waveform="otfs", csi="pilots_lmmse", fading="exponential"),
            "impulses of 4 antennas over 17 taps need 68 samples and all subcarriers, got fft_size 64 with 64 used",
        ),
        (
            dict(waveform="ofdm_ici", receiver="one_tap", csi="pilots_lmmse"),
            "OfdmIci: LinkConfig.csi 'pilots_lmmse' needs receiver 'block' and fading exponential, rayleigh or rician",
        ),
        (dict(waveform="otfs", equalizer="zf"), "Otfs with receiver 'block' needs LinkConfig.equalizer paper, unb"),
        (dict(waveform="otfs", receiver="one_tap"), "LinkConfig.receiver 'one_tap' goes with carrier 'ofdm_ici', not"),
        (dict(waveform="ofdm_ici", receiver="sic"), "OfdmIci.receiver 'sic' is unknown; known: block, one_tap"),
        (dict(waveform="ofdm_ici", receiver="one_tap", equalizer="none"), "LinkConfig.equalizer paper, .*'none'"),
        (dict(waveform="otfs", fading="nakagami"), "Otfs carries frequency-selective fading, rayleigh and rician, not"),
        (dict(waveform="otfs", topology="mu_mimo"), "'mu_mimo' needs a single carrier"),
        (dict(waveform="otfs", fading="exponential", delay_spread=1e-5), "delay_spread must be at most 2.552e-06 s"),
        (dict(waveform="otfs", ofdm=dict(fft_size=1)), "LinkConfig.ofdm: ResourceGrid.fft_size must be an integer"),
    ],
)  # fmt: skip
def test_wrong_links(fields, message):
    with pytest.raises(ValueError, match=message):
        LinkConfig.of(**fields)
    assert dataclasses.replace(Otfs(), speed=3.0).max_doppler == pytest.approx(35.02, abs=0.01)
