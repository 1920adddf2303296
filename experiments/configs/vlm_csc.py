r"""The shipped text transceiver: captions of 16 words at most over AWGN and 4x4 Rayleigh, 0 to 10 dB.

python -m experiments.text.pack_captions --out build/captions.npz
lvm-mtc train --config experiments/configs/vlm_csc.py --stage system --data build/captions.npz --run-dir runs/vlm_csc

``FILE.py:full`` has the sizes of the paper (3 layers, hidden width 512, 9 MB of weights) instead of two thirds of them;
``FILE.py:awgn`` is the small one over AWGN alone, 2,500 steps: each training of ``experiments.text.noise_attention``.
Cost and score: docs/text.md.
"""

from ml_collections import ConfigDict

BATCH_SIZE = 64
SMALL = dict(depth=2, hidden=256)


def get_config(name: str = "small") -> ConfigDict:
    """Returns the recipe, as ``from_dict`` takes it; ``name`` is "small", "full" or "awgn"."""
    if name not in ("small", "full", "awgn"):
        raise ValueError(f"name must be small, full or awgn, got {name!r}")
    links = [dict(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh")]
    links = links[:1] if name == "awgn" else links
    config = ConfigDict(dict(
        scheme="vlm_csc",
        config=dict(vocabulary=3000, num_words=16, num_symbols=8) | ({} if name == "full" else SMALL),
        scenarios=[dict(num_groups=BATCH_SIZE // len(links), link=link) for link in links],
        ranges=dict(snr_db=[0.0, 10.0], csi_error_var=[0.0, 0.0]),
        stages=dict(system=dict(
            batch_size=BATCH_SIZE, total_steps=2500 if name == "awgn" else 4000,
            checkpoint_every=200, log_every=50, ema_decay=0.995,
            optimizer=dict(
                learning_rate=1e-3, warmup_steps=100, end_fraction=0.02, b2=0.98,
                muon=["qkv", "proj", "query", "key", "value", "fc1", "fc2", "hidden", "out"], muon_learning_rate=5e-3,
            ),
        )),
    ))  # fmt: skip
    config.lock()
    return config
