"""Sentences through ``lvm-mtc transmit --text`` and ``sweep --text``."""

import json
import shlex

import jax
import numpy as np
import pytest

from lvm_mtc.cli import main
from lvm_mtc.cli.parser import build_parser
from lvm_mtc.cli.sweep import sweep_config
from lvm_mtc.cli.sweep_config import make_spec
from lvm_mtc.models.weights import save_weights
from lvm_mtc.report.study import TEXT_METRICS
from lvm_mtc.results.table import read_csv
from lvm_mtc.schemes.loading import identity
from lvm_mtc.schemes.vlm_csc.scheme import VlmCsc, VlmCscConfig

pytestmark = pytest.mark.usefixtures("fast_compile")

SIZES = dict(vocabulary=8, num_words=6, num_symbols=4, width=8, depth=1, num_heads=1, hidden=8)
SCHEME = VlmCsc(VlmCscConfig(**SIZES, noise_attention="none"))
WORDS = "a dog runs cat the on grass".split()
SEND = "transmit --text captions.txt --weights text.npz --uavs 1 --channel awgn --realisations 2 --snr-db 0,20"
SWEEP = "sweep --text captions.txt --set weights=text.npz --channel awgn --units 2 --snr-db 0,20 --uavs 1"


@pytest.fixture
def captions(folder):
    """The common folder with weights for text, of few words, and a file of sentences."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(SCHEME.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)
    save_weights(folder / "text.npz", params, identity(SCHEME) | {"data": {"words": WORDS}})
    save_weights(folder / "dumb.npz", params, identity(SCHEME))
    (folder / "captions.txt").write_text("A dog runs.\n\nThe cat runs on the grass\na frisbee\na cat\n")
    (folder / "strange.txt").write_text("frisbees fly\n")
    return folder


@pytest.mark.slow
def test_transmit_says_what_was_understood(captions, capsys):
    assert main(shlex.split(f"{SEND} --out out")) == 0
    out, err = capsys.readouterr()
    assert err == "" and "3 x 1 sentences (1 left out), 2 realisations" in out
    made = sorted(path.name for path in (captions / "out").iterdir())
    assert made == ["curves.png", "lvm-mtc-result.json", "sentences.txt", "table.csv"]
    lines = (captions / "out" / "sentences.txt").read_text().splitlines()
    assert lines[::3] == ["sent: a dog runs", "sent: the cat runs on the grass", "sent: a cat"]
    for sent, *received in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        for line, snr_db in zip(received, (0, 20), strict=True):
            where, _, words = line.partition(": ")
            assert where == f"  awgn, {snr_db} dB, CSI error 0"
            assert len(words.split()) == len(sent.split()) - 1 and set(words.split()) <= set(WORDS)
    rows = read_csv(captions / "out" / "table.csv")
    assert [row["snr_db"] for row in rows] == [0, 20]
    assert rows[0]["channel_uses"] == pytest.approx(4 * 11 / 3, rel=1e-4) and rows[0]["num_sentences"] == 3
    assert f"BLEU-1 {rows[1]['bleu1']:.3f}" in out and 0 <= rows[1]["word_error_rate"] <= 1
    record = json.loads((captions / "out" / "lvm-mtc-result.json").read_text())
    assert record["systems"]["vlm_csc"]["vocabulary"] == 8 and record["masking"] == {}


def test_a_sweep_is_made_of_them(captions):
    options = build_parser().parse_args(shlex.split(f"{SWEEP},2 --store s.sqlite --set limit=3"))
    spec = make_spec(sweep_config(options))
    assert [contender.name for contender in spec.schemes] == ["vlm_csc"] and spec.metrics == TEXT_METRICS
    assert {k: source.data.shape for k, source in spec.sources.items()} == {1: (2, 1, 6), 2: (1, 2, 6)}
    np.testing.assert_array_equal(spec.sources[1].data[0, 0], [1, 2, 3, 0, 0, 0])


# Command line -> words that its one line must hold.
WRONG = {
    f"{SEND} --out o --task dog": ["--task is for pictures"],
    f"{SEND} --out o --scale-aware": ["--scale-aware is for pictures"],
    f"{SEND} --out o --images photos": ["--images", "not allowed with", "--text"],
    "transmit --out o": ["--images", "--text", "required"],
    "transmit --text captions.txt --weights small.npz --out o": ["small.npz", "'lvm_mtc' sends pictures"],
    "transmit --text captions.txt --weights dumb.npz --out o": ["dumb.npz", "which 7 words"],
    "transmit --text strange.txt --weights text.npz --uavs 1 --out o": ["strange.txt", "0 of 1 sentences", "6 words"],
    "transmit --text captions.txt --weights text.npz --uavs 4 --out o": ["captions.txt", "3 of 4", "4 are needed"],
    "transmit --text nothing.txt --weights text.npz --out o": ["nothing.txt"],
    "transmit --images photos --weights text.npz --out o": ["text.npz", "'vlm_csc' sends text"],
    f"{SWEEP} --store s.sqlite --images photos": ["SweepConfig.images is for pictures", "SweepConfig.text"],
    f"{SWEEP} --store s.sqlite --mask-prob 0.2": ["SweepConfig.mask_prob is for pictures"],
    f"{SWEEP} --store s.sqlite --set stop_metric=psnr_db": ["SweepSpec.stop_metric 'psnr_db'", "bleu1"],
}


@pytest.mark.parametrize("command", WRONG)
def test_wrong_input_is_one_line(captions, capsys, command):
    assert main(shlex.split(command)) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and not (captions / "o").exists()
    for word in WRONG[command]:
        assert word in err
