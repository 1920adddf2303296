import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.training.detector.batches import DetectorBatch
from lvm_mtc.training.detector.loss import DetectorTargets
from lvm_mtc.training.detector.mosaic import make_mosaics, mosaic_batch_fn

pytestmark = pytest.mark.usefixtures("fast_compile")

COUNT, SIZE, OBJECTS = 5, 32, 3


def random_batch(seed=0, objects=OBJECTS):
    rng = np.random.default_rng(seed)
    boxes = np.concatenate([rng.uniform(8, 24, (COUNT, objects, 2)), rng.uniform(2, 14, (COUNT, objects, 2))], axis=-1)
    valid = rng.random((COUNT, objects)) < 0.6
    labels = rng.integers(0, 4, (COUNT, objects))
    targets = DetectorTargets(
        jnp.asarray(np.where(valid[..., None], boxes, 0), jnp.float32),
        jnp.asarray(np.where(valid, labels, 0), jnp.int32),
        jnp.asarray(valid),
    )
    return DetectorBatch(jnp.asarray(rng.random((COUNT, SIZE, SIZE, 3)), jnp.float32), targets)


def test_quarters_are_the_views_at_half_scale_with_their_objects():
    batch = random_batch()
    mosaic = jax.jit(make_mosaics, static_argnums=1)(batch, 2.0)
    images, half = np.asarray(batch.images, np.float64), SIZE // 2
    for i in range(COUNT):
        wanted = []
        for part in range(4):
            j, row, column = (i + part) % COUNT, part // 2, part % 2
            view = images[j]
            small = (view[::2, ::2] + view[1::2, ::2] + view[::2, 1::2] + view[1::2, 1::2]) / 4
            quarter = mosaic.images[i, row * half : (row + 1) * half, column * half : (column + 1) * half]
            np.testing.assert_allclose(quarter, small, rtol=1e-5)
            for box, label, valid in zip(*(np.asarray(leaf[j]) for leaf in batch.targets), strict=True):
                moved = box / 2 + [column * half, row * half, 0, 0]
                if valid and min(moved[2:]) >= 2.0:
                    wanted.append((*moved, label))
        found = [
            (*box, label)
            for box, label, valid in zip(*(np.asarray(leaf[i]) for leaf in mosaic.targets), strict=True)
            if valid
        ]
        assert mosaic.targets.valid.shape == (COUNT, 2 * OBJECTS)
        np.testing.assert_allclose(found, wanted[: 2 * OBJECTS], rtol=1e-6)
        assert not np.asarray(mosaic.targets.boxes[i])[~np.asarray(mosaic.targets.valid[i])].any()


def test_small_objects_of_a_mosaic_do_not_count():
    batch = random_batch()
    assert make_mosaics(batch, 0.0).targets.valid.sum() > make_mosaics(batch, 2.5).targets.valid.sum() > 0
    assert not make_mosaics(batch, 8.0).targets.valid.any()


@pytest.mark.slow
@pytest.mark.parametrize("probability", [0.0, 0.5, 1.0])
def test_that_share_of_the_views_becomes_mosaics(probability):
    batch = random_batch()
    mosaics = make_mosaics(batch, 2.0)
    draw = jax.jit(mosaic_batch_fn(lambda data, key: batch, probability, 2.0))
    count = 0
    for seed in range(40):
        mixed = draw({}, jax.random.key(seed))
        for i in range(COUNT):
            chosen = np.allclose(mixed.images[i], mosaics.images[i], atol=1e-6)
            assert chosen or np.allclose(mixed.images[i], batch.images[i], atol=1e-6)
            objects = mosaics.targets if chosen else batch.targets
            found, wanted = (part.boxes[i][part.valid[i]] for part in (mixed.targets, objects))
            np.testing.assert_allclose(found, wanted, rtol=1e-6)
            count += chosen
    total = 40 * COUNT
    assert abs(count - probability * total) <= 4 * (probability * (1 - probability) * total) ** 0.5
