"""CIFAR-10's hold-out: each picture's JPEG copy is left out of training."""

import numpy as np
import pytest

from experiments.pack_cifar10 import LOSSLESS_COPIES, main
from lvm_mtc.data.twins import HELD_OUT, nearest_neighbours


@pytest.mark.slow
def test_no_twin_is_left_among_the_training_pictures(shared_data, tmp_path, capsys):
    assert main(["--data", str(shared_data), "--out", str(tmp_path / "cifar10.npz")]) == 0
    assert "99500 training pictures; 500 held out" in capsys.readouterr().out
    with np.load(tmp_path / "cifar10.npz") as packed:
        pictures, held_out, twins, of_twin = (
            packed[name] for name in ("pictures", "holdout_pictures", "twins", "twin_mse"))  # fmt: skip
        assert len(packed["holdout_labels"]) == HELD_OUT
        lossless = packed["labels"][-LOSSLESS_COPIES * 2500 :].reshape(LOSSLESS_COPIES, -1)
        assert len(packed["labels"]) == len(pictures) and (lossless == lossless[0]).all()
    assert len(set(twins.tolist())) == HELD_OUT and len(pictures) == 50_000 - HELD_OUT + LOSSLESS_COPIES * 2500
    # The lossless ones repeat: one copy of them is enough to look at.
    _, mse = nearest_neighbours(held_out, pictures[: 50_000 - HELD_OUT + 2500], 1)
    # What is left is another picture: three times as far as the twin that was taken out, for every one of them.
    assert (mse[:, 0] > 3 * of_twin).all() and of_twin.max() < mse.min()


def test_wrong_input_is_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "x.npz")]) == 2
    assert (
        capsys.readouterr().err.startswith("python -m experiments.pack_cifar10: ") and not (tmp_path / "x.npz").exists()
    )
