import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data.detection_packing import GREY
from lvm_mtc.training.detector.batches import (
    AugmentationConfig,
    Placement,
    augment,
    change_colour,
    draw_placement,
    make_detector_batch_fn,
    place_boxes,
    place_picture,
)

pytestmark = pytest.mark.usefixtures("fast_compile")

SOURCE, SIZE, OBJECTS = 48, 32, 3
STILL = AugmentationConfig(zoom=(1, 1), stretch=1, brightness=0, contrast=0, saturation=0, mirror=0)


def painted(box, height=SOURCE, width=SOURCE):
    """A grey picture with a white rectangle."""
    x, y, w, h = box
    picture = np.full((SOURCE, SOURCE, 3), GREY, np.uint8)
    picture[int(y - h / 2) : int(y + h / 2), int(x - w / 2) : int(x + w / 2)] = 255
    return picture


def white_box(image):
    """The rectangle's box, edges where brightness is half way."""
    bright = np.asarray(image)[..., 0] > (GREY / 255 + 1) / 2
    rows, columns = np.flatnonzero(bright.any(1)), np.flatnonzero(bright.any(0))
    top, bottom, left, right = rows[0], rows[-1] + 1, columns[0], columns[-1] + 1
    return np.array([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top])


def placement(scale=(1.0, 1.0), offset=(0.0, 0.0), mirrored=False):
    return Placement(jnp.array(scale), jnp.array(offset), jnp.array(mirrored))


@pytest.mark.parametrize(
    "where",
    [
        placement(),
        placement((0.5, 0.75), (3, -4)),
        placement((1.5, 1.25), (-20, -10)),
        placement((1, 0.8), (-9, 2), True),
    ],
)
def test_boxes_follow_the_picture(where):
    box = np.array([22, 24, 20, 24], np.float32)
    image = place_picture(jnp.asarray(painted(box)), where, SIZE)
    moved, visible = place_boxes(jnp.asarray(box)[None], where, SIZE)
    np.testing.assert_allclose(moved[0], white_box(image), atol=1.01)
    shift = np.asarray(where.scale) * box[:2] + np.asarray(where.offset)
    low = np.clip(shift - where.scale * box[2:] / 2, 0, SIZE)
    high = np.clip(shift + where.scale * box[2:] / 2, 0, SIZE)
    np.testing.assert_allclose(visible[0], np.prod(high - low) / np.prod(where.scale * box[2:]), rtol=1e-5)
    assert np.abs(white_box(image) - box).max() > 2 or where.scale[0] == 1


def test_resampling_is_pillows_bilinear_filter():
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (SOURCE, SOURCE, 3), dtype=np.uint8)
    found = place_picture(jnp.asarray(picture), placement((SIZE / SOURCE,) * 2), SIZE)
    wanted = Image.fromarray(picture).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(np.asarray(found) * 255, np.asarray(wanted), atol=2)


def test_outside_the_picture_it_is_grey():
    white = jnp.full((SOURCE, SOURCE, 3), 255, jnp.uint8)
    image = np.asarray(place_picture(white, placement((0.25, 0.25), (10, 12)), SIZE))
    assert np.allclose(image[:11], GREY / 255) and np.allclose(image[:, 23:], GREY / 255)
    assert np.allclose(image[13:23, 11:21], 1)


def test_draws_stay_in_their_ranges_and_fill_them():
    config = AugmentationConfig(zoom=(0.5, 2.0), stretch=1.44)
    extent = jnp.array([30, 48])
    drawn = jax.jit(jax.vmap(lambda k: draw_placement(k, extent, SIZE, config)))(
        jax.random.split(jax.random.key(0), 2000)
    )
    scale, offset = np.asarray(drawn.scale, np.float64), np.asarray(drawn.offset)
    zoom, bend = np.sqrt(scale.prod(1)) * 48 / SIZE, np.sqrt(scale[:, 0] / scale[:, 1])
    assert 0.499 < zoom.min() < 0.51 and 1.96 < zoom.max() < 2.001
    assert 1 / 1.2001 < bend.min() < 0.84 and 1.19 < bend.max() < 1.2001
    # log-uniform: mean of log zoom is 0 within 5 standard errors
    assert abs(np.log(zoom).mean()) < 5 * np.log(4) / np.sqrt(12 * 2000)
    assert abs(drawn.mirrored.mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)
    room = SIZE - scale * np.array([48, 30])
    assert np.all(offset >= np.minimum(room, 0) - 1e-3) and np.all(offset <= np.maximum(room, 0) + 1e-3)


