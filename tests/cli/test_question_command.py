"""A question about pictures through ``lvm-mtc transmit --question``."""

import json
import re
import shlex

import jax
import numpy as np
import pytest
from tiny_yolox import tiny_graph

from lvm_mtc.cli import main, questions
from lvm_mtc.models.weights import save_weights
from lvm_mtc.results.table import read_csv
from lvm_mtc.schemes.fa_semcom.scheme import FaSemCom, FaSemComConfig
from lvm_mtc.schemes.loading import identity

pytestmark = pytest.mark.usefixtures("fast_compile")

SCHEME = FaSemCom(FaSemComConfig(patch_size=24, num_features=4, num_bits=4, width=8))
SEND = (
    "transmit --images photos --limit 2 --question 'how many cars are there?' --detector yolox.onnx --words words.npz "
    "--weights asked.npz --channel fisher_snedecor --realisations 2 --snr-db 5,20 --link num_rx_ant=1 "
    "--link num_tx_ant=1"
)


@pytest.fixture
def asked(folder, monkeypatch):
    """The common folder with small weights for questions, a detector of few features, and word vectors."""
    rng, shapes = np.random.default_rng(0), jax.eval_shape(SCHEME.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.float32(rng.normal(size=leaf.shape)), shapes)
    save_weights(folder / "asked.npz", params, identity(SCHEME))
    words = np.array([b"car", b"cars", b"lorry", b"person", b"weather"])
    vectors = np.float32([[3, 0, 0], [2.9, 0.5, 0], [2.5, 1, 0], [-3, 1, -1], [-3, -1, 3]])
    np.savez(folder / "words.npz", words=words, vec=vectors)
    monkeypatch.setattr(questions, "read_onnx", lambda path: tiny_graph())
    return folder


@pytest.mark.slow
def test_answers_maps_and_table(asked, capsys):
    assert main(shlex.split(f"{SEND} --beta 2 --out result")) == 0
    rows = read_csv(asked / "result" / "table.csv")
    assert len(rows) == 2 * 2 and {row["scheme"] for row in rows} == {"average power", "power by attention"}
    assert {float(row["channel_uses"]) for row in rows} == {60 * 4 * 4 / 2}
    assert {float(row["side_information_bits"]) for row in rows} == {3 * 60 + 6}
    lines = (asked / "result" / "answers.txt").read_text().splitlines()
    assert sum("how many cars are there?" in line for line in lines) == 2 and len(lines) == 2 * (1 + 4)
    assert (asked / "result" / "maps.png").read_bytes()[:4] == b"\x89PNG"
    record = json.loads((asked / "result" / "lvm-mtc-result.json").read_text())
    assert record["command"]["beta"] == 2.0 and "p0.png" in capsys.readouterr().out


def test_what_a_question_is_about(asked):
    words = questions.read_word_vectors(asked / "words.npz")
    assert questions.subject_of("where is the largest traffic light?", words) == "traffic light"
    assert questions.subject_of("How many buses?", words) == questions.subject_of("any lorry?", words) == "vehicle"
    with pytest.raises(ValueError, match="names nothing of vehicle, bicycle"):
        questions.subject_of("how is the weather?", words)


WRONG = [
    ("--out r --uavs 2", "--uavs is not for a --question"),
    ("--out r --question 'why me'", "question 'why me' is of no kind"),
    ("--out r --question 'how many persons are there?'", "names nothing of vehicle"),
    ("--out r --weights small.npz", "and a question is to be answered"),
    ("--out r --beta 9", "--beta.*9 is not a number in"),
    ("--out r --words none.npz", "there is no file of word vectors none.npz"),
]


@pytest.mark.parametrize(("more", "message"), WRONG)
def test_wrong_input_is_one_line(asked, capsys, more, message):
    assert _exit_status(f"{SEND} {more}") == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])


def _exit_status(command):
    try:
        return main(shlex.split(command))
    except SystemExit as stop:
        return stop.code


def test_it_needs_a_detector_and_words(asked, capsys):
    assert _exit_status("transmit --images photos --question 'any car?' --out r") == 2
    assert "--question needs --detector FILE" in capsys.readouterr().err
