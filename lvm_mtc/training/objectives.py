"""What steps 2 to 4 of the paper's training minimise (Eq. 27-29), and the batches that they see.

A recipe mixes scenarios (how many UAVs, how many kept patches, which link), so that one set of weights serves a whole
sweep; SNR, CSI error, P_r and epsilon are drawn anew for every example.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from lvm_mtc.system import Execution, LinkConfig, OperatingPoint, System, SystemConfig, uav_keys
from lvm_mtc.system.sharing import share_tokens

STAGES = ("token", "channel", "system")
IMAGE_LOSSES = ("mse", "log_mse")
_MSE_FLOOR = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scenario:
    """One kind of example in a training batch.

    Attributes:
        num_groups: Groups of pictures per step, one picture per UAV.
        num_uavs: UAVs in a group, K; their views are cut from one picture and overlap.
        num_kept: Kept patches; None: the system's own.
        link: Channel.
    """

    num_groups: int
    num_uavs: int = 1
    num_kept: int | None = None
    link: LinkConfig = LinkConfig()

    def __post_init__(self):
        for field in ("num_groups", "num_uavs"):
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"Scenario.{field} must be a whole number >= 1, got {value!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Ranges that examples are drawn from, and weights of the loss.

    Attributes:
        snr_db: Lowest and highest SNR, dB, uniform.
        csi_error_var: Lowest and highest CSI error variance, linear, uniform; half of the examples have the lowest.
        mask_prob: Lowest and highest P_r, uniform.
        epsilon: Lowest and highest threshold of the comparator, uniform; half of the examples share nothing.
        box_area: Lowest and highest area of a random box over that of the picture.
        image_loss: ``"mse"`` (the paper's) or ``"log_mse"``, the mean over pictures of log MSE, which is PSNR.
        token_weight: Weight of the token MSE in the last step (1 in Eq. 29).
        rate_weight: Weight of the channel uses per source sample, with the sharing decision's gradient; 0 in Eq. 29.
        view_jitter: Largest shift of a UAV's view against its group's, pixels.
    """

    snr_db: tuple[float, float] = (0.0, 20.0)
    csi_error_var: tuple[float, float] = (0.0, 0.1)
    mask_prob: tuple[float, float] = (0.1, 0.5)
    epsilon: tuple[float, float] = (0.0, 0.2)
    box_area: tuple[float, float] = (0.1, 0.4)
    image_loss: str = "mse"
    token_weight: float = 1.0
    rate_weight: float = 0.0
    view_jitter: int = 16

    def __post_init__(self):
        for field in ("snr_db", "csi_error_var", "mask_prob", "epsilon", "box_area"):
            value = getattr(self, field)
            if len(value) != 2 or not value[0] <= value[1]:
                raise ValueError(f"ObjectiveConfig.{field} must be (lowest, highest), got {value!r}")
        if not 0 < self.mask_prob[0] <= self.mask_prob[1] < 1:
            raise ValueError(f"ObjectiveConfig.mask_prob must lie in (0, 1), got {self.mask_prob!r}")
        if self.csi_error_var[0] < 0:
            raise ValueError(f"ObjectiveConfig.csi_error_var must be >= 0, got {self.csi_error_var!r}")
        if not 0 < self.box_area[0] <= self.box_area[1] <= 1:
            raise ValueError(f"ObjectiveConfig.box_area must lie in (0, 1], got {self.box_area!r}")
        if self.image_loss not in IMAGE_LOSSES:
            raise ValueError(
                f"ObjectiveConfig.image_loss {self.image_loss!r} is unknown; known: {', '.join(IMAGE_LOSSES)}"
            )


class Examples(NamedTuple):
    """A scenario's groups: ``images [groups, num_uavs, size, size, 3]``, ``loc [groups, num_uavs, 4]`` and points."""

    images: jax.Array
    loc: jax.Array
    point: OperatingPoint


def make_batch_fn(
    config: SystemConfig, scenarios: tuple[Scenario, ...], objective: ObjectiveConfig
) -> Callable[[Any, jax.Array], tuple[Examples, ...]]:
    """Builds ``batch_fn(data, key)``, which cuts and augments views on the device.

    ``data["pictures"]`` is ``[num_pictures, height, width, 3]`` uint8, at least ``config.image_size`` a side. Views
    are random crops, mirrored at random; boxes are drawn at random over the whole picture.
    """

    def batch_fn(data, key):
        keys = jax.random.split(key, len(scenarios))
        return tuple(
            _draw_examples(data["pictures"], k, s, config, objective) for k, s in zip(keys, scenarios, strict=True)
        )

    return batch_fn


