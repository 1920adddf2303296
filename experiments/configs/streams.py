"""DeepJSCC with its features on streams by importance: CIFAR-10, CBR 1/3, flat Rayleigh fading, -2 to 18 dB.

python -m experiments.pack_cifar10 --out build/cifar10.npz
lvm-mtc train --config experiments/configs/streams.py:2_learned --stage all --data build/cifar10.npz --run-dir runs/s

The argument is the number of streams, 2 or 4, and ``learned``, ``unordered`` (learned without the loss that orders),
``sorted`` or ``none``; all start from the package's DeepJSCC. Five minutes on a busy core each; scores:
docs/otfs_streams.md.
"""

from ml_collections import ConfigDict

STREAMS = (2, 4)
ALLOCATIONS = ("learned", "unordered", "sorted", "none")
NAMES = tuple(f"{streams}_{allocation}" for streams in STREAMS for allocation in ALLOCATIONS)
PICTURES = 16


def get_config(name: str) -> ConfigDict:
    """Returns the recipe of one allocation, as ``from_dict`` takes it."""
    if name not in NAMES:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    streams, allocation = int(name[0]), name[2:]
    link = dict(fading="rayleigh", num_rx_ant=streams, num_tx_ant=streams, convention="rx_per_antenna")
    if allocation != "none":
        link["ranked"] = {}
    optimizer = dict(learning_rate=1e-3, warmup_steps=30, end_fraction=0.02, b2=0.98)
    config = ConfigDict(
        dict(
            scheme="deepjscc_streams",
            config=dict(num_streams=streams, order="sorted" if allocation == "sorted" else "fixed"),
            start=dict(weights="deepjscc_cifar10_cbr_1_3.npz"),
            scenarios=[dict(num_groups=PICTURES, link=link)],
            ranges=dict(snr_db=[-2.0, 18.0], csi_error_var=[0.0, 0.0]),
            loss=dict(order_weight=0.1 if allocation == "learned" else 0.0),
            stages=dict(
                system=dict(batch_size=PICTURES, total_steps=400, checkpoint_every=100, log_every=50, ema_decay=0.99,
                            optimizer=optimizer)
            ),
        )
    )  # fmt: skip
    config.lock()
    return config
