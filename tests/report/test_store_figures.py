"""Figures of a store: which points go in, what is written, what is skipped, and the analytic error."""

import jax
import numpy as np
import pytest
from PIL import Image
from synthetic_store import CONFIG, LINKS, UNIFORM, coordinates, fill, psnr_db, public_share

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, OperatingPoint, Slots
from lvm_mtc.report import select
from lvm_mtc.report.curves import with_saving
from lvm_mtc.report.store_figures import FIGURES, draw_figures, make_figures
from lvm_mtc.report.theory import post_detection_mse
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.results.table import read_csv

SKIPPED = [
    "perceptual: no point has perceptual",
    "accuracy: no point has accuracy",
    "text: no point has bleu1",
    "clouds: no point has d1_psnr_db",
    "knowledge_bases: no point has a coordinate knowledge_base",
]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, fast_compile):
    """The synthetic store's figures and the folder that they were written to."""
    folder = tmp_path_factory.mktemp("figures")
    with ResultStore(folder / "store.sqlite") as store:
        # The expression of one link is compiled, that of the other cannot be found.
        fill(store, config=CONFIG | {"links": {"awgn": CONFIG["links"]["awgn"]}})
        return draw_figures(store, folder), folder


@pytest.fixture
def store(tmp_path):
    with ResultStore(tmp_path / "store.sqlite") as store:
        yield store


def figure(drawn, name):
    return next(one for one in drawn[0].drawn if one.name == name)


def lines_of(axes):
    return {line.get_label(): np.array(line.get_data()) for line in axes.get_lines()}


def test_each_figure_is_written_three_ways(drawn):
    figures, folder = drawn
    assert [one.name for one in figures.drawn] == [
        "quality",
        "ssim",
        "best_mask_prob",
        "saving",
        "csi_contours",
        "analytic_mse",
    ]
    assert figures.skipped == SKIPPED
    for one in figures.drawn:
        assert np.asarray(Image.open(folder / f"{one.name}.png").convert("L")).std() > 10
        assert (folder / f"{one.name}.svg").read_text().rstrip().endswith("</svg>")
        rows = read_csv(folder / f"{one.name}.csv")
        assert len(rows) == len(one.rows) > 0 and rows[0]["snr_convention"] == "rx_per_antenna"
    assert len(list(folder.iterdir())) == 1 + 3 * len(figures.drawn)


def test_equal_stores_give_equal_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        with ResultStore(tmp_path / f"{name}.sqlite") as store:
            fill(store, [(coordinates(snr_db=snr), {"psnr_db": (20 + snr, 0.5, 9)}) for snr in (0, 10)])
            assert [one.name for one in draw_figures(store, tmp_path / name).drawn] == ["quality"]
    for suffix in ("png", "svg", "csv"):
        assert (tmp_path / f"a/quality.{suffix}").read_bytes() == (tmp_path / f"b/quality.{suffix}").read_bytes()


def test_quality_draws_the_points_at_the_held_values(drawn):
    one = figure(drawn, "quality")
    assert [axes.get_title() for axes in one.figure.axes] == ["awgn"] * 2 + ["rayleigh"] * 2
    for axes, (channel, inside) in zip(one.figure.axes, [(c, i) for c in LINKS for i in (False, True)], strict=True):
        assert axes.get_xlabel() == "SNR per receive antenna (rx_per_antenna), dB"
        assert axes.get_ylabel() == f"PSNR, {'inside the box' if inside else 'whole picture'} (dB)"
        lines = lines_of(axes)
        assert list(lines) == ["object first", UNIFORM]
        for scheme, (x, y) in lines.items():
            want = [psnr_db(coordinates(snr_db=snr, scheme=scheme, channel=channel), inside) for snr in x]
            np.testing.assert_allclose(x, [0, 5, 10, 15, 20])
            np.testing.assert_allclose(y, want)
        band = axes.collections[0].get_paths()[0].vertices
        assert np.ptp(band[band[:, 0] == 10, 1]) == pytest.approx(0.8 if inside else 0.6)
    assert "K = 8, epsilon = 0, P_r = 0.25 or P_r = 0.5, CSI error 0" in one.caption
    assert "object first 0.75/0.25, uniform masking 0.50/0.50" in one.caption
    assert "Intervals at 95 %" in one.caption and "the pictures are fixed" in one.caption


