"""The video study's tables, of numbers made up here; the sizes of its contenders; what is shown of lost groups."""

import numpy as np
import pytest

from experiments.video import digital, measure, page
from lvm_mtc.data.video_codecs import EncodedClip
from lvm_mtc.results.points import Measured, Point


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
