"""The digital system from pictures to pictures, with a toy code; with 5G's at the end."""

import dataclasses
import subprocess
import sys
import zlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.data.picture_codecs import best_fit, decode
from lvm_mtc.link import LinkConfig, SingleCarrier
from lvm_mtc.phy import coding
from lvm_mtc.phy.modulation import qam_points
from lvm_mtc.report.references import rate_distortion, separation_references
from lvm_mtc.report.study import curve_panels
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.separation import digital, modulation_coding
from lvm_mtc.schemes.separation.digital import (
    draw_pictures,
    frame_payload,
    mutual_information,
    send_bits,
)
from lvm_mtc.schemes.separation.modulation_coding import SeparationScheme, select_pairs
from lvm_mtc.sweep import programs, separation
from lvm_mtc.sweep.separation import interval, run_separation

pytestmark = pytest.mark.usefixtures("fast_compile")

SLOTS = 512
SCHEME = SeparationScheme(
    name="WebP + toy code", codec="webp", num_slots=SLOTS, bits_per_symbol=(2, 4), rates=(1 / 3, 5 / 6)
)
AWGN = LinkConfig(fading="awgn", convention="rx_per_antenna", num_rx_ant=2, num_tx_ant=2)
RAYLEIGH = dataclasses.replace(AWGN, fading="rayleigh")
SNR_DB = (-20.0, 6.0, 40.0)


def _checksum(bits):
    words = [zlib.crc32(np.packbits(one).tobytes()) & 0xFFFFFF for one in bits]
    return np.array([[word >> i & 1 for i in range(24)] for word in words], np.uint8).reshape(-1, 24)


def _places(blocks):
    return (np.arange(blocks.num_blocks)[:, None] * blocks.k + np.arange(blocks.n) % blocks.k).reshape(-1)


def _repeat(payload, blocks):
    """A code for tests: payload and checksum, repeated until the block is full."""
    coded = np.concatenate([payload, _checksum(payload)], 1)[:, _places(blocks)]
    return np.pad(coded, [(0, 0), (0, blocks.num_coded_bits - coded.shape[1])])


def _add_up(llr, blocks, *, num_iter):
    total = np.zeros((len(llr), blocks.num_blocks * blocks.k))
    np.add.at(total.T, _places(blocks), llr[:, : blocks.num_blocks * blocks.n].T)
    bits = np.uint8(total > 0)
    payload = bits[:, : blocks.payload_bits]
    valid = (_checksum(payload) == bits[:, blocks.payload_bits :]).all(1)
    return coding.Decoded(payload, valid, bits.reshape(len(llr), blocks.num_blocks, -1))


@pytest.fixture
def toy_code(monkeypatch):
    monkeypatch.setattr(coding, "encode_payload", _repeat)
    monkeypatch.setattr(coding, "decode_payload", _add_up)


@pytest.fixture(scope="module")
def pictures(small_pictures):
    """Pictures of 8 bits and their boxes; others of the same kind; a mean picture."""
    images, loc = small_pictures
    images = np.float32(np.round(images * 255) / 255)
    return dict(images=images, loc=loc, selection_images=images[:, :, ::-1], mean_picture=np.full((32, 32, 3), 0.5))


def run(pictures, link=AWGN, **changes):
    options = dict(snr_db=SNR_DB, num_realisations=2, num_selection_realisations=2, scheme=SCHEME) | pictures | changes
    return run_separation(key=jax.random.key(1), link=link, **options)


@pytest.fixture(scope="module")
def result(pictures):
    with pytest.MonkeyPatch.context() as patch:
        toy_code.__wrapped__(patch)
        return run(pictures)


def test_frame_ends_where_the_payload_does():
    for payload in (b"", b"\x00", b"\x00\x80", b"abc\x00\x00"):
        for room in (8 * len(payload) + 1, 8 * len(payload) + 20):
            bits = frame_payload(payload, room)
            assert bits.shape == (room,) and np.packbits(bits[: np.flatnonzero(bits)[-1]]).tobytes() == payload
    with pytest.raises(ValueError, match="payload of 16 bits and the bit that ends it do not fit into num_bits 16"):
        frame_payload(b"ab", 16)