def test_the_best_mask_prob_is_marked(drawn):
    one = figure(drawn, "best_mask_prob")
    whole, inside, *_ = one.figure.axes
    for axes, best in ((whole, 0.4), (inside, 0.3)):
        star = next(line for line in axes.get_lines() if line.get_marker() == "*")
        x, y = axes.get_lines()[0].get_data()
        assert star.get_xdata() == [best] == [x[np.argmax(y)]] and star.get_ydata() == [max(y)]
        assert "10 dB SNR per receive antenna (rx_per_antenna)" in axes.get_title()
    assert [text.get_text() for text in inside.texts] == ["0.3"]
    assert [text.get_text() for text in whole.texts] == ["0.4", "no interior optimum: object first"]
    rates = one.figure.axes[-2:]
    assert [axes.get_ylabel() for axes in rates] == [
        f"share of patches kept, {side} the box" for side in ("inside", "outside")
    ]


def test_saving_and_its_price(drawn):
    one = figure(drawn, "saving")
    public, saved, lost, *_ = one.figure.axes
    for epsilon in (0, 0.05, 0.2):
        label = f"epsilon = {epsilon:g}"
        share = [public_share(coordinates(num_uavs=k, epsilon=epsilon)) for k in (2, 4, 8)]
        np.testing.assert_allclose(lines_of(public)[label], [[2, 4, 8], share])
        np.testing.assert_allclose(lines_of(saved)[label][1], np.multiply(share, [1 / 2, 3 / 4, 7 / 8]))
        np.testing.assert_allclose(lines_of(lost)[label][1], [5 * epsilon] * 3, atol=1e-9)
    prices = [row for row in one.rows if row["metric"] == "psnr_db_lost" and row["epsilon"] == 0.2]
    assert {round(row["half_width"], 9) for row in prices} == {round(0.3 * 2**0.5, 9)}


def test_analytic_lies_over_simulated(drawn):
    one = figure(drawn, "analytic_mse")
    (axes,) = one.figure.axes
    assert axes.get_title() == "awgn, robust equaliser, additive CSI" and axes.get_yscale() == "log"
    lines = lines_of(axes)
    np.testing.assert_allclose(
        lines["CSI error 0, analytic"], [[0, 5, 10, 15, 20], 10.0 ** -np.arange(0, 2.5, 0.5)], rtol=1e-5
    )
    simulated = [row["mean"] for row in one.rows if row["metric"] == "nmse_symbols" and row["csi_error_var"] == 0.1]
    np.testing.assert_allclose(simulated, 1.1 * 10.0 ** -np.arange(0, 2.5, 0.5) + 0.1)
    assert len(axes.containers) == 3  # error bars
    assert "rayleigh: its sweep's configuration does not hold the link" in one.caption


def test_a_price_needs_a_reference(store):
    fill(store, [(coordinates(num_uavs=k, epsilon=0.1), None) for k in (2, 4)])
    samples = select.read_samples(store)
    assert with_saving(samples) == []
    assert len(with_saving([*samples, samples[0]._replace(at=samples[0].at | {"epsilon": 0})])) == 2


def test_contours_have_the_simulated_points(drawn):
    one = figure(drawn, "csi_contours")
    titles = [f"{channel}, {scheme}" for channel in LINKS for scheme in CONFIG["schemes"] for _ in range(2)]
    planes = one.figure.axes[:8]
    assert [axes.get_title() for axes in planes] == titles
    ((x, y),) = lines_of(planes[0]).values()
    errors = (0, 0.05, 0.1)
    want = [(snr, error**0.5) for snr in (0, 5, 10, 15, 20) for error in errors]
    np.testing.assert_allclose(sorted(zip(x, y, strict=True)), want)
    np.testing.assert_allclose(planes[0].get_yticks(), np.sqrt(errors))
    assert [label.get_text() for label in planes[0].get_yticklabels()] == ["0", "0.05", "0.1"]
    assert "Largest half width: 0.4 dB" in one.caption
    assert all(axes.texts for axes in planes)
    for axes in planes:
        low, high = np.array([axes.get_xlim(), axes.get_ylim()]).T
        places = (np.array([text.get_position() for text in axes.texts]) - low) / (high - low)
        assert (places > 0.05).all() and (places < 0.95).all()
    # A contour of a plane is straight: at its level the closed form has the level's value.
    lines = planes[0].collections[1]
    for level, path in zip(lines.levels, lines.get_paths(), strict=True):
        for snr, height in path.vertices:
            at = coordinates(snr_db=snr, csi_error_var=height**2)
            assert psnr_db(at) == pytest.approx(level, abs=1e-6)