def _draw_examples(pictures, key, scenario, config, objective) -> Examples:
    size, shape = config.image_size, (scenario.num_groups, scenario.num_uavs)
    room = (pictures.shape[1] - size, pictures.shape[2] - size)
    if min(room) < 0:
        raise ValueError(
            f"pictures of {pictures.shape[1]} x {pictures.shape[2]} pixels are smaller than "
            f"SystemConfig.image_size {size}"
        )
    k_index, k_corner, k_jitter, k_mirror, k_box, k_point = jax.random.split(key, 6)
    index = jax.random.randint(k_index, shape[:1], 0, pictures.shape[0])
    limit = jnp.array(room).reshape(1, 1, 2)
    corner = jax.random.randint(k_corner, (shape[0], 1, 2), 0, limit + 1)
    jitter = jax.random.randint(k_jitter, (*shape, 2), -objective.view_jitter, objective.view_jitter + 1)
    corner = jnp.clip(corner + jitter, 0, limit)

    def cut(i, corner):
        return jax.lax.dynamic_slice(pictures, (i, corner[0], corner[1], 0), (1, size, size, 3))[0]

    images = jax.vmap(lambda i, corners: jax.vmap(lambda c: cut(i, c))(corners))(index, corner)
    mirror = jax.random.bernoulli(k_mirror, shape=(shape[0], 1, 1, 1, 1))
    images = jnp.where(mirror, images[:, :, :, ::-1], images).astype(jnp.float32) / 255.0
    return Examples(
        images, _draw_boxes(k_box, shape, size, objective.box_area), _draw_points(k_point, shape[0], objective)
    )


def _draw_boxes(key, shape, size, box_area) -> jax.Array:
    k_area, k_aspect, k_place = jax.random.split(key, 3)
    side = size * jnp.sqrt(jax.random.uniform(k_area, shape, minval=box_area[0], maxval=box_area[1]))
    aspect = jnp.exp(jax.random.uniform(k_aspect, shape, minval=-0.4, maxval=0.4))
    extent = jnp.minimum(jnp.stack([side * aspect, side / aspect], -1), size)
    centre = extent / 2 + jax.random.uniform(k_place, (*shape, 2)) * (size - extent)
    return jnp.concatenate([centre, extent], -1)


def _draw_points(key, num_groups, objective) -> OperatingPoint:
    k_snr, k_csi, k_mask, k_epsilon, k_on = jax.random.split(key, 5)

    def uniform(key, limits):
        return jax.random.uniform(key, (num_groups,), minval=limits[0], maxval=limits[1])

    error_on, sharing_on = jax.random.bernoulli(k_on, shape=(2, num_groups))
    return OperatingPoint(
        snr_db=uniform(k_snr, objective.snr_db),
        csi_error_var=jnp.where(error_on, uniform(k_csi, objective.csi_error_var), objective.csi_error_var[0]),
        mask_prob=uniform(k_mask, objective.mask_prob),
        epsilon=jnp.where(sharing_on, uniform(k_epsilon, objective.epsilon), 0.0),
    )


def trainable(stage: str) -> Callable[[str], bool] | None:
    """Which parameters a training step learns, by name ``"a/b/c"``; None: all.

    Raises:
        ValueError: for an unknown stage.
    """
    if stage not in STAGES:
        raise ValueError(f"stage {stage!r} is unknown; known: {', '.join(STAGES)}")
    if stage == "system":
        return None
    roots = (
        ("encoder", "decoder")
        if stage == "token"
        else ("channel_encoder", "channel_decoder", "public_encoder", "allocation")
    )
    return lambda name: name.split("/")[0] in roots


