"""The chain on Sionna's channels: one changed word, gradients through the graph, sweeps; what is said without it."""

import functools
import importlib.util
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.interop.sionna import CHANNELS
from lvm_mtc.interop.sionna.runtime import SionnaUnavailable
from lvm_mtc.link import LinkConfig, OperatingPoint, Slots
from lvm_mtc.models.pca import fit_pca
from lvm_mtc.phy import ResourceGrid
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.pca import init_from_pca
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.plan import SweepSpec, picture_source
from lvm_mtc.sweep.run import sample_points
from lvm_mtc.sweep.stopping import StoppingRule

pytestmark = pytest.mark.usefixtures("fast_compile")

GRID = ResourceGrid(fft_size=16, num_ofdm_symbols=6, cyclic_prefix_length=8, pilot_symbols=(0, 3))
CONFIG = LvmMtcConfig(
    variant="linear", image_size=32, patch_size=8, num_symbols=8, num_kept=16, power_allocation=False, receiver="shrunk"
)
SOME = ("sionna_awgn", "sionna_rayleigh", "sionna_tdl_a", "sionna_cdl_d", "sionna_umi")


def link(fading, **fields):
    selective = CHANNELS.get(fading) and CHANNELS[fading].kind == "paths"
    grid = {"ofdm": GRID} if selective or fields.get("waveform") == "ofdm" else {}
    return LinkConfig.of(fading=fading, num_rx_ant=2, num_tx_ant=2, **grid, **fields)


def patches(count):
    """Patches with a spectrum that falls off, as those of photographs do."""
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(192, 192)))[0]
    return np.clip(0.5 + rng.normal(size=(count, 192)) * 2.0 / np.arange(1, 193) @ basis, 0, 1)


@functools.cache
def scheme():
    """The linear codec, fitted to such patches."""
    linear = LvmMtc(CONFIG)
    params = init_from_pca(linear.init(jax.random.key(0)), fit_pca(patches(3000)))
    return Contender(name="linear", scheme=linear, params=params)


def pictures(batch=2, num_uavs=2):
    shape = (batch, num_uavs, 4, 4, 8, 8, 3)
    images = patches(batch * num_uavs * 16).reshape(shape).transpose(0, 1, 2, 4, 3, 5, 6)
    images = images.reshape(batch, num_uavs, 32, 32, 3).astype(np.float32)
    return images, np.tile(np.float32([16, 16, 12, 12]), (batch, num_uavs, 1))


@pytest.mark.sionna
@pytest.mark.parametrize("fading", SOME)
def test_one_changed_word_changes_the_channel(fading):
    keys = jax.random.split(jax.random.key(3), 2)
    x = jax.random.normal(jax.random.key(4), (40, 2, 32, 2), jnp.complex64)
    chosen, point = link(fading), OperatingPoint(snr_db=12.0, csi_error_var=0.02)

    @jax.jit
    def run(keys):
        draws = chosen.carrier.draw(chosen, keys, *x.shape[:1], *x.shape[2:3] * 2, point)
        return chosen.carrier.send(chosen, Slots(x), draws, point)

    out, again, other = (run(jax.random.clone(k)) for k in (keys, keys, keys[::-1]))
    np.testing.assert_array_equal(out.x_hat, again.x_hat)
    np.testing.assert_array_equal(out.h[:, 0], other.h[:, 1])  # a UAV's channel depends on its key alone
    assert not np.allclose(out.y, other.y)
    # The receiver's belief is right for every channel: the CSI error is the native one.
    ratio = np.asarray(np.abs(out.x_hat - x) ** 2 / out.no_eff).reshape(80, -1).mean(-1)
    assert abs(ratio.mean() - 1) < 5 * ratio.std(ddof=1) / np.sqrt(80)
    assert abs(2 * ratio.mean() - 1) > 5 * ratio.std(ddof=1) / np.sqrt(80)


@pytest.mark.sionna
@pytest.mark.parametrize("fading", ["rayleigh", "sionna_tdl_a", "sionna_cdl_d"])
def test_the_grid_of_points_runs_on_it(fading):
    chosen = link(fading, waveform="ofdm", convention="rx_per_antenna")
    spec = SweepSpec(
        schemes=(scheme(),),
        links=(chosen,),
        sources={2: picture_source(*pictures())},
        snr_db=(0.0, 10.0, 20.0),
        metrics=("mse",),
        stop_metric="mse",
        stopping=StoppingRule(target_half_width=None, max_units=3),
        seeds=(5,),
    )
    found = sample_points(spec, spec.coordinates())
    assert np.all(np.diff([samples.metrics["mse"].mean() for samples in found]) < 0)
    # 4 pictures x 3 realisations, each a fading block of unit mean power.
    spread = 5 / np.sqrt(12)
    realised_db = 10 * np.log10([samples.realised_snr.mean() for samples in found])
    assert np.all(np.abs(realised_db - spec.snr_db) < 10 * np.log10(1 + spread))
    for samples in found:
        uses = samples.ledger.channel_uses()
        assert np.all(uses == uses[0])


@pytest.mark.sionna
def test_gradient_from_pixels_through_tdl_to_pixels():
    linear, params = scheme().scheme, scheme().params
    # One UAV: the comparator's soft decision is a gradient that no difference sees.
    images, loc = (jnp.asarray(a) for a in pictures(num_uavs=1))

    @jax.jit
    def loss(params, images, snr_db):
        point = OperatingPoint(snr_db=snr_db, csi_error_var=jnp.float32(0.02))
        out = forward(linear, params, Source(images, {"loc": loc}), jax.random.key(7), link("sionna_tdl_a"), point)
        return jnp.mean((out.estimate.data - images) ** 2)

    at = (params, images, jnp.float32(10.0))
    by_params, by_images, by_snr = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(*at)
    for direction, step, replace in (
        (by_images / jnp.sqrt(jnp.mean(by_images**2)), 3e-3, lambda d: (params, images + d, at[2])),
        (jnp.float32(1.0), 0.1, lambda d: (params, images, at[2] + d)),
    ):
        difference = (loss(*replace(step * direction)) - loss(*replace(-step * direction))) / (2 * step)
        slope = jnp.sum((by_images if direction.ndim else by_snr) * direction)
        np.testing.assert_allclose(slope, difference, rtol=2e-2)
    direction = by_params["channel_encoder"]
    norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(direction)))
    step = 1e-2

    def moved(sign):
        shifted = jax.tree.map(lambda a, d: a + sign * step * d / norm, params["channel_encoder"], direction)
        return loss(params | {"channel_encoder": shifted}, images, at[2])

    np.testing.assert_allclose(norm, (moved(1) - moved(-1)) / (2 * step), rtol=2e-2)


@pytest.mark.parametrize("fading", ["sionna_awgn", "sionna_tdl_a", "sionna_cdl_d"])
def test_without_the_extra_one_line_says_what_to_install(fading, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "sionna" else find(name, *a))
    chosen = link(fading)  # a configuration alone asks for nothing
    with pytest.raises(SionnaUnavailable, match=r"not installed: pip install 'lvm-mtc\[sionna\]'") as refused:
        chosen.carrier.draw(chosen, jax.random.split(jax.random.key(0), 2), 1, 8, 8, OperatingPoint())
    assert "\n" not in str(refused.value) and isinstance(refused.value, ValueError)


def test_configurations_load_neither_sionna_nor_tensorflow():
    for fading in CHANNELS:
        assert (link(fading).grid is not None) == (CHANNELS[fading].kind == "paths")
    if importlib.util.find_spec("sionna") is None:
        assert "tensorflow" not in sys.modules