def test_knowledge_bases_as_bars(store):
    bases = {"centre": 25.0, "annotated": 29.0}
    fill(
        store,
        [
            (coordinates(scheme=scheme) | {"knowledge_base": name}, {"psnr_inside_db": (value + i, 0.5, 9)})
            for name, value in bases.items()
            for i, scheme in enumerate(CONFIG["schemes"])
        ],
    )
    (one,) = make_figures(store).drawn
    (axes,) = one.figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["annotated", "centre"]
    assert [bar.get_height() for bar in axes.patches] == [29, 25, 30, 26]
    assert axes.get_ylim()[0] == 0  # bars that do not begin at 0 mislead


def test_accuracy_and_several_sweeps(store):
    for i in range(2):
        fill(
            store,
            [(coordinates(snr_db=snr), {"accuracy": (0.5 + snr / 100 + i / 10, 0.02, 50)}) for snr in (0, 10)],
            CONFIG | {"run": i},
        )
    (one,) = make_figures(store).drawn
    assert set(lines_of(one.figure.axes[0])) == {"run 0", "run 1"}


def test_conventions_do_not_share_axes(store):
    fill(store, [(coordinates(snr_db=snr), None) for snr in (0, 10)])
    samples = select.read_samples(store)
    samples += [sample._replace(convention="esno") for sample in samples]
    one = FIGURES["quality"](samples)
    assert [axes.get_xlabel() for axes in one.figure.axes[::2]] == [
        "Es/N0 per stream (esno), dB",
        "SNR per receive antenna (rx_per_antenna), dB",
    ]


def test_an_axis_of_the_users_own_is_not_mixed_up(store):
    metrics = {"psnr_db": (20.0, 0.5, 9)}
    fill(
        store,
        [(coordinates(snr_db=snr) | {"speed": speed, "epsilon": None}, metrics) for snr in (0, 10) for speed in (0, 5)],
    )
    (one,) = make_figures(store).drawn
    assert list(lines_of(one.figure.axes[0])) == ["speed = 0", "speed = 5"]
    assert {row["speed"] for row in one.rows} == {0, 5}


def test_an_unknown_convention_is_refused(store):
    key = store.register({})
    store.add(
        [
            Point(
                config_hash=key,
                coordinates={},
                seed=0,
                snr_convention="esn0",
                snr_db=0.0,
                metrics={"psnr_db": (20.0, 0.5, 9)},
            )
        ]
    )
    with pytest.raises(ValueError, match="SNR convention 'esn0'.*did you mean 'esno'"):
        make_figures(store)


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([], "holds no points to draw"),
        (
            [coordinates()],
            "quality: needs points at two SNRs or more.*best_mask_prob: needs points at three P_r.*saving: "
            "needs points at two K.*csi_contours: needs points at two SNRs and two CSI errors",
        ),
    ],
)
def test_nothing_to_draw_is_an_error(store, points, words, tmp_path):
    fill(store, [(at, None) for at in points])
    with pytest.raises(ValueError, match=words) as error:
        draw_figures(store, tmp_path)
    assert "\n" not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["store.sqlite"]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({}, "does not hold the link"),
        ({"links": {"awgn": {"topology": "joint"}}}, "topology 'joint'"),
        ({"links": {"awgn": {"fading": "fog"}}}, "fog"),
        ({"links": {"awgn": {"fading": {"code": "mine:fog", "source": "0"}}}}, "user's own code"),
    ],
)
def test_a_link_without_an_expression_is_skipped(store, config, words):
    fill(store, [(coordinates(snr_db=snr), None) for snr in (0, 10)], config)
    (reason,) = [line for line in make_figures(store).skipped if line.startswith("analytic_mse")]
    assert words in reason and "\n" not in reason


