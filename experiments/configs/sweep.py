r"""PSNR, SSIM and error over SNR and CSI error: object-first against uniform masking, AWGN and Rayleigh, K = 4.

lvm-mtc sweep --config experiments/configs/sweep.py --store sweep.sqlite
lvm-mtc figures --store sweep.sqlite --out figures

220 points on scikit-image's photographs; about ten minutes on two cores.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Returns the sweep, as ``lvm_mtc.config.from_dict(SweepConfig, ...)`` takes it."""
    config = ConfigDict(
        dict(
            snr_db=[float(snr) for snr in range(0, 21, 2)],
            csi_error_var=[0.0, 0.01, 0.03, 0.1, 0.3],
            channel=["awgn", "rayleigh"],
            num_uavs=[4],
            schemes=["object", "uniform"],
            stopping=dict(target_half_width=None, max_units=32),
        )
    )
    config.lock()
    return config