def _plain_llr(link, bits, bits_per_symbol, draws, snr_db):
    """The chain in float64 NumPy under AWGN: where each bit went, and the exact LLR of what came."""
    points = qam_points(bits_per_symbol)
    label = bits.reshape(*bits.shape[:2], -1, bits_per_symbol) @ (1 << np.arange(bits_per_symbol)[::-1])
    order = digital.symbol_order(label.shape[-1])
    no = 10 ** (-snr_db / 10)
    y = points[label][..., order].reshape(np.asarray(draws.noise).shape) + np.sqrt(no) * np.asarray(draws.noise)
    received = np.empty(label.shape, complex)
    received[..., order] = y.reshape(label.shape)
    metric = np.exp(-(np.abs(received[..., None] - points) ** 2) / no)
    ones = (np.arange(points.size)[:, None] >> np.arange(bits_per_symbol)[::-1]) & 1
    return (np.log(metric @ ones) - np.log(metric @ (1 - ones))).reshape(bits.shape)


def test_llrs_are_those_of_a_plain_chain():
    bits = np.random.default_rng(0).integers(0, 2, (3, 2, SLOTS * 8), np.uint8)
    draws = draw_pictures(AWGN, 3, 2, SLOTS, jax.random.key(3))
    llr, snr, _ = send_bits(AWGN, 4, bits, draws, np.float32(6), np.float32(0))
    want = _plain_llr(AWGN, bits, 4, draws, 6.0)
    np.testing.assert_allclose(llr, want, rtol=2e-3, atol=2e-3)
    # Half of the noise would be seen.
    assert np.abs(_plain_llr(AWGN, bits, 4, draws, 9.0) - want).max() > 1
    # Noise power of n complex samples: relative standard error 1 / sqrt(n); so too the symbols' at most.
    assert abs(snr / 10**0.6 - 1) < 5 * np.sqrt(2 / (3 * 2 * SLOTS * 2))


def test_every_bit_returns_to_its_place_over_fading():
    """Nearly no noise: hard decisions are the bits, whatever the interleaver did."""
    link = dataclasses.replace(RAYLEIGH, num_rx_ant=4)
    bits = np.random.default_rng(1).integers(0, 2, (2, 2, 64 * 4), np.uint8)
    draws = draw_pictures(link, 2, 2, 32, jax.random.key(4))
    llr, *_ = send_bits(link, 4, bits, draws, np.float32(60), np.float32(0))
    np.testing.assert_array_equal(np.asarray(llr) > 0, bits == 1)


def test_scrambled_zeros_have_unit_power():
    bits = digital.scrambling(8 * 4096)
    labels = bits.reshape(-1, 8) @ (1 << np.arange(8)[::-1])
    power = np.abs(qam_points(8)[labels]) ** 2
    assert abs(power.mean() - 1) < 5 * power.std() / np.sqrt(power.size)
    assert abs(np.abs(qam_points(8)[0]) ** 2 - 1) > 0.3  # what they would have without


def test_channel_is_the_token_systems():
    """Equal keys, equal fading and noise, where pictures take equally many slots: 4 tokens of 6 symbols, 2 a slot."""
    ours = draw_pictures(RAYLEIGH, 3, 2, 12, jax.random.fold_in(jax.random.key(5), 7))
    shape = programs.DrawShape((RAYLEIGH,), 3, 2, ((4, 6),))
    (theirs,) = programs.draw(shape, jax.random.key(5), np.array([7], np.uint32))
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, b[0]), ours, theirs)


def test_mutual_information_of_qpsk():
    """Against Gauss-Hermite quadrature of 1 - E log2(1 + exp(-l)), l ~ N(2 a, 4 a) with a = Es/No."""
    snr, count = 10 ** (0.1), 40_000
    rng = np.random.default_rng(2)
    bits = rng.integers(0, 2, (1, count), np.uint8)
    llr = (2 * bits - 1.0) * 2 * snr + 2 * np.sqrt(snr) * rng.normal(size=bits.shape)
    x, w = np.polynomial.hermite_e.hermegauss(60)
    at = 1 - np.log2(1 + np.exp(-(2 * snr + 2 * np.sqrt(snr) * x)))
    want = (w @ at) / w.sum()
    spread = np.sqrt((w @ at**2) / w.sum() - want**2) / np.sqrt(count)
    found = mutual_information(jnp.float32(llr), bits, 1, count)[0, 0] / count
    assert abs(found - want) < 5 * spread
    # A receiver that believes in a quarter of the noise: its LLRs are four times too large, the information is there.
    again = mutual_information(jnp.float32(4 * llr), bits, 1, count)[0, 0] / count
    np.testing.assert_allclose(again, found, rtol=1e-4)
    assert abs(mutual_information(jnp.float32(-llr), bits, 1, count)[0, 0] / count - want) > 5 * spread


