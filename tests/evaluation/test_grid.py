import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.evaluation import grid, metrics, programs
from lvm_mtc.evaluation.any_link import measures_snr
from lvm_mtc.evaluation.grid import Scheme, run_grid
from lvm_mtc.system import LinkConfig, OperatingPoint, System, draw_channel, uav_keys

pytestmark = pytest.mark.usefixtures("fast_compile")

# As in the fixtures: programs are compiled once.
SNR_DB, CSI_ERROR = (0.0, 10.0, 20.0), (0.0, 0.05)
LINK = LinkConfig(fading="rayleigh", convention="rx_per_antenna")


def run(scheme, pictures, **changes):
    options = dict(snr_db=SNR_DB, csi_error_var=CSI_ERROR, num_realisations=2)
    link, seed = changes.pop("link", LINK), changes.pop("seed", 1)
    return run_grid(scheme, *pictures, jax.random.key(seed), link, **(options | changes))


def test_shapes_and_points(small_scheme, small_pictures):
    result = run(small_scheme, small_pictures)
    np.testing.assert_array_equal(result.snr_db, [0, 10, 20, 0, 10, 20])
    np.testing.assert_allclose(result.csi_error_var, [0, 0, 0, 0.05, 0.05, 0.05], rtol=1e-6)
    assert result.metrics["psnr_db"].shape == (2, 6, 3, 2)
    assert result.pictures.shape == (6, 3, 2, 32, 32, 3) and result.pictures.dtype == np.uint8
    assert result.mask.shape == (3, 2, 16)
    assert result.ledger.slots.shape == (3,)
    assert np.all(result.mask.sum(-1) == 8)


def test_a_point_is_what_the_system_gives_on_its_own(small_scheme, small_pictures):
    """The oracle: forward passes one by one, metrics in float64 NumPy."""
    images, loc = small_pictures
    result = run(small_scheme, small_pictures)
    system, params = small_scheme.system, small_scheme.params
    mask_key, channel_key = jax.random.split(jax.random.fold_in(jax.random.key(1), 0))
    encoded = jax.jit(system.encode)(params, jnp.asarray(images), jnp.asarray(loc), uav_keys(mask_key, 2))
    transmit = jax.jit(system.transmit, static_argnums=3)
    inside = np.asarray(metrics.box_mask(jnp.asarray(loc), 32, 32))
    for realisation in range(2):
        key = jax.random.fold_in(jax.random.clone(channel_key), realisation)
        draws = jax.jit(draw_channel, static_argnums=(1, 2, 3, 4))(uav_keys(key, 2), LINK, 3, 8, 8)
        for point in range(6):
            at = OperatingPoint(snr_db=np.float32(result.snr_db[point]),
                                csi_error_var=np.float32(result.csi_error_var[point]))
            out = transmit(params, encoded, jax.random.split(jax.random.key(7), 2), LINK, at, draws)
            received = np.clip(np.asarray(out.images_hat, np.float64), 0, 1)
            error = ((received - images) ** 2).mean(-1)
            want = -10 * np.log10(error.mean((-2, -1)))
            np.testing.assert_allclose(result.metrics["psnr_db"][realisation, point], want, rtol=1e-3)
            want = -10 * np.log10((error * inside).sum((-2, -1)) / inside.sum((-2, -1)))
            np.testing.assert_allclose(result.metrics["psnr_inside_db"][realisation, point], want, rtol=1e-3)
            if realisation == 0:
                # Two programs may round a pixel at the border between two levels differently.
                assert np.abs(result.pictures[point] - received * 255).max() <= 0.51


def test_metrics_are_measured_in_a_box_of_their_own(small_scheme, small_pictures):
    images, loc = small_pictures
    elsewhere = np.tile(np.float32([24, 8, 12, 10]), (3, 2, 1))
    elsewhere[2, 1, 2:] = 0  # a view without the object
    result, same = run(small_scheme, small_pictures, metric_loc=elsewhere), run(small_scheme, small_pictures)
    # What is sent depends on loc alone.
    np.testing.assert_array_equal(result.mask, same.mask)
    np.testing.assert_array_equal(result.pictures, same.pictures)
    np.testing.assert_array_equal(result.metrics["mse"], same.metrics["mse"])
    np.testing.assert_array_equal(result.has_object, [[True, True], [True, True], [True, False]])
    inside = np.zeros((32, 32), bool)
    inside[3:13, 18:30] = True
    error = (result.pictures / 255.0 - images).astype(np.float64) ** 2
    want = -10 * np.log10(error[:, :2, :, inside].mean((-2, -1)))
    # The pictures are rounded to 8 bits.
    np.testing.assert_allclose(result.metrics["psnr_inside_db"][0, :, :2], want, atol=0.05)
    assert np.abs(same.metrics["psnr_inside_db"][0, :, :2] - want).min() > 0.05


def test_realisations_differ_and_schemes_share_them(small_scheme, small_pictures):
    first = run(small_scheme, small_pictures)
    again = run(small_scheme, small_pictures)
    other = run(dataclasses.replace(small_scheme, name="same by another name"), small_pictures)
    for result in (again, other):
        np.testing.assert_array_equal(first.metrics["psnr_db"], result.metrics["psnr_db"])
    assert np.all(first.metrics["psnr_db"][0] != first.metrics["psnr_db"][1])
    moved = run(small_scheme, small_pictures, seed=2)
    assert np.all(moved.metrics["psnr_db"][0, 0] != first.metrics["psnr_db"][0, 0])


