"""A recipe: the system, what it is trained on, and the paper's training steps 2 to 4 one after the other.

Step 1 trains the detector and stands elsewhere. Each step starts from the weights of the one before, writes a run
folder of its own and goes on where it was when it is started again.
"""

import dataclasses
import importlib.metadata
import platform
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np

import lvm_mtc
from lvm_mtc.config import to_dict
from lvm_mtc.models.patches import patchify
from lvm_mtc.models.pca import PatchPca, fit_pca, init_from_pca
from lvm_mtc.models.transformer import stack_layers, unstack_layers
from lvm_mtc.models.weights import load_weights, save_weights
from lvm_mtc.system import Execution, System, SystemConfig
from lvm_mtc.system.chain import PER_UAV
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.loop import train
from lvm_mtc.training.mesh import whole_on_host
from lvm_mtc.training.objectives import STAGES, ObjectiveConfig, Scenario, make_batch_fn, make_loss_fn, trainable
from lvm_mtc.training.pictures import TrainingPictures, load_training_pictures
from lvm_mtc.training.processes import is_first, meet
from lvm_mtc.training.state import averaged_params

_PCA_CROPS = 2048
_FIELDS = dict(zip(STAGES, ("token", "channel", "end_to_end"), strict=True))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a set of weights depends on, but the pictures.

    Attributes:
        system: The system.
        scenarios: What a batch is made of.
        objective: Ranges and weights of the loss in the step ``system``; earlier steps use the paper's MSE.
        execution: How the token codec is computed.
        spread: Symbols over which principal components are spread at the start, a power of two; as many as there are
            transmit antennas for fading channels.
        end_to_end: Numbers of step 4; ``batch_size`` is the number of pictures of all scenarios together.
        token: Numbers of step 2; None leaves it out.
        channel: Numbers of step 3; None leaves it out.
    """

    system: SystemConfig
    scenarios: tuple[Scenario, ...]
    end_to_end: TrainConfig
    token: TrainConfig | None = None
    channel: TrainConfig | None = None
    objective: ObjectiveConfig = ObjectiveConfig()
    execution: Execution = Execution()
    spread: int = 1

    def __post_init__(self):
        for stage in self.stages:
            check_scenarios("Recipe", _FIELDS[stage], self.train_config(stage), self.scenarios)
        if self.system.per_uav_params and len({s.num_uavs for s in self.scenarios}) > 1:
            raise ValueError(
                "Recipe.scenarios must all have the same num_uavs with SystemConfig.per_uav_params, got "
                f"{[s.num_uavs for s in self.scenarios]}"
            )

    @property
    def stages(self) -> tuple[str, ...]:
        """Those of ``STAGES`` that the recipe has."""
        return tuple(stage for stage in STAGES if getattr(self, _FIELDS[stage]) is not None)

    def train_config(self, stage: str) -> TrainConfig:
        """Numbers of a stage, by its name in ``STAGES``.

        Raises:
            ValueError: for an unknown stage, or one that the recipe leaves out.
        """
        trainable(stage)
        if stage not in self.stages:
            raise ValueError(f"stage {stage!r} is left out by the recipe; it has: {', '.join(self.stages)}")
        return getattr(self, _FIELDS[stage])

    @property
    def seed(self) -> int:
        """Of what is drawn before the first stage."""
        return self.train_config(self.stages[0]).seed


def check_scenarios(where: str, field: str, config: TrainConfig, scenarios: tuple[Scenario, ...]) -> None:
    """Refuses a recipe whose batches are not the pictures of its scenarios.

    Raises:
        ValueError: if there is no scenario, or ``batch_size`` is another number than that of their pictures.
    """
    if not scenarios:
        raise ValueError(f"{where}.scenarios must name at least one scenario, got ()")
    pictures = sum(s.num_groups * s.num_uavs for s in scenarios)
    if config.batch_size != pictures:
        raise ValueError(
            f"{where}.{field}.batch_size {config.batch_size} is not the {pictures} pictures of {where}.scenarios"
        )


def fit_patches(pictures: np.ndarray, config: SystemConfig, seed: int = 0) -> PatchPca:
    """Principal components of the patches of random crops of the training pictures."""
    rng = np.random.default_rng(seed)
    size = config.image_size
    if min(pictures.shape[1:3]) < size:
        raise ValueError(
            f"pictures of {pictures.shape[1]} x {pictures.shape[2]} pixels are smaller than "
            f"SystemConfig.image_size {size}"
        )
    crops = []
    for i in rng.integers(0, len(pictures), _PCA_CROPS):
        top, left = (rng.integers(0, side - size + 1) for side in pictures.shape[1:3])
        crops.append(pictures[i, top : top + size, left : left + size])
    patches = patchify(np.stack(crops), config.patch_size)
    return fit_pca(np.asarray(patches).reshape(-1, config.patch_dim) / 255.0)


def init_params(recipe: Recipe, pictures: np.ndarray) -> dict:
    """Parameters before training: drawn, and with a linear path started from principal components.

    They are those of looped layers, whatever ``recipe.execution`` says, as in weights files.
    """
    seed = recipe.seed
    num_uavs = recipe.scenarios[0].num_uavs if recipe.system.per_uav_params else None
    params = System(recipe.system).init(jax.random.key(seed), num_uavs)
    if not recipe.system.linear_path:
        return params
    return init_from_pca(params, fit_patches(pictures, recipe.system, seed), recipe.spread)


def run_stage(
    recipe: Recipe,
    stage: str,
    data_path: str | Path,
    run_dir: str | Path,
    *,
    start: str | Path | None = None,
    progress: bool | None = None,
) -> Path:
    """Runs one training step, or goes on with it.

    Args:
        recipe: The recipe.
        stage: ``"token"``, ``"channel"``, ``"system"``, or ``"all"`` for one after the other.
        data_path: Packed pictures (``experiments/pack_pictures.py``), or a folder of pictures, which is streamed.
        run_dir: Folder with a subfolder per stage; ``channel`` starts from the weights of ``token``, ``system`` from
            those of ``channel``.
        start: Weights file that the first stage begins with; None: parameters are drawn.
        progress: As in ``train``.

    Returns:
        The weights file, float32, ``<run_dir>/<stage>/weights.npz``.

    Raises:
        ValueError: for an unknown stage, an unreadable data file, a missing earlier stage, or weights to start from
            that do not fit.
    """
    if stage == "all":
        return [run_stage(recipe, s, data_path, run_dir, start=start, progress=progress) for s in recipe.stages][-1]
    config, run_dir = recipe.train_config(stage), Path(run_dir)
    pictures = _pictures(recipe, data_path, config.seed)
    objective = recipe.objective
    if stage != "system":
        objective = dataclasses.replace(objective, image_loss="mse")
    state = train(
        config,
        loss_fn=make_loss_fn(stage, recipe.system, recipe.scenarios, objective, recipe.execution),
        batch_fn=make_batch_fn(recipe.system, recipe.scenarios, objective),
        data=pictures.data,
        init_params=to_layout(recipe, _start(recipe, stage, pictures.sample, run_dir, start)),
        run_dir=run_dir / stage,
        fingerprint={
            "stage": stage,
            **pictures.identity,
            "system": to_dict(recipe.system),
            "objective": to_dict(objective),
            "scenarios": [str(to_dict(s)) for s in recipe.scenarios],
            # What a run is not, unless it is asked for; remat changes no number beyond rounding.
            "execution": {k: v for k, v in to_dict(recipe.execution).items() if v and k != "remat"},
        },
        trainable=trainable(stage),
        per_uav=_has_uav_axis if recipe.system.per_uav_params else None,
        progress=progress,
    )
    path = run_dir / stage / "weights.npz"
    params = from_layout(recipe, jax.tree.map(whole_on_host, averaged_params(state)))
    if is_first():
        save_weights(path, params, describe(recipe, stage, pictures), dtype="float32")
    meet(f"weights of {stage}")
    return path


def to_layout(recipe: Recipe, params: dict) -> dict:
    """Parameters of looped layers as ``recipe.execution`` wants them: stacked for scanned layers."""
    return _map_roots(stack_layers, recipe, params) if recipe.execution.scan else params


def from_layout(recipe: Recipe, params: dict) -> dict:
    """Inverse of :func:`to_layout`: parameters as weights files hold them."""
    return _map_roots(unstack_layers, recipe, params) if recipe.execution.scan else params


def _map_roots(function, recipe: Recipe, params: dict) -> dict:
    """``function(tree, axis)`` of each root; the layer axis stands behind that of the UAVs."""
    per_uav = PER_UAV if recipe.system.per_uav_params else ()
    return {name: function(tree, axis=int(name in per_uav)) for name, tree in params.items()}


def _has_uav_axis(name: str) -> bool:
    return not set(PER_UAV).isdisjoint(name.split("/"))


def _start(recipe: Recipe, stage: str, pictures: np.ndarray, run_dir: Path, start: str | Path | None) -> dict:
    initial, earlier = init_params(recipe, pictures), recipe.stages[: recipe.stages.index(stage)]
    if not earlier:
        return initial if start is None else load_weights(start, initial)[0]
    before = run_dir / earlier[-1] / "weights.npz"
    if not before.exists():
        raise ValueError(
            f"stage {stage!r} starts from {before}, which is not there: run stage {earlier[-1]!r} first"
        )
    return load_weights(before, initial)[0]


def _pictures(recipe: Recipe, data_path: str | Path, seed: int) -> TrainingPictures:
    groups = sum(scenario.num_groups for scenario in recipe.scenarios)
    return load_training_pictures(data_path, recipe.system.image_size, groups, seed)


def describe(recipe: Recipe, stage: str, pictures: TrainingPictures) -> Mapping:
    """Where weights come from: recipe, data, seed and versions, as JSON."""
    return {"system": to_dict(recipe.system)} | provenance(recipe, stage, recipe.train_config(stage).seed, pictures)


def provenance(recipe, stage: str, seed: int, pictures: TrainingPictures) -> Mapping:
    """What a weights file says besides what the weights are for, as JSON."""
    packages = ("jax", "flax", "optax", "numpy")
    return {
        "recipe": to_dict(recipe),
        "stage": stage,
        "seed": seed,
        "data": pictures.about,
        "versions": {
            "lvm_mtc": lvm_mtc.__version__,
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
        "device": jax.devices()[0].device_kind,
    }


def export_weights(source: str | Path, target: str | Path) -> None:
    """Writes a stage's weights as they ship: float16."""
    params, metadata = load_weights(source)
    save_weights(target, params, metadata, dtype="float16")


def export_linear_codec(recipe: Recipe, data_path: str | Path, target: str | Path) -> None:
    """Writes the linear patch-wise PCA codec of the recipe's geometry as weights of variant ``"linear"``, float32."""
    config = dataclasses.replace(
        recipe.system, variant="linear", linear_path=True, receiver="wiener", power_allocation=False
    )
    pictures = _pictures(recipe, data_path, recipe.seed)
    patches = fit_patches(pictures.sample, config, recipe.seed)
    params = init_from_pca(System(config).init(jax.random.key(0)), patches, recipe.spread)
    stage = "none: principal components"
    metadata = {"system": to_dict(config)} | provenance(recipe, stage, recipe.seed, pictures)
    save_weights(target, params, metadata, dtype="float32")