@pytest.mark.parametrize("convention", ["esno", "received_total"])
def test_awgn_with_perfect_csi_has_mse_no(convention):
    # x_hat = y = x + n on each of num_tx_ant parallel links; received_total counts the power of all of them.
    link = LinkConfig(fading="awgn", convention=convention, equalizer="unbiased")
    snr_db = np.array([-5.0, 0.0, 20.0])
    found = post_detection_mse(link, snr_db, np.zeros(3), num_channels=2)
    power = {"esno": 1, "received_total": 4}[convention]
    np.testing.assert_allclose(found.mse, power * 10 ** (-snr_db / 10), rtol=1e-5)
    np.testing.assert_allclose(found.standard_error, 0, atol=1e-6)


def test_an_infinite_mean_is_refused_and_an_infinite_variance_has_no_interval():
    # E no / |h|^2 diverges with one antenna and is no with two; E no^2 / |h|^4 diverges with both.
    with pytest.raises(ValueError, match="error of the robust equaliser is infinite with num_rx_ant=1, num_tx_ant=2"):
        post_detection_mse(LinkConfig(num_rx_ant=1, num_tx_ant=2), [0.0, 10.0], [0, 0])
    for num_rx_ant, finite in ((2, False), (3, True)):
        found = post_detection_mse(LinkConfig(num_rx_ant=num_rx_ant, num_tx_ant=1), [10.0], [0.0], num_channels=64)
        assert np.isfinite(found.mse).all() and np.isfinite(found.standard_error).all() == finite


def test_the_paper_equaliser_on_awgn_is_biased():
    # G = 1/(1 + no): (G - 1)^2 + no G^2 = no/(1 + no).
    link = LinkConfig(fading="awgn", equalizer="paper")
    no = 10 ** (-np.array([0.0, 10.0]) / 10)
    found = post_detection_mse(link, [0.0, 10.0], [0, 0], num_channels=2)
    np.testing.assert_allclose(found.mse, no / (1 + no), rtol=1e-5)
    assert not np.allclose(no / (1 + no), no, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "fields", [dict(equalizer="robust"), pytest.param(dict(equalizer="paper", csi="mmse"), marks=pytest.mark.slow)]
)
def test_analytic_is_simulated(fields, fast_compile):
    """Against symbols that were really sent: 5 standard errors of the difference."""
    link = LinkConfig(fading="rayleigh", **fields)
    # Perfect CSI beside it: there the expression misses, so the bound can fail.
    found = post_detection_mse(link, [5.0, 5.0], [0.1, 0.0], num_channels=4096)
    bits = np.random.default_rng(1).integers(0, 2, (8192, 1, 4, 4, 2))
    x = np.complex64((2 * bits[..., 0] - 1 + 1j * (2 * bits[..., 1] - 1)) / 2**0.5)
    point = OperatingPoint(snr_db=5.0, csi_error_var=0.1)

    @jax.jit
    def send(keys, x):
        return link.carrier.send(link, Slots(x), link.carrier.draw(link, keys, len(x), 4, 4, point), point)

    out = send(jax.random.split(jax.random.key(2), 1), x)
    of_channel = np.mean(np.abs(np.complex128(out.x_hat) - x) ** 2, axis=(1, 2, 3))
    bound = 5 * np.hypot(of_channel.std() / len(of_channel) ** 0.5, found.standard_error)
    miss = np.abs(of_channel.mean() - found.mse)
    assert miss[0] < bound[0] < 0.1 * found.mse[0] and miss[1] > bound[1]


@pytest.mark.slow
def test_analytic_rayleigh_lmmse_is_the_closed_form(fast_compile):
    # MSE of Eq. 5 with perfect CSI: tr((I + H^H H / no)^-1) / num_tx_ant, on average.
    link = LinkConfig(fading="rayleigh", equalizer="paper")
    found = post_detection_mse(link, [3.0], [0.0], num_channels=4096)
    rng = np.random.default_rng(0)
    h = (rng.normal(size=(20000, 4, 4)) + 1j * rng.normal(size=(20000, 4, 4))) / 2**0.5
    gram = np.conj(np.swapaxes(h, -1, -2)) @ h
    mse = (
        np.trace(
            np.linalg.inv(np.eye(4) + gram / float(phy.noise_variance(3.0, convention="esno"))), axis1=-2, axis2=-1
        ).real
        / 4
    )
    assert abs(mse.mean() - found.mse[0]) < 5 * np.hypot(mse.std() / len(mse) ** 0.5, found.standard_error[0])
