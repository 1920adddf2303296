"""The detector's run on a tiny network in FlashSAM's place: phases, resume, statistics, export."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from squares import squares

from lvm_mtc.config import from_dict
from lvm_mtc.models.detection import NUM_BINS, STRIDES, RawDetections
from lvm_mtc.models.flashsam_blocks import BATCH_NORM_EPSILON, BATCH_NORM_MOMENTUM, ConvBlock
from lvm_mtc.models.weights import WeightsError, load_weights, save_weights
from lvm_mtc.training import CheckpointError, OptimizerConfig, TrainConfig, read_log
from lvm_mtc.training.detector import inference as detector_inference
from lvm_mtc.training.detector import training as detector
from lvm_mtc.training.detector.inference import run_detector
from lvm_mtc.training.detector.recipe import DetectorPhase, DetectorRecipe
from lvm_mtc.training.detector.statistics import batch_statistics
from lvm_mtc.training.detector.teacher import TAUGHT, YoloxTeacher
from lvm_mtc.training.detector.training import export_detector, pack_for, run_detector_training

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("fast_compile")]


class TinyHead(nn.Module):
    """Boxes and scores of one scale, with the module whose output a teacher's features are predicted from."""

    num_classes: int

    @nn.compact
    def __call__(self, x):
        box = nn.Dense(4 * NUM_BINS, name="box")(x).reshape(x.shape[0], -1, 4, NUM_BINS)
        x = nn.Dense(5, name=TAUGHT)(x)
        return box, nn.Dense(self.num_classes, name="class")(x).reshape(x.shape[0], -1, self.num_classes)


class TinyDetector(nn.Module):
    """FlashSAM's interface on one strided block per scale."""

    variant: str = "n"
    num_classes: int = 1

    @nn.compact
    def __call__(self, images, train=False):
        x, parts = images, []
        x = nn.avg_pool(x, (4, 4), (4, 4))
        for stride in STRIDES:
            x = ConvBlock(8, 3, 2, name=f"down{stride}")(x, train)
            parts.append(TinyHead(self.num_classes, name=f"head{stride}")(x))
        return RawDetections(*(jnp.concatenate(part, axis=1) for part in zip(*parts, strict=True)))


@pytest.fixture(scope="module")
def tiny(fast_compile):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detector, "FlashSAM", TinyDetector)
        patch.setattr(detector_inference, "FlashSAM", TinyDetector)
        yield


def make_recipe(steps=(4, 2), **changes):
    train = TrainConfig(
        batch_size=4, total_steps=steps[0], checkpoint_every=2, log_every=2, validate_every=4, ema_decay=0.9,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=1, total_steps=20),
    )  # fmt: skip
    second = dataclasses.replace(train, total_steps=steps[1])
    phases = (DetectorPhase(size=32, train=train), DetectorPhase(size=64, train=second))
    return DetectorRecipe(**(dict(phases=phases, statistics_pictures=6) | changes))


def judge(found, size):
    return {"boxes": float(found.valid.sum()), "size": size}


def same(first, second):
    return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True))


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory):
    run_dir, held_out = tmp_path_factory.mktemp("finished"), squares(3, seed=1)
    return run_detector_training(
        make_recipe(), [squares()], run_dir, held_out=held_out, judge=judge, about={"teacher": "none"}
    )


def test_phases_follow_each_other_and_a_second_call_trains_no_further(finished, monkeypatch):
    run_dir = finished.parents[1]
    assert finished == run_dir / "phase1_64" / "weights.npz"
    logs = [read_log(run_dir / name / "log.jsonl") for name in ("phase0_32", "phase1_64")]
    assert [[r["step"] for r in log if r["event"] == "train"] for log in logs] == [[2, 4], [2]]
    assert [r["size"] for log in logs for r in log if r["event"] == "validation"] == [32, 64]
    first, second = (load_weights(run_dir / name / "weights.npz") for name in ("phase0_32", "phase1_64"))
    assert not same(first[0]["params"], second[0]["params"])
    assert (second[1]["phase"], second[1]["size"], second[1]["data"]["teacher"]) == (1, 64, "none")
    (pack,) = second[1]["data"]["packs"]
    assert pack == {"size": 64, "pictures": 8, "sum": int(squares().pictures.sum(dtype=np.int64)), "boxes": 8}
    assert from_dict(DetectorRecipe, second[1]["recipe"]) == make_recipe()
    assert load_weights(run_dir / "phase0_32" / "latest.npz")[1]["unfinished"] == "step 4"
    assert same(load_weights(run_dir / "phase0_32" / "latest.npz")[0], first[0]) and "unfinished" not in first[1]

    monkeypatch.setattr(detector, "detector_loss", lambda *_: pytest.fail("traced"))
    again = run_detector_training(make_recipe(), [squares()], run_dir)
    assert same(load_weights(again)[0], second[0])


