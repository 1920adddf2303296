r"""The shipped video codec: its linear codec, then the receiver's network; 96-pixel pieces of 16 frames over AWGN.

python -m experiments.video.pack_clips --data ../shared/data --out build/clips.npz
lvm-mtc train --config experiments/configs/pvsc.py --stage all --data build/clips.npz --run-dir runs/pvsc
python -m experiments.video.export --weights runs/pvsc/system/weights.npz

``FILE.py:unaligned`` has a network that looks at the same place of the frame before, ``FILE.py:linear`` has none and
nothing to train. ``FILE.py:perceptual`` goes on from the shipped weights by how frames look, ``FILE.py:longer`` in the
same steps by squared error as before; a piece of four frames of 48 x 48 pixels a step:

lvm-mtc train --config experiments/configs/pvsc.py:perceptual --stage perceptual --data build/clips.npz \
  --start lvm_mtc/weights/pvsc.npz --run-dir runs/pvsc

Cost and score: docs/video.md.
"""

from ml_collections import ConfigDict

MATRICES = ["mix", "out", "query", "key", "context", "embed", "reliability"]
JUDGE = "../shared/data/weights/stlpips_alex_fp16.npz"
"""Weights of ST-LPIPS."""
FURTHER = {"perceptual": "perceptual", "mild": "perceptual", "longer": "system"}
"""What goes on from the shipped weights: its stage."""


def get_config(name: str = "small") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it.

    ``name`` is in ``schemes.pvsc.network.NETWORKS``, or "linear", or a key of ``FURTHER``.
    """
    network = ({"linear": None} | dict.fromkeys(FURTHER, "small")).get(name, name)
    config = ConfigDict(dict(
        scheme="pvsc",
        config=dict(num_frames=16, network=network),
        scenarios=[dict(num_groups=1, link=dict(fading="awgn", convention="rx_per_antenna"))],
        ranges=dict(snr_db=[-2.0, 20.0], csi_error_var=[0.0, 0.0], knobs=dict(rate=[0.25, 1.0])),
        loss=dict(image_loss="log_mse"),
        stages=dict(system=dict(
            batch_size=1, total_steps=240, checkpoint_every=40, log_every=20, ema_decay=0.99,
            optimizer=dict(learning_rate=2e-3, warmup_steps=30, end_fraction=0.02, b2=0.98,
                           muon=MATRICES, muon_learning_rate=5e-3),
        )),
    ))  # fmt: skip
    if name == "linear":
        config.stages, config.loss = {}, {}
    elif name in FURTHER:
        pieces = dict(size=[48, 48], num_uses=216, num_frames=4, gop=4, intra_factor=2.0)
        config.scenarios[0]["config"] = pieces
        config.stages = {FURTHER[name]: dict(
            batch_size=1, total_steps=1000, checkpoint_every=100, log_every=25, ema_decay=0.99,
            optimizer=dict(learning_rate=3e-4, warmup_steps=30, end_fraction=0.02, b2=0.98),
        )}  # fmt: skip
        if FURTHER[name] == "perceptual":
            config.fields = dict(perceptual=JUDGE)
            config.loss = dict(distance=0.02 if name == "mild" else 0.2, similarity=0.1)
        else:
            config.loss = dict(image_loss="log_mse")
    config.lock()
    return config