def make_loss_fn(
    stage: str,
    config: SystemConfig,
    scenarios: tuple[Scenario, ...],
    objective: ObjectiveConfig,
    execution: Execution | None = None,
) -> Callable[[dict, tuple[Examples, ...], jax.Array], tuple[jax.Array, dict]]:
    """Builds ``loss_fn(params, batch, key) -> (loss, metrics)`` of a training step; scenarios weigh by their pictures.

    Args:
        stage: ``"token"`` (step 2: image loss, no channel, Eq. 27), ``"channel"`` (step 3: MSE between received tokens
            and what was sent, Eq. 28) or ``"system"`` (step 4: image loss plus MSE to each UAV's own tokens, Eq. 29).
        config: The system.
        scenarios: As in the batch.
        objective: Weights.
        execution: How the token codec is computed; None: the default way.
    """
    trainable(stage)
    configs = [dataclasses.replace(config, num_kept=s.num_kept or config.num_kept) for s in scenarios]
    systems = [System(c, execution or Execution()) for c in configs]
    pictures = [s.num_groups * s.num_uavs for s in scenarios]

    def loss_fn(params, batch, key):
        terms = [
            _stage_loss(stage, system, params, examples, k, scenario.link, objective)
            for system, examples, k, scenario in zip(
                systems, batch, jax.random.split(key, len(scenarios)), scenarios, strict=True
            )
        ]
        loss = sum(n * loss for n, (loss, _) in zip(pictures, terms, strict=True)) / sum(pictures)
        metrics = {f"{name}_{i}": value for i, (_, metrics) in enumerate(terms) for name, value in metrics.items()}
        return loss, metrics

    return loss_fn


def _stage_loss(stage, system, params, examples, key, link, objective):
    images, loc, point = examples
    if stage == "token":
        encoded = system.encode(params, images, loc, uav_keys(key, images.shape[1]), point)
        loss, psnr = image_loss(system.decode(params, encoded.tokens, encoded.kept), images, objective.image_loss)
        return loss, {"psnr": psnr}
    if stage == "channel":
        return _channel_loss(system, params, examples, key, link)
    out = system.forward(params, images, loc, key, link, point)
    loss, psnr = image_loss(out.images_hat, images, objective.image_loss)
    token_mse = masked_mse(out.tokens_received, jax.lax.stop_gradient(out.tokens_own), out.valid)
    total = loss + objective.token_weight * token_mse
    if objective.rate_weight:
        total = total + objective.rate_weight * _soft_rate(out, images.size)
    return total, {"psnr": psnr, "token_mse": token_mse, "shared": out.public.mean()}


def _channel_loss(system, params, examples, key, link):
    images, loc, point = examples
    keys = uav_keys(key, images.shape[1])
    encoded = jax.lax.stop_gradient(system.encode(params, images, loc, keys, point))
    sharing = system.share(encoded, point)
    received, _, _ = system.receive(params, system.send(params, encoded, sharing, point), keys, link, point)
    aligned = jnp.take_along_axis(encoded.tokens, sharing.order[..., None], axis=2)
    target = share_tokens(aligned, sharing, sharing.public)
    loss = masked_mse(received, target, jnp.take_along_axis(encoded.kept.valid, sharing.order, axis=2))
    return loss, {"token_mse": loss, "shared": sharing.public.mean()}


def _soft_rate(out, source_samples: int) -> jax.Array:
    """Channel uses per source sample, with the comparator's gradient: m UAVs that share a slot save m - 1 tokens."""
    num_uavs, num_tokens, num_symbols = out.sent.own.shape[1:]
    if out.sent.members is None:
        saved = out.sent.weight.sum() * (num_uavs - 1) * num_symbols
    else:
        saved = (out.sent.weight * (out.sent.members.sum(axis=1) - 1)).sum() * num_symbols
    return (out.valid.sum() * num_symbols - saved) / source_samples


def image_loss(images_hat: jax.Array, images: jax.Array, kind: str) -> tuple[jax.Array, jax.Array]:
    """Loss and mean PSNR (dB, mean over pictures, not clipped) of ``[..., height, width, 3]`` pictures in [0, 1].

    ``"mse"`` is the mean squared error; ``"log_mse"`` the mean over pictures of its natural logarithm.
    """
    mse = jnp.mean((images_hat - images) ** 2, axis=(-3, -2, -1))
    log_mse = jnp.log(mse + _MSE_FLOOR)
    return (mse.mean() if kind == "mse" else log_mse.mean()), jax.lax.stop_gradient(
        -10 / jnp.log(10.0) * log_mse.mean()
    )


def masked_mse(estimate: jax.Array, target: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean squared error per element of ``[..., num_tokens, width]`` over the tokens that are ``valid``."""
    weight = valid[..., None]
    return jnp.sum(weight * (estimate - target) ** 2) / (jnp.maximum(weight.sum(), 1) * estimate.shape[-1])
