"""The importance codec against its own equations in float64, what its receiver knows, and its networks' start."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.pca import fit_pca
from lvm_mtc.schemes.importance.losses import weighted_loss
from lvm_mtc.schemes.importance.scheme import FRAME, Importance, ImportanceConfig, from_frames, to_frames
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, IMPORTANCE_WEIGHTS, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.sweep.named import make_contenders

pytestmark = pytest.mark.usefixtures("fast_compile")

B, K, SIDE, PATCH, USES = 2, 2, 16, 4, 64
SCHEME = Importance(ImportanceConfig(image_size=SIDE, patch_size=PATCH, num_uses=USES))
WITH_NETWORK = Importance(dataclasses.replace(SCHEME.config, network="tiny"))
LINK = LinkConfig(fading="awgn")
LOC = jnp.float32([[[6, 6, 8, 8], [12, 4, 8, 6]], [[8, 8, 16, 16], [3, 13, 1, 1]]])
KEY = 7

run = jax.jit(forward, static_argnums=(0, 4))


def smooth(count, seed=0):
    """Pictures with a spectrum that falls off, float in [0, 1]."""
    noise = np.random.default_rng(seed).normal(size=(count, SIDE, SIDE, 3)).cumsum(-2).cumsum(-3)
    low, high = (f(noise, axis=(1, 2, 3), keepdims=True) for f in (np.min, np.max))
    return np.float32((noise - low) / (high - low))


PCA = fit_pca(np.asarray(patchify(smooth(60, seed=2), PATCH)).reshape(-1, 48))
IMAGES = jnp.asarray(smooth(B * K, seed=3).reshape(B, K, SIDE, SIDE, 3))
SOURCE = Source(IMAGES, {"loc": LOC})


def params_with_networks():
    return WITH_NETWORK.init(jax.random.key(1)) | SCHEME.from_pca(PCA)


def sent_of(scheme, params, snr_db, importance_db):
    point = OperatingPoint(snr_db=jnp.float32(snr_db), knobs={"importance_db": jnp.float32(importance_db)})
    return run(scheme, params, SOURCE, jax.random.key(KEY), LINK, point)


def known_to_the_receiver(rectangle, importance_db, snr_db):
    """Order, powers and noise from the rectangle of the object's patches, knob and SNR alone; float64."""
    top, bottom, left, right = rectangle
    inside = np.zeros((4, 4), bool)
    inside[top : bottom + 1, left : right + 1] = True
    variances = np.float64(np.float32(np.sqrt(np.maximum(PCA.variances, 1e-8)))) ** 2
    weighted = (variances[:, None] * np.where(inside.reshape(-1), 10 ** (importance_db / 10), 1.0)).reshape(-1)
    order = np.argsort(-weighted, kind="stable")[: 2 * USES]
    noise, low, high = 10 ** (-snr_db / 10) / 2, 0.0, 1e9
    for _ in range(200):
        level = (low + high) / 2
        spent = np.maximum(level * np.sqrt(weighted[order]) - noise, 0).sum()
        low, high = (level, high) if spent < USES else (low, level)
    return order, np.maximum(level * np.sqrt(weighted[order]) - noise, 0), np.sqrt(variances)


@pytest.mark.parametrize("snr_db, importance_db", [(3.0, 0.0), (3.0, 10.0), (15.0, 17.0)])
def test_it_is_weighted_water_filling_and_what_the_receiver_is_told_suffices(snr_db, importance_db):
    out = sent_of(SCHEME, SCHEME.from_pca(PCA), snr_db, importance_db)
    for b, k in np.ndindex(B, K):
        centres = np.arange(4) * PATCH + PATCH / 2
        x, y, w, h = np.float64(LOC[b, k])
        columns, rows = (np.flatnonzero(np.abs(centres - c) <= e / 2) for c, e in ((x, w), (y, h)))
        if not len(columns) or not len(rows):
            columns, rows = (np.atleast_1d(np.abs(centres - c).argmin()) for c in (x, y))
        rectangle = rows[0], rows[-1], columns[0], columns[-1]
        order, power, deviation = known_to_the_receiver(rectangle, importance_db, snr_db)
        patches = np.float64(patchify(IMAGES[b, k], PATCH))
        components = ((patches - PCA.mean) @ PCA.basis / deviation).T.reshape(-1)[order]
        features = np.sqrt(power) * components
        gain = np.float64(np.float16(np.sqrt(USES / np.sum(features**2))))
        pairs = (features[::2] + 1j * features[1::2]) * np.sqrt(USES / np.sum(features**2))
        sent = out.sent.signal.private.symbols[b, k]
        np.testing.assert_allclose(sent, pairs.reshape(FRAME, -1).T, rtol=2e-3, atol=2e-3)
        np.testing.assert_allclose(np.mean(np.abs(sent) ** 2), 1, rtol=1e-5)
        depth = np.bincount(order % 16, minlength=16).reshape(4, 4)
        lacks = np.kron(1 - depth / depth.max(), np.ones((PATCH, PATCH)))
        np.testing.assert_allclose(out.sent.tells["removed"][b, k], lacks, atol=1e-6)

        got = np.complex128(out.received.symbols[b, k]).T.reshape(-1)
        noise = np.repeat(np.float64(out.received.no_eff[b, k]).T.reshape(-1), 2) / 2
        heard = np.stack([got.real, got.imag], -1).reshape(-1) * np.sqrt(power) / (power + noise) / gain
        painted = np.zeros(48 * 16)
        painted[order] = heard
        painted = (painted.reshape(48, 16).T * deviation) @ PCA.basis.T + PCA.mean
        want = unpatchify(jnp.float32(painted), PATCH, (SIDE, SIDE))
        np.testing.assert_allclose(out.estimate.data[b, k], want, atol=2e-3)
    # Gain and rectangle: 16 bits, and first and last of four rows and columns.
    np.testing.assert_array_equal(out.ledger.side_information_bits, [K * (16 + 8)] * B)
    np.testing.assert_array_equal(out.ledger.channel_uses(), [K * USES] * B)


