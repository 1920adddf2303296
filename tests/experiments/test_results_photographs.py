"""What is measured on photographs: held-out pictures, their middle, and every codec at the same channel uses."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.results.parts import read
from experiments.results.photographs import EVERY, NAME, SIZE, load_pictures, main
from experiments.results.train_photographs import RUNS
from lvm_mtc.results.store import ResultStore

STORE = Path(__file__).resolve().parents[2] / "docs" / "results" / "results.sqlite"


def test_pictures_are_the_middle_of_every_second_held_out_one(tmp_path):
    held_out = np.random.default_rng(0).integers(0, 256, (5, SIZE + 8, SIZE + 8, 3), np.uint8)
    np.savez(tmp_path / "packed.npz", pictures=held_out[:1], holdout_pictures=held_out)
    pictures = load_pictures(tmp_path / "packed.npz").data
    assert EVERY == 2 and pictures.shape == (3, 1, SIZE, SIZE, 3)
    np.testing.assert_array_equal(np.rint(255 * pictures[:, 0]), held_out[::2, 4:-4, 4:-4])


def test_every_codec_is_measured_at_the_same_channel_uses(tmp_path):
    shutil.copy(STORE, tmp_path / "results.sqlite")
    with ResultStore(tmp_path / "results.sqlite", create=False) as store:
        points = read(store, NAME)
    assert len({point.coordinates["scheme"] for point in points}) == len(RUNS)
    assert {point.ledger["channel_uses"] for point in points} == {points[0].ledger["channel_uses"]}
    assert [point.metrics["cbr"].mean for point in points] == pytest.approx([1 / 6] * len(points))
    assert {point.snr_convention for point in points} == {"rx_per_antenna"}


def test_a_missing_run_is_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "none.npz"), "--runs", str(tmp_path), "--store", str(tmp_path / "s")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and str(tmp_path / "photographs_token" / "system" / "weights.npz") in said
