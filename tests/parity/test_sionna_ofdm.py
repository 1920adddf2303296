"""Our OFDM chain against Sionna 1.2.2's on the same channel, data and noise, in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.phy.ofdm import OfdmDraws, ofdm_demodulate, ofdm_link, ofdm_modulate
from lvm_mtc.phy.paths import Paths, frequency_response
from lvm_mtc.phy.resource_grid import ResourceGrid

pytestmark = pytest.mark.usefixtures("fast_compile")

# That of tests/golden/make_ofdm.py.
GRID = ResourceGrid(
    fft_size=16,
    num_ofdm_symbols=6,
    cyclic_prefix_length=4,
    subcarrier_spacing=30e3,
    pilot_symbols=(1, 4),
    guard_carriers=(2, 1),
    dc_null=True,
)
PILOTS = list(GRID.pilot_symbols)
ATOL = 1e-11


@pytest.fixture(scope="module")
def cases(golden):
    return golden("ofdm").stored()


def _response(cases):
    paths = Paths(jnp.asarray(cases["gains"]), jnp.asarray(cases["delays"]))
    return np.asarray(frequency_response(paths, GRID.frequencies))


def _link(cases, interpolation, *, noise_scale=1.0):
    """Our link, fed with Sionna's noise: that of data as it is, that of pilots as the draw behind their error."""
    h, noise = _response(cases), cases["noise"] / np.sqrt(cases["no"])
    data, num_tx_ant = list(GRID.data_symbols), h.shape[-1]
    draws = OfdmDraws(
        h=jnp.asarray(h[data].reshape(1, -1, *h.shape[-2:])),
        h_pilots=jnp.asarray(h[PILOTS])[None, None],
        # On each carrier only the sending antenna's entry counts.
        csi=jnp.asarray(np.repeat(noise[PILOTS][..., None], num_tx_ant, -1))[None, None] * noise_scale,
        noise=jnp.asarray(noise[data].reshape(1, -1, h.shape[-2])),
    )
    return ofdm_link(
        None,
        jnp.asarray(cases["x"])[None],
        no=float(cases["no"]),
        grid=GRID,
        csi="pilots_ls",
        interpolation=interpolation,
        equalizer="unbiased",
        draws=draws,
    )


def _assert_waveform(cases):
    np.testing.assert_array_equal(GRID.carriers, cases["used"])
    modulated = ofdm_modulate(jnp.asarray(cases["sent"][..., cases["used"], :]).transpose(2, 0, 1), GRID)
    np.testing.assert_allclose(modulated, cases["modulated"], atol=ATOL)
    demodulated = ofdm_demodulate(jnp.asarray(cases["samples"]), GRID)
    np.testing.assert_allclose(demodulated, cases["demodulated"][:, cases["used"]], atol=ATOL)
    # Pilots of power num_tx_ant on every other carrier: what leaves the antennas has power 1 on average.
    pilots = cases["sent"][PILOTS][:, cases["used"]]
    np.testing.assert_allclose(np.sum(np.abs(pilots) ** 2, axis=-1), pilots.shape[-1], rtol=1e-12)


def _assert_link(cases, interpolation):
    output = _link(cases, interpolation)
    data = list(GRID.data_symbols)
    on_slots = {name: cases[name][data].reshape(-1, *cases[name].shape[2:]) for name in ("y", f"h_hat_{interpolation}")}
    np.testing.assert_allclose(output.y[0], on_slots["y"], atol=ATOL)
    np.testing.assert_allclose(output.h_hat[0], on_slots[f"h_hat_{interpolation}"], atol=ATOL)
    for found, expected in ((output.x_hat, f"x_hat_{interpolation}"), (output.no_eff, f"no_eff_{interpolation}")):
        scale = np.abs(cases[expected]).max()
        np.testing.assert_allclose(found[0], cases[expected], rtol=0, atol=1e-10 * scale)


def test_waveform_and_frequency_response(cases):
    with jax.enable_x64(True):
        _assert_waveform(cases)
        np.testing.assert_allclose(_response(cases), cases["h"], atol=ATOL)
        # The other sign of the exponent would be seen.
        flipped = Paths(jnp.asarray(cases["gains"]), -jnp.asarray(cases["delays"]))
        assert np.abs(np.asarray(frequency_response(flipped, GRID.frequencies)) - cases["h"]).max() > 0.1


@pytest.mark.parametrize("interpolation", ["nearest", "linear"])
def test_estimates_and_equalised_symbols(cases, interpolation):
    with jax.enable_x64(True):
        _assert_link(cases, interpolation)


def test_a_wrong_convention_is_seen(cases):
    with jax.enable_x64(True):
        nearest = _link(cases, "nearest")
        assert np.abs(nearest.h_hat[0] - cases["h_hat_linear"][list(GRID.data_symbols)].reshape(-1, 3, 2)).max() > 0.01
        # Pilots of power 1 instead of num_tx_ant would have twice the error variance.
        weak = _link(cases, "nearest", noise_scale=np.sqrt(2))
        assert np.abs(weak.x_hat[0] - cases["x_hat_nearest"]).max() > 0.01


@pytest.mark.sionna
def test_goldens_are_what_sionna_computes_today(golden):
    fresh = golden("ofdm").fresh()
    golden("ofdm").assert_current(fresh, 1e-12)
    with jax.enable_x64(True):
        _assert_waveform(fresh)
        _assert_link(fresh, "linear")
