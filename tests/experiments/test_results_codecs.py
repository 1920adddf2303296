"""What the sweeps of whole pictures send and compare."""

import numpy as np
import pytest

from experiments.results import codecs
from experiments.results.measure import main
from lvm_mtc.data.cifar10 import LabelledPictures


@pytest.fixture
def drawn(monkeypatch):
    """Random pictures in the place of CIFAR-10's, and judges left out."""
    rng = np.random.default_rng(0)

    def pictures(number):
        return LabelledPictures(rng.integers(0, 256, (number, 32, 32, 3), np.uint8), np.arange(number) % 10, ())

    lossless, test = (pictures(300), pictures(20)), pictures(20)
    monkeypatch.setattr(codecs, "load_lossless", lambda data: lossless)
    monkeypatch.setattr(codecs, "load_test", lambda data: test)
    monkeypatch.setattr(codecs, "accuracy_judges", lambda data: ())
    return lossless, test


def test_codecs_send_equally_many_symbols_of_the_same_pictures(drawn):
    spec, pairs = codecs.over_snr(None)
    sizes = {np.prod(contender.scheme.frames()) for contender in spec.schemes}
    assert sizes == {codecs.NUM_SYMBOLS} and len(spec.schemes) == 4
    np.testing.assert_array_equal(np.rint(255 * spec.sources[1].data[:, 0]), drawn[1].pictures)
    assert len(pairs) == 3 * 2 * len(codecs.SNR_DB)
    assert all(pair.first["scheme"] == codecs.TOKEN2 and pair.first["snr_db"] == pair.second["snr_db"]
               for pair in pairs)  # fmt: skip


def test_equalisers_differ_in_nothing_else(drawn):
    spec, pairs = codecs.over_csi_error(None)
    robust, *others = (link.described() | {"equalizer": None} for link in spec.links)
    assert all(other == robust for other in others) and len({link.equalizer for link in spec.links}) == 3
    for pair in pairs:
        assert pair.first | {"channel": ""} == pair.second | {"channel": ""} and pair.first["channel"] == "robust"
        assert pair.name == codecs.minus_rule(pair.first["scheme"], pair.second["channel"])
    # Rows of differences are found by their coordinates.
    assert len({str(pair.coordinates) for pair in pairs}) == len(pairs) == 2 * 2 * 18


def test_missing_data_are_one_line(tmp_path, capsys):
    assert main(["--data", str(tmp_path), "--store", str(tmp_path / "s"), "--only", codecs.CSI]) == 2
    assert capsys.readouterr().err.count("\n") == 1
