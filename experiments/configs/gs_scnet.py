r"""The stereo codec: synthetic scenes of 64 x 64 pixels over AWGN and Rayleigh, 0 to 20 dB.

python -m experiments.stereo.pack --data ../shared/data --out build/stereo.npz
lvm-mtc train --config experiments/configs/gs_scnet.py --stage all --data build/stereo.npz --run-dir runs/gs_scnet
python -m experiments.stereo.export --weights runs/gs_scnet/joint/weights.npz

``FILE.py:none`` and ``FILE.py:concat`` have another fusion of the views. Cost and score: docs/stereo.md.
"""

from ml_collections import ConfigDict

MATRICES = ["mix", "/out/", "embed", "look", "finer", "stem", "first", "volume"]


def get_config(fusion: str = "disparity") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it; ``fusion`` is in ``schemes.gs_scnet.network.FUSIONS``."""
    awgn, rayleigh = (dict(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
    optimizer = dict(end_fraction=0.02, b2=0.98, muon=MATRICES)
    each = dict(batch_size=4, checkpoint_every=50, log_every=25, ema_decay=0.98)
    first = optimizer | dict(learning_rate=2e-3, muon_learning_rate=5e-3, warmup_steps=50)
    rest = optimizer | dict(learning_rate=1e-3, muon_learning_rate=2e-3, warmup_steps=20)
    config = ConfigDict(dict(
        scheme="gs_scnet",
        config=dict(fusion=fusion),
        scenarios=[dict(num_groups=3, link=awgn), dict(num_groups=1, link=rayleigh)],
        ranges=dict(snr_db=[0.0, 20.0], csi_error_var=[0.0, 0.0]),
        loss=dict(image_loss="log_mse"),
        stages=dict(
            codec=each | dict(total_steps=1000, optimizer=first),
            lift=each | dict(total_steps=100, optimizer=rest),
            joint=each | dict(total_steps=300, optimizer=rest),
        ),
    ))  # fmt: skip
    config.lock()
    return config
