"""CIFAR-10's hold-out: each picture's JPEG copy is left out of training, on made-up pictures and on the real ones."""

from pathlib import Path

import numpy as np
import pack_cifar10
import pytest
from pack_cifar10 import HELD_OUT, LOSSLESS_COPIES, main, split

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def pictures(count, seed):
    return np.random.default_rng(seed).integers(0, 256, (count, 8, 8, 3), np.uint8)


def test_twins_are_found_and_their_lack_is_an_error():
    lossless, copies = pictures(6, 0), pictures(20, 1)
    copies[[4, 9]] = np.clip(lossless[-2:] + np.random.default_rng(2).integers(-9, 10, (2, 8, 8, 3)), 0, 255)
    twins, mse = split(lossless, copies, 2)
    assert twins.tolist() == [4, 9] and mse[:, 0].max() < 60 < mse[:, 1].min()
    with pytest.raises(ValueError, match="held-out picture 0 has no twin: its nearest copy is"):
        split(lossless, pictures(20, 1), 2)
    with pytest.raises(ValueError, match="two held-out pictures have the same twin"):
        split(np.repeat(lossless[-1:], 2, axis=0), copies, 2)


def test_no_twin_is_left_among_the_training_pictures(tmp_path, capsys):
    if not (DATA / "cifar10").is_dir():
        pytest.skip("needs ../shared/data/cifar10")
    assert main(["--data", str(DATA), "--out", str(tmp_path / "cifar10.npz")]) == 0
    assert "99500 training pictures; 500 held out" in capsys.readouterr().out
    with np.load(tmp_path / "cifar10.npz") as packed:
        pictures, held_out, twins, of_twin = (
            packed[name] for name in ("pictures", "holdout_pictures", "twins", "twin_mse"))  # fmt: skip
        assert packed["test_pictures"].shape == (10_000, 32, 32, 3) and len(packed["holdout_labels"]) == HELD_OUT
    assert len(set(twins.tolist())) == HELD_OUT and len(pictures) == 50_000 - HELD_OUT + LOSSLESS_COPIES * 2500
    # The lossless ones repeat: one copy of them is enough to look at.
    _, mse = pack_cifar10.nearest_neighbours(held_out, pictures[: 50_000 - HELD_OUT + 2500], 1)
    # What is left is another picture: three times as far as the twin that was taken out, for every one of them.
    assert (mse[:, 0] > 3 * of_twin).all() and of_twin.max() < mse.min()


def test_wrong_input_is_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "x.npz")]) == 2
    assert capsys.readouterr().err.startswith("pack_cifar10: ") and not (tmp_path / "x.npz").exists()
