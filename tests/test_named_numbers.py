"""Wrong numbers by name: what is known while tracing is refused where the user calls, in one line with the value."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import LinkConfig, OperatingPoint, Source, forward, phy
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import check_source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.plan import SweepSpec, picture_source

SCHEME = LvmMtc(LvmMtcConfig(variant="linear", image_size=16, patch_size=8, num_symbols=4, power_allocation=False))
IMAGES = np.full((1, 2, 16, 16, 3), 0.5, np.float32)
LOC = np.full((1, 2, 4), 8, np.float32)
FLIGHT = dict(scenario="UMa-AV", tx_power_dbm=30.0, bandwidth=1e7, noise_figure_db=7.0, shadowing=False, los=True)


def send(images=IMAGES, **point):
    """Up to what is refused: nothing is compiled."""
    params = jax.eval_shape(SCHEME.init, jax.random.key(0))

    source = Source(images, {"loc": LOC})

    def run(params, key):
        return forward(SCHEME, params, source, key, LinkConfig(), OperatingPoint(**point)).estimate.data

    return jax.eval_shape(run, params, jax.eval_shape(lambda: jax.random.key(0)))


def fly(positions=((100.0, 0.0, 50.0),), carrier_frequency=3.5e9):
    return phy.air_to_ground(None, np.array(positions), carrier_frequency=carrier_frequency, **FLIGHT)


def check(modality, data):
    """As every scheme of that modality, and every sweep."""
    check_source("Source.data", modality, data)


def sweep(**fields):
    contender = Contender(name="a", scheme=SCHEME, params={})
    fields = {"sources": {2: picture_source(IMAGES, LOC)}, "links": (LinkConfig(),), "snr_db": (0.0,)} | fields
    return SweepSpec(schemes=(contender,), **fields)


X, H = jnp.ones((3, 2), jnp.complex64), jnp.ones((3, 2, 2), jnp.complex64)
PILOTS = LinkConfig.of(csi="pilots_ls", num_pilots=4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: phy.noise_variance(10.0, convention="rx_per_antenna"), "'rx_per_antenna' .* needs num_tx_ant"),
        (lambda: phy.noise_variance(10.0, convention="received_total", num_tx_ant=4), "needs num_rx_ant"),
        (lambda: phy.noise_variance(10.0, convention="received_total", fading=False), "needs num_tx_ant"),
        (lambda: phy.snr_db_from_noise_variance(0.1, convention="rx_per_antenna"), "needs num_tx_ant"),
        (lambda: phy.Snr(value_db=3.0, convention="received_total").to("esno"), "needs num_rx_ant"),
        (lambda: send(csi_error_var=-0.1), "OperatingPoint.csi_error_var must be >= 0, got -0.1"),
        (lambda: send(snr_db=float("nan")), "OperatingPoint.snr_db must be >= -300, got nan"),
        (lambda: send(knobs={"mask_prob": 2.0}), r"knob 'mask_prob' must lie in \(0, 1\), got 2.0"),
        (lambda: send(knobs={"epsilon": np.float32(-1)}), r"knob 'epsilon' must lie in \[0, inf\], got -1.0"),
        (lambda: send(np.uint8(255 * IMAGES)), r"Source.data must be pictures of floating .*\[0, 1\], got uint8"),
        (lambda: check("classes", 255 * IMAGES), r"Source.data must be pictures .*\[0, 1\], got 127.5"),
        (lambda: check("clips", 2 * IMAGES - 1.5), r"Source.data must be pictures .*\[0, 1\], got -0.5"),
        (lambda: check("stereo", 255 * IMAGES), r"Source.data must be pictures .*\[0, 1\], got 127.5"),
        (lambda: check("points", 255 * IMAGES), r"Source.data must be points in the unit ball, the farthest is at 220"),
        (lambda: check("points", np.nan * IMAGES), r"Source.data must be points in the unit ball, .* at nan"),
        (lambda: send(csi_error_var=1e39), "OperatingPoint.csi_error_var must be finite in float32, got 1e"),
        (lambda: send(snr_db=-float("inf")), "OperatingPoint.snr_db must be >= -300, got -inf"),
        (lambda: phy.mf_equalizer(X, H, float("inf")), "no must be finite in float32, got inf"),
        (lambda: phy.csi_posterior(H, 1e39), "csi_error_var must be finite in float32, got 1e"),
        (lambda: send(255 * IMAGES), r"Source.data must be pictures .*\[0, 1\], got 127.5 ... 127.5"),
        (lambda: sweep(sources={2: picture_source(255 * IMAGES, LOC)}), r"SweepSpec.sources\[2\].data .* got 127.5"),
        (lambda: sweep(links=(PILOTS,), csi_error_var=(0.0, 0.1)), "csi_error_var 0, 0.1: under csi 'pilots_ls'"),
        (lambda: LinkConfig(k_factor_db=3.0), "LinkConfig.k_factor_db 3.0 has no effect under fading 'rayleigh'"),
        (lambda: LinkConfig(fading="rician", nakagami_m=3.0), "LinkConfig.nakagami_m 3.0 has no effect"),
        (lambda: LinkConfig(delay_spread=1e-7 * 2), "LinkConfig.delay_spread 2e-07 has no effect"),
        (lambda: LinkConfig(fading=phy.rayleigh, m_s=4.0), "LinkConfig.m_s 4.0 has no effect"),
        (lambda: fly(carrier_frequency=3.5), r"carrier_frequency must lie in \[5e\+08, 1e\+11\] Hz, got 3.5"),
        (lambda: fly([(0.0, 0.0, 0.0)]), r"positions\[..., 2\] must lie in \[1.5, 300\] m, got \[0.\]"),
        (lambda: fly([(9.0, 0.0, 50.0), (0.0, 0.0, 25.0)]), "a UAV stands where the base station is"),
        (lambda: phy.qam_map(np.array([0, 1, 2, 0]), 2), "bits must be zeros and ones, got 2"),
    ],
)
def test_it_is_refused(call, words):
    with pytest.raises(ValueError, match=words) as error:
        call()
    assert "\n" not in str(error.value)


def test_what_is_right_passes():
    check("points", IMAGES)
    check("text", np.int32([[99]]))
    assert send(csi_error_var=0.0, knobs={"mask_prob": 0.3}).shape == IMAGES.shape
    np.testing.assert_allclose(phy.noise_variance(10.0, convention="rx_per_antenna", num_tx_ant=4), 0.4, rtol=1e-6)
    np.testing.assert_allclose(phy.noise_variance(10.0, convention="rx_per_antenna", fading=False), 0.1, rtol=1e-6)
    assert np.isfinite(fly().snr_db).all() and len(list(sweep(links=(PILOTS,)).coordinates())) == 1
    assert phy.qam_map(jnp.array([0, 1, 1, 0]), 2).shape == (2,)
    rician = dataclasses.replace(LinkConfig(fading="rician"), k_factor_db=3.0)
    assert rician.k_factor_db == 3.0
