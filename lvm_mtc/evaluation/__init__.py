"""What a run is worth: metrics, intervals over independent units, grids of operating points, tables and figures."""

from lvm_mtc.evaluation.intervals import Interval, paired_difference, student_interval, t_quantile
from lvm_mtc.evaluation.metrics import box_mask, evm, mean_psnr, mse, nmse, psnr, psnr_of_mean_mse, ssim, ssim_map

__all__ = [
    "Interval",
    "box_mask",
    "evm",
    "mean_psnr",
    "mse",
    "nmse",
    "paired_difference",
    "psnr",
    "psnr_of_mean_mse",
    "ssim",
    "ssim_map",
    "student_interval",
    "t_quantile",
]
