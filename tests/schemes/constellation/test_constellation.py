"""Schemes over constellations: power, what the receiver gets, gradients, the ledger, schemes with public frames."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint
from lvm_mtc.models.receivers import GAIN_BITS
from lvm_mtc.models.weights import save_weights
from lvm_mtc.schemes import make_scheme, name_of
from lvm_mtc.schemes.constellation.scheme import as_equalized, choose_points, complex_of, moments
from lvm_mtc.schemes.loading import identity, load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import encode, forward
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.plan import SweepSpec
from lvm_mtc.training.constellation import FitConfig, Symbols, fit_book, fit_constellation, sdr_db

CONFIG = dict(scheme="linear", config=dict(image_size=16, patch_size=8, num_symbols=16), num_points=16)
POINT, LINK = OperatingPoint(snr_db=15.0), LinkConfig(fading="awgn", convention="rx_per_antenna")
IMAGES = np.random.default_rng(0).random((3, 2, 16, 16, 3), np.float32)
run = jax.jit(forward, static_argnums=(0, 4))


@pytest.fixture(scope="module")
def codec():
    scheme = make_scheme("constellation", CONFIG)
    return scheme, scheme.init(jax.random.key(0))


def test_every_picture_has_power_one_exactly_and_pays_for_its_gain(codec):
    scheme, params = codec
    encoded = encode(scheme, params, Source(IMAGES), jax.random.key(0), {})
    sent = scheme.modulate(params, encoded, POINT)
    power = np.mean(np.abs(sent.signal.private.symbols) ** 2, axis=(-1, -2))
    np.testing.assert_allclose(power, 1, rtol=1e-6)
    inner = scheme.inner.modulate(params["scheme"], encoded, POINT)
    np.testing.assert_array_equal(sent.side_bits, inner.side_bits + 2 * GAIN_BITS)
    symbols = np.asarray(sent.signal.private.symbols) / np.asarray(sent.side[0])[..., None, None]
    points = np.asarray(complex_of(params["book"]["points"]))
    chosen = np.argmin(np.abs(np.asarray(inner.signal.private.symbols)[..., None] - points), -1)
    np.testing.assert_allclose(symbols, points[chosen], rtol=2e-3)  # the gain is told in half precision


@pytest.mark.slow
def test_a_scheme_with_public_frames_has_one_gain_a_group():
    config = dict(image_size=32, patch_size=8, num_kept=8, num_symbols=4, variant="tiny")
    inner = dict(config=config, scheme="lvm_mtc", num_points=16)
    scheme = make_scheme("constellation", inner)
    params = scheme.init(jax.random.key(0), 2)
    views = np.repeat(np.random.default_rng(0).random((2, 1, 32, 32, 3), np.float32), 2, axis=1)
    source = Source(views, {"loc": np.tile(np.float32([16, 16, 16, 16]), (2, 2, 1))})
    out = run(scheme, params, source, jax.random.key(1), LINK, OperatingPoint(snr_db=15.0, knobs={"epsilon": 10.0}))
    signal = out.sent.signal
    assert np.asarray(signal.public.sent).any()
    frames = [signal.private, Frames(signal.public.symbols, signal.public.sent)]
    power, count = np.zeros(2), np.zeros(2)
    for part in frames:
        squares = np.abs(np.asarray(part.symbols)) ** 2 * np.asarray(part.sent)[..., None]
        power += squares.reshape(2, -1).sum(-1)
        count += np.asarray(part.sent).reshape(2, -1).sum(-1) * 4
    np.testing.assert_allclose(power, count, rtol=1e-5)
    assert np.isfinite(out.estimate.data).all()


def test_gradient_of_a_decision_is_the_identity_and_that_of_the_chosen_points():
    points = phy.qam_points(4).astype(np.complex64)
    symbols, weights = np.complex64([0.4 - 0.2j, -0.1 + 0.9j, 0.35 - 0.25j]), np.complex64([1 + 2j, -0.5j, 3])
    chosen = np.argmin(np.abs(symbols[:, None] - points), -1)

    def value(symbols, points):
        return jnp.sum(jnp.real(choose_points(Frames(symbols, jnp.ones(3, bool)), points).symbols * weights))

    sent = choose_points(Frames(jnp.asarray(symbols), jnp.ones(3, bool)), jnp.asarray(points)).symbols
    np.testing.assert_allclose(sent, points[chosen], atol=1e-6)
    of_symbols, of_points = jax.grad(value, argnums=(0, 1))(jnp.asarray(symbols), jnp.asarray(points))
    np.testing.assert_array_equal(of_symbols, weights)
    wanted = np.zeros(16, np.complex64)
    np.add.at(wanted, chosen, weights)
    np.testing.assert_allclose(of_points, wanted, rtol=1e-6)


def test_moments_are_those_of_numpy_and_their_equalised_form_gives_them_back():
    rng = np.random.default_rng(2)
    book = {"means": jnp.asarray(rng.normal(size=(5, 2)) / 2, jnp.float32), "spread": jnp.asarray(rng.random(5) / 9)}
    likely = rng.dirichlet(np.ones(5), 8).astype(np.float32)
    mean, variance = moments(jnp.asarray(likely), book)
    means = np.asarray(book["means"]) @ [1, 1j]
    np.testing.assert_allclose(mean, likely @ means, rtol=1e-5, atol=1e-6)
    wanted = np.sum(likely * (np.abs(means - (likely @ means)[:, None]) ** 2 + np.asarray(book["spread"])), -1)
    np.testing.assert_allclose(variance, wanted, rtol=1e-4, atol=1e-6)
    power = np.maximum(1, np.abs(mean) ** 2 + variance)
    assert np.all(variance < 0.9 * power) and np.any(power > 1)
    symbols, no_eff = map(np.asarray, as_equalized(mean, variance))
    np.testing.assert_allclose(symbols * power / (power + no_eff), mean, rtol=1e-5)
    np.testing.assert_allclose(no_eff * power / (power + no_eff), variance, rtol=1e-4)


@pytest.mark.slow
def test_many_points_without_noise_are_the_scheme_itself():
    rng = np.random.default_rng(3)
    source = Source(IMAGES)
    inner = make_scheme("linear", CONFIG["config"])
    params = inner.init(jax.random.key(0))
    fitted = fit_constellation(
        inner,
        params,
        source,
        (20.0, 60.0),
        jax.random.key(0),
        num_points=256,
        config=FitConfig(steps=25),
    )
    quiet = OperatingPoint(snr_db=80.0)
    with_points = run(*fitted, source, jax.random.key(int(rng.integers(9))), LINK, quiet).estimate.data
    analog = run(inner, params, source, jax.random.key(0), LINK, quiet).estimate.data
    assert np.mean((with_points - analog) ** 2) < 0.02 * np.mean((analog - analog.mean()) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize(
    "law, points, snr_db, low, high", [("laplace", 64, 20.0, 1.2, 2.0), ("uniform", 16, 15.0, 0.0, 0.15)]
)
def test_learned_points_gain_on_heavy_tails_and_not_where_qam_is_right(law, points, snr_db, low, high):
    """The bounds are those that independent prototypes had, on symbols that were not learned from."""
    rng = np.random.default_rng(0)
    draws = rng.laplace(size=(2, 40000, 2)) / 2 if law == "laplace" else (rng.random((2, 40000, 2)) - 0.5) * np.sqrt(6)
    learned_from, test = jnp.asarray((draws @ [1, 1j]).astype(np.complex64))
    no, config = jnp.full(40000, 10 ** (-snr_db / 10), jnp.float32), FitConfig(steps=300, batch_size=2048)
    qam, learned = (
        float(sdr_db(fit_book(Symbols(learned_from, no), points, kind, jax.random.key(0), config), Symbols(test, no),
                     jax.random.key(1)))
        for kind in ("qam", "learned")
    )  # fmt: skip
    assert low - 0.02 <= learned - qam <= high and learned < 10 * np.log10(1 + 10 ** (snr_db / 10))


@pytest.mark.slow
def test_clusters_are_those_of_numpy_and_learned_points_are_no_worse():
    values = (np.random.default_rng(4).laplace(size=(6000, 2)) @ [0.5, 0.5j]).astype(np.complex64)
    symbols, config = Symbols(jnp.asarray(values), jnp.full(6000, 0.01)), FitConfig(steps=25, batch_size=2048)
    books = {kind: fit_book(symbols, 16, kind, jax.random.key(0), config) for kind in ("qam", "clustered", "learned")}
    points = np.asarray(complex_of(books["qam"]["points"]))
    for _ in range(40):
        chosen = np.argmin(np.abs(values[:, None] - points), -1)
        points = np.array([values[chosen == k].mean() if (chosen == k).any() else points[k] for k in range(16)])
    np.testing.assert_allclose(complex_of(books["clustered"]["points"]), points, atol=2e-3)
    fresh = Symbols(jnp.asarray((np.random.default_rng(5).laplace(size=(40000, 2)) @ [0.5, 0.5j]).astype(np.complex64)),
                    jnp.full(40000, 0.01))  # fmt: skip
    found = {kind: float(sdr_db(book, fresh, jax.random.key(1))) for kind, book in books.items()}
    assert found["learned"] > found["clustered"] - 0.05 and found["clustered"] > found["qam"] + 0.5


def test_wrong_configurations_are_one_line():
    with pytest.raises(ValueError, match="ConstellationConfig.num_points must be one of 4, 16, 64, 256, got 32"):
        make_scheme("constellation", CONFIG | {"num_points": 32})
    with pytest.raises(ValueError, match="ConstellationConfig.config.*image_sise"):
        make_scheme("constellation", CONFIG | {"config": {"image_sise": 16}})
    with pytest.raises(ValueError, match="kind"):
        fit_constellation(None, None, None, (0, 1), None, kind="psk")


@pytest.mark.parametrize("equalizer", phy.EQUALIZERS)
def test_links_whose_equaliser_the_posterior_does_not_model_are_refused(codec, equalizer):
    (scheme, params), link = codec, LinkConfig(equalizer=equalizer)
    again = make_scheme("constellation", dict(scheme="constellation", config=CONFIG))
    if equalizer not in ("paper", "none"):
        assert scheme.check_link(link) is None and again.check_link(link) is None
        return
    line = f"LinkConfig.equalizer '{equalizer}' does not go with scheme 'constellation', .* use one of robust, unbiased"
    with pytest.raises(ValueError, match=line):
        jax.eval_shape(lambda: forward(scheme, params, Source(IMAGES), jax.random.key(0), link, POINT))
    with pytest.raises(ValueError, match=line):
        SweepSpec(
            schemes=(Contender(name="c", scheme=scheme, params=params),), links=(link,), sources={2: Source(IMAGES)},
            snr_db=(10.0,),
        )  # fmt: skip


def test_what_paper_hands_on_is_no_point_in_noise_of_mean_zero():
    """With no = 1/2, h = 1 and one antenna, x_hat has the mean 2/3 x given x; that of ``unbiased`` is x."""
    x = phy.qam_points(4).astype(np.complex64)[:, None]
    for equalizer, gain in (("paper", 2 / 3), ("unbiased", 1.0)):
        x_hat, _ = phy.EQUALIZERS[equalizer](jnp.asarray(x), jnp.ones((1, 1), jnp.complex64), 0.5)
        np.testing.assert_allclose(x_hat, gain * x, rtol=1e-6)


def test_its_configuration_stands_for_it(codec):
    scheme, _ = codec
    assert name_of(scheme) == "constellation" and hash(scheme) == hash(make_scheme("constellation", CONFIG))
    assert scheme.frames() == scheme.inner.frames() and scheme.modality == "pictures" and scheme.stages() == ()
    learning = make_scheme("constellation", {"scheme": "token2", "config": {"variant": "tiny"}})
    assert [stage.name for stage in learning.stages()] == ["system"]


@pytest.mark.slow
def test_both_train_together_and_a_weights_file_holds_both(tmp_path):
    scheme = make_scheme("constellation", {"scheme": "token2", "config": {"variant": "tiny", "num_symbols": 4}})
    params, pictures = scheme.init(jax.random.key(0)), np.random.default_rng(0).random((1, 1, 32, 32, 3), np.float32)
    (stage,) = scheme.stages()

    @jax.jit
    def gradient(params):
        options = Source(jnp.asarray(pictures)), jax.random.key(1), LINK, POINT, {"image_loss": "mse"}
        return jax.grad(lambda params: stage.loss(scheme, params, *options)[0])(params)

    moved = gradient(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(moved)) and stage.trainable is None
    for learned in (moved["book"]["points"], moved["book"]["means"], moved["scheme"]["encoder"]["features"]["kernel"]):
        assert np.abs(learned).max() > 0
    save_weights(tmp_path / "both.npz", params, identity(scheme))
    again, loaded = load_scheme(tmp_path / "both.npz")
    assert again == scheme and jax.tree.structure(loaded) == jax.tree.structure(params)
    np.testing.assert_allclose(loaded["book"]["points"], params["book"]["points"], rtol=1e-3)
