r"""The learned codec of point clouds: 1,024 points in 320 symbols over AWGN and Rayleigh, 0 to 20 dB.

lvm-mtc train --config experiments/configs/point_clouds.py --stage system \
    --data ../shared/data/clouds/modelnet10_1024.npz --run-dir runs/point_clouds
python -m experiments.point_clouds.export --weights runs/point_clouds/system/weights.npz

The data are ModelNet10 (Princeton), 1,906 clouds of its official train split, for research; they are not part of the
project. ``FILE.py:qam16`` learns for 16-QAM and ``FILE.py:analogue`` without any modulation, from the same start and in
as many steps, a quarter of the shipped codec's. Cost and score: docs/point_clouds.md.
"""

from ml_collections import ConfigDict

STEPS, FEWER_STEPS = 4000, 1000
SYMBOLS = {"shipped": {}, "qam16": dict(bits_per_symbol=4), "analogue": dict(bits_per_symbol=4, modulator="analog")}
"""How the codecs send their values; what the analogue one does not use has equal sizes."""


def get_config(name: str = "shipped") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it; ``name`` is one of ``SYMBOLS``."""
    if name not in SYMBOLS:
        raise ValueError(f"name must be one of {', '.join(SYMBOLS)}, got {name!r}")
    awgn, rayleigh = (dict(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
    scenarios = [
        dict(num_groups=4, link=awgn),
        dict(num_groups=2, link=rayleigh),
        dict(num_groups=2, link=awgn, config=dict(allocation="importance")),
    ]
    matrices = ["group", "where", "token", "/qkv/", "/score_", "/out/", "/up/", "/down/", "hidden", "/heard/"]
    config = ConfigDict(dict(
        scheme="point_clouds",
        config=dict(allocation="fixed") | SYMBOLS[name],
        scenarios=scenarios,
        ranges=dict(snr_db=[-1.0, 20.0], csi_error_var=[0.0, 0.05], knobs=dict(temperature=[0.2, 1.0])),
        stages=dict(system=dict(
            batch_size=8, total_steps=STEPS if name == "shipped" else FEWER_STEPS, checkpoint_every=100, log_every=50,
            ema_decay=0.99,
            optimizer=dict(
                learning_rate=2e-3, warmup_steps=100, end_fraction=0.02, b2=0.98, muon=matrices,
                muon_learning_rate=5e-3,
            ),
        )),
    ))  # fmt: skip
    config.lock()
    return config
