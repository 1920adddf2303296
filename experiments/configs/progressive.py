r"""The progressive codec: eight stages of 8 bits for each of 144 patches of 96-pixel photographs.

python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
lvm-mtc train --config experiments/configs/progressive.py --stage all --data build/pictures_160.npz \
    --run-dir runs/progressive
python -m experiments.digital.export --run-dir runs/progressive
"""

from ml_collections import ConfigDict

PICTURES = 16


def get_config() -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(Recipe, ...)`` takes it."""
    matrices = ["/qkv/", "/out/", "/up/", "/down/", "/mix", "embed"]
    rates = dict(learning_rate=3e-3, muon_learning_rate=3e-3, slow=["linear"], slow_factor=0.1)
    optimizer = dict(warmup_steps=40, end_fraction=0.02, b2=0.98, muon=matrices, **rates)
    every = dict(checkpoint_every=100, log_every=20)
    config = ConfigDict(
        dict(
            scheme="progressive",
            config=dict(image_size=96),
            scenarios=[dict(num_groups=PICTURES)],
            stages=dict(
                codec=dict(batch_size=PICTURES, total_steps=2500, ema_decay=0.99, optimizer=optimizer, **every)
            ),
        )
    )
    config.lock()
    return config
