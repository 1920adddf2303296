"""Player and turntable: what is stored of clips and clouds, and that frames and points move in a browser."""

import base64
import io
import re

import jax
import numpy as np
import pytest
from browser import Browser, find_chromium
from PIL import Image
from synthetic_store import CONFIG, coordinates, fill

from lvm_mtc.link import LinkConfig
from lvm_mtc.report import moving
from lvm_mtc.report.clouds import project
from lvm_mtc.report.html import write_html_report, write_viewer
from lvm_mtc.report.html_viewer import viewer_set, viewer_sets, within_limit
from lvm_mtc.report.shown import arrived
from lvm_mtc.report.viewer_pictures import viewer_pictures
from lvm_mtc.results.points import StoredPicture
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.point_clouds.linear import LinearClouds, LinearCloudsConfig
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.softcast.scheme import SoftCast, SoftCastConfig
from lvm_mtc.sweep.named import plain_contender
from lvm_mtc.sweep.paired import NamedSweep
from lvm_mtc.sweep.stopping import StoppingRule

POINT = np.array([0.25, 0.125, -0.1875])
SNR_DB = (0.0, 20.0)
KEY = "0" * 64


def unpacked(text):
    """Points of what the page holds."""
    return np.frombuffer(base64.b64decode(text), "<i2").reshape(-1, 3) / moving.CLOUD_SCALE


def sweep(name, scheme, data, **options):
    return NamedSweep(
        name=name,
        schemes=(plain_contender(scheme, scheme.init(jax.random.key(0))),),
        links=(LinkConfig(fading="awgn", convention="rx_per_antenna"),),
        sources={1: Source(data)},
        snr_db=SNR_DB,
        stopping=StoppingRule(target_half_width=None, max_units=2),
        pictures_per_step=1,
        **options,
    )


@pytest.fixture(scope="module")
def clips():
    ramp = np.linspace(0.1, 0.7, 32)[:, None, None] * np.ones((1, 32, 3))
    data = np.stack([ramp + 0.1 * number for number in range(3)])[None, None].repeat(2, 0)
    scheme = SoftCast(SoftCastConfig(size=(32, 32), num_frames=3, gop=1, num_uses=352))
    return sweep("clips", scheme, np.float32(data), metrics=("psnr_db", "ssim"))


@pytest.fixture(scope="module")
def clouds():
    data = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 1, 32, 3)).astype(np.float32)
    scheme = LinearClouds(LinearCloudsConfig(num_points=32, num_symbols=24, features="points"))
    return sweep("clouds", scheme, data, metrics=("d1_psnr_db",))


@pytest.fixture(scope="module")
def stored(clips, clouds, tmp_path_factory, fast_compile):
    """A report of both sweeps, measured at no point, and what its viewer holds."""
    folder = tmp_path_factory.mktemp("moving")
    with ResultStore(folder / "a.sqlite") as store:
        assert viewer_pictures(clips, store) == 3 * (1 + len(SNR_DB))
        assert viewer_pictures(clouds, store) == 1 + len(SNR_DB)
        assert viewer_pictures(clips, store) == viewer_pictures(clouds, store) == 0
        return {shown["name"]: shown for shown in viewer_sets(store)}


def pixels(uri):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))) / 255


@pytest.mark.slow
def test_clips_are_those_of_the_sweep(stored, clips):
    shown = stored["clips"]
    assert (shown["kind"], shown["snr_db"], shown["labels"]) == ("clips", list(SNR_DB), ["UAV 0"])
    originals, samples = arrived(clips, list(clips.coordinates()), groups=1)
    assert originals.shape[:2] == (1, 1)
    for number in range(3):
        original = pixels(shown["original"][0][number])
        np.testing.assert_allclose(original, originals[0, 0, number], atol=0.03)
        for place, sample in enumerate(samples):
            received = pixels(shown["points"][f"softcast|awgn|{place}|0"]["received"][0][number])
            assert np.abs(received - sample.pictures[0, 0, 0, number] / 255).mean() < 0.03
    noisy, clean = (np.abs(s.pictures[0, 0, 0] / 255 - originals[0, 0]).mean() for s in samples)
    assert noisy > 2 * clean, "two SNRs that look the same show nothing"


def test_clouds_are_those_of_the_sweep(stored, clouds):
    shown = stored["clouds"]
    originals, samples = arrived(clouds, list(clouds.coordinates()), groups=1)
    step = 0.5 / moving.CLOUD_SCALE + 1e-7
    np.testing.assert_allclose(unpacked(shown["original"][0]), originals[0, 0], atol=step)
    for place, sample in enumerate(samples):
        entry = shown["points"][f"linear_clouds|awgn|{place}|0"]
        np.testing.assert_allclose(unpacked(entry["received"][0]), sample.pictures[0, 0, 0], atol=step)
        assert entry["text"] == "This point is not in the store."


