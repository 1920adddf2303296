"""A question about pictures through ``lvm-mtc transmit --question``."""

import json
import re
import shlex

import jax
import numpy as np
import pytest
from tiny_yolox import tiny_graph

from lvm_mtc.cli import main, questions
from lvm_mtc.data.demo_sources import SCENES as SCENES_FILE
from lvm_mtc.data.packed_questions import PackedQuestions, save_questions
from lvm_mtc.data.word_vectors import read_word_vectors
from lvm_mtc.knowledge.asking import Seen, ask
from lvm_mtc.knowledge.scenes import load_scenes, save_scenes
from lvm_mtc.models.patch_features import PICTURE
from lvm_mtc.models.weights import save_weights
from lvm_mtc.results.store import ResultStore
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
    assert {float(row["side_information_bits"]) for row in rows} == {3 * 60 + 5}
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


ANSWERERS = """
CALLS = []
def own(features, valid, questions):
    CALLS.append((features.shape, valid.shape, questions))
    return [f"{question} Twelve." for question in questions]
def breaks(features, valid, questions):
    raise RuntimeError("no\\nmemory")
def short(features, valid, questions):
    return []
"""


@pytest.fixture
def scenes(asked, monkeypatch):
    """Pictures as the transmitter sees them, in place of a detector, and a module of answerers."""
    rng = np.random.default_rng(0)
    seen = [
        Seen(rng.random((*PICTURE, 3)), np.float32(rng.normal(size=(60, 24))), boxes, labels, np.ones(PICTURE))
        for boxes, labels in ((np.float32([[0.3, 0.5, 0.2, 0.2]]), ("car",)), (np.zeros((0, 4), np.float32), ()))
    ]
    save_scenes(asked / "scenes.npz", ("one", "two"), seen, read_word_vectors(asked / "words.npz"))
    (asked / "server.py").write_text(ANSWERERS)
    monkeypatch.syspath_prepend(str(asked))
    return asked


SCENES = (
    "transmit --images scenes.npz --question 'which colour has the car?' --weights asked.npz --channel awgn "
    "--realisations 2 --snr-db 80,100 --link num_rx_ant=1 --link num_tx_ant=1 --out result"
)


@pytest.mark.slow
def test_an_answerer_of_ones_own(scenes, capsys):
    assert main(shlex.split(f"{SCENES} --answerer server:own")) == 0
    lines = (scenes / "result" / "answers.txt").read_text().splitlines()
    assert len(lines) == 2 * (1 + 4) and all(line.endswith("Twelve.") for line in lines if line.startswith(" "))
    assert "'car' is car" in lines[0] and "nothing was detected" in lines[5]
    rows = read_csv(scenes / "result" / "table.csv")
    # A question in words is told in words.
    assert {row["side_information_bits"] for row in rows} == {3 * 60 + 8 * len("which colour has the car?")}
    import server

    # Without errors every power gives the same features: asked once about both pictures.
    assert server.CALLS == [((2, 60, 4), (2, 60), ["which colour has the car?"] * 2)]
    for name, message in (("breaks", "server:breaks failed: RuntimeError: no memory"),
                          ("short", "server:short must give a list of 2 sentences, got [[][]]")):  # fmt: skip
        assert main(shlex.split(f"{SCENES} --overwrite --answerer server:{name}")) == 2
        assert re.search(message, capsys.readouterr().err.splitlines()[-1])


def test_scenes_come_back_as_they_were(scenes):
    names, seen, words = load_scenes(scenes / "scenes.npz")
    assert names == ["one", "two"] and [one.labels for one in seen] == [("car",), ()]
    np.testing.assert_allclose(seen[0].boxes, [[0.3, 0.5, 0.2, 0.2]], rtol=1e-6)
    want = read_word_vectors(scenes / "words.npz")
    assert words.index == want.index
    np.testing.assert_allclose(words.vectors, want.vectors, atol=1e-3)
    with pytest.raises(ValueError, match="words.npz: is no file of scenes"):
        load_scenes(scenes / "words.npz")
    with pytest.raises(FileNotFoundError, match="no file of scenes none.npz"):
        load_scenes("none.npz")