def test_result_from_end_to_end(result, pictures):
    """What is shown is the best fit or the mean picture, and every number follows from it."""
    images = np.float64(pictures["images"])
    assert result.metrics["psnr_db"].shape == result.success.shape == (2, 3, 3, 2)
    for point, pair in enumerate(result.selection.pairs):
        for group in range(3):
            for uav in range(2):
                eight_bits = np.uint8(np.round(images[group, uav] * 255))
                found = best_fit(eight_bits, "webp", pair.blocks.payload_bits - 1)
                assert (found is not None) == result.fits[point, group, uav]
                for realisation in range(2):
                    success = result.success[realisation, point, group, uav]
                    shown = found.picture / 255 if success else pictures["mean_picture"]
                    error = np.mean((images[group, uav] - shown) ** 2)
                    got = {name: one[realisation, point, group, uav] for name, one in result.metrics.items()}
                    np.testing.assert_allclose(got["mse"], error, rtol=1e-4)
                    np.testing.assert_allclose(got["psnr_db"], -10 * np.log10(error), rtol=1e-4)
    assert result.success[:, 0].sum() == 0  # -20 dB: nothing arrives,
    assert result.fits[2].all() and result.success[:, 2].all()  # 40 dB: all of it
    assert result.selection.pairs[2].bits_per_symbol == 4 and result.selection.pairs[2].rate == 5 / 6
    assert result.block_error_rate[2] == 0 and result.picture_error_rate[2] == 0
    np.testing.assert_array_equal(result.num_undetected, 0)
    shown = result.pictures[2] / 255
    np.testing.assert_allclose(np.mean((shown - images) ** 2, axis=(2, 3, 4)), result.metrics["mse"][0, 2], rtol=1e-4)


def test_costs_and_axis(result):
    assert np.all(result.ledger.channel_uses() == 2 * SLOTS * 2) and np.all(result.ledger.slots == 2 * SLOTS)
    # 2 realisations x 6 pictures x 1024 symbols: power of the noise and of the symbols.
    np.testing.assert_allclose(result.realised_snr_db, SNR_DB, atol=5 * 10 / np.log(10) * np.sqrt(2 / 12_288))


def test_stores_and_curves_take_its_points(result, tmp_path):
    found = interval(result, "psnr_db")
    assert found.mean.shape == (3,) and np.all(np.diff(found.mean) >= 0)
    of_units = result.metrics["psnr_db"].mean((2, 3))
    np.testing.assert_allclose(found.mean, of_units.mean(0))
    assert interval(result, "psnr_inside_db").mean.shape == (3,)
    with ResultStore(tmp_path / "s.sqlite") as store:
        key = store.register({"name": "separation"})
        points = separation.separation_points(result, key, seed=1)
        assert store.add(points) == 3 and store.read() == points
    assert [point.snr_db for point in points] == list(SNR_DB)
    last = points[2]
    assert last.metrics["psnr_db"][:2] == (found.mean[2], found.half_width[2])
    assert last.metrics["cbr"].mean == 2 * SLOTS / (32 * 32 * 3) and last.ledger["channel_uses"] == 2 * SLOTS
    assert last.ledger["bits_per_symbol"] == 4 and last.metrics["block_error_rate"].mean == 0
    # At -20 dB nothing arrives.
    assert points[0].metrics["picture_error_rate"].mean == 1 or points[0].metrics["share_that_fits"].mean == 0
    curve = curve_panels(points, [result.link])[0][0].curves[0]
    np.testing.assert_array_equal(curve.mean, found.mean)


