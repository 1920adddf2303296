"""Recipes for whole-picture codecs (DeepJSCC, WITT): trained end to end, with the batches of the token system."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import jax

from lvm_mtc.config import to_dict
from lvm_mtc.models.weights import load_weights, save_weights
from lvm_mtc.system import PictureCodecConfig, PictureCodecSystem
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.loop import train
from lvm_mtc.training.mesh import whole_on_host
from lvm_mtc.training.objectives import Examples, ObjectiveConfig, Scenario, image_loss, make_batch_fn
from lvm_mtc.training.pictures import load_training_pictures
from lvm_mtc.training.processes import is_first, meet
from lvm_mtc.training.recipe import check_scenarios, provenance
from lvm_mtc.training.state import averaged_params

STAGE = "system"
"""A codec for whole pictures has the last stage of the token system's training and no other."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PictureRecipe:
    """Everything that a codec's weights depend on, but the pictures.

    Attributes:
        picture_codec: The codec.
        scenarios: What a batch is made of; ``num_kept`` is None, for nothing is left out.
        end_to_end: Numbers of the training; ``batch_size`` is the number of pictures of all scenarios together.
        objective: Ranges of SNR and CSI error, and the loss; what else it holds is not used.
    """

    picture_codec: PictureCodecConfig
    scenarios: tuple[Scenario, ...]
    end_to_end: TrainConfig
    objective: ObjectiveConfig = ObjectiveConfig()

    def __post_init__(self):
        check_scenarios("PictureRecipe", "end_to_end", self.end_to_end, self.scenarios)
        for scenario in self.scenarios:
            if scenario.num_kept is not None:
                raise ValueError(
                    f"PictureRecipe.scenarios: a codec for whole pictures keeps every token, got num_kept "
                    f"{scenario.num_kept}"
                )


def make_picture_loss_fn(
    config: PictureCodecConfig, scenarios: tuple[Scenario, ...], objective: ObjectiveConfig
) -> Callable[[dict, tuple[Examples, ...], jax.Array], tuple[jax.Array, dict]]:
    """Builds ``loss_fn(params, batch, key) -> (loss, metrics)``: image loss, scenarios weighed by their pictures.

    Args:
        config: The codec.
        scenarios: As in the batch.
        objective: Of which ``image_loss`` is used.
    """
    system, pictures = PictureCodecSystem(config), [s.num_groups * s.num_uavs for s in scenarios]

    def loss_fn(params, batch, key):
        keys, total, metrics = jax.random.split(key, len(scenarios)), 0.0, {}
        for number, (examples, scenario) in enumerate(zip(batch, scenarios, strict=True)):
            out = system.forward(params, examples.images, keys[number], scenario.link, examples.point)
            loss, psnr = image_loss(out.images_hat, examples.images, objective.image_loss)
            total += pictures[number] * loss / sum(pictures)
            metrics[f"psnr_{number}"] = psnr
        return total, metrics

    return loss_fn


def run_picture_recipe(
    recipe: PictureRecipe,
    data_path: str | Path,
    run_dir: str | Path,
    *,
    start: str | Path | None = None,
    progress: bool | None = None,
) -> Path:
    """Trains a codec, or goes on with it.

    Args:
        recipe: The recipe.
        data_path: Packed pictures, or a folder of pictures, which is streamed.
        run_dir: Folder of the run; the training writes to its subfolder ``system``.
        start: Weights file to begin with; None: parameters are drawn.
        progress: As in ``train``.

    Returns:
        The weights file, float32, ``<run_dir>/system/weights.npz``.

    Raises:
        ValueError: for an unreadable data file, or weights to start from that do not fit.
    """
    config, codec, objective = recipe.end_to_end, recipe.picture_codec, recipe.objective
    groups = sum(scenario.num_groups for scenario in recipe.scenarios)
    pictures = load_training_pictures(data_path, codec.image_size, groups, config.seed)
    params = PictureCodecSystem(codec).init(jax.random.key(config.seed))
    run_dir = Path(run_dir) / STAGE
    state = train(
        config,
        loss_fn=make_picture_loss_fn(codec, recipe.scenarios, objective),
        batch_fn=make_batch_fn(codec, recipe.scenarios, objective),
        data=pictures.data,
        init_params=params if start is None else load_weights(start, params)[0],
        run_dir=run_dir,
        fingerprint={
            **pictures.identity,
            "picture_codec": to_dict(codec),
            "objective": to_dict(objective),
            "scenarios": [str(to_dict(s)) for s in recipe.scenarios],
        },
        progress=progress,
    )
    path = run_dir / "weights.npz"
    params = jax.tree.map(whole_on_host, averaged_params(state))
    if is_first():
        about = {"picture_codec": to_dict(codec)} | provenance(recipe, STAGE, config.seed, pictures)
        save_weights(path, params, about, dtype="float32")
    meet("weights of the codec")
    return path
