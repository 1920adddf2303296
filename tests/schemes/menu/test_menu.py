"""The menu codec over links with the shipped table: budgets, what it costs, quality against the linear code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint
from lvm_mtc.models.patches import unpatchify
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.menu.scheme import RATIOS, Menu, MenuConfig, _codes, _paint
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward

run = jax.jit(forward, static_argnums=(0, 4))
LINKS = {name: LinkConfig(fading=name, convention="rx_per_antenna") for name in ("awgn", "rayleigh")}


def drawn_pictures(count, seed=0):
    """Pictures whose components are drawn from the table's priors, ``[count, 1, 32, 32, 3]``; some leave [0, 1]."""
    table = {name: np.asarray(value) for name, value in Menu(MenuConfig()).init(jax.random.key(0))["table"].items()}
    rng, priors = np.random.default_rng(seed), np.exp(table["log_prior"])
    drawn = [rng.choice(table["grid"], (count, 4), p=priors[band] / priors[band].sum()) for band in table["band"]]
    patches = np.float32((np.stack(drawn, -1) * table["deviation"]) @ table["basis"].T + table["mean"])
    return np.asarray(unpatchify(jnp.asarray(patches), 16, (32, 32)))[:, None]


IMAGES = jnp.asarray(drawn_pictures(6))


@pytest.fixture(scope="module", params=RATIOS)
def codec(request):
    scheme = Menu(MenuConfig(num_symbols=request.param))
    return scheme, scheme.init(jax.random.key(0))


def test_places_are_those_of_a_whole_frame_once_each(codec):
    scheme, params = codec
    amplitude, place = (np.asarray(params["table"][name]) for name in ("amplitude", "place"))
    for at_snr, its_place in zip(amplitude, place, strict=True):
        used = its_place[at_snr != 0]
        np.testing.assert_array_equal(np.sort(used), np.arange(len(used)))
        assert len(used) <= 2 * scheme.config.num_symbols and np.all(
            its_place[at_snr == 0] == 2 * scheme.config.num_symbols
        )


@pytest.mark.slow
def test_symbols_of_a_frame_carry_the_components_codes(codec):
    scheme, params = codec
    table = {name: np.asarray(value) for name, value in params["table"].items()}
    point = OperatingPoint(snr_db=7.0, knobs={"margin_db": 0.0})
    encoded = encode(scheme, params, Source(IMAGES), jax.random.key(0), {})
    sent = scheme.modulate(params, encoded, point)
    at = int(np.flatnonzero(np.asarray(table["snr_db"]) == 7.0)[0])
    frame = np.zeros(2 * scheme.config.num_symbols + 1)
    u = np.asarray(encoded)[2, 0, 3]
    for i, j in np.ndindex(*table["place"].shape[1:]):
        a, period, phase = (float(table[name][at, i, j]) for name in ("amplitude", "period", "phase"))
        value = u[i] if period == 0 else 1 - 4 * abs(u[i] / period + phase - round(u[i] / period + phase))
        frame[int(table["place"][at, i, j])] = a * value
    symbols = np.asarray(sent.signal.private.symbols)[2, 0, 3] / sent.side[2, 0]
    np.testing.assert_allclose(symbols, frame[:-1:2] + 1j * frame[1:-1:2], rtol=2e-3, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("link", LINKS)
def test_pictures_come_back_at_the_price_of_their_symbols(codec, link):
    scheme, params = codec
    out = run(scheme, params, Source(IMAGES[:2]), jax.random.key(1), LINKS[link], OperatingPoint(snr_db=10.0))
    assert np.isfinite(out.estimate.data).all() and out.estimate.data.shape == (2, 1, 32, 32, 3)
    np.testing.assert_array_equal(out.ledger.channel_uses(), [4 * scheme.config.num_symbols] * 2)
    np.testing.assert_array_equal(out.ledger.side_information_bits, [16, 16])
    power = np.mean(np.abs(out.sent.signal.private.symbols) ** 2, axis=(-2, -1))
    np.testing.assert_allclose(power, 1, rtol=1e-5)


def psnr(scheme, params, link, snr_db, **knobs):
    point = OperatingPoint(snr_db=snr_db, knobs=knobs)
    out = run(scheme, params, Source(IMAGES), jax.random.key(1), LINKS[link], point).estimate.data
    return float(np.mean(-10 * np.log10(np.mean((out - IMAGES) ** 2, axis=(1, 2, 3, 4)))))


@pytest.mark.slow
def test_quality_rises_with_the_snr_and_codes_fit_theirs():
    scheme = Menu(MenuConfig())
    params = scheme.init(jax.random.key(0))
    curve = [psnr(scheme, params, "awgn", snr_db) for snr_db in (1.0, 7.0, 13.0)]
    assert curve[0] > 20 and np.all(np.diff(curve) > 3), curve
    assert psnr(scheme, params, "awgn", 7.0, margin_db=6.0) < curve[1]


def test_register_knows_it():
    scheme = make_scheme("menu", {"num_symbols": 64})
    assert scheme == Menu(MenuConfig(num_symbols=64)) and name_of(scheme) == "menu" and scheme.frames() == (4, 64)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (dict(image_size=40), "MenuConfig.image_size 40 is no multiple of 16 pixels"),
        (dict(refiner="large"), "MenuConfig.refiner .*'large'"),
        (dict(image_size=48, refiner="small"), "MenuConfig.image_size 48 is no multiple of the 32 pixels .* 'small'"),
        (dict(num_symbols=100), "MenuConfig.num_symbols .*100"),
    ],
)
def test_wrong_shapes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        MenuConfig(**fields)


