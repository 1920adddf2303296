"""The study of Kodak beside codecs of files: budgets, and tables and figure from rows whose deltas are known."""

import json

import numpy as np

from experiments.native import kodak
from experiments.native.kodak_page import OURS, chosen, draw, tables
from lvm_mtc.data import demo_views

PAIRS = [dict(bits_per_symbol=bits, rate=rate, bits=bits * rate, arrived=arrived)
         for bits, rate, arrived in ((2, 1 / 2, 1.0), (4, 2 / 3, 1.0), (6, 1 / 2, 0.95))]  # fmt: skip


def results():
    """HEIC over LDPC is 1 dB above ours at equal uses, JPEG has no file of a picture at the lowest rate."""
    ratios, rows = np.array(kodak.RATIOS), []
    for number in (0, 4, 8):
        ours = 24 + 3 * np.arange(4.0) + number / 10
        own = dict(psnr_db=ours.tolist(), cbr_with_side_information=(1 / ratios).tolist())
        rows.append(dict(codec=OURS, number=number) | own)
        rows.append(dict(codec="heic", number=number, named=(ours + 1).tolist(), ideal=(ours + 2).tolist()))
        named = [None if number == 4 else ours[0], *ours[1:].tolist()]
        rows.append(dict(codec="jpeg", number=number, named=named, ideal=ours.tolist()))
    return dict(snr_db=10.0, ratios=list(kodak.RATIOS), pairs=PAIRS, rows=rows)


def test_budgets_are_those_of_the_code_and_of_the_capacity():
    """Information bits of the fastest pair of which all arrive, less checksum and frame's end; log2(1 + SNR) a use."""
    assert chosen(PAIRS) == PAIRS[1]
    found = kodak.budgets(PAIRS[1])
    for ratio, named, ideal in zip(kodak.RATIOS, found["named"], found["ideal"], strict=True):
        uses = 3 * 768 * 512 / ratio
        assert kodak.uses(ratio) == uses and 0.998 < named / (uses * 8 / 3) < 1
        assert 0 <= uses * np.log2(11) - ideal < 1


def test_tables_say_what_the_rows_do(tmp_path):
    found = tables(results())
    assert "| HEIC, LDPC | -1.00 | +26% | -1.00 ± 0.00 | -1.00 ± 0.00 |" in found["deltas"]  # 2^(1/3): 3 dB a doubling
    assert "| HEIC, ideal codes | -2.00 | +59% | -2.00 ± 0.00 | -2.00 ± 0.00 |" in found["deltas"]
    assert "| JPEG, LDPC | 67% fit | 27.40 | 30.40 | 33.40 |" in found["kodak"]
    assert "| 64-QAM | 0.50 | 3.000 | 95% |" in found["pairs"]
    assert found["facts"].startswith("Pictures 01, 05, 09 of 24") and "16-QAM at rate 0.67" in found["facts"]
    draw(results(), tmp_path)
    assert (tmp_path / "psnr.png").stat().st_size > 5000


def test_files_are_measured_at_their_budgets():
    picture = np.ascontiguousarray(demo_views().views[0, 1])
    found = kodak.measure_file("jpeg", picture, {"named": [10, 8000, 16_000, 32_000], "ideal": [9000] * 4})
    assert found["named"][0] is None and np.all(np.diff(found["named"][1:]) > 1)
    assert found["named"][1] < found["ideal"][0] < found["named"][2]


def test_pairs_are_measured_once(tmp_path):
    work = tmp_path / "work.jsonl"
    work.write_text(json.dumps({"pairs": PAIRS}) + "\n")
    assert kodak.usable(work, seed=0) == PAIRS