def test_a_heic_frame_is_the_picture_that_was_chosen(pictures):
    """From the bits of a frame alone, as the receiver has them."""
    pytest.importorskip("pillow_heif", reason="needs pillow-heif (extra heic)")
    scheme = dataclasses.replace(SCHEME, name="HEIC", codec="heic")
    pair = scheme.pairs(2)[-1]
    (found,) = modulation_coding.fit_pictures(scheme, pictures["images"][1, :1], pair)
    bits = frame_payload(found.payload, pair.blocks.payload_bits)
    arrived = np.packbits(bits[: np.flatnonzero(bits)[-1]]).tobytes()
    np.testing.assert_array_equal(decode(arrived, "heic", (32, 32)), found.picture)
    assert np.mean((found.picture / 255 - pictures["images"][1, 0]) ** 2) < 1e-3


def test_it_repeats_itself_and_chunks_keep_their_pictures(result, pictures, toy_code):
    again = run(pictures)
    np.testing.assert_array_equal(again.metrics["psnr_db"], result.metrics["psnr_db"])
    parts = run(pictures, max_pictures=4)
    np.testing.assert_array_equal(parts.fits, result.fits)
    np.testing.assert_array_equal(parts.metrics["psnr_db"][:, 2], result.metrics["psnr_db"][:, 2])


def test_unfitting_pictures_are_mean_pictures(pictures, toy_code):
    short = dataclasses.replace(SCHEME, num_slots=48, bits_per_symbol=(2,), rates=(1 / 3,))
    result = run(pictures, scheme=short, snr_db=(40.0,))
    assert not result.fits.any() and not result.success.any() and np.isnan(result.picture_error_rate).all()
    error = np.mean((np.float64(pictures["images"]) - pictures["mean_picture"]) ** 2, axis=(2, 3, 4))
    np.testing.assert_allclose(result.metrics["mse"][0, 0], error, rtol=1e-4)
    np.testing.assert_array_equal(result.pictures, np.full_like(result.pictures, 128))


def test_pruned_search_finds_the_best_pair(pictures, toy_code, monkeypatch):
    """Against the search that decodes every pair, on the same draws."""
    options = dict(snr_db=np.array([2.0, 8.0, 16.0]), csi_error_var=np.zeros(3), num_realisations=2)
    images, mean = pictures["selection_images"], pictures["mean_picture"]
    pruned = select_pairs(SCHEME, images, mean, jax.random.key(6), [RAYLEIGH], **options)
    every = []
    for bits in SCHEME.bits_per_symbol:
        for rate in SCHEME.rates:
            one = dataclasses.replace(SCHEME, bits_per_symbol=(bits,), rates=(rate,))
            every.append(select_pairs(one, images, mean, jax.random.key(6), [RAYLEIGH], **options))
    np.testing.assert_allclose(pruned.psnr_db, np.max([one.psnr_db for one in every], axis=0), atol=0.3)
    assert pruned.num_tried.min() >= 1 and pruned.num_tried.sum() < 12
    # A bound that says nothing makes it try all of them that could be better, and finds nothing better.
    monkeypatch.setattr(digital, "mutual_information", lambda llr, bits, blocks, n: np.full((len(llr), blocks), np.inf))
    unpruned = select_pairs(SCHEME, images, mean, jax.random.key(6), [RAYLEIGH], **options)
    assert np.all(unpruned.num_tried >= pruned.num_tried)
    np.testing.assert_allclose(unpruned.psnr_db, pruned.psnr_db, atol=0.3)


