import dataclasses
import functools
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_runs import SMALL, small_params, smooth_pictures

from lvm_mtc import phy
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Received, Signal
from lvm_mtc.metrics import METRICS, pictures
from lvm_mtc.models import similarity
from lvm_mtc.models.tiles import boxes_in_tiles, cut_tiles, join_tiles
from lvm_mtc.schemes.deepjscc.scheme import DeepJscc, DeepJsccConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Estimate, Masking, Sent, Source
from lvm_mtc.schemes.simulate import Outcome, forward
from lvm_mtc.schemes.tiled import SIZE_BITS, tiled
from lvm_mtc.sweep.contender import Contender


@dataclasses.dataclass(frozen=True)
class Side:
    image_size: int = 4


@dataclasses.dataclass(frozen=True)
class Pixels:
    """Sends the pixels of every row as they are, two numbers a symbol."""

    config: Side = Side()
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[dict] = {}
    reports: ClassVar[tuple] = ()

    def frames(self):
        side = self.config.image_size
        return side, 3 * side // 2

    def encode(self, params, source, key, knobs):
        return source.data

    def modulate(self, params, encoded, point):
        symbols = phy.features_to_symbols(encoded.reshape(*encoded.shape[:3], -1))
        return Sent(Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool))), None, jnp.zeros(encoded.shape[0]))

    def decode(self, params, received, side, point):
        rows = phy.symbols_to_features(received.symbols)
        return Estimate(rows.reshape(*rows.shape[:-1], -1, 3))


def noise(shape, seed=0):
    real, imaginary = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    return real + 1j * imaginary


