r"""The detector's second half: FlashSAM-n goes on from the weights of ``flashsam.py`` with YOLOX-nano as its teacher.

The teacher answers at every cell of every view, so that pictures without annotations and views of any composition
teach as well.

lvm-mtc train --config experiments/configs/flashsam_distilled.py --stage detector --run-dir runs/flashsam_distilled \
    --data build/detection_256.npz build/detection_320.npz --teacher ../shared/data/weights/yolox_nano.onnx \
    --start runs/flashsam/phase2_256/weights.npz
python experiments/export_flashsam.py --run-dir runs/flashsam_distilled --data build/detection_320.npz
"""

from ml_collections import ConfigDict

BATCH = 16


def _phase(size: int, total_steps: int, learning_rate: float, end_fraction: float, seed: int, **fields) -> dict:
    return dict(
        size=size,
        **fields,
        train=dict(
            batch_size=BATCH,
            seed=seed,
            total_steps=total_steps,
            checkpoint_every=50,
            keep_checkpoints=2,
            log_every=25,
            validate_every=250,
            ema_decay=0.998,
            optimizer=dict(
                learning_rate=learning_rate,
                warmup_steps=100,
                end_fraction=end_fraction,
                weight_decay=0.05,
                clip_norm=10.0,
                b2=0.99,
            ),
        ),
    )


def get_config() -> ConfigDict:
    """Returns the recipe, the fields of ``DetectorRecipe``, and where its data comes from."""
    config = ConfigDict(
        dict(
            about=dict(
                pictures_from="voc2012_320, list train, annotated; imagenet1000_160 and aid150 where the teacher found "
                "objects",
                teacher="YOLOX-nano (Apache-2.0): its boxes with a score of 0.4 or more on the latter two, and its "
                "answer at every cell of every view",
            ),
            variant="n",
            num_classes=1,
            # Twice from many pictures at two thirds of the pixels to photographs annotated by hand at the size that
            # ships; the second time with objects as small as those of whole pictures, or smaller.
            phases=[
                _phase(256, 4000, 1.5e-3, 0.1, 1, augmentation=dict(zoom=[0.7, 1.8]), teacher_weight=1.0, mosaic=0.4),
                _phase(
                    320, 2500, 8e-4, 0.02, 2, augmentation=dict(zoom=[0.85, 1.5]), teacher_weight=1.0, mosaic=0.2,
                    source="voc2012_320/",
                ),
                _phase(256, 3500, 1.5e-3, 0.2, 3, augmentation=dict(zoom=[0.6, 1.5]), teacher_weight=1.0, mosaic=0.5),
                _phase(
                    320, 2700, 1e-3, 0.02, 4, augmentation=dict(zoom=[0.6, 1.4]), teacher_weight=1.0, mosaic=0.3,
                    source="voc2012_320/",
                ),
            ],
        )
    )
    config.lock()
    return config