def test_a_run_that_was_stopped_ends_where_an_undisturbed_one_does(finished, tmp_path):
    run_detector_training(make_recipe(steps=(2, 2)), [squares()], tmp_path / "part")
    # As a kill would leave it: the first phase has a checkpoint of step 2, the second does not exist.
    for path in sorted((tmp_path / "part" / "phase1_64").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    path = run_detector_training(make_recipe(), [squares()], tmp_path / "part")
    whole, parts = (load_weights(p)[0] for p in (finished, path))
    assert same(whole, parts)


def test_a_run_that_starts_from_weights(finished, tmp_path):
    recipe = make_recipe(steps=(2, 2), phases=make_recipe().phases[1:])
    start, metadata = load_weights(finished)
    path = run_detector_training(recipe, [squares()], tmp_path / "run", start=finished, about={"teacher": "none"})
    origin = load_weights(path)[1]["data"]["start"]
    assert origin.pop("sha256") and origin == metadata
    assert not same(load_weights(path)[0]["params"], start["params"])
    # Steps of nothing leave them as they were.
    still = dataclasses.replace(recipe.phases[0].train, optimizer=OptimizerConfig(learning_rate=1e-30))
    recipe = dataclasses.replace(recipe, phases=(dataclasses.replace(recipe.phases[0], train=still),))
    path = run_detector_training(recipe, [squares()], tmp_path / "still", start=finished)
    after = load_weights(path)[0]["params"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), after, dict(start["params"]))

    other = tmp_path / "other.npz"
    save_weights(other, jax.tree.map(lambda leaf: leaf + 1, start), metadata)
    with pytest.raises(CheckpointError, match="run.start was"):
        run_detector_training(recipe, [squares()], tmp_path / "still", start=other)
    save_weights(other, {"params": {"kernel": np.zeros(3)}}, {})
    with pytest.raises(WeightsError, match="other.npz"):
        run_detector_training(recipe, [squares()], tmp_path / "new", start=other)
    assert not (tmp_path / "new").exists()


def test_a_teacher_changes_what_is_learned(finished, tmp_path, tiny_yolox):
    phase = make_recipe(steps=(2, 2)).phases[0]
    recipes = [make_recipe(phases=(dataclasses.replace(phase, teacher_weight=weight),)) for weight in (0.0, 1.0)]
    paths = [
        run_detector_training(recipe, [squares()], tmp_path / f"run{i}", teacher=YoloxTeacher(tiny_yolox))
        for i, recipe in enumerate(recipes)
    ]
    alone, taught = (load_weights(path)[0] for path in paths)
    assert jax.tree.structure(alone) == jax.tree.structure(taught) and not same(alone, taught)
    (line,) = [r for r in read_log(paths[1].parent / "log.jsonl") if r["event"] == "train" and r["step"] == 2]
    assert {"taught_class", "taught_box", "taught_distance", "taught_feature", "box"} <= line.keys()
    with pytest.raises(ValueError, match="teacher must be a detector"):
        run_detector_training(recipes[1], [squares()], tmp_path / "none")
    with pytest.raises(CheckpointError, match="teacher_weight"):
        run_detector_training(recipes[1], [squares()], tmp_path / "run0", teacher=YoloxTeacher(tiny_yolox))


def test_other_pictures_are_refused_at_resumption(finished):
    with pytest.raises(CheckpointError, match="run.pictures was 8, now it is 9"):
        run_detector_training(make_recipe(), [squares(9)], finished.parents[1])


def test_boxes_come_back_in_the_pictures_pixels(finished):
    variables, _ = load_weights(finished)
    packed = squares(23)
    at_own_size = run_detector(variables, packed.pictures, 64, max_boxes=5)
    assert at_own_size.boxes.shape == (23, 5, 4) and at_own_size.valid.shape == (23, 5)
    one_by_one = run_detector(variables, packed.pictures[20:21], 64, max_boxes=5)
    np.testing.assert_allclose(one_by_one.boxes[0], at_own_size.boxes[20], atol=1e-3)
    doubled = np.repeat(np.repeat(packed.pictures, 2, 1), 2, 2)
    ratio = run_detector(variables, doubled, 64, max_boxes=5).boxes[:, 0, 2:] / at_own_size.boxes[:, 0, 2:]
    assert np.median(ratio) == pytest.approx(2, rel=0.02)


def test_exported_weights_are_half_precision_and_say_what_they_scored(finished, tmp_path):
    export_detector(finished, tmp_path / "out.npz", 96, {"recall_at_10": [0.8, 0.7, 0.9]})
    variables, metadata = load_weights(tmp_path / "out.npz", dtype=None)
    assert {leaf.dtype.name for leaf in jax.tree.leaves(variables)} == {"float16"}
    assert metadata["scores"] == {"recall_at_10": [0.8, 0.7, 0.9]} and metadata["seed"] == 0
    assert metadata["model"] == {"name": "FlashSAM", "variant": "n", "num_classes": 1, "input_size": 96}
    exact, _ = load_weights(finished)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), variables, exact)


