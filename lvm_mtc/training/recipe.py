"""A recipe: a scheme, what it is trained on, and the stages of its training, one after the other.

Each stage starts from the weights of the one before, writes a run folder of its own and goes on where it was when it is
started again. The detector is trained elsewhere (``training.detector``).
"""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax

from lvm_mtc.config import from_dict, require_one_of, to_dict, unknown_name_message
from lvm_mtc.models.weights import check_params, load_weights, save_weights
from lvm_mtc.schemes import scheme_class
from lvm_mtc.schemes.loading import identity
from lvm_mtc.schemes.scheme import Params, Scheme, Stage
from lvm_mtc.training.config import TrainConfig
from lvm_mtc.training.examples import (
    MODALITIES,
    Ranges,
    Scenario,
    find_stage,
    loss_weights,
    make_batch_fn,
    make_loss_fn,
)
from lvm_mtc.training.log import read_log
from lvm_mtc.training.loop import ValidateFn, train
from lvm_mtc.training.mesh import whole_on_host
from lvm_mtc.training.pictures import TrainingData
from lvm_mtc.training.processes import is_first, meet
from lvm_mtc.training.provenance import digest, made_with
from lvm_mtc.training.state import averaged_params


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that a set of weights depends on, but the data.

    Attributes:
        scheme: A name in ``schemes.SCHEMES``, or ``"module:class"``.
        config: The scheme's configuration, or its fields.
        scenarios: What a batch is made of.
        stages: Numbers of the stages that are trained, by their names in ``Scheme.stages``; ``batch_size`` is the
            number of pictures of all scenarios together.
        ranges: What examples are drawn from.
        loss: Weights of the stages' losses by name (``Stage.weights``).
        fields: Fields of the scheme besides ``config``, such as ``execution``.
        start: Options of the scheme's ``start``, if it has one.
    """

    scheme: str
    config: Mapping[str, Any]
    scenarios: tuple[Scenario, ...]
    stages: Mapping[str, TrainConfig]
    ranges: Ranges = Ranges()
    loss: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    start: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if dataclasses.is_dataclass(self.config):
            object.__setattr__(self, "config", to_dict(self.config))
        scheme = self.make_scheme()
        if scheme.modality not in MODALITIES:
            known = ", ".join(MODALITIES)
            raise ValueError(f"Recipe.scheme {self.scheme!r} is for {scheme.modality}; examples are drawn of: {known}")
        if not self.scenarios:
            raise ValueError("Recipe.scenarios must name at least one scenario, got ()")
        for scenario in self.scenarios:
            scenario.scheme(scheme)
        counts = [scenario.num_uavs for scenario in self.scenarios]
        if getattr(scheme, "per_uav", ()) and len(set(counts)) > 1:
            raise ValueError(
                f"Recipe.scenarios must all have the same num_uavs where UAVs have their own parameters, got {counts}"
            )
        weights = {name: default for stage in scheme.stages() for name, default in stage.weights.items()}
        options = list(inspect.signature(scheme.start).parameters)[3:] if hasattr(scheme, "start") else ()
        for field, given, known in (
            ("stages", self.stages, [stage.name for stage in scheme.stages()]),
            ("ranges.knobs", self.ranges.knobs, scheme.knobs),
            ("loss", self.loss, weights),
            ("start", self.start, options),
        ):
            for name in given:
                if name not in known:
                    raise ValueError(unknown_name_message(f"Recipe.{field}.{name}", name, known))
        pictures = sum(scenario.num_pictures for scenario in self.scenarios)
        for name, numbers in self.stages.items():
            if numbers.batch_size != pictures:
                raise ValueError(
                    f"Recipe.stages.{name}.batch_size {numbers.batch_size} is not the {pictures} pictures of "
                    "Recipe.scenarios"
                )
        for name, limits in self.ranges.knobs.items():
            for value in limits:
                scheme.knobs[name].check(f"Recipe.ranges.knobs.{name}", value)
        for name, value in self.loss.items():
            if isinstance(weights[name], tuple):
                require_one_of("Recipe.loss", name, value, weights[name])
            elif not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
                raise ValueError(f"Recipe.loss.{name} must be a finite number, got {value!r}")

    def make_scheme(self) -> Scheme:
        """The scheme; a ValueError for one that is not known, or fields that it does not have or refuses."""
        return from_dict(scheme_class(self.scheme), {"config": self.config, **self.fields}, where="Recipe")

    def trained(self) -> list[Stage]:
        """The scheme's stages that are trained, in their order."""
        return [stage for stage in self.make_scheme().stages() if stage.name in self.stages]

    def stage(self, name: str) -> Stage:
        """A stage that is trained; a ValueError for one that the scheme does not have, or the recipe leaves out."""
        stage = find_stage(self.make_scheme(), name)
        if name not in self.stages:
            trained = ", ".join(stage.name for stage in self.trained())
            raise ValueError(f"stage {name!r} is left out by the recipe; it has: {trained}")
        return stage

    @property
    def seed(self) -> int:
        """Of what is drawn before the first stage."""
        return next((self.stages[stage.name].seed for stage in self.trained()), 0)


