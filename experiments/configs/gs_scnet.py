r"""The stereo codec: synthetic scenes of 64 x 64 pixels over AWGN, 0 to 20 dB.

python -m experiments.stereo.pack --data ../shared/data --out build/stereo.npz
lvm-mtc train --config experiments/configs/gs_scnet.py --stage joint --data build/stereo.npz --run-dir runs/gs_scnet
python -m experiments.stereo.export --weights runs/gs_scnet/joint/weights.npz

The shipped weights are those with disparity fusion; ``FILE.py:none`` and ``FILE.py:concat`` are the same without it and
with the same place of the other view. 1,500 steps, nine minutes of one core. Score: docs/stereo.md.
"""

from ml_collections import ConfigDict

MATRICES = ["mix", "/out/", "embed", "look", "finer", "first", "volume"]


def get_config(fusion: str = "disparity") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it; ``fusion`` is in ``schemes.gs_scnet.network.FUSIONS``."""
    stage = dict(
        batch_size=4, total_steps=1500, checkpoint_every=50, log_every=50, ema_decay=0.98,
        optimizer=dict(learning_rate=2e-3, muon_learning_rate=5e-3, warmup_steps=75, end_fraction=0.02, b2=0.98,
                       muon=MATRICES),
    )  # fmt: skip
    config = ConfigDict(dict(
        scheme="gs_scnet",
        config=dict(fusion=fusion),
        scenarios=[dict(
            num_groups=4, link=dict(fading="awgn", convention="rx_per_antenna"), config=dict(capacity=160),
        )],
        ranges=dict(snr_db=[0.0, 20.0], csi_error_var=[0.0, 0.0]),
        loss=dict(image_loss="log_mse"),
        stages=dict(joint=stage),
    ))  # fmt: skip
    config.lock()
    return config
