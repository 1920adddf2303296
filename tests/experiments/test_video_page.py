"""The video study's tables and words against its store; its contenders' sizes; what is shown of lost groups."""

from pathlib import Path

import numpy as np
import pytest

from experiments.video import digital, measure, page
from lvm_mtc.data.video_codecs import EncodedClip
from lvm_mtc.report.pages import fill_page
from lvm_mtc.results.points import Measured, Point

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def found():
    """What was measured."""
    return page.read(DOCS / "video" / "results.sqlite", DOCS / "video")


def test_the_page_has_the_numbers_of_its_store_and_files(found):
    text = (DOCS / "video.md").read_text()
    assert fill_page(text, page.tables(found, DOCS.parent / page.SPEED)) == text
    moved = found._replace(losses=[row | {"psnr_db": row["psnr_db"] + 0.01} for row in found.losses])
    assert fill_page(text, page.tables(moved, DOCS.parent / page.SPEED)) != text


@pytest.mark.parametrize("snr_db", [0.0, 5.0, 10.0])
@pytest.mark.parametrize("other", [measure.SOFT1, measure.LINEAR])
def test_the_codec_is_ahead_of_softcast_frame_by_frame_and_of_its_start_on_5_of_6_clips(found, other, snr_db):
    name, metric = f"{measure.FULL} minus {other}", f"{page.PREFIX}psnr_db"
    gaps = [found.differences[clip, name, "awgn", snr_db].metrics[metric] for clip in measure.CLIPS]
    assert sum(gap.mean - gap.half_width > 0 for gap in gaps) >= 5
    # At no more uses: symbols and side information of a frame.
    if other == measure.SOFT1:
        totals = [
            [sum(found.points[clip, s, "awgn", snr_db].ledger[n] for n in ("channel_uses", "side_information_bits"))
             for clip in measure.CLIPS] for s in (measure.FULL, other)
        ]  # fmt: skip
        assert np.all(np.less_equal(*totals))


def test_the_page_says_in_words_what_was_measured(found):
    text = " ".join((DOCS / "video.md").read_text().split())

    def gap(one, other, snr_db, channel="awgn"):
        return np.subtract(*(page.mean_psnr(found.points, scheme, channel, snr_db) for scheme in (one, other)))

    of_intra = {
        clip: found.differences[clip, f"{measure.FULL} minus {measure.INTRA}", "awgn", 10.0].metrics[
            f"{page.PREFIX}psnr_db"].mean for clip in measure.CLIPS
    }  # fmt: skip
    assert np.mean(list(of_intra.values())) >= 0.8  # what the reference was to bring
    foreman, others = of_intra.pop("foreman"), of_intra.values()
    assert (
        f"{gap(measure.FULL, measure.INTRA, 10):.1f} dB at 10 dB, {min(others):.1f} to {max(others):.1f} dB on every "
        f"clip but foreman ({foreman:.1f} dB)" in text
    )
    linear = [gap(measure.FULL, measure.LINEAR, snr_db) for snr_db in (0, 5, 10, 15)]
    assert f"{linear[0]:.1f} dB at 0 dB, {linear[1]:.1f} dB at 5 dB, 0.25 dB at 10 dB, nothing at 15 dB" in text
    assert abs(linear[2] - 0.25) < 0.02 and abs(linear[3]) < 0.05
    soft = [gap(measure.SOFT8, measure.FULL, snr_db) for snr_db in (0, 10)]
    assert f"by {soft[0]:.1f} dB at 0 dB and {soft[1]:.1f} dB at 10 dB, for a delay of eight frames" in text
    assert "it is 1 to 2 dB behind up to 10 dB" in text
    assert all(0.9 < gap(measure.FULL, measure.SOFT8, snr_db, "rayleigh") < 2 for snr_db in (0, 5, 10))
    assert "x264 and x265 lie 4 to 7 dB above the video codec" in text
    for codec in ("x264", "x265"):
        for snr_db, psnr, _ in page._confirmed(found.digital, codec):
            assert 4 < psnr - page.mean_psnr(found.points, measure.FULL, "awgn", snr_db) < 7
    chain, golden = (np.mean(page._by_frame(found.losses, reference, "none")) for reference in ("chain", "golden"))
    assert f"costs {chain - golden:.2f} dB without losses" in text


def point(scheme, channel, snr_db, value, name="psnr_db", half_width=0.05):
    metrics = {name: Measured(value, half_width, 4)} | ({"ssim": Measured(0.9, 0.01, 4)} if name == "psnr_db" else {})
    ledger = {"channel_uses": 864.0 * 24, "side_information_bits": 138.0 * 24}
    return Point(
        config_hash="k", coordinates={"scheme": scheme, "channel": channel, "snr_db": snr_db}, seed=0,
        snr_convention="rx_per_antenna", snr_db=snr_db, realised_snr_db=None, metrics=metrics, ledger=ledger,
        device="cpu", versions={},
    )  # fmt: skip


