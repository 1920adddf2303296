"""What the page on channels says stands in its table."""

from pathlib import Path

import pytest

from lvm_mtc.results.table import read_csv

DOCS = Path(__file__).resolve().parents[2] / "docs"
ROWS = {(row["channel"], row["scheme"], row["snr_db"]): row for row in read_csv(DOCS / "channels" / "channels.csv")}
TOKENS, AVIF, WEBP, JPEG = "every patch kept", "AVIF + LDPC", "WebP + LDPC", "JPEG + LDPC"
TOLD, FIXED = "AVIF + LDPC, channel known by name", "AVIF + LDPC, 16-QAM, rate 1/2 at every SNR"
FADING = ("Rayleigh", "Sionna TDL-A")


def curve(channel, scheme, column="psnr_db"):
    return {snr: row[column] for (where, who, snr), row in sorted(ROWS.items()) if (where, who) == (channel, scheme)}


def ahead(channel, scheme, other=TOKENS):
    """By how much a scheme is ahead, dB, by SNR."""
    others = curve(channel, other)
    return {snr: psnr - others[snr] for snr, psnr in curve(channel, scheme).items()}


@pytest.mark.parametrize(
    ("channel", "low", "high"), [("AWGN", 0.8, 3.4), ("Rayleigh", 1.6, 5.6), ("Sionna TDL-A", 2.7, 5.8)]
)
def test_avif_is_ahead_where_it_was_chosen_for(channel, low, high):
    gains = ahead(channel, AVIF).values()
    assert (min(gains), max(gains)) == pytest.approx((low, high), abs=0.06)


def test_where_webp_and_jpeg_are_ahead():
    wins = {(name, channel): [snr for snr, gain in ahead(channel, name).items() if gain > 0]
            for name in (WEBP, JPEG) for channel in ("AWGN", *FADING)}  # fmt: skip
    assert wins[WEBP, "AWGN"][:4] == [0, 2, 4, 6] and wins[WEBP, "Sionna TDL-A"] == list(range(3, 31, 3))
    assert wins[JPEG, "AWGN"] == [0, 2]
    assert all(wins[name, "Rayleigh"][:5] == [3, 6, 9, 12, 15] for name in (WEBP, JPEG))
    assert wins[JPEG, "Sionna TDL-A"] == wins[JPEG, "Rayleigh"] == [3, 6, 9, 12, 15]


def test_over_another_channel_the_choice_loses_all_and_the_token_codec_goes_on():
    lost = curve("Sionna CDL-D", AVIF, "picture_error_rate")
    assert all(share > 0.98 for snr, share in lost.items() if snr >= 3) and lost[0] == pytest.approx(0.85, abs=0.01)
    tokens, told = curve("Sionna CDL-D", TOKENS), ahead("Sionna CDL-D", TOLD)
    assert (tokens[0], tokens[30]) == pytest.approx((16.9, 27.1), abs=0.06)
    gains = [gain for snr, gain in told.items() if snr >= 3]
    assert (min(gains), max(gains)) == pytest.approx((5.2, 6.5), abs=0.06)
    assert max(ahead("AWGN", TOLD).values()) == pytest.approx(7.8, abs=0.06)


def test_the_cliff():
    lost = curve("AWGN", FIXED, "picture_error_rate")
    assert lost[5] == 1 and lost[6] == pytest.approx(0.35, abs=0.01) and lost[7] == 0
    shares = {name: max(max(share for snr, share in curve(channel, name, "picture_error_rate").items() if snr > 0)
                        for channel in FADING) for name in (AVIF, JPEG)}  # fmt: skip
    assert (shares[AVIF], shares[JPEG]) == pytest.approx((0.22, 0.30), abs=0.006)
    rayleigh = curve("Rayleigh", AVIF)
    assert rayleigh[15] - rayleigh[18] == pytest.approx(1.4, abs=0.06)


def test_no_curve_of_the_token_codec_falls_and_no_digital_one_passes_its_reference():
    for channel in ("AWGN", *FADING, "Sionna CDL-D"):
        psnr = list(curve(channel, TOKENS).values())
        assert psnr == sorted(psnr)
        for scheme in (AVIF, TOLD):
            assert max(ahead(channel, scheme, "reference: AVIF, outage").values()) < 0
    below = [-gain for gain in ahead("AWGN", TOLD, "reference: AVIF, outage").values()]
    assert (min(below), max(below)) == pytest.approx((1.3, 2.6), abs=0.06)


def test_the_realised_snr_is_the_one_asked_for():
    for channel, most in (("AWGN", 0.02), ("Rayleigh", 0.11), ("Sionna TDL-A", 0.115), ("Sionna CDL-D", 0.305)):
        realised = curve(channel, TOKENS, "realised_snr_db")
        assert max(abs(value - snr) for snr, value in realised.items()) <= most