def test_without_ranges_a_picture_only_changes_its_size():
    boxes = jnp.array([[24, 20, 20, 16], [0, 0, 0, 0], [10, 10, 2, 2]], jnp.float32)
    labels, valid = jnp.array([1, 5, 2]), jnp.array([True, False, True])
    picture = jnp.asarray(painted(boxes[0]))
    out = augment(jax.random.key(0), picture, jnp.array([48, 48]), boxes, labels, valid, size=SIZE, augmentation=STILL)
    np.testing.assert_allclose(out.targets.boxes[0], boxes[0] * SIZE / SOURCE, rtol=1e-5)
    # The last one is too small now, the middle one was padding.
    assert out.targets.valid.tolist() == [True, False, False] and out.targets.labels.tolist() == [1, 0, 0]
    np.testing.assert_allclose(out.images, place_picture(picture, placement((SIZE / SOURCE,) * 2), SIZE))


def test_objects_that_are_mostly_cut_off_are_no_objects():
    config = AugmentationConfig(zoom=(1.5, 1.5), stretch=1, min_visible=0.5)
    boxes = jnp.array([[24, 24, 40, 40], [4, 4, 8, 8], [44, 44, 8, 8]], jnp.float32)
    given = jnp.zeros((SOURCE, SOURCE, 3), jnp.uint8), jnp.array([48, 48]), boxes, jnp.zeros(3, int), jnp.ones(3, bool)
    keys = jax.random.split(jax.random.key(1), 200)
    out = jax.jit(jax.vmap(lambda k: augment(k, *given, size=SIZE, augmentation=config)))(keys)
    boxes, valid = np.asarray(out.targets.boxes), np.asarray(out.targets.valid)
    low, high = boxes[..., :2] - boxes[..., 2:] / 2, boxes[..., :2] + boxes[..., 2:] / 2
    assert low.min() >= -1e-4 and high.max() <= SIZE + 1e-4
    # Half of each side visible has the probability 1/4, both sides 1/16: 5 standard errors about 200/16.
    assert valid[:, 0].all() and 0 < valid[:, 1].sum() < 30
    area = np.prod(boxes[..., 2:], -1)[valid & (np.arange(3) > 0)]
    assert area.min() >= 0.5 * 64 - 1e-2


def test_colour_changes_only_what_it_says():
    image = jnp.asarray(np.random.default_rng(0).uniform(0.3, 0.6, (SIZE, SIZE, 3)), jnp.float32)
    keys = jax.random.split(jax.random.key(0), 50)

    def changed(**ranges):
        quiet = dict(brightness=0, contrast=0, saturation=0)
        config = AugmentationConfig(**(quiet | ranges))
        return np.asarray(jax.vmap(lambda k: change_colour(k, image, config))(jax.random.clone(keys)))

    np.testing.assert_allclose(changed(), np.broadcast_to(image, (50, SIZE, SIZE, 3)), atol=1e-6)
    ratio = changed(brightness=0.4) / np.asarray(image)
    assert ratio.std((1, 2, 3)).max() < 1e-5 and 0.6 <= ratio.min() < 0.7 and 1.3 < ratio.max() <= 1.401
    np.testing.assert_allclose(changed(contrast=0.4).mean((1, 2, 3)), image.mean(), atol=1e-4)
    grey = np.broadcast_to(image.mean(-1), (50, SIZE, SIZE))
    np.testing.assert_allclose(changed(saturation=0.4).mean(-1), grey, atol=1e-5)
    assert changed(contrast=0.4).std() != pytest.approx(float(image.std()), rel=1e-3)


def test_a_batch_repeats_itself_with_its_key_only():
    rng = np.random.default_rng(0)
    data = {
        "pictures": rng.integers(0, 256, (5, SOURCE, SOURCE, 3), dtype=np.uint8),
        "extents": np.full((5, 2), SOURCE, np.int32),
        "boxes": np.tile(np.array([24, 24, 20, 20], np.float32), (5, OBJECTS, 1)),
        "labels": np.zeros((5, OBJECTS), np.int32),
        "valid": np.ones((5, OBJECTS), bool),
    }
    batch_fn = jax.jit(make_detector_batch_fn(SIZE, 4, AugmentationConfig()))
    first, again, other = (batch_fn(data, jax.random.key(seed)) for seed in (0, 0, 1))
    assert first.images.shape == (4, SIZE, SIZE, 3) and first.images.dtype == jnp.float32
    assert first.targets.boxes.shape == (4, OBJECTS, 4)
    assert float(first.images.min()) >= 0 and float(first.images.max()) <= 1
    jax.tree.map(np.testing.assert_array_equal, first, again)
    assert np.abs(np.asarray(first.images) - np.asarray(other.images)).max() > 0.1


@pytest.mark.parametrize(
    "field, value",
    [("zoom", (2.0, 1.0)), ("zoom", (0.0, 1.0)), ("stretch", 0.5), ("brightness", 1.0), ("contrast", -0.1),
     ("saturation", 2.0), ("mirror", 1.5), ("min_visible", 0.0), ("min_side", -1.0)],
)  # fmt: skip
def test_ranges_are_checked(field, value):
    with pytest.raises(ValueError, match=f"AugmentationConfig.{field} must be"):
        AugmentationConfig(**{field: value})
