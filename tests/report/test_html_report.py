"""The HTML report: what it holds, that it holds all, and its viewer in a browser."""

import hashlib
import html
import io
import re

import pytest
from browser import Browser, find_chromium
from PIL import Image
from synthetic_store import CONFIG, CSI_ERROR, LINKS, SNR_DB, UNIFORM, coordinates, fill, psnr_db

from lvm_mtc.report.html import write_html_report
from lvm_mtc.report.html_viewer import viewer_sets
from lvm_mtc.results.files import OutputError
from lvm_mtc.results.points import StoredPicture
from lvm_mtc.results.store import ResultStore

COLUMNS = ("original", "kept", "received", "error")


def encoded(number, kind="PNG"):
    """A picture of one colour, another one for every number."""
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 251, number // 251, 7)).save(stream, kind)
    return stream.getvalue()


def at_point(scheme, channel, error, snr):
    return coordinates(
        num_uavs=8,
        scheme=scheme,
        channel=channel,
        csi_error_var=error,
        snr_db=snr,
        mask_prob=0.5 if scheme == UNIFORM else 0.25,
    )


def add_pictures(store, key):
    """Pictures of two UAVs at every point of the grid but one."""
    found = []

    def put(at, name):
        for uav in range(2):
            found.append(StoredPicture(key, at, name, uav, encoded(len(found))))

    put({"num_uavs": 8}, "original")
    for scheme in CONFIG["schemes"]:
        put({"num_uavs": 8, "scheme": scheme}, "kept")
        for channel in LINKS:
            for error in CSI_ERROR:
                for snr in SNR_DB:
                    if (scheme, channel, error, snr) != (UNIFORM, "rayleigh", 0.1, 20):
                        put(at_point(scheme, channel, error, snr), "received")
                        put(at_point(scheme, channel, error, snr), "error")
    store.add_pictures(found)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A store with pictures, and its report."""
    folder = tmp_path_factory.mktemp("report")
    with ResultStore(folder / "a<b>.sqlite") as store:
        key = fill(store, config=CONFIG | {"note": "</script><b>&"}, without=["nmse_symbols"])
        add_pictures(store, key)
        figures = write_html_report(store, folder / "report.html")
        return folder, key, figures, viewer_sets(store)


@pytest.fixture
def page(written, tmp_path):
    """The report in a browser."""
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium on this machine")
    with Browser(program, tmp_path / "profile", (written[0] / "report.html").as_uri()) as browser:
        yield browser


def test_the_file_holds_all_that_it_shows(written):
    folder, key, figures, _ = written
    text = (folder / "report.html").read_text()
    assert len(figures.drawn) == 5 and len(figures.skipped) == 6
    for one in figures.drawn:
        assert f'<figure id="{one.name}">' in text
    for line in figures.skipped:
        assert f"<li>{line}</li>" in text
    assert not re.search(r"(src|href)=\"(?!data:)", text) and "@import" not in text
    assert "Results of a&lt;b&gt;.sqlite" in text and "a<b>" not in text
    assert sorted(path.name for path in folder.iterdir()) == ["a<b>.sqlite", "report.html"]


def test_tables_of_points_and_provenance(written):
    folder, key, _, _ = written
    text = (folder / "report.html").read_text()
    plain = html.unescape(re.sub(r"(<[^>]*>)+", "|", text.split("<h2>Points</h2>")[1]))
    with ResultStore(folder / "a<b>.sqlite") as store:
        assert plain.count(" (32)|") == sum(m.count == 32 for point in store.read() for m in point.metrics.values())
    assert f"|{psnr_db(coordinates(num_uavs=8)):.5g} ± 0.3 (32)|" in plain
    for fact in (
        key,
        "rx_per_antenna",
        "|version of jax|0.10.1|",
        "|links.awgn.equalizer|robust|",
        "</script><b>&",
        hashlib.sha256((folder / "a<b>.sqlite").read_bytes()).hexdigest(),
    ):
        assert fact in plain, fact


def test_viewer_sets_order_values_and_name_what_is_missing(written):
    (one,) = written[3]
    assert one["snr_db"] == list(SNR_DB) and one["csi_error_var"] == list(CSI_ERROR)
    assert (one["channels"], one["schemes"], one["uavs"]) == (list(LINKS), list(CONFIG["schemes"]), [0, 1])
    assert one["snr_label"] == "SNR per receive antenna (rx_per_antenna), dB"
    assert len(one["points"]) == 2 * 2 * 15 - 1
    value = psnr_db(at_point("object first", "rayleigh", 0.05, 10))
    assert one["points"]["object first|rayleigh|2|1"]["text"].startswith(
        f"Over all pictures and channel realisations: PSNR {value:.2f} ± 0.30 dB"
    )


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_pictures_are_embedded_by_their_kind(tmp_path, kind):
    with ResultStore(tmp_path / "a.sqlite") as store:
        key = store.register(CONFIG)
        store.add_pictures([StoredPicture(key, {"snr_db": 0}, "received", 0, encoded(3, kind))])
        (one,) = viewer_sets(store)
    (entry,) = one["points"].values()
    assert entry["received"][0].startswith(f"data:image/{kind.lower()};base64,")
    assert entry["text"] == "This point is not in the store."


def test_one_scheme_at_several_p_r_is_shown_apart(tmp_path):
    with ResultStore(tmp_path / "a.sqlite") as store:
        key = store.register(CONFIG)
        for number, mask_prob in enumerate((0.1, 0.25)):
            at = coordinates(mask_prob=mask_prob)
            of_encoder = {name: at[name] for name in ("num_uavs", "seed", "scheme", "mask_prob")}
            store.add_pictures(
                [
                    StoredPicture(key, at, "received", 0, encoded(number)),
                    StoredPicture(key, of_encoder, "kept", 0, encoded(10 + number)),
                ]
            )
        (one,) = viewer_sets(store)
    assert one["schemes"] == ["object first, P_r = 0.1", "object first, P_r = 0.25"]
    assert len({one["points"][f"{label}|awgn|0|0"]["received"][0] for label in one["schemes"]}) == 2
    assert len({one["kept"][label][0] for label in one["schemes"]}) == 2


def sources(page):
    return {
        f"{name}-{uav}": page.evaluate(f"document.getElementById('{name}-{uav}').src")
        for name in COLUMNS
        for uav in range(2)
    }


def test_sliders_move_through_the_pictures(written, page):
    (one,) = written[3]

    def check(scheme, channel, snr, csi):
        point = one["points"][f"{scheme}|{channel}|{snr}|{csi}"]
        shown = sources(page)
        for uav in range(2):
            want = {"original": one["original"], "kept": one["kept"][scheme], **point}
            assert {name: shown[f"{name}-{uav}"] for name in COLUMNS} == {name: want[name][uav] for name in COLUMNS}
        assert page.evaluate("document.getElementById('point').textContent") == point["text"]
        assert page.evaluate("document.getElementById('snr-value').textContent") == f"{SNR_DB[snr]} dB"
        assert page.evaluate("document.getElementById('csi-value').textContent") == f"{CSI_ERROR[csi]:g}"
        return shown

    first = check("object first", "awgn", 4, 0)
    assert len(set(first.values())) == 8
    page.evaluate("document.getElementById('snr').focus()")
    page.press("ArrowLeft")
    page.press("ArrowLeft")
    second = check("object first", "awgn", 2, 0)
    page.evaluate("document.getElementById('csi').focus()")
    page.press("ArrowRight")
    third = check("object first", "awgn", 2, 1)
    changing = [f"{name}-{uav}" for name in ("received", "error") for uav in range(2)]
    assert all(len({shown[name] for shown in (first, second, third)}) == 3 for name in changing)
    page.evaluate("document.getElementById('scheme').focus()")
    page.press("ArrowDown")
    assert check(UNIFORM, "awgn", 2, 1)["kept-0"] != third["kept-0"]
    page.evaluate("document.getElementById('channel').focus()")
    page.press("ArrowDown")
    check(UNIFORM, "rayleigh", 2, 1)
    assert page.complaints == [] and page.requests == [(written[0] / "report.html").as_uri()]


def test_a_point_without_pictures_shows_none(page):
    page.choose(scheme="uniform masking", channel="rayleigh", csi=2)
    assert page.evaluate("document.getElementById('point').textContent") == "no pictures of this point"
    assert (
        page.evaluate("[...document.querySelectorAll('#pictures img')].map(image => image.hidden)")
        == [False, False, True, True] * 2
    )
    assert page.complaints == []


def test_pictures_and_figures_can_be_decoded_by_the_browser(page):
    page.wait("[...document.images].every(image => image.complete)")
    sizes = page.evaluate("[...document.images].filter(i => !i.hidden).map(i => i.naturalWidth)")
    assert len(sizes) == 8 + 5 and sizes[:8] == [4] * 8 and min(sizes) > 0


def test_a_complaint_is_heard(page):
    page.evaluate("console.error('look')")
    page.evaluate("document.body.append(Object.assign(new Image(), {src: 'http://127.0.0.1:9/a.png'}))")
    page.wait("true")
    page.evaluate("new Promise(done => setTimeout(done, 100))")
    assert len(page.complaints) >= 2  # the second one is the page's own policy, which lets no request out


def test_a_store_without_pictures(tmp_path):
    with ResultStore(tmp_path / "a.sqlite") as store:
        fill(store, [(coordinates(), {"psnr_db": (20.0, 0.5, 9)})])
        figures = write_html_report(store, tmp_path / "a.html", title="T & U")
    text = (tmp_path / "a.html").read_text()
    assert figures.drawn == [] and len(figures.skipped) == 11
    assert "T &amp; U" in text and "holds no pictures" in text and "<script" not in text


def test_wrong_input(tmp_path):
    with ResultStore(tmp_path / "a.sqlite") as store:
        with pytest.raises(ValueError, match="a.sqlite: holds no points"):
            write_html_report(store, tmp_path / "a.html")
        fill(store, [(coordinates(), {"psnr_db": (20.0, 0.5, 9)})])
        with pytest.raises(OutputError, match="is a folder"):
            write_html_report(store, tmp_path)
        with pytest.raises(OutputError, match="cannot be written"):
            write_html_report(store, tmp_path / "nowhere" / "a.html")
    assert [path.name for path in tmp_path.iterdir()] == ["a.sqlite"]
