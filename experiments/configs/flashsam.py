r"""The detector's first half: FlashSAM-n, class-agnostic, on VOC photographs and pictures that a teacher labelled.

Its weights reach recall@10 of 0.665 on the held-out pictures; ``flashsam_distilled.py`` goes on from them.

python experiments/pack_detection.py --data ../shared/data --out build/detection_256.npz --size 256 --teacher
lvm-mtc train --config experiments/configs/flashsam.py --stage detector --run-dir runs/flashsam \
    --data build/detection_256.npz --guide ../shared/data/weights/efficientnet_lite0_fp16.npz
"""

from ml_collections import ConfigDict

BATCH = 16


def _phase(size: int, total_steps: int, learning_rate: float, end_fraction: float, **fields) -> dict:
    return dict(
        size=size,
        **fields,
        train=dict(
            batch_size=BATCH,
            total_steps=total_steps,
            checkpoint_every=100,
            keep_checkpoints=2,
            log_every=25,
            validate_every=300,
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
                teacher="YOLOX-nano (Apache-2.0), its class-agnostic boxes with a score of 0.4 or more on the latter "
                "two",
            ),
            variant="n",
            num_classes=1,
            # Most of the steps at a third of the cost; then larger, and at last on whole pictures that were annotated
            # by hand.
            phases=[
                _phase(128, 4000, 2e-3, 0.2, augmentation=dict(zoom=[0.8, 1.7])),
                _phase(224, 3000, 1.2e-3, 0.02, augmentation=dict(zoom=[0.8, 1.8]), guide_weight=2.0, mosaic=0.4),
                _phase(256, 1200, 6e-4, 0.02, augmentation=dict(zoom=[0.85, 1.35]), source="voc2012_320/"),
            ],
        )
    )
    config.lock()
    return config