def test_it_is_not_better_than_its_references(pictures, toy_code):
    snr_db = (4.0, 12.0, 20.0)
    found = interval(run(pictures, RAYLEIGH, snr_db=snr_db, num_realisations=16), "psnr_db")
    curve = rate_distortion(pictures["images"], "webp", pictures["mean_picture"])
    bound = separation_references(curve, RAYLEIGH, jax.random.key(8), snr_db=snr_db, num_slots=SLOTS, num_draws=400)
    assert np.all(found.mean - found.half_width <= bound.outage.mean + bound.outage.half_width)
    assert np.all(bound.outage.mean <= bound.known_channel.mean)
    # It would be seen above a bound that is too low: that of an eighth of the slots.
    low = separation_references(curve, RAYLEIGH, jax.random.key(8), snr_db=snr_db, num_slots=SLOTS // 8, num_draws=400)
    assert found.mean[2] - found.half_width[2] > low.outage.mean[2] + low.outage.half_width[2]


def test_wrong_llrs_make_it_fail(pictures, toy_code, monkeypatch):
    """The comparison can fail: with the other sign of the LLRs nothing arrives even at 40 dB."""
    monkeypatch.setattr(modulation_coding, "flipped", lambda llr, bits: np.where(bits == 1, llr, -llr))
    assert not run(pictures, snr_db=(40.0,)).success.any()


LINKS = {
    "paper": (dataclasses.replace(AWGN, equalizer="paper"), "'paper' is biased.*robust, unbiased, zf, mf"),
    "joint": (dataclasses.replace(AWGN, carrier=SingleCarrier(topology="joint")), "topology 'broadcast' or 'mac', got"),
}


@pytest.mark.parametrize("name", LINKS)
def test_links_it_cannot_use(name, pictures, toy_code):
    link, message = LINKS[name]
    with pytest.raises(ValueError, match=message):
        run(pictures, link)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(codec="bpg"), "SeparationScheme.codec must be one of jpeg, webp, avif, heic, got 'bpg'"),
        (dict(rates=()), r"SeparationScheme.rates must name at least one, got \(\)"),
        (dict(rates=(0.1,)), r"rate must lie in \[0.2, 0.95\], got 0.1"),
        (dict(knows="h"), "SeparationScheme.knows must be one of snr, statistics, got 'h'"),
        (dict(num_iter=0), "SeparationScheme.num_iter must be an integer >= 1, got 0"),
        (dict(num_slots=5), "num_symbols 5 of 2 bits at rate 0.333"),
    ],
)
def test_schemes_that_there_are_not(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SCHEME, **changes)


def test_wrong_arguments(pictures, toy_code):
    for changes, message in (
        (dict(selection_images=pictures["images"]), "6 of the reported images are among selection_images"),
        (dict(mean_picture=np.zeros((8, 8, 3))), r"mean_picture \(8, 8, 3\) must fit"),
        (dict(loc=pictures["loc"][:1]), r"loc must be \[B, K, 4\] = \(3, 2, 4\), got \(1, 2, 4\)"),
        (dict(snr_db=()), "needs SNRs, CSI errors, realisations and pictures"),
        (
            dict(selection_links=(RAYLEIGH, dataclasses.replace(AWGN, num_tx_ant=1, num_rx_ant=1))),
            "WebP . toy code: one pair for several links needs one LinkConfig.num_tx_ant, got 2 and 1",
        ),
        (
            dict(selection_links=(RAYLEIGH,), scheme=dataclasses.replace(SCHEME, knows="statistics")),
            "knows its link .*: it needs no selection_links",
        ),
        (dict(num_realisations=0), "needs SNRs, CSI errors, realisations and pictures"),
    ):
        with pytest.raises(ValueError, match=message):
            run(pictures, **changes)


def test_one_pair_serves_what_the_transmitter_cannot_tell_apart(pictures, toy_code):
    """Errors of 0 and 0.05: by the SNR alone both get one pair, that of the best mean; with statistics each its own."""
    options = dict(snr_db=np.array([40.0, 40.0]), csi_error_var=np.array([0.0, 0.05]), num_realisations=2)
    images, mean = pictures["selection_images"], pictures["mean_picture"]
    both = select_pairs(SCHEME, images, mean, jax.random.key(6), [AWGN], **options)
    apart = dataclasses.replace(SCHEME, knows="statistics")
    each = select_pairs(apart, images, mean, jax.random.key(6), [AWGN], **options)
    assert both.pairs[0] == both.pairs[1] and both.psnr_db[0] == both.psnr_db[1]
    assert each.pairs[0] != each.pairs[1]
    assert both.psnr_db[0] <= each.psnr_db.mean() + 0.3
    values = []  # of every pair, its mean over both errors
    for bits in SCHEME.bits_per_symbol:
        for rate in SCHEME.rates:
            one = dataclasses.replace(SCHEME, bits_per_symbol=(bits,), rates=(rate,))
            values.append(select_pairs(one, images, mean, jax.random.key(6), [AWGN], **options).psnr_db[0])
    assert abs(both.psnr_db[0] - max(values)) < 0.3 and max(values) > min(values) + 0.3
    # Fading that may be there as well asks for a smaller rate than AWGN alone.
    options = dict(snr_db=np.array([14.0]), csi_error_var=np.zeros(1), num_realisations=2)
    alone = select_pairs(SCHEME, images, mean, jax.random.key(6), [AWGN], **options)
    mixed = select_pairs(SCHEME, images, mean, jax.random.key(6), [AWGN, RAYLEIGH], **options)
    assert mixed.success[0] < alone.success[0] and mixed.psnr_db[0] < alone.psnr_db[0]


