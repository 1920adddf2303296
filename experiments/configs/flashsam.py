r"""FlashSAM-n, class-agnostic, on VOC photographs and pictures that a teacher labelled; a second half with the teacher.

The first half's weights reach recall@10 of 0.665 on the held-out pictures. The second, ``flashsam.py:distilled``, goes
on from them with YOLOX-nano as its teacher, which answers at every cell of every view, so that pictures without
annotations and views of any composition teach as well.

python -m experiments.detector.pack_detection --data ../shared/data --out build/detection_256.npz --size 256 --teacher
lvm-mtc train --config experiments/configs/flashsam.py --stage detector --run-dir runs/flashsam \
    --data build/detection_256.npz --guide ../shared/data/weights/efficientnet_lite0_fp16.npz
lvm-mtc train --config experiments/configs/flashsam.py:distilled --stage detector --run-dir runs/flashsam_distilled \
    --data build/detection_256.npz build/detection_320.npz --teacher ../shared/data/weights/yolox_nano.onnx \
    --start runs/flashsam/phase2_256/weights.npz
python -m experiments.detector.export --run-dir runs/flashsam_distilled --data build/detection_320.npz
"""

from ml_collections import ConfigDict

LABELLED = "a score of 0.4 or more on the latter two"


def _phase(size: int, total_steps: int, rate: float, end_fraction: float, zoom: list[float], train: dict, **fields):
    optimizer = dict(
        learning_rate=rate, warmup_steps=100, end_fraction=end_fraction, weight_decay=0.05, clip_norm=10.0, b2=0.99
    )
    common = dict(batch_size=16, keep_checkpoints=2, log_every=25, ema_decay=0.998)
    train = dict(total_steps=total_steps, optimizer=optimizer) | common | train
    return dict(size=size, augmentation=dict(zoom=zoom), train=train) | fields


def get_config(half: str = "first") -> ConfigDict:
    """Returns the recipe, the fields of ``DetectorRecipe``, and where its data comes from.

    Args:
        half: "first" or "distilled".
    """
    photographs = dict(source="voc2012_320/")
    if half == "first":
        teacher, every = f", its class-agnostic boxes with {LABELLED}", dict(checkpoint_every=100, validate_every=300)
        # Most of the steps at a third of the cost; then larger, and at last on whole pictures annotated by hand.
        phases = [
            _phase(128, 4000, 2e-3, 0.2, [0.8, 1.7], every),
            _phase(224, 3000, 1.2e-3, 0.02, [0.8, 1.8], every, guide_weight=2.0, mosaic=0.4),
            _phase(256, 1200, 6e-4, 0.02, [0.85, 1.35], every, **photographs),
        ]
    elif half == "distilled":
        teacher = f": its boxes with {LABELLED}, and its answer at every cell of every view"

        def taught(seed: int, *numbers, **fields) -> dict:
            every = dict(seed=seed, checkpoint_every=50, validate_every=250)
            return _phase(*numbers, every, teacher_weight=1.0, **fields)

        # Twice from many pictures at two thirds of the pixels to photographs annotated by hand at the size that ships;
        # the second time with objects as small as those of whole pictures, or smaller.
        phases = [
            taught(1, 256, 4000, 1.5e-3, 0.1, [0.7, 1.8], mosaic=0.4),
            taught(2, 320, 2500, 8e-4, 0.02, [0.85, 1.5], mosaic=0.2, **photographs),
            taught(3, 256, 3500, 1.5e-3, 0.2, [0.6, 1.5], mosaic=0.5),
            taught(4, 320, 2700, 1e-3, 0.02, [0.6, 1.4], mosaic=0.3, **photographs),
        ]
    else:
        raise ValueError(f"half must be first or distilled, got {half!r}")
    sources = "voc2012_320, list train, annotated; imagenet1000_160 and aid150 where the teacher found objects"
    about = dict(pictures_from=sources, teacher=f"YOLOX-nano (Apache-2.0){teacher}")
    config = ConfigDict(dict(about=about, variant="n", num_classes=1, phases=phases))
    config.lock()
    return config
