r"""The shipped answerers of FA-SemCom: questions about CARLA's scenes, patch features as bits over QPSK.

python -m experiments.fa_semcom.pack --out build/vqa
lvm-mtc train --config experiments/configs/fa_semcom.py --stage system --data build/vqa/carla_base.npz --run-dir runs/fa

``FILE.py:clean`` never sees noise, ``FILE.py:levels`` sees the levels instead of features; ``FILE.py:base``, ``:grid``
and ``:matched`` go on from the shipped one (``--start``) with these slices. Cost and score: docs/fa_semcom.md.
"""

from ml_collections import ConfigDict

BATCH_SIZE = 64
WINDOWS = {"base": 1, "grid": 5, "matched": 2}
QUIET = ("clean", "levels")
STEPS = {"noisy": 800, "clean": 400, "levels": 200} | dict.fromkeys(WINDOWS, 60)


def get_config(name: str = "noisy") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it; ``name`` is one of ``STEPS``."""
    if name not in STEPS:
        raise ValueError(f"name must be one of {', '.join(STEPS)}, got {name!r}")
    quiet, rate = name in QUIET, 5e-4 if name in WINDOWS else 1.5e-3
    links = [dict(fading=fading, num_rx_ant=1, num_tx_ant=1) for fading in ("awgn", "fisher_snedecor")[: 2 - quiet]]
    links[-1] |= {} if quiet else dict(m_f=5.0, m_s=4.0)
    config = ConfigDict(dict(
        scheme="fa_semcom",
        config=dict(num_bits=4, sees="levels" if name == "levels" else "features"),
        scenarios=[dict(num_groups=BATCH_SIZE // len(links), link=link) for link in links],
        ranges=dict(
            snr_db=[60.0, 60.0] if quiet else [0.0, 20.0], csi_error_var=[0.0, 0.0], knobs=dict(beta=[0.0, 2.0])
        ),
        stages=dict(system=dict(
            batch_size=BATCH_SIZE, total_steps=STEPS[name], checkpoint_every=20 if name in WINDOWS else 200,
            log_every=min(50, STEPS[name] // 4), ema_decay=0.99,
            optimizer=dict(
                learning_rate=rate, warmup_steps=min(50, STEPS[name] // 4), end_fraction=0.02, weight_decay=0.1
            ),
        )),
    ))  # fmt: skip
    if name in WINDOWS:
        config.config.num_patches = 60 * WINDOWS[name]
        config.config.slices = "grid" if name == "grid" else "told"
    config.lock()
    return config