def test_a_sweep_chooses_for_the_links_it_is_given(pictures, toy_code):
    scheme = dataclasses.replace(SCHEME, knows="snr")
    chosen = [
        run(pictures, link, scheme=scheme, snr_db=(14.0,), selection_links=(AWGN, RAYLEIGH)).selection.pairs
        for link in (AWGN, RAYLEIGH)
    ]
    assert chosen[0] == chosen[1]


@pytest.mark.slow
def test_more_iterations_of_the_decoder_change_nothing_within_the_interval():
    rng, code, count = np.random.default_rng(0), coding.LdpcCode(512, 1024), 600
    bits = rng.integers(0, 2, (count, 512))
    sent = 1.0 - 2.0 * np.asarray(coding.ldpc_encode(bits, code))
    no = 10**-0.12  # of a QPSK symbol of power 1, 1.2 dB; of one of its two amplitudes sqrt(1/2)
    llr = -4 / no * np.sqrt(0.5) * (sent * np.sqrt(0.5) + rng.normal(scale=np.sqrt(no / 2), size=sent.shape))

    def lost(num_iter, schedule="layered"):
        decided = coding.ldpc_decode(llr, code, num_iter=num_iter, schedule=schedule, engine="numpy") > 0
        return (decided != bits).any(1).mean()

    default = SeparationScheme(name="a", codec="webp", num_slots=64).num_iter
    ours, twice, before = lost(default), lost(2 * default), lost(20, "flooding")
    deviation = np.sqrt(2 * ours * (1 - ours) / count)
    assert 0.02 < ours < 0.2 and abs(ours - twice) < 2 * deviation
    assert before - ours > 5 * deviation


def test_it_needs_no_tensorflow():
    code = "import sys, lvm_mtc.sweep.separation; print('tensorflow' in sys.modules, 'sionna' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.strip() == "False False"


@pytest.mark.slow
def test_cliff_under_awgn(pictures):
    """QPSK at rate 1/2, 3072 symbols: no picture, then every picture within 1 dB."""
    scheme = dataclasses.replace(SCHEME, num_slots=1536, bits_per_symbol=(2,), rates=(1 / 2,))
    result = run(pictures, scheme=scheme, snr_db=(0.0, 0.75, 1.5), num_realisations=4)
    assert result.fits.all()
    share = result.success.mean(axis=(0, 2, 3))
    assert share[0] == 0 and share[2] == 1
    curve = rate_distortion(pictures["images"], "webp", pictures["mean_picture"])
    bound = separation_references(curve, AWGN, jax.random.key(8), snr_db=result.snr_db, num_slots=1536, num_draws=2)
    assert np.all(interval(result, "psnr_db").mean <= bound.outage.mean + 1e-6)


@pytest.mark.slow
def test_ldpc_over_fading_with_csi_error(pictures):
    """Robust receivers decode over Rayleigh fading with an imperfect estimate; no more than the references allow."""
    result = run(pictures, RAYLEIGH, snr_db=(10.0, 20.0), csi_error_var=(0.0, 0.05), num_realisations=3)
    psnr = interval(result, "psnr_db").mean
    assert psnr[1] > psnr[0] and psnr[1] > psnr[3]
    curve = rate_distortion(pictures["images"], "webp", pictures["mean_picture"])
    bound = separation_references(
        curve, RAYLEIGH, jax.random.key(8), snr_db=result.snr_db, num_slots=SLOTS, num_draws=400
    )
    found = interval(result, "psnr_db")
    assert np.all(found.mean - found.half_width <= bound.outage.mean + bound.outage.half_width)