def test_long_clips_large_clouds_and_many_rows_are_cut():
    ((_, data),) = moving.encode(np.linspace([-5.0, -1, 0], [5, 1, 0], 9000))
    points = unpacked(base64.b64encode(data.removeprefix(moving.CLOUD_HEAD)))
    assert points.shape == (moving.MOST_POINTS, 3) and np.abs(points[:, 0]).max() <= 4
    np.testing.assert_allclose(points[[0, -1], 1], [-1, 1])
    frames = list(moving.encode(np.zeros((moving.MOST_FRAMES + 5, 2, 2, 3), np.uint8)))
    assert [at["frame"] for at, _ in frames] == list(range(moving.MOST_FRAMES))
    rows = list(moving.stored(KEY, {}, [], np.zeros((3, 2, 5, 3)), []))
    assert [row.uav for row in rows] == [0, 1, 2, 3] and moving.MOST_ROWS == 4


def cloud_pictures(found):
    """Stored clouds at 0, 1, ... dB, of one point each, farther and farther out; the original is ``POINT``."""
    yield StoredPicture(KEY, {}, "original", 0, moving.pack_cloud(POINT[None]))
    for number in range(found):
        at = {"scheme": "a", "channel": "awgn", "snr_db": number, "csi_error_var": 0}
        yield StoredPicture(KEY, at, "received", 0, moving.pack_cloud(POINT[None] * (1 + number)))


def test_a_page_holds_so_many_bytes():
    (shown,) = within_limit([viewer_set("s", list(cloud_pictures(3)), [])], limit=30)
    held = ["received" in entry for entry in shown["points"].values()]
    assert held == [True, False, False], "a cloud of one point takes 14 bytes as JSON with its key"
    assert "MiB of clips and clouds at most" in shown["points"]["a|awgn|2|0"]["text"]


def frame(number, shade):
    stream = io.BytesIO()
    Image.new("RGB", (6, 4), (40 * number, shade, 7)).save(stream, "PNG")
    return stream.getvalue()


def frame_pictures():
    """A clip of three frames at 0 and 10 dB; the red of a frame says its number, the green what it is of."""
    for number in range(3):
        yield StoredPicture(KEY, {"frame": number}, "original", 0, frame(number, 200))
        for snr in (0, 10):
            at = {"scheme": "a", "channel": "awgn", "snr_db": snr, "csi_error_var": 0, "frame": number}
            yield StoredPicture(KEY, at, "received", 0, frame(number, snr))


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The two viewers as files, open in one browser; a function goes to one of them."""
    program = find_chromium()
    if program is None:
        pytest.skip("no chromium on this machine")
    folder = tmp_path_factory.mktemp("pages")
    write_viewer(folder / "player.html", viewer_set("s", list(frame_pictures()), []), title="player")
    clouds = viewer_set("s", list(cloud_pictures(2)), [], ["chair"])
    write_viewer(folder / "turntable.html", clouds, title="turntable")
    with Browser(program, folder / "profile", "about:blank") as browser:

        def visit(name):
            address = (folder / name).as_uri()
            browser.complaints.clear()
            browser.send("Page.navigate", url=address)
            browser.wait(f"location.href == '{address}' && document.readyState == 'complete'")
            return browser

        yield visit


COPY = """(name => { const c = of(name), pen = new OffscreenCanvas(c.width, c.height).getContext("2d",
    {willReadFrequently: true}); pen.drawImage(c, 0, 0); return pen.getImageData(0, 0, c.width, c.height); })"""


def colour(page, name):
    """Red, green and blue of a canvas's first pixel."""
    return page.evaluate(f"[...{COPY}('{name}-0').data.slice(0, 3)]")