def test_weight_moves_quality_into_the_box_at_equal_uses():
    params, error = SCHEME.from_pca(PCA), {}
    inside = np.zeros((SIDE, SIDE), bool)
    inside[:8, 8:] = True  # the patches of LOC[0, 1]
    for weight in (0.0, 10.0, 20.0):
        out = sent_of(SCHEME, params, 12.0, weight)
        square = np.square(out.estimate.data - IMAGES)[0, 1].mean(-1)
        error[weight] = square[inside].mean(), square[~inside].mean(), float(out.sent.tells["share_inside"][0, 1])
    of_box, outside, share = zip(*error.values(), strict=True)
    assert of_box[0] > 1.5 * of_box[1] > of_box[2] and outside[0] < outside[1] < outside[2]
    assert 0.2 < share[0] < 0.3 < share[1] < share[2] <= 0.75


def test_frames_mix_strong_and_weak_symbols():
    symbols = jnp.arange(24.0).reshape(2, 12)
    frames = to_frames(symbols)
    np.testing.assert_array_equal(frames[0], [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]])
    np.testing.assert_array_equal(from_frames(frames), symbols)


@pytest.mark.slow
def test_networks_start_as_the_linear_codec_learn_both_and_leave_it():
    params = params_with_networks()
    plain = sent_of(SCHEME, {"linear": params["linear"]}, 5.0, 10.0)
    out = sent_of(WITH_NETWORK, params, 5.0, 10.0)
    np.testing.assert_allclose(out.estimate.data, plain.estimate.data, atol=1e-6)

    (stage,) = WITH_NETWORK.stages()
    assert SCHEME.stages() == () and stage.trainable("before/embed/kernel") and not stage.trainable("linear/basis")
    point = OperatingPoint(snr_db=jnp.float32(5.0), knobs={"importance_db": jnp.float32(10.0)})

    def loss(params):
        return weighted_loss(WITH_NETWORK, params, SOURCE, jax.random.key(KEY), LINK, point, {})

    (value, told), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(params)
    for name in ("before", "behind"):
        assert np.abs(gradient[name]["change"]["kernel"]).max() > 1e-6
    square = np.square(np.float64(out.estimate.data) - np.float64(IMAGES)).mean(-1)
    centre, logs = np.arange(SIDE) + 0.5, []
    for b, k in np.ndindex(B, K):
        x, y, w, h = np.float64(LOC[b, k])
        box = (np.abs(centre - y) <= h / 2)[:, None] & (np.abs(centre - x) <= w / 2)
        logs.append(np.log(np.average(square[b, k], weights=np.where(box, 10.0, 1.0)) + 1e-6))
    np.testing.assert_allclose(value, np.mean(logs), rtol=1e-5)
    np.testing.assert_allclose(told["psnr"], -10 * np.log10(square.mean((-2, -1)) + 1e-6).mean(), rtol=1e-5)


def test_the_shipped_file_sends_as_much_as_masking_does():
    names = ("object", "importance", "importance-uniform", "importance-pca")
    masking, *ours = make_contenders(names, *load_scheme(DEMO_WEIGHTS), importance_db=13.0)
    uses = {np.prod(contender.scheme.frames()) for contender in (masking, *ours)}
    assert uses == {2304}
    assert [contender.knobs["importance_db"] for contender in ours] == [13.0, 0.0, 13.0]
    assert ours[2].scheme.config.network is None and set(ours[2].params) == {"linear"}
    scheme, params = load_scheme(IMPORTANCE_WEIGHTS)
    basis, deviation = (np.float64(params["linear"][name]) for name in ("basis", "deviation"))
    np.testing.assert_allclose(basis.T @ basis, np.eye(192), atol=5e-3)
    assert (np.diff(deviation) <= 0).all() and deviation[-1] > 0
    with pytest.raises(ValueError, match="importance codec in .* is for 96 pixels, the weights for 32"):
        small = dataclasses.replace(load_scheme(DEMO_WEIGHTS)[0].config, image_size=32, num_kept=None)
        make_contenders(names[:2], dataclasses.replace(load_scheme(DEMO_WEIGHTS)[0], config=small), {})


def test_wrong_input_is_named():
    for fields, message in (
        (dict(patch_size=7), "ImportanceConfig.patch_size 7 does not divide ImportanceConfig.image_size 96"),
        (dict(num_uses=0), "ImportanceConfig.num_uses must be a whole number >= 1, got 0"),
        (dict(num_uses=30), "ImportanceConfig.num_uses must be a multiple of 4, at most 13824 .* got 30"),
        (dict(num_uses=13828), "ImportanceConfig.num_uses must be a multiple of 4, at most 13824 .* got 13828"),
        (dict(network="huge"), "ImportanceConfig.network .*huge"),
        (dict(image_size=48, network="small"), "ImportanceConfig.image_size 48 is no multiple of the 32 pixels"),
    ):
        with pytest.raises(ValueError, match=message):
            ImportanceConfig(**fields)
    params = SCHEME.from_pca(PCA)
    with pytest.raises(ValueError, match=r"images must be \[batch, num_uavs, 16, 16, 3\], got \(2, 2, 8, 16, 3\)"):
        SCHEME.encode(params, Source(IMAGES[:, :, :8], {"loc": LOC}), None, {"importance_db": 10.0})
    with pytest.raises(ValueError, match=r"loc must be \[batch, num_uavs, 4\] .* got None"):
        SCHEME.encode(params, Source(IMAGES), None, {"importance_db": 10.0})
