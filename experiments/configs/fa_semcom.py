r"""The shipped answerers of FA-SemCom: questions about CARLA's scenes, patch features as bits over QPSK.

python -m experiments.fa_semcom.pack --out build/vqa
lvm-mtc train --config experiments/configs/fa_semcom.py --stage system --data build/vqa/carla_base.npz --run-dir runs/fa

``FILE.py:clean`` never sees noise, ``FILE.py:levels`` sees the levels instead of features. Cost and score:
docs/fa_semcom.md.
"""

from ml_collections import ConfigDict

BATCH_SIZE = 64
SNR_DB = {"noisy": [0.0, 20.0], "clean": [60.0, 60.0], "levels": [60.0, 60.0]}
STEPS = {"noisy": 800, "clean": 400, "levels": 200}


def get_config(name: str = "noisy") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it; ``name`` is "noisy", "clean" or "levels"."""
    if name not in STEPS:
        raise ValueError(f"name must be one of {', '.join(STEPS)}, got {name!r}")
    fadings = ("awgn", "fisher_snedecor") if name == "noisy" else ("awgn",)
    links = [dict(fading=fading, num_rx_ant=1, num_tx_ant=1) for fading in fadings]
    links[-1] |= dict(m_f=5.0, m_s=4.0) if name == "noisy" else {}
    config = ConfigDict(dict(
        scheme="fa_semcom",
        config=dict(num_bits=4, sees="levels" if name == "levels" else "features"),
        scenarios=[dict(num_groups=BATCH_SIZE // len(links), link=link) for link in links],
        ranges=dict(snr_db=SNR_DB[name], csi_error_var=[0.0, 0.0], knobs=dict(beta=[0.0, 2.0])),
        stages=dict(system=dict(
            batch_size=BATCH_SIZE, total_steps=STEPS[name], checkpoint_every=200, log_every=50, ema_decay=0.99,
            optimizer=dict(learning_rate=1.5e-3, warmup_steps=50, end_fraction=0.02, weight_decay=0.1),
        )),
    ))  # fmt: skip
    config.lock()
    return config