class OneNorm(nn.Module):
    """A norm on its input, and one on what follows."""

    @nn.compact
    def __call__(self, x, train=False):
        for name in ("first", "second"):
            x = nn.BatchNorm(
                use_running_average=not train, momentum=BATCH_NORM_MOMENTUM, epsilon=BATCH_NORM_EPSILON, name=name
            )(x)
            x = nn.Dense(3, name=f"{name}_map")(nn.silu(x))
        return x


def test_statistics_are_the_moments_of_all_pictures():
    x = np.random.default_rng(0).normal(2, 3, (6, 4, 5, 5, 3)).astype(np.float32)
    model = OneNorm()
    params = model.init(jax.random.key(0), x[0])["params"]
    stats = batch_statistics(model, params, iter(x))
    np.testing.assert_allclose(stats["first"]["mean"], x.astype(np.float64).mean((0, 1, 2, 3)), rtol=1e-4)
    np.testing.assert_allclose(stats["first"]["var"], x.astype(np.float64).var((0, 1, 2, 3)), rtol=1e-4)
    assert np.abs(np.asarray(stats["first"]["mean"]) - x[0].mean((0, 1, 2))).max() > 1e-2

    alone = batch_statistics(model, params, [x[0]])
    in_training, _ = model.apply({"params": params}, x[0], train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(model.apply({"params": params, "batch_stats": alone}, x[0]), in_training, atol=1e-4)
    with pytest.raises(ValueError, match="batches is empty"):
        batch_statistics(model, params, [])


def test_recipes_are_checked(tiny):
    train = make_recipe().phases[0].train
    with pytest.raises(ValueError, match="DetectorPhase.size 100"):
        DetectorPhase(size=100, train=train)
    for changes, message in (
        ({"phases": ()}, "phases must name at least one"),
        ({"variant": "q"}, "variant 'q' is unknown; known: n, s, m, l, x"),
        ({"num_classes": 0}, "num_classes must be a whole number >= 1"),
        ({"statistics_pictures": 0}, "statistics_pictures must be a whole number >= 1"),
    ):
        with pytest.raises(ValueError, match=message):
            make_recipe(**changes)
    wrong = (
        ({"guide_weight": -1}, "guide_weight must be a finite number >= 0"),
        ({"teacher_weight": -1}, "teacher_weight must be a finite number >= 0"),
        ({"guide_weight": 1, "teacher_weight": 1}, "a guide or a teacher, not both"),
        ({"mosaic": 1.5}, "mosaic must lie in"),
    )
    for changes, message in wrong:
        with pytest.raises(ValueError, match=message):
            DetectorPhase(size=64, train=train, **changes)
    taught = dataclasses.replace(make_recipe().phases[0], teacher_weight=1.0)
    with pytest.raises(ValueError, match="num_classes must be 1 with a teacher, got 2"):
        make_recipe(phases=(taught,), num_classes=2)
    guided = dataclasses.replace(make_recipe().phases[0], guide_weight=1.0)
    with pytest.raises(ValueError, match="guide must hold the classifier's parameters"):
        run_detector_training(make_recipe(phases=(guided,)), [squares()], "unused")
    packed = squares()
    packed.labels[3, 0] = 4
    with pytest.raises(ValueError, match="packed labels reach 4, but DetectorRecipe.num_classes is 1"):
        run_detector_training(make_recipe(), [packed], "unused")


def test_a_phase_trains_on_the_pictures_of_its_source(tiny, tmp_path, monkeypatch):
    seen = []

    def train(*_, data, fingerprint, **__):
        seen.append((data, fingerprint))
        pytest.fail()

    monkeypatch.setattr(detector, "train", train)
    packed = squares()._replace(source=np.array(["voc/1", "aid/2", "voc/3", "voc"] * 2))
    phase = dataclasses.replace(make_recipe().phases[0], source="voc/")
    with pytest.raises(pytest.fail.Exception):
        run_detector_training(make_recipe(phases=(phase,)), [packed], tmp_path)
    ((data, fingerprint),) = seen
    for name in ("pictures", "boxes", "valid"):
        np.testing.assert_array_equal(data[name], getattr(packed, name)[[0, 2, 4, 6]])
    assert fingerprint["source"] == "voc/" and fingerprint["pictures"] == 4
    with pytest.raises(ValueError, match="no picture whose name begins with DetectorPhase.source 'kitti'"):
        run_detector_training(make_recipe(phases=(dataclasses.replace(phase, source="kitti"),)), [packed], tmp_path)


def test_a_phase_takes_the_pack_that_it_need_not_enlarge():
    packs = [squares(1, size) for size in (96, 64, 32)]
    phase = make_recipe().phases[0]
    sizes = {size: pack_for(dataclasses.replace(phase, size=size), packs).pictures.shape[1] for size in (32, 64, 128)}
    assert sizes == {32: 32, 64: 64, 128: 96}
    with pytest.raises(ValueError, match="packs must hold at least one set"):
        pack_for(phase, [])