def read_data(recipe: Recipe, path: str | Path, seed: int = 0) -> TrainingData:
    """What a recipe is trained on, from a file or folder; ``seed`` is that of a stream.

    A recipe whose scenarios are of several modalities reads each from ``<path>/<modality>.npz``, and one of a single
    modality does where there is such a file.
    """
    scheme, num_groups = recipe.make_scheme(), sum(scenario.num_groups for scenario in recipe.scenarios)
    modalities = sorted({scenario.scheme(scheme).modality for scenario in recipe.scenarios})
    read = {}
    for name in modalities:
        own = Path(path) / f"{name}.npz"
        file = own if len(modalities) > 1 or own.is_file() else path
        read[name] = MODALITIES[name].read(file, scheme.config, num_groups, seed)
    if len(read) == 1:
        return read[modalities[0]]
    data = {name: leaf for of in read.values() for name, leaf in of.data.items()}
    samples, *about = ({name: getattr(of, field) for name, of in read.items()} for field in TrainingData._fields[1:])
    return TrainingData(data, samples, *about)


def init_params(recipe: Recipe, sample: Any) -> Params:
    """Parameters before training, as weights files hold them: drawn, then the scheme's start if it has one.

    ``sample`` are some of the data, for the start. All scenarios' configurations must want the same shapes.
    """
    scheme, num_uavs = recipe.make_scheme(), recipe.scenarios[0].num_uavs
    params = scheme.init(jax.random.key(recipe.seed), num_uavs)
    for scenario in recipe.scenarios:
        if scenario.config:
            wanted = jax.eval_shape(lambda key, s=scenario: s.scheme(scheme).init(key, num_uavs), jax.random.key(0))
            check_params(params, wanted, name=f"Recipe.config with Scenario.config {dict(scenario.config)}")
    if hasattr(scheme, "start"):
        params = scheme.start(params, sample, recipe.seed, **recipe.start)
    return _layout(scheme, "to_file")(params)


