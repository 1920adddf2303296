r"""The exchange between two superposed users, on 96-pixel views of aerial, VOC and ImageNet photographs.

python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
lvm-mtc train --config experiments/configs/sfma.py --stage all --data build/pictures_160.npz --run-dir runs/sfma
"""

from ml_collections import ConfigDict

GROUPS = 4  # pairs of views per step, all scenarios together


def get_config() -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(Recipe, ...)`` takes it."""
    awgn, rayleigh = dict(fading="awgn"), dict(fading="rayleigh", convention="rx_per_antenna")
    optimizer = dict(learning_rate=3e-3, warmup_steps=40, end_fraction=0.02, b2=0.98)
    every = dict(checkpoint_every=100, log_every=20)
    config = ConfigDict(
        dict(
            scheme="sfma",
            config=dict(image_size=96, patch_size=8, num_symbols=32),
            scenarios=[dict(num_groups=2, num_uavs=2, link=awgn), dict(num_groups=2, num_uavs=2, link=rayleigh)],
            ranges=dict(snr_db=[-2.0, 22.0], view_jitter=4),
            loss=dict(image_loss="log_mse"),
            stages=dict(
                exchange=dict(batch_size=2 * GROUPS, total_steps=800, ema_decay=0.99, optimizer=optimizer, **every)
            ),
        )
    )
    config.lock()
    return config
