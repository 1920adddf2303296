"""Questions of presence about VOC's pictures, from pooled tokens over AWGN and Rayleigh fading, 0 to 20 dB.

python -m experiments.multimodal.pack --out build/presence
lvm-mtc train --config experiments/configs/multimodal.py:two_stage --stage all --data build/presence/train.npz \
    --run-dir runs/multimodal_two_stage

The argument is ``two_stage`` (alignment, then the task), ``one_stage`` (the task alone, as many steps in all), or a
control that sees one modality, ``picture`` or ``question``. Minutes on one core each; scores: docs/multimodal.md.
"""

from ml_collections import ConfigDict

NAMES = ("two_stage", "one_stage", "picture", "question")
BATCH, ALIGN_STEPS, TASK_STEPS, BLIND_STEPS = 64, 400, 800, 400


def get_config(name: str = "two_stage") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it."""
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    sees = name if name in ("picture", "question") else "both"
    links = [dict(fading=fading, num_rx_ant=1, num_tx_ant=1) for fading in ("awgn", "rayleigh")]

    def stage(steps):
        optimizer = dict(learning_rate=1e-3, warmup_steps=50, end_fraction=0.02, weight_decay=0.1)
        return dict(batch_size=BATCH, total_steps=steps, checkpoint_every=100, log_every=50, ema_decay=0.99,
                    optimizer=optimizer)  # fmt: skip

    steps = {"two_stage": TASK_STEPS, "one_stage": ALIGN_STEPS + TASK_STEPS}
    stages = dict(task=stage(steps.get(name, BLIND_STEPS)))
    if name == "two_stage":
        stages["align"] = stage(ALIGN_STEPS)
    config = ConfigDict(
        dict(
            scheme="multimodal",
            config=dict(sees=sees),
            scenarios=[dict(num_groups=BATCH // len(links), link=link) for link in links],
            ranges=dict(snr_db=[0.0, 20.0], csi_error_var=[0.0, 0.0], knobs=dict(log2_window=[0.0, 4.0])),
            stages=stages,
        )
    )
    config.lock()
    return config
