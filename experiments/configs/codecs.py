"""Codecs on equal terms, every patch kept: one set of weights for 0 to 14 dB, AWGN and 4x4 Rayleigh.

python -m experiments.pack_cifar10 --out build/cifar10.npz
lvm-mtc train --config experiments/configs/codecs.py:cifar10_witt --stage all --data build/cifar10.npz --run-dir runs/w

The argument is ``cifar10_`` and ``token``, ``deepjscc`` or ``witt``, at CBR 1/3. Half of the symbols, ``--set
config.num_symbols=8``, is half of the ratio. WITT's learning rate is three times its authors' 1e-4, for far
fewer steps.
"""

from ml_collections import ConfigDict

NAMES = tuple(f"cifar10_{codec}" for codec in ("token", "deepjscc", "witt"))
PICTURES = 32
"""A step."""


def get_config(name: str) -> ConfigDict:
    """Returns the recipe of one codec, as ``from_dict`` takes it.

    Args:
        name: Pictures and codec, such as "cifar10_witt".
    """
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    codec = name.removeprefix("cifar10_")
    token = codec == "token"
    optimizer = dict(learning_rate=3e-4 if codec == "witt" else 1e-3, warmup_steps=50, end_fraction=0.02, b2=0.98)
    ranges, loss = dict(snr_db=[0.0, 14.0], csi_error_var=[0.0, 0.0]), dict(image_loss="log_mse")
    links = (dict(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
    recipe = dict(
        scenarios=[dict(num_groups=PICTURES // 2, link=link) for link in links],
        ranges=ranges | (dict(knobs=dict(mask_prob=[0.1, 0.5], epsilon=[0.0, 0.0])) if token else {}),
        loss=loss | (dict(token_weight=0.0) if token else {}),
        stages=dict(system=dict(
            batch_size=PICTURES, total_steps=1600, checkpoint_every=100, log_every=20,
            ema_decay=0.995, optimizer=optimizer | (dict(slow=["linear"], slow_factor=0.1) if token else {}),
        )),
    )  # fmt: skip
    if token:
        # Every component over all four transmit antennas: nothing large is lost with one stream.
        shapes = dict(variant="small", image_size=32, patch_size=8, num_kept=16, num_symbols=64)
        recipe |= dict(scheme="lvm_mtc", start=dict(spread=4), config=shapes)
    else:
        recipe |= dict(scheme=codec, config=dict(image_size=32, num_symbols=16))
    config = ConfigDict(recipe)
    config.lock()
    return config