@pytest.fixture
def study():
    points, differences = {}, {}
    for number, clip in enumerate(measure.CLIPS):
        for channel in ("awgn", "rayleigh"):
            for snr in (0.0, 5.0, 10.0):
                for place, scheme in enumerate((measure.FULL, *measure.OTHERS)):
                    points[clip, scheme, channel, snr] = point(scheme, channel, snr, 20 + snr / 2 + number - place)
                    gain = 0.04 if number == 5 else float(place)
                    name = f"{measure.FULL} minus {scheme}"
                    differences[clip, name, channel, snr] = point(name, channel, snr, gain, "difference_psnr_db")
    return points, differences


def test_tables_have_every_clip_and_count_wins(study):
    head, _, *rows = page.of_clips(*study).splitlines()
    assert head.count("pvsc") == 3 and len(rows) == 18
    assert rows[5] == (
        "| foreman | 10 | 26.00 | 25.00 | 24.00 | 23.00 | 22.00 | 1.00 ± 0.05 | 2.00 ± 0.05 | 3.00 ± 0.05 |"
    )
    # The last clip's interval has 0 in it.
    assert page.wins(study[1]).splitlines()[2] == "| pvsc, linear | 5 | 5 | 5 |"
    assert page.means(study[0]).splitlines()[2].startswith("| AWGN | 0 | 22.50 | 21.50 | 20.50 |")
    assert page.costs(study[0]).splitlines()[2] == "| pvsc | 864 | 138 | 1002 | 1002 ... 1002 |"


def rows_of_bits():
    for codec, offset in (("x264", 0.0), ("x265", 1.0)):
        for clip in measure.CLIPS:
            yield {"codec": codec, "clip": clip, "snr_db": 5.0, "choice": "confirmed", "bits_per_symbol": 4,
                   "code_rate": 0.5, "groups_lost": 0, "psnr_db": 30 + offset}  # fmt: skip
            yield {"codec": codec, "clip": clip, "snr_db": 0.0, "choice": "one step more", "bits_per_symbol": 2,
                   "code_rate": 1 / 3, "groups_lost": 2, "psnr_db": 12.0}  # fmt: skip


def test_bits_are_beside_the_codec_or_an_outage(study):
    rows = page.of_digital(study[0], list(rows_of_bits())).splitlines()[2:]
    assert rows[0] == "| 0 | outage | outage | none arrives | 12 of 18 | 22.50 | 21.50 |"
    assert rows[1] == "| 5 | 30.00 | 31.00 | 16-QAM, 0.50 |  | 25.00 | 24.00 |"


def test_losses_are_shown_around_the_frame(study):
    losses = [
        {"reference": reference, "lost": lost, "clip": clip, "frame": frame,
         "psnr_db": 10.0 if frame == lost else 30.0}
        for reference in ("chain", "golden") for lost in ("none", 11) for clip in measure.CLIPS for frame in range(24)
    ]  # fmt: skip
    rows = page.of_losses(losses).splitlines()[2:]
    assert rows[0] == "| chain | none | 30.00 | 30.00 | 30.00 | 30.00 | 30.00 | 30.00 |"
    assert rows[1] == "| chain | 11 | 30.00 | 10.00 | 30.00 | 30.00 | 30.00 | 29.17 |"
    panels = page.panels(study[0], list(rows_of_bits()), losses)
    assert [len(panel.curves) for panel in panels] == [7, 5, 4]
    assert panels[0].curves[0].mean == pytest.approx([22.5, 25, 27.5]) and panels[2].curves[1].mean[11] == 10


@pytest.mark.parametrize("total", [700, 1000])
@pytest.mark.parametrize("gop", [1, 8])
def test_softcast_has_no_less_than_its_share(total, gop):
    config = measure._softcast(gop, total).config
    uses = (config.sent * config.chunk_size // 2 + config.side_bits) / gop
    assert total <= uses < total + (config.chunk_size / 2 + 8) / gop


def test_lost_groups_freeze_the_frame_before():
    clip = np.random.default_rng(0).integers(0, 256, (24, 4, 4, 3), np.uint8)
    coded = [EncodedClip(10, clip[i : i + 8], 30.0) for i in (0, 8)] + [None]
    psnr, lost = digital.shown(clip, coded, np.array([True, False, True]))
    frozen = np.mean((np.float64(clip[8:]) - clip[7]) ** 2, axis=(1, 2, 3)) / 255**2
    assert lost == 2 and psnr == pytest.approx((8 * 90 - 10 * np.log10(frozen).sum()) / 24)


def test_words_arrive_whole_above_the_threshold_and_not_below():
    pair = (2, 1 / 2)
    assert digital.blocks_of(1008, pair).payload_bits == pytest.approx(992, abs=30)
    assert digital.arrive(1008, pair, 4.0, 3).all() and not digital.arrive(1008, pair, -2.0, 3).any()
