"""Codecs for whole pictures and the token system in one sweep: one channel, rows, programs, weights files."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lvm_mtc.cli.sweep_config import SweepConfig, make_spec
from lvm_mtc.config import to_dict
from lvm_mtc.link import LinkConfig, OperatingPoint, draw, uav_keys
from lvm_mtc.metrics import pictures as metrics
from lvm_mtc.models.weights import WeightsError, save_weights
from lvm_mtc.report.viewer_pictures import viewer_pictures
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.deepjscc.scheme import DeepJscc, DeepJsccConfig
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.simulate import encode, transmit
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.named import make_contenders, plain_contender
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import run_sweep, sample_points
from lvm_mtc.sweep.stopping import StoppingRule

CODEC = DeepJscc(DeepJsccConfig(image_size=32, num_symbols=4))
LINKS = LinkConfig(), LinkConfig.witt_rayleigh()
UNITS = 3
pytestmark = pytest.mark.usefixtures("fast_compile")


@pytest.fixture(scope="module")
def codec_scheme():
    """Random parameters through which the channel is well seen; initial ones paint the same whatever arrives."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(lambda: CODEC.init(jax.random.key(0)))
    params = jax.tree.map(
        lambda a: np.float32(rng.normal(scale=2 * np.prod(a.shape[:-1] or (36,)) ** -0.5, size=a.shape)), shapes
    )
    return plain_contender(CODEC, params)


@pytest.fixture(scope="module")
def spec(fast_compile, small_scheme, codec_scheme, small_pictures):
    return SweepSpec(
        schemes=(small_scheme, codec_scheme),
        links=LINKS,
        sources={2: picture_source(*small_pictures)},
        snr_db=(0.0, 15.0),
        knobs={"mask_prob": (0.25, 0.4)},
        stopping=StoppingRule(target_half_width=None, max_units=UNITS),
        metrics=("psnr_db", "mse", "nmse_tokens", "nmse_symbols"),
        pictures_per_step=4,
    )


@pytest.fixture(scope="module")
def stored(spec, traced, tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "sweep.sqlite"
    with ResultStore(path) as store:
        points = store.read(run_sweep(spec, store))
    return path, points, traced()


def at(points, **coordinates):
    (found,) = (p for p in points if all(p.coordinates[name] == value for name, value in coordinates.items()))
    return found


@pytest.mark.slow
def test_programs_are_those_that_were_promised(spec, stored):
    assert stored[2] == {"encode": 2, "draw": 2, "send": 2}


@pytest.mark.slow
def test_rows_of_a_codec_hold_what_it_has_and_nothing_else(stored):
    points = stored[1]
    # Two P_r of the token system, none of the codec; two channels, two SNRs.
    assert len(points) == 3 * 2 * 2
    for link in LINKS:
        point = at(points, scheme="deepjscc", channel=link.fading, snr_db=15.0)
        assert not {"keep_rate_inside", "keep_rate_outside", "nmse_tokens"} & set(point.metrics)
        assert point.metrics["public_share"].mean == 0
        assert point.ledger["kept_patches"] is None and point.ledger["num_patches"] is None
        # 64 positions of 4 symbols; 16 bits tell the picture's gain.
        assert point.ledger["channel_uses"] == point.ledger["private_uses"] == 256
        assert point.ledger["slots"] == 256 / link.num_tx_ant
        assert point.ledger["side_information_bits"] == 16
        np.testing.assert_allclose(point.metrics["cbr"].mean, 1 / 12, rtol=1e-6)
        np.testing.assert_allclose(point.metrics["cbr_with_side_information"].mean, (256 + 16) / 3072, rtol=1e-6)
    tokens = at(points, scheme="object first", channel="rayleigh", snr_db=15.0, mask_prob=0.4)
    assert {"keep_rate_inside", "nmse_tokens"} <= set(tokens.metrics) and tokens.ledger["kept_patches"] == 8
    # One H a picture: the SNR is measured; of symbols the error without an equaliser has its closed form.
    assert abs(at(points, scheme="deepjscc", channel="rayleigh", snr_db=15.0).realised_snr_db - 15.0) < 0.5
    point = at(points, scheme="deepjscc", channel="rayleigh_magnitude", snr_db=15.0)
    assert point.realised_snr_db is None
    np.testing.assert_allclose(point.metrics["nmse_symbols"].mean, 2 - np.sqrt(np.pi) + 10**-1.5, rtol=0.1)


def direct_psnr(contender, link, snr_db):
    """A realisation without the engine, from the rule for keys."""
    scheme = contender.scheme

    @jax.jit
    def run(params, images, loc, mask_key, channel_key, unit):
        keys = uav_keys(jax.random.fold_in(channel_key, unit), 2)
        encoded = encode(scheme, params, picture_source(images, loc), mask_key, {})
        own = draw(link, keys, 2, *scheme.frames())
        out = transmit(scheme, params, encoded, (link,), (own,), OperatingPoint(snr_db=snr_db))
        return metrics.psnr(images, jnp.clip(out.estimate.data, 0, 1)), own.h

    def direct(images, loc, step, unit):
        mask_key, channel_key = jax.random.split(jax.random.fold_in(jax.random.key(0), step))
        return jax.device_get(run(contender.params, images, loc, mask_key, channel_key, unit))

    return direct


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS, ids=["rayleigh", "witt"])
def test_both_kinds_send_over_the_same_channel_as_alone(spec, small_pictures, link):
    images, loc = (a[np.array([2, 2])] for a in small_pictures)  # the second step, with its padding
    chosen = [
        c for c in spec.coordinates() if c["channel"] == link.fading and c["snr_db"] == 15.0 and c["mask_prob"] == 0.25
    ]
    found, channels = sample_points(spec, chosen), []
    for scheme, samples in zip(spec.schemes, found, strict=True):
        direct = direct_psnr(scheme, link, 15.0)
        psnr, h = direct(images, loc, 1, 1)
        np.testing.assert_allclose(samples.metrics["psnr_db"][1, 2], psnr[0], rtol=1e-5)
        assert np.abs(samples.metrics["psnr_db"][1, 2] - direct(images, loc, 1, 0)[0][0]).max() > 0.005
        channels.append(h)
    if link.block_length is None:  # one channel a picture, whatever is sent over it
        np.testing.assert_array_equal(*channels)


