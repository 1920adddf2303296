r"""The networks before and behind the importance codec, on 96-pixel views of aerial, VOC and ImageNet photographs.

python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
lvm-mtc train --config experiments/configs/importance.py --stage all --data build/pictures_160.npz \
    --run-dir runs/importance
python -m experiments.demo.export_importance --run-dir runs/importance
"""

from ml_collections import ConfigDict

PICTURES = 8  # per step, all scenarios together


def get_config() -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(Recipe, ...)`` takes it."""
    awgn, rayleigh = dict(fading="awgn"), dict(fading="rayleigh", convention="rx_per_antenna")
    matrices = ["/qkv/", "/out/", "/up/", "/down/", "/mix"]
    optimizer = dict(learning_rate=2e-3, warmup_steps=40, end_fraction=0.02, b2=0.98, muon=matrices)
    every = dict(checkpoint_every=100, log_every=20)
    config = ConfigDict(
        dict(
            scheme="importance",
            config=dict(image_size=96, patch_size=8, num_uses=2304, network="narrow"),
            scenarios=[dict(num_groups=5, link=awgn), dict(num_groups=3, link=rayleigh)],
            ranges=dict(snr_db=[-2.0, 22.0], knobs=dict(importance_db=[0.0, 20.0]), box_area=[0.05, 1.0]),
            stages=dict(
                system=dict(batch_size=PICTURES, total_steps=6000, ema_decay=0.99, optimizer=optimizer, **every)
            ),
        )
    )
    config.lock()
    return config