def test_frames_play_side_by_side(pages):
    page = pages("player.html")
    page.wait("of('original-0').width == 6 && of('received-0').width == 6")

    def check(number, snr):
        assert colour(page, "original") == [40 * number, 200, 7] and colour(page, "received") == [40 * number, snr, 7]
        assert page.evaluate("of('frame-value').textContent") == f"{number + 1} of 3"
        label = page.evaluate("of('received-0').getAttribute('aria-label')")
        assert label == f"received, UAV 0, frame {number + 1} of 3"

    check(0, 10)
    page.evaluate("of('frame').focus()")
    page.press("ArrowRight")
    check(1, 10)
    page.evaluate("of('snr').focus()")
    page.press("ArrowLeft")
    page.wait(f"{COPY}('received-0').data[1] == 0")
    check(1, 0)
    assert page.evaluate("of('move').textContent") == "play"
    page.evaluate("of('move').focus()")
    page.press("Enter")
    assert page.evaluate("of('move').textContent + of('move').ariaPressed") == "pausetrue"
    seen = page.evaluate("""new Promise(done => { const seen = []; const look = () => {
        if (seen.at(-1) !== of("frame").value) seen.push(of("frame").value);
        if (seen.length > 4) done(seen); else requestAnimationFrame(look); }; look(); })""")
    assert seen in (list("12012"), list("20120"), list("01201")), seen
    page.press("Enter")
    stopped = int(page.evaluate("of('frame').value"))
    page.evaluate("new Promise(done => setTimeout(done, 250))")
    check(stopped, 0)
    assert page.evaluate("getComputedStyle(of('azimuth')).display") == "none" and page.complaints == []


def marked(page, name):
    """Centre of what is drawn on a canvas, in units of the unit ball, right and up."""
    places = page.evaluate(f"[...{COPY}('{name}-0').data].flatMap((a, i) => i % 4 == 3 && a ? [i >> 2] : [])")
    y, x = (np.mean(where) + 0.5 for where in np.divmod(places, 420))
    return (x - 210) / 200, (210 - y) / 200


def test_clouds_turn_as_the_sheet_projects_them(pages):
    page = pages("turntable.html")
    assert page.evaluate("document.querySelector('#pictures th:not(thead th)').textContent") == "chair"
    assert page.evaluate("of('move').textContent") == "stop"
    page.wait("Number(of('azimuth').value) > 37")
    page.evaluate("of('move').click()")

    def check(azimuth, elevation):
        assert page.evaluate("[of('azimuth').value, of('elevation').value]") == [str(azimuth), str(elevation)]
        for name, scale in (("original", 1), ("received", 2)):
            right, up, _ = project(POINT * scale, azimuth, elevation)
            np.testing.assert_allclose(marked(page, name), (right, up), atol=1 / 200)

    page.evaluate("of('azimuth').value = 35; of('azimuth').dispatchEvent(new Event('input'))")
    check(35, 25)
    page.evaluate("of('elevation').focus()")
    page.press("ArrowUp")
    check(35, 26)
    page.evaluate("of('original-0').scrollIntoView()")
    corner = page.evaluate("(({x, y}) => [x, y])(of('original-0').getBoundingClientRect())")
    mouse = dict(button="left", buttons=1, clickCount=1)
    for kind, right, down in (("mousePressed", 50, 50), ("mouseMoved", 70, 40), ("mouseReleased", 70, 40)):
        page.send("Input.dispatchMouseEvent", type=kind, x=corner[0] + right, y=corner[1] + down, **mouse)
    check(15, 16)
    assert page.evaluate("of('received-0').getAttribute('aria-label')").endswith("seen from 15 degrees, 16 above")
    assert page.complaints == []


def test_one_viewer_goes_from_pictures_to_clips_to_clouds(clips, clouds, tmp_path, pages):
    with ResultStore(tmp_path / "a.sqlite") as store:
        key = fill(store, [(coordinates(), {"psnr_db": (20.0, 0.5, 9)})], config=CONFIG)
        store.add_pictures([StoredPicture(key, {"snr_db": 0}, "received", 0, frame(0, 0))])
        for spec, found in ((clips, frame_pictures()), (clouds, cloud_pictures(2))):
            key = store.register(spec.config())
            store.add_pictures([one._replace(config_hash=key) for one in found])
        write_html_report(store, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "<h2>Pictures, clips, point clouds</h2>" in text and not re.search(r"(src|href)=\"(?!data:)", text)
    page = pages(tmp_path / "report.html")
    shown = {}
    for name in page.evaluate("[...of('sweep').options].map(option => option.value)") * 2:
        page.evaluate(f"of('sweep').value = {name!r}; of('sweep').dispatchEvent(new Event('change'))")
        visible = "[...of('moving').querySelectorAll('input')].filter(i => i.checkVisibility()).map(i => i.id)"
        tags = "[...document.querySelectorAll('#pictures td > :not([hidden])')].map(one => one.tagName)"
        shown[name] = page.evaluate(f"[of('pictures').className, {visible}, {tags}]")
    assert sorted(shown.values()) == [
        ["clips", ["frame"], ["CANVAS"] * 2],
        ["pictures", [], ["IMG"]],
        ["points", ["azimuth", "elevation"], ["CANVAS"] * 2],
    ]
    assert page.complaints == []