@pytest.mark.parametrize("size", [(10, 7), (3, 17)])
def test_a_codec_that_sends_pixels_gives_the_picture_and_its_own_noise(size, fast_compile):
    images = np.random.default_rng(1).uniform(size=(2, 3, *size, 3)).astype(np.float32)
    scheme, point = tiled(Pixels(), *size), OperatingPoint()
    rows, columns = -(-size[0] // 4), -(-size[1] // 4)
    assert scheme.grid == (rows, columns) and scheme.frames() == (rows * columns * 4, 6)
    encoded = scheme.encode(None, Source(images), jax.random.split(jax.random.key(0), 3), {})
    sent = scheme.modulate(None, encoded, point)
    assert sent.signal.private.symbols.shape == (2, 3, *scheme.frames())
    np.testing.assert_array_equal(sent.side_bits, 3 * SIZE_BITS)
    symbols = sent.signal.private.symbols
    received = Received(symbols + noise(symbols.shape), jnp.ones(symbols.shape))
    arrived = scheme.decode(None, received, sent.side, point).data
    # Tile t of the receiver's frames is the error of the tile's pixels, and no other's.
    error = phy.symbols_to_features(jnp.asarray(noise(symbols.shape))).reshape(2, 3, rows, columns, 4, 4, 3)
    error = np.moveaxis(np.asarray(error), 3, 4).reshape(2, 3, 4 * rows, 4 * columns, 3)
    np.testing.assert_allclose(arrived, images + error[:, :, : size[0], : size[1]], atol=1e-6)
    exact = scheme.decode(None, Received(symbols, received.no_eff), sent.side, point).data
    np.testing.assert_array_equal(exact, images)


def test_tiles_are_mirrored_as_numpy_mirrors_and_join_again():
    images = np.random.default_rng(2).uniform(size=(2, 1, 5, 9, 3)).astype(np.float32)
    tiles = np.asarray(cut_tiles(images, (4, 6)))
    whole = np.pad(images, [(0, 0), (0, 0), (0, 3), (0, 3), (0, 0)], mode="symmetric")
    np.testing.assert_array_equal(tiles[:, 3], whole[:, :, 4:, 6:])
    np.testing.assert_array_equal(join_tiles(jnp.asarray(tiles), (2, 2)), whole)


def test_boxes_keep_their_pixels_in_every_tile():
    loc = np.float32([[[7.0, 5.0, 6.0, 4.0], [1.0, 1.0, 2.0, 2.0]]])
    mapped = np.asarray(boxes_in_tiles(jnp.asarray(loc), (2, 3), (6, 5)))[0]
    for uav in range(2):
        pixels = np.zeros((12, 15), bool)
        for (row, column), (x, y, w, h) in zip(np.ndindex(2, 3), mapped[:, uav], strict=True):
            top, left = 6 * row + y - h / 2, 5 * column + x - w / 2
            pixels[round(top) : round(top + h), round(left) : round(left + w)] = True
        x, y, w, h = loc[0, uav].astype(int)
        want = np.zeros_like(pixels)
        want[y - h // 2 : y + h // 2, x - w // 2 : x + w // 2] = True
        np.testing.assert_array_equal(pixels, want)
    assert (mapped[5, 1, 2:].min() == 0) and (mapped[..., 2:] >= 0).all()


@pytest.fixture(scope="module")
def shared_tiles(fast_compile):
    """The token system with shared tokens on 40 x 70 pixels, and what it gives for each tile by itself."""
    codec = LvmMtc(SMALL).with_budget(10, scale_aware=False)
    params, point = small_params(), OperatingPoint(snr_db=8.0, knobs={"mask_prob": 0.25, "epsilon": 0.02})
    data = smooth_pictures(2, 2, size=70)[:, :, :40]
    source = Source(data, {"loc": np.tile(np.float32([30, 20, 20, 30]), (2, 2, 1))})
    scheme = tiled(codec, 40, 70)
    # One tile at a time: of several together single precision rounds some sums in another order.
    scheme = dataclasses.replace(scheme, config=dataclasses.replace(scheme.config, tiles_at_once=1))
    keys = jax.random.split(jax.random.key(3), 2)

    def both(decode):
        encoded = jax.jit(scheme.encode)(params, source, jax.random.clone(keys), point.knobs)
        sent = jax.jit(scheme.modulate)(params, encoded, point)
        symbols = sent.signal.private.symbols
        received = Received(symbols + 0.1 * noise(symbols.shape), jnp.full(symbols.shape, 0.02))
        return sent, received, jax.jit(scheme.decode)(params, received, sent.side, point).data

    @jax.jit
    def alone(tile, loc, keys, symbols, no_eff):
        encoded = codec.encode(params, Source(tile, {"loc": loc}), keys, point.knobs)
        sent = codec.modulate(params, encoded, point)
        return sent, codec.decode(params, Received(symbols, no_eff), sent.side, point).data

    sent, received, image = both(scheme.decode)
    frames = codec.frames()[0]
    tiles, boxes = cut_tiles(data, (32, 32)), boxes_in_tiles(source.hints["loc"], scheme.grid, (32, 32))
    of_tiles = jax.vmap(lambda key: jax.random.split(key, 12))(keys)
    each = {}
    for group, tile in np.ndindex(2, 6):
        own = slice(tile * frames, (tile + 1) * frames)
        heard = (a[group : group + 1, :, own] for a in received)
        each[group, tile] = alone(
            tiles[group, tile][None], boxes[group, tile][None], of_tiles[:, 6 * group + tile], *heard
        )
    return scheme, sent, image, each


@pytest.mark.slow
def test_every_tile_is_what_it_is_by_itself_bit_for_bit(shared_tiles):
    scheme, sent, image, each = shared_tiles
    frames = scheme.scheme.frames()[0]
    assert scheme.grid == (2, 3) and sent.signal.public.sent.any() and isinstance(scheme, Masking)
    assert scheme.patches() == (6 * 10, 6 * 16)
    for (group, tile), (alone, estimate) in each.items():
        own = slice(tile * frames, (tile + 1) * frames)
        (private, common), signal = (alone.signal.private, alone.signal.public), sent.signal
        np.testing.assert_array_equal(signal.private.symbols[group, :, own], private.symbols[0])
        np.testing.assert_array_equal(signal.private.sent[group, :, own], private.sent[0])
        np.testing.assert_array_equal(signal.public.symbols[group, own], common.symbols[0])
        np.testing.assert_array_equal(signal.public.sent[group, own], common.sent[0])
        row, column = 32 * (tile // 3), 32 * (tile % 3)
        here = np.asarray(image)[group, :, row : row + 32, column : column + 32]
        np.testing.assert_array_equal(here, estimate[0, :, : here.shape[1], : here.shape[2]])
    bits = [sum(alone.side_bits[0] for (group, _), (alone, _) in each.items() if group == g) for g in range(2)]
    np.testing.assert_array_equal(sent.side_bits, np.array(bits) + 2 * SIZE_BITS)
    rates = np.array([each[0, tile][0].tells["keep_rate_outside"][0] for tile in range(6)])
    np.testing.assert_allclose(sent.tells["keep_rate_outside"][0], np.nanmean(rates, axis=0), rtol=1e-6)
    # The box of 20 x 30 pixels around (30, 20) lies in the four tiles to the left.
    held = np.array([each[0, tile][0].tells["keep_rate_inside"][0] for tile in (0, 1, 3, 4)])
    np.testing.assert_allclose(sent.tells["keep_rate_inside"][0], held.mean(axis=0), rtol=1e-6)


@pytest.mark.slow
def test_smaller_pictures_are_measured_as_if_they_were_alone(fast_compile):
    """Beside a larger one: tiles that they do not reach are not sent, and no pixel beyond enters a metric."""
    sizes, images = [(40, 30), (25, 64)], []
    rng = np.random.default_rng(4)
    canvas = np.zeros((2, 1, 40, 64, 3), np.float32)
    for i, (height, width) in enumerate(sizes):
        images.append(rng.uniform(size=(1, 1, height, width, 3)).astype(np.float32))
        canvas[i] = np.pad(images[i][0], [(0, 0), (0, 40 - height), (0, 64 - width), (0, 0)], mode="symmetric")
    loc = np.float32([[[15, 20, 10, 20]], [[50, 12, 20, 26]]])
    extent = np.int32(sizes)[:, None]
    scheme, point = tiled(Pixels(Side(16)), 40, 64), OperatingPoint()
    link = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
    source = Source(canvas, {"loc": loc, "extent": extent})
    measures = [name for name in METRICS["pictures"] if not name.startswith(("ms_", "nmse", "evm"))]

    @jax.jit
    def send(key):
        out = forward(scheme, None, source, key, link, point)
        return out, {name: METRICS["pictures"][name](source, out) for name in measures}

    out, values = send(jax.random.key(0))
    # 3 x 2 and 2 x 4 tiles of 16 rows of 24 symbols.
    np.testing.assert_array_equal(out.ledger.channel_uses(), [6 * 16 * 24, 8 * 16 * 24])
    arrived = np.asarray(out.estimate.data)
    for i, (height, width) in enumerate(sizes):
        own = arrived[i : i + 1, :, :height, :width]
        alone = Source(images[i], {"loc": loc[i : i + 1]}), Outcome(Estimate(jnp.asarray(own)), *out[1:])
        wanted = jax.jit(lambda pair: {name: METRICS["pictures"][name](*pair)[0, 0] for name in measures})(alone)
        for name, want in wanted.items():
            np.testing.assert_allclose(values[name][i, 0], want, rtol=2e-5, err_msg=name)
        assert np.abs(own - images[i]).max() > 0.1
    with pytest.raises(ValueError, match="ms_ssim is for pictures of one size"):
        METRICS["pictures"]["ms_ssim"](source, out)


@pytest.mark.slow
def test_a_convolutional_codec_takes_the_picture_whole(fast_compile):
    codec = DeepJscc(DeepJsccConfig(image_size=8, num_symbols=2))
    params = codec.init(jax.random.key(0))
    scheme, point = tiled(codec, 13, 22), OperatingPoint()
    assert scheme.grid == (1, 1) and scheme.padding == (3, 2) and scheme.frames() == (4 * 6, 2)
    source = Source(np.random.default_rng(0).uniform(size=(1, 2, 13, 22, 3)).astype(np.float32))
    whole = Source(np.pad(source.data, [(0, 0), (0, 0), (0, 3), (0, 2), (0, 0)], mode="symmetric"))

    @functools.partial(jax.jit, static_argnums=0)
    def there_and_back(scheme, source, key):
        sent = scheme.modulate(params, scheme.encode(params, source, key, {}), point)
        symbols = sent.signal.private.symbols
        received = Received(symbols, jnp.full(symbols.shape, 0.1))
        return symbols, sent.side_bits, scheme.decode(params, received, sent.side, point).data

    key = jax.random.split(jax.random.key(1), 2)
    symbols, bits, image = there_and_back(scheme, source, key)
    want, its_bits, its_image = there_and_back(codec.with_size(16, 24), whole, jax.random.clone(key))
    np.testing.assert_allclose(symbols, want, atol=1e-5)
    np.testing.assert_array_equal(bits, its_bits + 2 * SIZE_BITS)
    assert image.shape == source.data.shape
    np.testing.assert_allclose(image, its_image[:, :, :13, :22], atol=1e-5)


def test_a_sweeps_key_tells_codecs_sizes_and_tiles_apart():
    codecs = [LvmMtc(SMALL), LvmMtc(SMALL).with_budget(8, scale_aware=False), DeepJscc(DeepJsccConfig(image_size=32))]
    schemes = [tiled(codec, height, 64) for codec in codecs for height in (64, 96)]
    schemes.append(tiled(codecs[-1], 96, 64, several=True))
    texts = {json.dumps(Contender(name="a", scheme=one, params={"a": np.zeros(1)}).described()) for one in schemes}
    assert len(texts) == len(schemes) and not any("source" in text for text in texts)


def test_what_has_no_tiles_is_refused():
    with pytest.raises(ValueError, match="scale_aware: P_r follows the object's share of the picture"):
        tiled(dataclasses.replace(LvmMtc(SMALL), scale_aware=True), 64, 64)
    with pytest.raises(ValueError, match="scheme 'tiled' has no size of pictures"):
        tiled(tiled(Pixels(), 8, 8), 16, 16)
    with pytest.raises(ValueError, match=r"images must be \[batch, num_uavs, 8, 8, 3\], got \(1, 1, 9, 8, 3\)"):
        tiled(Pixels(), 8, 8).encode(None, Source(np.zeros((1, 1, 9, 8, 3))), jax.random.key(0)[None], {})


def test_ssim_of_large_pictures_is_that_of_the_matrix(monkeypatch):
    rng = np.random.default_rng(5)
    images = rng.uniform(size=(40, 300, 3)).astype(np.float32)
    images_hat = np.clip(images + rng.normal(0, 0.1, images.shape), 0, 1).astype(np.float32)
    shifted = pictures.ssim(images, images_hat)
    monkeypatch.setattr(similarity, "_LARGEST_MATRIX", 300)
    np.testing.assert_allclose(shifted, pictures.ssim(images, images_hat), rtol=1e-6)
