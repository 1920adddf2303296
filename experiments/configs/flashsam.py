r"""The detector: FlashSAM-n, class-agnostic, on VOC photographs and pictures that a teacher labelled.

The shipped weights come out of the first three phases, the last one at 256 pixels. The two at 320 pixels have not been
run to their end: 600 of their 1,600 steps took recall@10 on the held-out pictures from 0.665 to 0.681.

python experiments/pack_detection.py --data ../shared/data --out build/detection_256.npz --size 256 --teacher
python experiments/pack_detection.py --data ../shared/data --out build/detection_320.npz --size 320
lvm-mtc train --config experiments/configs/flashsam.py --stage detector --run-dir runs/flashsam \
    --data build/detection_256.npz build/detection_320.npz --guide ../shared/data/weights/efficientnet_lite0_fp16.npz
python experiments/export_flashsam.py --run-dir runs/flashsam --data build/detection_320.npz
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
            # Most of the steps at a third of the cost; then at the size, and at last on the pictures, that it will be
            # judged at: whole ones, annotated by hand, in all the pixels that they have.
            phases=[
                _phase(128, 4000, 2e-3, 0.2, augmentation=dict(zoom=[0.8, 1.7])),
                _phase(224, 3000, 1.2e-3, 0.02, augmentation=dict(zoom=[0.8, 1.8]), guide_weight=2.0, mosaic=0.4),
                _phase(256, 1200, 6e-4, 0.02, augmentation=dict(zoom=[0.85, 1.35]), source="voc2012_320/"),
                _phase(320, 1300, 1.2e-3, 0.05, augmentation=dict(zoom=[0.7, 1.6]), guide_weight=2.0, mosaic=0.3),
                _phase(320, 300, 3e-4, 0.02, augmentation=dict(zoom=[0.85, 1.35])),
            ],
        )
    )
    config.lock()
    return config
