"""The codecs that the package brings score what the table says of them, and the page shows the table."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from experiments.queue.measure import load_holdout, psnr_of_mean_mse
from experiments.queue.objectives import make_psnr
from experiments.queue.page import tables
from lvm_mtc import zoo
from lvm_mtc.models.weights import SHIPPED, WeightsError
from lvm_mtc.report.pages import fill_page

DOCS = Path(__file__).resolve().parents[1] / "docs"
RESULTS = json.loads((DOCS / "zoo" / "results.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.list_codecs())
def test_every_codec_scores_what_the_table_says(name, shared_data):
    scheme, params = zoo.load_codec(name)
    psnr = make_psnr(scheme, load_holdout(shared_data))(params, "awgn", 7.0)
    assert psnr.shape == (500,)
    assert np.mean(psnr, dtype=float) == pytest.approx(zoo.list_codecs()[name].psnr_db["awgn"]["7"], abs=0.003)
    assert psnr_of_mean_mse(psnr) == pytest.approx(RESULTS["of_mean_mse"][name]["awgn"][2], abs=0.003)


def test_psnr_of_the_mean_mse_by_hand():
    """10 dB and 20 dB are errors of 0.1 and 0.01, in the mean 0.055: 12.596 dB, below their mean of 15 dB."""
    assert psnr_of_mean_mse(np.array([10.0, 20.0])) == pytest.approx(-10 * np.log10(0.055), abs=1e-4)
    assert psnr_of_mean_mse(np.full(3, 28.5)) == pytest.approx(28.5, abs=1e-4)


def test_scores_rise_with_the_snr():
    for card in zoo.list_codecs().values():
        for scores in card.psnr_db.values():
            assert list(scores) == ["1", "4", "7", "10", "13"]
            assert np.all(np.diff(list(scores.values())) > 0.2)


@pytest.mark.slow
def test_token2_does_not_fall_beyond_the_snr_of_its_training(shared_data):
    scheme, params = zoo.load_codec("token2_cifar10_cbr_1_3")
    psnr = make_psnr(scheme, load_holdout(shared_data)[:100])
    values = [psnr(params, "awgn", snr_db).mean() for snr_db in (14.0, 17.0, 20.0)]
    assert np.all(np.diff(values) > 0), values


def test_page_results_and_table_agree():
    page = (DOCS / "zoo.md").read_text()
    assert fill_page(page, tables(RESULTS)) == page, "run experiments/queue/measure.py --page-only"
    assert list(RESULTS["levels"]) == [*zoo.list_codecs(), *RESULTS["built"]]
    assert not RESULTS["built"].keys() & zoo.list_codecs().keys()
    for name, card in zoo.list_codecs().items():
        for channel, scores in card.psnr_db.items():
            assert list(scores.values()) == [mean for mean, _ in RESULTS["levels"][name][channel]]


def test_unknown_names_and_other_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="codec 'token2_cifar10_cbr_1_4' is not known .did you mean"):
        zoo.load_codec("token2_cifar10_cbr_1_4")
    file = zoo.list_codecs()["deepjscc_cifar10_cbr_1_3"].file
    shutil.copy(zoo.SHIPPED / file, tmp_path)
    with open(tmp_path / file, "ab") as damaged:
        damaged.write(b"0")
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path)
    with pytest.raises(WeightsError, match=r"cbr_1_3\.npz is not the file whose scores the table of codecs holds"):
        zoo.load_codec("deepjscc_cifar10_cbr_1_3")


def test_all_weights_together_are_small():
    """25 MB at most, and no file above 15; the tokenizer's merges are no weights."""
    sizes = {file.name: file.stat().st_size for file in SHIPPED.glob("*.npz") if file.name != "clip_bpe_merges.npz"}
    assert sum(sizes.values()) <= 25e6 and max(sizes.values()) <= 15e6
