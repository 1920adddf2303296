r"""Two superposed users, on 96-pixel views of aerial, VOC and ImageNet photographs; and what they are compared with.

``plain`` are the users' own networks, in two steps; ``exchange`` goes on with the second of them and the exchange
together, and ``longer`` for as many steps without the exchange. ``turns`` is ``plain`` for users that take turns.

python -m experiments.demo.pack_pictures --data ../shared/data --out build/pictures_160.npz
lvm-mtc train --config experiments/configs/sfma.py --stage all --data build/pictures_160.npz --run-dir runs/sfma_plain
lvm-mtc train --config experiments/configs/sfma.py:exchange --stage all --data build/pictures_160.npz \
    --start runs/sfma_plain/further/weights.npz --run-dir runs/sfma
lvm-mtc train --config experiments/configs/sfma.py:longer --stage all --data build/pictures_160.npz \
    --start runs/sfma_plain/further/weights.npz --run-dir runs/sfma_longer
lvm-mtc train --config experiments/configs/sfma.py:turns --stage all --data build/pictures_160.npz \
    --run-dir runs/sfma_turns
"""

from ml_collections import ConfigDict

GROUPS = 8  # pairs of views per step, all scenarios together
STEPS = {"plain": 1500, "further": 1000, "exchange": 1000, "both": 2000}
SUPERPOSED, TURNS = "sfma", "experiments.sfma.turns:TakingTurns"
KINDS = {
    "plain": (SUPERPOSED, {"plain": "plain", "further": "further"}),
    "exchange": (SUPERPOSED, {"exchange": "exchange"}),
    "longer": (SUPERPOSED, {"further": "exchange"}),
    "turns": (TURNS, {"plain": "plain", "further": "both"}),
}
"""Scheme, and stages with the name of their number of steps: 3,500 for each of the three that are compared."""


def get_config(kind: str = "plain") -> ConfigDict:
    """Returns the recipe of one of ``KINDS``, as ``lvm_mtc.config.from_dict(Recipe, ...)`` takes it."""
    scheme, stages = KINDS[kind]
    awgn, rayleigh = dict(fading="awgn"), dict(fading="rayleigh", convention="rx_per_antenna")
    optimizer = dict(learning_rate=2e-3, warmup_steps=40, end_fraction=0.02, b2=0.98)
    every = dict(checkpoint_every=100, log_every=20)
    numbers = dict(batch_size=2 * GROUPS, ema_decay=0.99, optimizer=optimizer, **every)
    config = ConfigDict(
        dict(
            scheme=scheme,
            config=dict(image_size=96, patch_size=8, num_symbols=32),
            scenarios=[
                dict(num_groups=GROUPS // 2, num_uavs=2, link=awgn),
                dict(num_groups=GROUPS // 2, num_uavs=2, link=rayleigh),
            ],
            ranges=dict(snr_db=[-2.0, 22.0], view_jitter=4, mixed=True),
            loss=dict(image_loss="log_mse"),
            stages={name: dict(total_steps=STEPS[steps], **numbers) for name, steps in stages.items()},
        )
    )
    config.lock()
    return config
