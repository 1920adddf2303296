r"""Restructuring of a linear codec's features by nested dropout with rising distortion, from rotated components.

python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
lvm-mtc train --config experiments/configs/isfr.py --stage all --data build/pictures_160.npz --run-dir runs/isfr

The control has the same start and steps, and no dropout nor wrong bits: --set loss.retention=1.0 --set loss.flips=0.0
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(Recipe, ...)`` takes it."""
    optimizer = dict(learning_rate=3e-3, warmup_steps=20, end_fraction=0.02, b2=0.98)
    every = dict(checkpoint_every=400, log_every=40)
    config = ConfigDict(
        dict(
            scheme="isfr",
            config=dict(image_size=96, patch_size=8, num_groups=8, group_size=8, quantiser_bits=4),
            scenarios=[dict(num_groups=8)],
            start=dict(rotated=True),
            loss=dict(retention=0.3, flips=0.1),
            stages=dict(restructure=dict(batch_size=8, total_steps=1200, optimizer=optimizer, **every)),
        )
    )
    config.lock()
    return config
