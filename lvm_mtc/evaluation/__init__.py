"""What a run is worth: metrics, intervals over independent units, grids of operating points, tables and figures.

Names are loaded when they are first used, so that the result store starts without jax.
"""

import importlib
from typing import Any

_HOME = {
    "Interval": "intervals",
    "Measured": "points",
    "Point": "points",
    "ResultStore": "store",
    "box_mask": "metrics",
    "config_hash": "points",
    "evm": "metrics",
    "mean_psnr": "metrics",
    "ms_ssim": "multi_scale",
    "mse": "metrics",
    "nmse": "metrics",
    "paired_difference": "intervals",
    "perceptual_distance": "perceptual",
    "psnr": "metrics",
    "psnr_of_mean_mse": "metrics",
    "ssim": "metrics",
    "ssim_map": "metrics",
    "student_interval": "intervals",
    "t_quantile": "intervals",
}

__all__ = list(_HOME)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(sorted(__all__))}")


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
