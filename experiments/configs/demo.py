"""The shipped weights: the small system on 96-pixel views of aerial, VOC and ImageNet photographs.

python experiments/pack_pictures.py --data ../shared/data --out build/pictures_160.npz
lvm-mtc train --config experiments/configs/demo.py --stage all --data build/pictures_160.npz --run-dir runs/demo
python experiments/export_demo.py --run-dir runs/demo --data build/pictures_160.npz
"""

from ml_collections import ConfigDict

PICTURES = 24  # per step, all scenarios together


def _stage(total_steps: int, learning_rate: float) -> dict:
    return dict(
        batch_size=PICTURES,
        total_steps=total_steps,
        checkpoint_every=100,
        log_every=20,
        ema_decay=0.995,
        optimizer=dict(
            learning_rate=learning_rate,
            warmup_steps=50,
            end_fraction=0.02,
            clip_norm=1.0,
            b2=0.98,
            # the linear path starts at its best; the transformers start at zero
            slow=["linear"],
            slow_factor=0.1,
        ),
    )


def get_config() -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(Recipe, ...)`` takes it."""
    awgn, rayleigh = dict(fading="awgn"), dict(fading="rayleigh", convention="rx_per_antenna")
    config = ConfigDict(
        dict(
            system=dict(variant="small", image_size=96, patch_size=8, num_symbols=32, statistic="sent"),
            scenarios=[
                dict(num_groups=8, num_kept=144, link=awgn),
                dict(num_groups=4, num_kept=144, link=rayleigh),
                dict(num_groups=6, num_kept=72, link=awgn),
                dict(num_groups=2, num_uavs=3, num_kept=72, link=rayleigh),
            ],
            objective=dict(snr_db=[-2.0, 22.0], image_loss="log_mse", token_weight=0.1, epsilon=[0.0, 0.2]),
            token=_stage(200, 1e-3),
            channel=_stage(110, 1e-3),
            end_to_end=_stage(2000, 1e-3),
        )
    )
    config.lock()
    return config
