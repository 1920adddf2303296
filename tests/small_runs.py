import dataclasses

import jax
import numpy as np
import pytest

from lvm_mtc.link import LinkConfig
from lvm_mtc.models.pca import PatchPca
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.sweep import programs
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.stopping import StoppingRule

LINKS = tuple(LinkConfig(fading=fading, convention="rx_per_antenna") for fading in ("awgn", "rayleigh"))
SMALL = LvmMtcConfig(variant="linear", image_size=32, patch_size=8, num_symbols=8, power_allocation=False)


def smooth_pictures(batch, num_uavs, size=32):
    """Pictures of which a few components per patch tell nearly everything."""
    rng = np.random.default_rng(5)
    coarse = rng.uniform(0.2, 0.8, (batch, num_uavs, 5, 5, 3))
    at = np.linspace(0, 4, size)
    low = np.minimum(at.astype(int), 3)
    t = (at - low)[:, None]
    rows = coarse[:, :, low] * (1 - t[..., None]) + coarse[:, :, low + 1] * t[..., None]
    picture = rows[:, :, :, low] * (1 - t) + rows[:, :, :, low + 1] * t
    return np.float32(picture)


def small_params():
    """A linear codec on an orthonormal basis of smooth patches, without training."""
    y, x = (axis.ravel() / 7 for axis in np.mgrid[:8, :8])
    smooth = np.stack([np.ones(64), x, y, x * y, x * x, y * y], axis=1)
    columns = np.stack([np.kron(smooth[:, i], channel) for i in range(6) for channel in np.eye(3)], axis=1)
    full = np.concatenate([columns, np.random.default_rng(0).normal(size=(192, 192 - columns.shape[1]))], axis=1)
    basis, _ = np.linalg.qr(full)
    variances = np.where(np.arange(192) < 3, 2.0, np.where(np.arange(192) < 18, 0.05, 1e-6))
    return init_from_pca(LvmMtc(SMALL).init(jax.random.key(0)), PatchPca(np.full(192, 0.5), basis, variances))


@pytest.fixture(scope="session")
def small_scheme():
    return Contender(name="object first", scheme=LvmMtc(SMALL), params=small_params())


@pytest.fixture(scope="session")
def small_pictures():
    loc = np.tile(np.float32([12, 16, 16, 12]), (3, 2, 1))
    return smooth_pictures(3, 2), loc


@pytest.fixture(scope="module")
def small_spec(fast_compile, small_scheme, small_pictures):
    """Two schemes on two channels at six points."""
    uniform = dataclasses.replace(small_scheme, name="uniform masking", knobs={"mask_prob": 0.5}, swept=())
    return SweepSpec(
        schemes=(small_scheme, uniform),
        links=LINKS,
        sources={2: picture_source(*small_pictures)},
        snr_db=(0.0, 10.0, 20.0),
        csi_error_var=(0.0, 0.05),
        stopping=StoppingRule(target_half_width=None, max_units=6),
        metrics=("psnr_db", "psnr_inside_db", "mse", "nmse_symbols"),
        pictures_per_step=4,
    )


@pytest.fixture(scope="module")
def traced():
    """How often each program was traced since the last call; none of those that other tests traced counts as known."""

    def count():
        traces = {name: programs.TRACES[name] - before.get(name, 0) for name in ("encode", "draw", "send")}
        before.update(programs.TRACES)
        return traces

    for program in (programs.encode, programs.draw, programs.send):
        program.clear_cache()
    before = dict(programs.TRACES)
    return count
