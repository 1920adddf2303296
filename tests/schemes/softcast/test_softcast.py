"""SoftCast: its transform against scipy's, its error against the closed form, costs, power, wrong shapes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.fft import dctn

from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import forward
from lvm_mtc.schemes.softcast.scheme import CHUNKS, SoftCast, SoftCastConfig

pytestmark = pytest.mark.usefixtures("fast_compile")

CONFIG = SoftCastConfig(size=(32, 48), num_frames=4, gop=2, num_uses=96)
NUM, NO = 64, 0.2


def clip():
    """A clip whose energies fall with frequency, as those of real ones do."""
    rng = np.random.default_rng(0)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(4, 32, 48, 3)), 1), 2).cumsum(0)
    return np.float32(0.5 + 0.4 * smooth / np.abs(smooth).max())


def energies(clip):
    """Energy of every chunk of a group, ``[every]``, and the chunks, by scipy's DCT."""
    grey = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]]) / np.sqrt([[3], [2], [6]])
    planes = np.moveaxis(dctn(np.float64(clip - np.float32(0.45)) @ grey.T, axes=(0, 1, 2), norm="ortho"), -1, 1)
    frames, _, height, width = planes.shape
    tiles = planes.reshape(frames, 3, CHUNKS, height // CHUNKS, CHUNKS, width // CHUNKS).swapaxes(3, 4)
    chunks = tiles.reshape(frames * 3 * CHUNKS**2, -1)
    return (chunks**2).mean(1)


def expected_mse(energy, sent, no):
    """Chunks that are not sent are lost; the others have e s / (a^2 e + s) with a^2 e = sqrt(e) / (2 mean sqrt(e))."""
    energy = np.sort(energy)[::-1]
    power = 0.5 * np.sqrt(energy[:sent]) / np.sqrt(energy[:sent]).mean()
    return ((energy[:sent] * no / 2 / (power + no / 2)).sum() + energy[sent:].sum()) / energy.size


@pytest.fixture(scope="module")
def sent():
    scheme, source = SoftCast(CONFIG), Source(np.broadcast_to(clip(), (NUM, 1, 4, 32, 48, 3)))
    point, link = OperatingPoint(snr_db=-10 * np.log10(NO)), LinkConfig(fading="awgn")
    run = jax.jit(lambda key: forward(scheme, scheme.init(key), source, key, link, point))
    return source, run(jax.random.key(0))


def test_error_is_the_closed_form(sent):
    source, out = sent
    errors = np.mean((out.estimate.data - source.data) ** 2, axis=(1, 2, 3, 4, 5))
    groups = clip().reshape(2, 2, 32, 48, 3)
    want = np.mean([expected_mse(energies(group), CONFIG.sent, NO) for group in groups])
    # Energies are told to within 2 % (a 32nd of an octave), which is of second order in an L-MMSE estimate.
    assert abs(errors.mean() - want) < 5 * errors.std() / np.sqrt(NUM) + 2e-3 * want


def test_symbols_have_power_one_and_costs_are_counted(sent):
    _, out = sent
    symbols, on_air = out.sent.signal.private
    assert on_air.all() and symbols.shape[2:] == (2 * CONFIG.sent, 12)
    # As told: the energies are rounded.
    np.testing.assert_allclose(np.mean(np.abs(symbols) ** 2), 1, atol=0.02)
    np.testing.assert_array_equal(out.ledger.channel_uses(), 96 * 4)
    np.testing.assert_array_equal(out.ledger.side_information_bits, 2 * (2 * 3 * 64 + 8 * CONFIG.sent))


def test_the_largest_chunks_are_sent(sent):
    _, out = sent
    for group, places in zip(clip().reshape(2, 2, 32, 48, 3), np.asarray(out.sent.side.places)[0, 0], strict=True):
        energy = energies(group)
        np.testing.assert_allclose(np.sort(energy[places]), np.sort(energy)[-CONFIG.sent :], rtol=1e-3)


def test_the_order_of_chunks_follows_from_what_is_told():
    # Which chunks there are and their rounded energies are booked, and no more: equal energies lie in order of place.
    noise = np.random.default_rng(1).uniform(size=(1, 1, 4, 32, 48, 3)).astype(np.float32)
    scheme = SoftCast(CONFIG)
    encoded = jax.device_get(scheme.encode(scheme.init(jax.random.key(0)), Source(noise), None, {}))
    for places, energy in zip(encoded.places[0, 0], encoded.energy[0, 0], strict=True):
        assert (np.diff(energy) == 0).sum() > 5
        np.testing.assert_array_equal(places, places[np.lexsort((places, -energy))])


def test_register_knows_it_and_wrong_shapes_are_refused():
    assert name_of(make_scheme("softcast", {"gop": 4})) == "softcast"
    for fields, message in (
        (dict(size=(40, 48)), r"SoftCastConfig.size .* 16, got \(40, 48\)"),
        (dict(num_frames=12), "num_frames 12 is no multiple of SoftCastConfig.gop 8"),
        (dict(num_uses=5), r"SoftCastConfig.num_uses must lie in \[9, 13824\], got 5"),
    ):
        with pytest.raises(ValueError, match=message):
            SoftCastConfig(**fields)
    with pytest.raises(
        ValueError, match=r"clips must be \[batch, num_uavs, 8, 96, 96, 3\], got \(1, 1, 8, 48, 48, 3\)"
    ):
        scheme = SoftCast(SoftCastConfig())
        scheme.encode(scheme.init(jax.random.key(0)), Source(jnp.zeros((1, 1, 8, 48, 48, 3))), None, {})
