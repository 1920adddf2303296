"""DeepJSCC on photographs, on the token codec's terms: one set of weights for 0 to 14 dB, AWGN and 4x4 Rayleigh.

python experiments/pack_pictures.py --data ../shared/data --out build/pictures_160.npz
python experiments/train_photographs.py --data build/pictures_160.npz --runs runs --only photographs_deepjscc

CBR 1/6; crops of 96 pixels, drawn and mirrored. Cost and score: docs/results.md.
"""

from ml_collections import ConfigDict

PICTURES = 4


def get_config() -> ConfigDict:
    """Returns the recipe, as ``lvm_mtc.config.from_dict(PictureRecipe, ...)`` takes it."""
    link = dict(convention="rx_per_antenna")
    config = ConfigDict(
        dict(
            picture_codec=dict(codec="deepjscc", image_size=96, num_symbols=8),
            scenarios=[
                dict(num_groups=PICTURES // 2, link=dict(fading="awgn", **link)),
                dict(num_groups=PICTURES // 2, link=dict(fading="rayleigh", **link)),
            ],
            objective=dict(snr_db=[0.0, 14.0], csi_error_var=[0.0, 0.0], image_loss="log_mse"),
            end_to_end=dict(
                batch_size=PICTURES,
                total_steps=1000,
                checkpoint_every=100,
                log_every=20,
                ema_decay=0.995,
                optimizer=dict(learning_rate=1e-3, warmup_steps=50, end_fraction=0.02, b2=0.98),
            ),
        )
    )
    config.lock()
    return config