@pytest.mark.slow
def test_a_point_alone_has_the_same_bits(spec, stored):
    alone = dataclasses.replace(spec, snr_db=(15.0,))
    chosen = [c for c in alone.coordinates() if c["scheme"] == "deepjscc" and c["channel"] == "rayleigh_magnitude"]
    (samples,) = sample_points(alone, chosen)
    of_units = np.float64(samples.metrics["psnr_db"]).reshape(UNITS, -1).mean(axis=-1)
    assert of_units.mean() == at(stored[1], **chosen[0]).metrics["psnr_db"].mean


@pytest.mark.slow
def test_the_viewer_shows_that_nothing_is_left_out(spec, stored):
    with ResultStore(stored[0]) as store:
        assert viewer_pictures(spec, store) > 0
        pictures = store.pictures(store.register(spec.config()))
    (original,) = (one.data for one in pictures if one.name == "original" and one.uav == 1)
    kept = {one.coordinates["scheme"]: one.data for one in pictures if one.name == "kept" and one.uav == 1}
    assert kept["deepjscc"] == original != kept["object first"]


def weights_file(folder, codec_scheme, **metadata):
    path = folder / "codec.npz"
    save_weights(path, codec_scheme.params, {"picture_codec": to_dict(CODEC.config)} | metadata)
    return path


def test_weights_of_a_codec_go_to_a_file_and_back(tmp_path, codec_scheme):
    scheme, params = load_scheme(weights_file(tmp_path, codec_scheme))
    assert scheme == CODEC
    for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(codec_scheme.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-6)
    config = to_dict(CODEC.config)
    assert load_scheme(weights_file(tmp_path, codec_scheme, scheme="deepjscc", config=config, picture_codec=None))
    other = to_dict(dataclasses.replace(CODEC.config, num_symbols=8))
    for metadata, message in (
        ({"picture_codec": None}, r"which scheme its weights are for \(metadata 'scheme' and 'config'\)"),
        ({"system": {}}, "which scheme its weights are for"),
        ({"picture_codec": None, "config": config}, "which scheme its weights are for"),
        ({"picture_codec": other}, "codec.npz"),
        ({"picture_codec": {"codec": "vae"}}, "scheme 'vae' is not known"),
        ({"picture_codec": {"codec": "deepjscc_2"}}, "DeepJsccConfig.codec 'deepjscc_2' is unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            load_scheme(weights_file(tmp_path, codec_scheme, **metadata))
    assert issubclass(WeightsError, ValueError)


def test_the_command_sends_a_folder_of_small_pictures(tmp_path, codec_scheme):
    path, folder = weights_file(tmp_path, codec_scheme), tmp_path / "pictures"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    for number, picture in enumerate(pixels):
        Image.fromarray(picture).save(folder / f"{number}.png")
    config = SweepConfig(weights=str(path), images=str(folder), views="folder", num_uavs=(1,), loc="centre")
    spec = make_spec(config)
    assert [(contender.name, contender.scheme) for contender in spec.schemes] == [("deepjscc", CODEC)]
    np.testing.assert_array_equal(np.round(spec.sources[1].data[:, 0] * 255), pixels)
    with pytest.raises(ValueError, match="'object', 'all' needs weights of a scheme that masks .*'deepjscc'"):
        make_spec(dataclasses.replace(config, schemes=("object", "all")))
    with pytest.raises(ValueError, match="SweepConfig.mask_prob: none of the schemes deepjscc has it"):
        make_spec(dataclasses.replace(config, mask_prob=(0.2,)))


def test_what_a_scheme_lacks_is_named(codec_scheme):
    with pytest.raises(ValueError, match="Contender.swept names 'epsilon', no knob of DeepJscc; it has: none"):
        Contender(name="codec", scheme=CODEC, params=codec_scheme.params, swept=("epsilon",))
    with pytest.raises(ValueError, match="DeepJscc has no knob epsilon; it has: none"):
        Contender(name="codec", scheme=CODEC, params=codec_scheme.params, knobs={"epsilon": 0.1})
    with pytest.raises(ValueError, match="scheme 'all' needs weights of a scheme that masks patches"):
        make_contenders(["all"], CODEC, codec_scheme.params)
