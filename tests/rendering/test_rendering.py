"""Rendering of Gaussians against a loop in NumPy, closed forms, finite differences and symmetries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.rendering import Camera, Gaussians, mirrored, render, stereo_camera, union
from lvm_mtc.rendering.compositing import first_places

SIZE, BACKGROUND = (16, 20), np.array([0.2, 0.1, 0.4])
NUM = 60


def turn(quaternion):
    """Rotates by q v q*, written out with products of quaternions: the columns are the turned axes."""

    def product(p, q):
        scalar = p[0] * q[0] - p[1:] @ q[1:]
        return np.concatenate([[scalar], p[0] * q[1:] + q[0] * p[1:] + np.cross(p[1:], q[1:])])

    q = np.float64(quaternion) / np.linalg.norm(quaternion)
    back = q * [1, -1, -1, -1]
    return np.stack([product(product(q, np.r_[0, axis]), back)[1:] for axis in np.eye(3)], axis=1)


def scene(seed=0, num=NUM):
    rng = np.random.default_rng(seed)
    mean = rng.uniform([-1.3, -1.3, 2], [1.3, 1.3, 4], (num, 3))
    quaternion, scale = rng.normal(size=(num, 4)), rng.uniform(0.04, 0.16, (num, 3))
    return Gaussians(mean, quaternion, scale, rng.uniform(0.3, 1, num), rng.uniform(size=(num, 3)))


def camera():
    rotation = turn([1, 0.05, -0.08, 0.1])
    return Camera(rotation, np.array([0.1, -0.05, 0.2]), np.array([18.0, 21.0]), np.array([9.0, 8.5]))


def loop(g, c, size, background, dilation=0.05):
    """Picture, depth and cover, pixel by pixel and Gaussian by Gaussian, in float64."""
    places = g.mean @ c.rotation.T + c.translation
    order = np.argsort(places[:, 2], kind="stable")
    picture, depth, cover = np.zeros((*size, 3)), np.zeros(size), np.zeros(size)
    splats = []
    for i in order:
        x, y, z = places[i]
        if z <= 0.1:
            continue
        axes = turn(g.quaternion[i])
        sigma = c.rotation @ axes @ np.diag(g.scale[i] ** 2) @ axes.T @ c.rotation.T
        f = c.focal_length
        jacobian = np.array([[f[0] / z, 0, -f[0] * x / z**2], [0, f[1] / z, -f[1] * y / z**2]])
        inverse = np.linalg.inv(jacobian @ sigma @ jacobian.T + dilation * np.eye(2))
        splats.append((i, f * [x / z, y / z] + c.centre, inverse, z))
    for row in range(size[0]):
        for column in range(size[1]):
            passed = 1.0
            for i, centre, inverse, z in splats:
                gap = np.array([column + 0.5, row + 0.5]) - centre
                alpha = min(0.99, g.opacity[i] * np.exp(-0.5 * gap @ inverse @ gap))
                if alpha >= 1 / 255:
                    picture[row, column] += passed * alpha * g.colour[i]
                    depth[row, column] += passed * alpha * z
                    passed *= 1 - alpha
            picture[row, column] += passed * background
            cover[row, column] = 1 - passed
    return picture, np.divide(depth, cover, out=np.zeros(size), where=cover > 0), cover


def test_both_renderers_equal_a_loop_and_each_other():
    want = loop(scene(), camera(), SIZE, BACKGROUND)
    for wide, bound in ((False, 1e-6), (True, 1e-12)):
        with jax.enable_x64(wide):
            g, c = jax.tree.map(jnp.asarray, (scene(), camera()))
            got = jax.jit(
                lambda g, c: [render(g, c, SIZE, background=BACKGROUND, renderer=r) for r in ("tiles", "dense")]
            )
            for seen in got(g, c):
                assert seen.overflow == 0
                np.testing.assert_allclose(seen.picture, want[0], rtol=0, atol=bound)
                np.testing.assert_allclose(seen.cover, want[2], rtol=0, atol=bound)
                np.testing.assert_allclose(seen.depth, want[1], rtol=0, atol=100 * bound)
    assert np.abs(loop(scene(), camera(), SIZE, BACKGROUND, 0.3)[0] - want[0]).max() > 1e-2


def test_gradients_are_those_of_finite_differences():
    with jax.enable_x64(True):
        start = jax.tree.map(jnp.asarray, (scene(1), camera(), BACKGROUND))

        def loss(parts, renderer):
            seen = render(parts[0], parts[1], SIZE, background=parts[2], renderer=renderer)
            return jnp.mean(seen.picture**2) + jnp.mean(jnp.sin(seen.depth))

        both = jax.jit(lambda parts: [jax.value_and_grad(loss)(parts, r) for r in ("tiles", "dense")])
        (value, slope), (value_dense, slope_dense) = both(start)
        assert abs(value - value_dense) < 1e-12
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-11), slope, slope_dense)

        leaves, tree = jax.tree.flatten(start)
        rng, step = np.random.default_rng(2), 1e-6
        for place in range(len(leaves)):
            way = rng.normal(size=leaves[place].shape)
            moved = [leaves[:place] + [leaves[place] + h * way] + leaves[place + 1 :] for h in (step, -step)]
            up, down = (both(tree.unflatten(m))[0][0] for m in moved)
            exact = float(np.vdot(jax.tree.leaves(slope)[place], way))
            assert float(up - down) / (2 * step) == pytest.approx(exact, rel=1e-5, abs=1e-9), place


def one(mean, scale, opacity, colour):
    rows = [np.float32(np.reshape(part, (-1, width))) for part, width in ((mean, 3), (scale, 3), (colour, 3))]
    quaternion = np.tile(np.float32([1, 0, 0, 0]), (len(rows[0]), 1))
    return jax.tree.map(jnp.asarray, Gaussians(rows[0], quaternion, rows[1], np.float32(opacity), rows[2]))


def test_a_gaussian_on_the_axis_is_a_gaussian_on_the_picture():
    size, f, z, s, opacity = (33, 33), 40.0, 2.5, 0.15, 0.8
    colour = np.array([0.9, 0.5, 0.1])
    seen = render(one([0, 0, z], [s, s, s], [opacity], colour), stereo_camera(0.0, size, f), size, background=0.3)
    y, x = np.mgrid[:33, :33] - 16.0
    alpha = opacity * np.exp(-(x**2 + y**2) / 2 / (f**2 * s**2 / z**2 + 0.05))
    alpha[alpha < 1 / 255] = 0
    want = alpha[..., None] * colour + (1 - alpha[..., None]) * 0.3
    np.testing.assert_allclose(seen.picture, want, rtol=0, atol=2e-6)
    np.testing.assert_allclose(seen.depth, np.where(alpha > 0, z, 0), rtol=1e-6)


def test_a_needle_is_as_thin_as_the_pixel_lets_it_be():
    size, f, z = (32, 32), 40.0, 2.0
    needle = one([0, 0, z], [500, 1e-3, 1e-3], [0.9], [1, 1, 1])
    eighth = jnp.array([[np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8)]], jnp.float32)
    seen = render(needle._replace(quaternion=eighth), stereo_camera(0.0, size, f), size).picture[..., 0]
    y, x = np.mgrid[:32, :32] - 15.5
    alpha = 0.9 * np.exp(-((x - y) ** 2) / 4 / (0.05 + (f * 1e-3 / z) ** 2))
    np.testing.assert_allclose(seen, np.where(alpha < 1 / 255, 0, alpha), atol=1e-3)


def test_of_two_opaque_ones_the_nearer_is_in_front_whatever_their_order():
    front, back = np.array([1.0, 0, 0]), np.array([0, 1.0, 0])
    for order in ([0, 1], [1, 0]):
        wide = one(
            np.array([[0, 0, 2.0], [0, 0, 3.0]])[order], np.full((2, 3), 5.0), [1, 1], np.stack([front, back])[order]
        )
        middle = render(wide, stereo_camera(0.0, (8, 8), 8.0), (8, 8), background=1.0).picture[4, 4]
        np.testing.assert_allclose(middle, 0.99 * front + 0.01 * 0.99 * back + 1e-4, atol=1e-6)


def test_what_must_leave_the_picture_as_it_is():
    g, c = scene(3), camera()
    shuffled = jax.tree.map(lambda a: a[np.random.default_rng(4).permutation(NUM)], g)
    turned, about = np.array([0.7, -0.3, 0.5, 0.2]), turn([0.7, -0.3, 0.5, 0.2])
    w, v = turned[0] / np.linalg.norm(turned), turned[1:] / np.linalg.norm(turned)
    own = g.quaternion
    scalar = w * own[:, :1] - own[:, 1:] @ v[:, None]
    moved = np.concatenate([scalar, w * own[:, 1:] + own[:, :1] * v + np.cross(v, own[:, 1:])], axis=1)
    rotated = g._replace(mean=g.mean @ about.T, quaternion=moved)
    variants = [
        (g, c),
        (shuffled, c),
        (rotated, c._replace(rotation=c.rotation @ about.T)),
        (g._replace(quaternion=-3 * g.quaternion), c),
        (g._replace(mean=2 * g.mean, scale=2 * g.scale), c._replace(translation=2 * c.translation)),
        (scene(5), c),
    ]
    stacked = jax.tree.map(lambda *a: jnp.asarray(np.stack(a), jnp.float32), *variants)
    seen = jax.jit(jax.vmap(lambda g, c: render(g, c, SIZE).picture))(*stacked)
    for picture in seen[1:5]:
        np.testing.assert_allclose(picture, seen[0], rtol=0, atol=1e-5)
    assert np.abs(seen[5] - seen[0]).max() > 0.1
    alone = render(*jax.tree.map(lambda a: a[1], stacked), SIZE).picture
    np.testing.assert_allclose(alone, seen[1], rtol=0, atol=1e-6)


def test_a_mirrored_scene_gives_a_mirrored_picture():
    g = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), scene(6))
    at = stereo_camera(0.0, SIZE, 18.0)
    both = jax.vmap(lambda g: render(g, at, SIZE).picture)(jax.tree.map(lambda *a: jnp.stack(a), g, mirrored(g)))
    np.testing.assert_allclose(both[1], both[0][:, ::-1], atol=1e-5)
    assert np.abs(both[1] - both[0]).max() > 0.1


def test_a_view_at_a_place_is_displaced_by_the_disparity():
    size, f, baseline, z = (16, 64), 50.0, 0.4, 2.0
    g = union(one([0, 0, z], [0.1] * 3, [0.9], [1, 1, 1]), one([0, 5, z], [0.1] * 3, [0.9], [1, 1, 1]))
    cameras = jax.vmap(lambda place: stereo_camera(place, size, f, baseline))(jnp.array([0.0, 0.5, 1.0]))
    seen = jax.vmap(lambda c: render(g, c, size).picture[..., 0])(cameras)
    columns = (seen.sum(1) * (np.arange(64) + 0.5)[None]).sum(1) / seen.sum((1, 2))
    np.testing.assert_allclose(columns - 32, [0, -f * baseline / z / 2, -f * baseline / z], atol=1e-3)


def test_what_is_behind_the_camera_is_not_there():
    g = jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), scene(7))
    g = g._replace(mean=g.mean.at[:4, 2].set(jnp.array([0.0, -2.0, 0.05, 0.1])))
    at = stereo_camera(0.0, SIZE, 18.0)
    rest = jax.tree.map(lambda a: a[4:], g)
    np.testing.assert_array_equal(render(g, at, SIZE).picture, render(rest, at, SIZE).picture)
    slopes = jax.grad(lambda g: render(g, at, SIZE).picture.sum())(g)
    for slope in slopes:
        assert np.isfinite(slope).all()
        np.testing.assert_array_equal(slope[:4], 0)
        assert np.abs(slope[4:]).max() > 0


def test_what_a_tile_has_no_room_for_is_counted_and_left_out():
    rng = np.random.default_rng(8)
    mean = np.stack([np.zeros(12), np.zeros(12), rng.uniform(2, 4, 12)], axis=1)
    wide = one(mean, np.full((12, 3), 20.0), rng.uniform(0.1, 0.3, 12), rng.uniform(size=(12, 3)))
    at, size = stereo_camera(0.0, (16, 24), 16.0), (16, 24)
    seen = render(wide, at, size, capacity=5)
    assert seen.overflow == 6 * (12 - 5)
    nearest = jax.tree.map(lambda a: a[np.argsort(mean[:, 2])[:5]], wide)
    np.testing.assert_allclose(seen.picture, render(nearest, at, size, renderer="dense").picture, atol=1e-6)
    assert render(wide, at, size, capacity=12).overflow == 0


def test_first_places():
    marks = np.random.default_rng(9).random((5, 30)) < [[0.0], [0.1], [0.3], [0.6], [1.0]]
    places, there = first_places(jnp.asarray(marks), 7)
    for row, place, real in zip(marks, places, there, strict=True):
        want = np.flatnonzero(row)[:7]
        assert real.sum() == len(want)
        np.testing.assert_array_equal(place[: len(want)], want)


def test_what_is_refused():
    g, at = one([0, 0, 2], [1] * 3, [1], [1] * 3), stereo_camera(0.0, (8, 8), 8.0)
    with pytest.raises(ValueError, match="renderer must be one of tiles, dense, got 'rays'"):
        render(g, at, (8, 8), renderer="rays")
    for name, value in (("tile", 0), ("capacity", -1)):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got {value}"):
            render(g, at, (8, 8), **{name: value})
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        render(g, at, (0, 8))
    with pytest.raises(ValueError, match=r"gaussians.mean must be \[n, 3\] .* got \(1, 1, 3\)"):
        render(jax.tree.map(lambda a: a[None], g), at, (8, 8))


@pytest.mark.parametrize("renderer", ["tiles", "dense"])
@pytest.mark.parametrize("number", [1, 1.5, np.float32(1.5), jnp.float32(1.5)])
def test_it_works_in_programs_with_strict_promotion(renderer, number):
    def total(gaussians, dilation):
        seen = stereo_camera(number, (16, 16), number, number)
        return render(gaussians, seen, (16, 16), renderer=renderer, background=number, dilation=dilation).picture.sum()

    own = jax.tree.map(jnp.float32, scene(num=3))
    with jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(jax.grad(lambda g: total(mirrored(union(g, g)), number)), own)