@pytest.mark.parametrize(
    ("question", "label"),
    [("how many cars are there?", "car"), ("any traffic lights?", "traffic light"), ("is there a truck?", "truck")],
)
def test_scenes_with_the_package_know_the_words_of_questions(question, label):
    names, seen, words = load_scenes(SCENES_FILE)
    assert len(names) == 3 and {"car", "traffic light", "truck"} <= {own for one in seen for own in one.labels}
    matches = [ask(one, question, words).match.labels for one in seen if label in one.labels]
    assert matches and all(match == (label,) for match in matches)
    questions.subject_of(question, words)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (f"{SCENES} --answerer server", "answerer must be module:function, got 'server'"),
        (f"{SCENES} --answerer server:nobody", "answerer 'server:nobody': .*nobody"),
        (SCENES, "question 'which colour has the car.*is of no kind that can be answered"),
        ("transmit --images photos --answerer server:own --out r", "--answerer is for --images that are sent for"),
        ("demo --question 'any car?' --out r", "--question is for --scheme fa_semcom"),
    ],
)
def test_wrong_answerers_are_one_line(scenes, capsys, command, message):
    assert _exit_status(command) == 2
    assert re.search(message, capsys.readouterr().err.splitlines()[-1])


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


SWEEP = (
    "sweep --questions packed.npz --set weights=asked.npz --store s.sqlite --uavs 2 --units 2 --snr-db 0,90 --channel "
    "awgn --set knobs.beta=[0,4] --set link.num_rx_ant=1 --set link.num_tx_ant=1"
)


@pytest.fixture
def packed(asked):
    rng = np.random.default_rng(0)
    asked_of = PackedQuestions(
        np.float16(rng.normal(size=(5, 60, 24))), np.tile(np.float32([0, 0, 1, 1]), (5, 1)),
        np.float32(rng.random((5, 60))), np.int32([[0, 1], [1, 0], [2, 0], [3, 0], [0, 3]]), np.int32([0, 2, 6, 9, 1]),
        np.arange(5, dtype=np.int32)[:, None], np.float32(rng.random((5, 1, 60))), np.arange(5, dtype=np.int32),
        np.array(list("abcde")),
    )  # fmt: skip
    save_questions(asked / "packed.npz", asked_of)
    return asked


@pytest.mark.slow
def test_a_sweep_asks_packed_questions(packed, capsys):
    assert main(shlex.split(f"{SWEEP} --dry-run")) == 0
    assert "questions: 2 groups of 2, 60 patches" in capsys.readouterr().out
    assert main(shlex.split(SWEEP)) == 0
    with ResultStore(packed / "s.sqlite", create=False) as store:
        points = store.read()
    assert len(points) == 4 and all(set(point.metrics) >= {"accuracy", "bit_error_rate_top"} for point in points)
    rates = {(p.snr_db, p.coordinates["beta"]): p.metrics["bit_error_rate"].mean for p in points}
    assert rates[90.0, 0.0] == rates[90.0, 4.0] == 0.0 < rates[0.0, 0.0] < rates[0.0, 4.0]  # Q is convex


def test_questions_of_other_sizes_are_one_line(packed, capsys):
    for more, message in (
        ("--set weights=small.npz", "and a question is to be answered"),
        ("--uavs 6", "packed.npz: there are 5 questions, and 6 UAVs need one each"),
        ("--set text=c.txt", "SweepConfig.questions is for features, and SweepConfig.text sends sentences"),
        ("--questions words.npz", "words.npz: is no file of packed questions"),
    ):
        kept = SWEEP.replace("--set weights=asked.npz", "") if "weights" in more else SWEEP
        assert _exit_status(f"{kept} {more}") == 2
        assert re.search(message, capsys.readouterr().err.splitlines()[-1]), message
