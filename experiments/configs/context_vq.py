r"""The codec with a conditioned transform and its networks: four rates from one set of weights, 96-pixel photographs.

python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
lvm-mtc train --config experiments/configs/context_vq.py --stage all --data build/pictures_160.npz \
    --run-dir runs/context_vq/context_vq

``FILE.py:plain`` is the same without context. ``experiments.context_vq.fit`` trains both and fits the codebooks anew.
"""

from ml_collections import ConfigDict

PICTURES = 8


def get_config(name: str = "context_vq") -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(Recipe, ...)`` takes it; ``name``: context_vq or plain."""
    matrices = ["/qkv/", "/out/", "/up/", "/down/", "/mix", "embed", "/inner"]
    rates = dict(learning_rate=1e-3, muon_learning_rate=1e-3, slow=["linear", "rules/"], slow_factor=0.1)
    optimizer = dict(warmup_steps=40, end_fraction=0.02, b2=0.98, muon=matrices, **rates)
    training = dict(batch_size=PICTURES, total_steps=1000, ema_decay=0.99, checkpoint_every=100, log_every=20)
    context = name == "context_vq"
    config = ConfigDict(
        dict(
            scheme="context_vq",
            config=dict(image_size=96, variant="small", context=context, hidden=8 if context else 0),
            scenarios=[dict(num_groups=PICTURES)],
            start=dict(num_crops=64, networks="progressive"),
            stages=dict(codec=dict(optimizer=optimizer, **training)),
        )
    )
    config.lock()
    return config