def test_pictures_of_another_size_are_refused():
    scheme = Menu(MenuConfig(image_size=48))
    with pytest.raises(ValueError, match=r"images must be \[batch, num_uavs, 48, 48, 3\], got \(6, 1, 32, 32, 3\)"):
        encode(scheme, scheme.init(jax.random.key(0)), Source(IMAGES), jax.random.key(0), {})


@pytest.mark.slow
def test_refiner_starts_as_the_identity_and_alone_learns():
    plain, scheme = Menu(MenuConfig(num_symbols=64)), Menu(MenuConfig(num_symbols=64, refiner="tiny"))
    params = scheme.init(jax.random.key(0))
    source, point = Source(IMAGES[:2]), OperatingPoint(snr_db=jnp.array([1.0, 13.0]))
    without = forward(plain, {"table": params["table"]}, source, jax.random.key(1), LINKS["awgn"], point)
    with_it = forward(scheme, params, source, jax.random.key(1), LINKS["awgn"], point)
    np.testing.assert_array_equal(with_it.estimate.data, without.estimate.data)

    (stage,) = scheme.stages()
    assert plain.stages() == () and stage.trainable("refiner/embed/kernel") and not stage.trainable("table/basis")
    moved = jax.tree.map(lambda a: a + 0.01, params["refiner"])

    def loss(refiner):
        learned = {"table": params["table"], "refiner": refiner}
        return stage.loss(scheme, learned, source, jax.random.key(1), LINKS["awgn"], point, {"image_loss": "mse"})[0]

    for path, leaf in jax.tree_util.tree_leaves_with_path(jax.jit(jax.grad(loss))(moved)):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0, path


@pytest.mark.slow
def test_deviation_of_the_posterior_is_that_of_the_error():
    """Pictures whose components are drawn from the prior; the mean squared error is the mean posterior variance."""
    scheme = Menu(MenuConfig())
    table = {name: np.asarray(value) for name, value in scheme.init(jax.random.key(0))["table"].items()}
    images = jnp.asarray(drawn_pictures(64, seed=1))
    point = OperatingPoint(snr_db=7.0, knobs={"margin_db": 0.0})
    params = {"table": table}
    sent = scheme.modulate(params, encode(scheme, params, Source(images), jax.random.key(0), {}), point)
    codes, place = (jax.tree.map(lambda a: a[:, 0], part) for part in _codes(table, point, (64, 1)))
    frame = phy.symbols_to_features(sent.signal.private.symbols)[:, 0] / sent.side[:, :, None]
    noisy = frame + np.random.default_rng(0).normal(size=frame.shape).astype(np.float32)
    mean, deviation = _paint(table, noisy, jnp.ones_like(frame), codes, place, 32)
    error = np.mean((mean - images[:, 0]) ** 2, axis=(1, 2, 3))
    expected = float(jnp.mean(deviation**2)) - table["rest"].mean()
    assert abs(error.mean() - expected) < 5 * error.std() / 8
    assert abs(2 * error.mean() - expected) > 5 * error.std() / 8, "the comparison can fail"