def run_stage(
    recipe: Recipe,
    stage: str,
    data_path: str | Path,
    run_dir: str | Path,
    *,
    start: str | Path | None = None,
    validate: ValidateFn | None = None,
    progress: bool | None = None,
) -> Path:
    """Runs one stage of a training, or goes on with it.

    Args:
        recipe: What is trained.
        stage: Name of one of the scheme's stages, or ``"all"`` for those of the recipe, one after the other.
        data_path: Packed pictures (``experiments/demo/pack_pictures.py``), or a folder of pictures, which is streamed.
        run_dir: Folder with a subfolder per stage; each starts from the weights of the one before.
        start: Weights file that the first stage begins with; None: parameters are drawn.
        validate: As in ``train``, for a stage with ``validate_every``.
        progress: As in ``train``.

    Returns:
        The weights file, float32, ``<run_dir>/<stage>/weights.npz``.
    """
    if stage == "all":
        names = [stage.name for stage in recipe.trained()]
        also = dict(start=start, validate=validate, progress=progress)
        return [run_stage(recipe, name, data_path, run_dir, **also) for name in names][-1]
    its_stage, config, run_dir, scheme = recipe.stage(stage), recipe.stages[stage], Path(run_dir), recipe.make_scheme()
    data = read_data(recipe, data_path, config.seed)
    initial = init_params(recipe, data.sample)
    before = _weights_before(recipe, stage, run_dir, start)
    if before is not None:
        initial, _ = load_weights(before, initial)
    own = getattr(scheme, "per_uav", ())
    state = train(
        config,
        loss_fn=make_loss_fn(its_stage, scheme, recipe.scenarios, recipe.loss),
        batch_fn=make_batch_fn(scheme, recipe.scenarios, recipe.ranges),
        data=data.data,
        init_params=_layout(scheme, "from_file")(initial),
        run_dir=run_dir / stage,
        fingerprint={
            "stage": stage,
            **data.identity,
            **identity(scheme),
            **chosen_fields(scheme),
            "ranges": _drawn_from(recipe.ranges),
            "loss": loss_weights(its_stage, recipe.loss),
            "scenarios": [str(to_dict(scenario)) for scenario in recipe.scenarios],
            "start": dict(recipe.start) if before is None else digest(initial),
        },
        trainable=its_stage.trainable,
        per_uav=(lambda name: not set(own).isdisjoint(name.split("/"))) if own else None,
        validate=validate,
        progress=progress,
    )
    path = run_dir / stage / "weights.npz"
    params = _layout(scheme, "to_file")(jax.tree.map(whole_on_host, averaged_params(state)))
    if is_first():
        schedules = [record for record in read_log(run_dir / stage / "log.jsonl") if record["event"] == "schedule"]
        ends = {"schedule_ends": schedules[-1]["ends"]} if schedules else {}
        save_weights(path, params, describe(recipe, stage, data) | ends, dtype="float32")
    meet(f"weights of {stage}")
    return path


def chosen_fields(scheme: Any) -> dict[str, Any]:
    """A scheme's fields besides its configuration, where they are not at their defaults and may change numbers."""
    chosen = {}
    for field in dataclasses.fields(scheme):
        value = getattr(scheme, field.name)
        if field.name != "config" and value != field.default and field.metadata.get("changes_numbers", True):
            chosen[field.name] = chosen_fields(value) if dataclasses.is_dataclass(value) else value
    return chosen


def _drawn_from(ranges: Ranges) -> dict[str, Any]:
    """Ranges as fingerprints have them: what came later only where it is not at its default."""
    return {name: value for name, value in to_dict(ranges).items() if name != "mixed" or value}


def _layout(scheme: Scheme, method: str) -> Callable[[Params], Params]:
    """``Trained.to_file`` or ``from_file``, for schemes that have them."""
    return getattr(scheme, method, lambda params: params)


def _weights_before(recipe: Recipe, stage: str, run_dir: Path, start: str | Path | None) -> Path | None:
    """File that a stage starts from; None: parameters are drawn."""
    names = [stage.name for stage in recipe.trained()]
    earlier = names[: names.index(stage)]
    if not earlier:
        return None if start is None else Path(start)
    before = run_dir / earlier[-1] / "weights.npz"
    if not before.exists():
        raise ValueError(f"stage {stage!r} starts from {before}, which is not there: run stage {earlier[-1]!r} first")
    return before


def describe(recipe: Recipe, stage: str | None, data: TrainingData) -> dict[str, Any]:
    """What the weights are for and where they come from: recipe, data, seed and versions, as JSON."""
    seed = recipe.seed if stage is None else recipe.stages[stage].seed
    about = {"recipe": to_dict(recipe), "stage": stage, "seed": seed, "data": data.about}
    return identity(recipe.make_scheme()) | about | made_with()


def export_weights(source: str | Path, target: str | Path) -> None:
    """Writes a stage's weights as they ship: float16."""
    params, metadata = load_weights(source)
    save_weights(target, params, metadata, dtype="float16")


def export_start(recipe: Recipe, data_path: str | Path, target: str | Path) -> None:
    """Writes a recipe's parameters before training, float32: of a scheme that is all start, the finished codec."""
    data = read_data(recipe, data_path, recipe.seed)
    save_weights(target, init_params(recipe, data.sample), describe(recipe, None, data), dtype="float32")
