"""A scene of Gaussians fitted to pictures with known cameras by gradients through the renderer."""

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from PIL import Image

from lvm_mtc.rendering import Camera, Gaussians, render

SIDE, VIEWS, NUM, REACH, GRID = 50, 40, 4000, 1.3, 64
STEPS, SAVE_EVERY = 300, 50
TILE, CAPACITY = 4, 768
RATES = {"mean": 0.1, "quaternion": 1.0, "log_scale": 1.0, "logit": 3.0, "colour": 3.0}
"""Learning rates of the parameters over that of the schedule, 5e-3 at first and a tenth of it at the end."""


class Views(NamedTuple):
    """Pictures over white ``[n, SIDE, SIDE, 3]``, shares of the object ``[n, SIDE, SIDE]``, and cameras of n."""

    pictures: np.ndarray
    alpha: np.ndarray
    cameras: Camera


def load_views(folder: Path, split: str, num: int | None = None) -> Views:
    """Views of NeRF's synthetic scenes, means over 2 x 2 pixels; ``num`` of them, evenly, or all."""
    told = json.loads((folder / f"transforms_{split}.json").read_text())
    frames = told["frames"] if num is None else [told["frames"][i * len(told["frames"]) // num] for i in range(num)]
    pixels = np.stack([np.asarray(Image.open(folder / split / frame["file"]), np.float32) / 255 for frame in frames])
    alpha = pixels[..., 3:]
    both = np.concatenate([pixels[..., :3] * alpha + 1 - alpha, alpha], axis=-1)
    both = both.reshape(len(frames), SIDE, both.shape[1] // SIDE, SIDE, -1, 4).mean((2, 4))
    pose = np.float32([frame["transform_matrix"] for frame in frames])
    # OpenGL's cameras have y up and look along -z.
    rotation = np.swapaxes(pose[:, :3, :3] * np.float32([1, -1, -1]), 1, 2)
    translation = -np.einsum("nij,nj->ni", rotation, pose[:, :3, 3])
    focal_length = np.full((len(frames), 2), SIDE / 2 / math.tan(told["camera_angle_x"] / 2), np.float32)
    centre = np.full_like(focal_length, SIDE / 2)
    return Views(both[..., :3], both[..., 3], Camera(rotation, translation, focal_length, centre))


def hull(views: Views) -> np.ndarray:
    """Centres of the cells of a grid that every view sees on the object, ``[m, 3]``."""
    side = (np.arange(GRID) + 0.5) / GRID * 2 * REACH - REACH
    cells = np.stack(np.meshgrid(side, side, side), axis=-1).reshape(-1, 3)
    inside = np.ones(len(cells), bool)
    for alpha, rotation, translation, f, c in zip(views.alpha, *views.cameras, strict=True):
        x, y, z = (cells @ rotation.T + translation).T
        column, row = (np.int64(np.clip(p, 0, SIDE - 1)) for p in (f[0] * x / z + c[0], f[1] * y / z + c[1]))
        inside &= alpha[row, column] > 0.1
    return cells[inside]


def start(views: Views, rng: np.random.Generator) -> dict[str, jax.Array]:
    """Grey balls drawn from the visual hull."""
    cells = hull(views)
    width = 2 * REACH / GRID
    mean = cells[rng.choice(len(cells), NUM, replace=len(cells) < NUM)] + rng.uniform(-width / 2, width / 2, (NUM, 3))
    parts = {
        "mean": mean,
        "quaternion": np.tile([1.0, 0, 0, 0], (NUM, 1)),
        "log_scale": np.full((NUM, 3), math.log(0.7 * width)),
        "logit": np.full(NUM, -1.0),
        "colour": np.full((NUM, 3), 0.5),
    }
    return {name: jnp.asarray(part, jnp.float32) for name, part in parts.items()}


def gaussians_of(params: dict[str, jax.Array]) -> Gaussians:
    """Of free parameters."""
    scale, opacity = jnp.exp(params["log_scale"]), jax.nn.sigmoid(params["logit"])
    return Gaussians(params["mean"], params["quaternion"], scale, opacity, params["colour"])


@jax.jit
def show(params: dict[str, jax.Array], camera: Camera) -> tuple[jax.Array, jax.Array]:
    """The picture over white, and the overflow."""
    seen = render(gaussians_of(params), camera, (SIDE, SIDE), background=1.0, tile=TILE, capacity=CAPACITY)
    return seen.picture, seen.overflow


def fit(folder: Path, state: Path, steps: int = STEPS) -> dict[str, Any]:
    """Fits the training views by their mean absolute error, a random view a step, and measures both splits.

    Args:
        folder: Holds ``transforms_train.json``, ``transforms_test.json`` and their pictures.
        state: File that a fit which was stopped goes on from.
        steps: Of Adam.
    """
    train, test = load_views(folder, "train", VIEWS), load_views(folder, "test")
    schedule = optax.cosine_decay_schedule(5e-3, steps, alpha=0.1)
    tx = optax.adam(schedule)

    @jax.jit
    def step(params, memory, camera, picture):
        def loss(params):
            shown, overflow = show(params, camera)
            return jnp.abs(shown - picture).mean(), overflow

        (_, overflow), slope = jax.value_and_grad(loss, has_aux=True)(params)
        change, memory = tx.update(slope, memory)
        return {name: params[name] + RATES[name] * change[name] for name in params}, memory, overflow

    params = start(train, np.random.default_rng(0))
    held = (params, tx.init(params), jnp.int32(0), jnp.int32(0))
    if state.exists():
        with np.load(state) as file:
            held = jax.tree.unflatten(jax.tree.structure(held), [jnp.asarray(file[name]) for name in file.files])
    params, memory, first, lost = held
    order = np.random.default_rng(1).integers(VIEWS, size=steps)
    for i in range(int(first), steps):
        camera = jax.tree.map(lambda a, i=i: a[order[i]], train.cameras)
        params, memory, overflow = step(params, memory, camera, train.pictures[order[i]])
        lost = jnp.maximum(lost, overflow)
        if (i + 1) % SAVE_EVERY == 0 or i + 1 == steps:
            leaves = jax.tree.leaves((params, memory, jnp.int32(i + 1), lost))
            with open(state, "wb") as stream:
                np.savez(stream, *leaves)
    report = {"gaussians": NUM, "side": SIDE, "views": VIEWS, "steps": steps, "largest_overflow": int(lost)}
    for name, views in (("train", train), ("test", test)):
        shown = [show(params, jax.tree.map(lambda a, i=i: a[i], views.cameras)) for i in range(len(views.pictures))]
        errors = [np.mean((np.clip(p, 0, 1) - q) ** 2) for (p, _), q in zip(shown, views.pictures, strict=True)]
        values = 10 * np.log10(1 / np.array(errors))
        blank = 10 * np.log10(1 / np.mean((1 - views.pictures) ** 2, axis=(1, 2, 3)))
        numbers = {"psnr_db": values.mean(), "worst_psnr_db": values.min(), "white_psnr_db": blank.mean()}
        report[name] = {k: float(v) for k, v in numbers.items()} | {"overflow": sum(int(lost) for _, lost in shown)}
    return report
