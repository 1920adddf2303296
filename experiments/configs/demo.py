"""The shipped weights: the small system on 96-pixel views of aerial, VOC and ImageNet photographs.

python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
lvm-mtc train --config experiments/configs/demo.py --stage all --data build/pictures_160.npz --run-dir runs/demo
python -m experiments.demo.export --run-dir runs/demo --data build/pictures_160.npz
"""

from ml_collections import ConfigDict

PICTURES = 24  # per step, all scenarios together


def _stage(total_steps: int) -> dict:
    # The linear path starts at its best; the transformers start at zero.
    optimizer = dict(
        learning_rate=1e-3, warmup_steps=50, end_fraction=0.02, clip_norm=1.0, b2=0.98, slow=["linear"], slow_factor=0.1
    )
    every = dict(checkpoint_every=100, log_every=20)
    return dict(batch_size=PICTURES, total_steps=total_steps, ema_decay=0.995, optimizer=optimizer, **every)


def get_config() -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(Recipe, ...)`` takes it."""
    awgn, rayleigh = dict(fading="awgn"), dict(fading="rayleigh", convention="rx_per_antenna")
    config = ConfigDict(
        dict(
            scheme="lvm_mtc",
            config=dict(variant="small", image_size=96, patch_size=8, num_symbols=32, statistic="sent"),
            scenarios=[
                dict(num_groups=8, config=dict(num_kept=144), link=awgn),
                dict(num_groups=4, config=dict(num_kept=144), link=rayleigh),
                dict(num_groups=6, config=dict(num_kept=72), link=awgn),
                dict(num_groups=2, num_uavs=3, config=dict(num_kept=72), link=rayleigh),
            ],
            ranges=dict(snr_db=[-2.0, 22.0], knobs=dict(mask_prob=[0.1, 0.5], epsilon=[0.0, 0.2])),
            loss=dict(image_loss="log_mse", token_weight=0.1),
            stages=dict(token=_stage(200), channel=_stage(110), system=_stage(2000)),
        )
    )
    config.lock()
    return config
