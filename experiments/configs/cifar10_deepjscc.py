"""DeepJSCC on CIFAR-10: one set of weights for 0 to 14 dB, AWGN and 4x4 Rayleigh, on the token codec's terms.

python experiments/pack_cifar10.py --out build/cifar10.npz
lvm-mtc train --config experiments/configs/cifar10_deepjscc.py --stage all --data build/cifar10.npz --run-dir runs/jscc

CBR 1/3; with --set picture_codec.num_symbols=8 it is 1/6, with 4 it is 1/12. Cost and score: docs/results.md.
"""

from ml_collections import ConfigDict

PICTURES = 32


def get_config() -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(PictureRecipe, ...)`` takes it."""
    link = dict(convention="rx_per_antenna")
    config = ConfigDict(
        dict(
            picture_codec=dict(codec="deepjscc", image_size=32, num_symbols=16),
            scenarios=[
                dict(num_groups=PICTURES // 2, link=dict(fading="awgn", **link)),
                dict(num_groups=PICTURES // 2, link=dict(fading="rayleigh", **link)),
            ],
            objective=dict(snr_db=[0.0, 14.0], csi_error_var=[0.0, 0.0], image_loss="log_mse"),
            end_to_end=dict(
                batch_size=PICTURES,
                total_steps=1600,
                checkpoint_every=100,
                log_every=20,
                ema_decay=0.995,
                optimizer=dict(learning_rate=1e-3, warmup_steps=50, end_fraction=0.02, b2=0.98),
            ),
        )
    )
    config.lock()
    return config