def test_psnr_rises_with_snr_and_falls_with_csi_error(small_results):
    for result in small_results:
        psnr = result.metrics["psnr_inside_db"].mean(axis=(2, 3)).reshape(-1, 2, 3)
        assert np.all(np.diff(psnr, axis=2) > 0)
        assert np.all(psnr[:, 1, 2].mean() < psnr[:, 0, 2].mean())


def check_realised_snr(measured_db, nominal_db, link, blocks, slots):
    """Within 5 standard errors: fading blocks are sums of 16 exponentials, noise of 4 complex numbers a slot."""
    # At most twice the spread of H: the power pattern of the symbols is seen through it.
    fades = link.fading != "awgn" and link.convention != "esno"
    spread = np.sqrt((4 / 16 / blocks if fades else 0) + 1 / (slots * 4))
    measured = 10 ** ((measured_db - nominal_db) / 10)
    np.testing.assert_array_less(np.abs(measured - 1), 5 * spread)
    assert np.all(np.abs(measured / 4 - 1) > 5 * spread), "6 dB off would be seen"


def test_realised_snr_is_the_nominal_one(small_results):
    for result in small_results:
        check_realised_snr(result.realised_snr_db, result.snr_db, result.link, blocks=3 * 6, slots=3 * 6 * 16)


def test_realised_snr_over_all_antennas(small_scheme):
    images = np.random.default_rng(0).uniform(size=(20, 2, 32, 32, 3)).astype(np.float32)
    loc = np.tile(np.float32([16, 16, 16, 16]), (20, 2, 1))
    link = LinkConfig(fading="rayleigh", convention="received_total")
    result = run(small_scheme, (images, loc), link=link, max_pictures=1000)
    check_realised_snr(result.realised_snr_db, result.snr_db, link, blocks=2 * 40, slots=2 * 40 * 16)


def test_realised_snr_is_not_claimed_where_streams_are_silent(small_scheme):
    system = small_scheme.system
    assert measures_snr(system, LINK)
    for link in (LinkConfig(num_tx_ant=3, num_rx_ant=3), LinkConfig(block_length=4), LinkConfig(topology="joint")):
        assert not measures_snr(system, link)
    bernoulli = System(dataclasses.replace(system.config, masking="bernoulli"))
    assert not measures_snr(bernoulli, LINK)


def test_chunks_are_padded_and_put_together(small_scheme, small_pictures, monkeypatch):
    seen = []
    original = grid._run_chunk

    def watched(scheme, images, *rest):
        seen.append(images.shape[0])
        return original(scheme, images, *rest)

    monkeypatch.setattr(grid, "_run_chunk", watched)
    ticks = []
    result = run(small_scheme, small_pictures, max_pictures=4, progress=lambda: ticks.append(1))
    assert seen == [2, 2] and len(ticks) == 4
    assert result.metrics["psnr_db"].shape == (2, 6, 3, 2) and result.pictures.shape[1] == 3
    assert result.keep_rate_inside.shape == (3, 2) and result.ledger.slots.shape == (3,)
    whole = run(small_scheme, small_pictures)
    assert abs(result.metrics["psnr_db"].mean() - whole.metrics["psnr_db"].mean()) < 1.0


def test_points_compile_nothing_anew(small_scheme, small_pictures):
    jax.clear_caches()  # all programs of a process share one cache, from which the other tests' may push these
    run(small_scheme, small_pictures)
    before = dict(programs.TRACES)
    for other in (small_scheme, dataclasses.replace(small_scheme, mask_prob=0.4, epsilon=0.3)):
        run(other, small_pictures, snr_db=[3.0, 5.0, 7.0], csi_error_var=[0.01, 0.2])
    assert programs.TRACES == before
    run(small_scheme, small_pictures, snr_db=[3.0])
    assert programs.TRACES == before | {"send": before["send"] + 1}, "another number of points is another program"


def test_sharing_saves_channel_uses(small_scheme, small_pictures):
    images, loc = small_pictures
    same = np.repeat(images[:, :1], 2, axis=1)
    sharing = dataclasses.replace(small_scheme, epsilon=10.0)
    none, every = run(small_scheme, (same, loc)), run(sharing, (same, loc))
    assert np.all(every.public_share == 1) and np.all(none.public_share == 0)
    np.testing.assert_allclose(every.ledger.channel_uses(), none.ledger.channel_uses() / 2)
    assert np.all(every.ledger.side_information_bits > none.ledger.side_information_bits)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda s, p: run(s, p, snr_db=[]), "got 0, 2, 2 and"),
        (lambda s, p: run(s, p, num_realisations=0), "got 3, 2, 0 and"),
        (lambda s, p: run(s, (p[0][:0], p[1][:0])), r"\(0, 2, 32, 32, 3\)"),
        (lambda s, p: run(s, p, metric_loc=p[1][:2]), r"metric_loc \(2, 2, 4\).*loc \(3, 2, 4\)"),
        (lambda s, p: run(s, (p[0][:, :, :16], p[1])), r"SystemConfig.image_size.*\(3, 2, 16, 32, 3\)"),
        (lambda s, p: Scheme(name="a", system=s.system, params=s.params, mask_prob=1.0), "Scheme.mask_prob.*1.0"),
        (lambda s, p: Scheme(name="a", system=s.system, params=s.params, epsilon=-0.1), "Scheme.epsilon.*-0.1"),
    ],
)
def test_messages(small_scheme, small_pictures, call, words):
    with pytest.raises(ValueError, match=words):
        call(small_scheme, small_pictures)
