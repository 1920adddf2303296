"""A scheme for questions through the one recipe."""

import numpy as np
import pytest
from recipes import make_recipe, numbers

from lvm_mtc.data.packed_questions import PackedQuestions, load_questions, save_questions
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.question_source import question_source
from lvm_mtc.training.log import read_log
from lvm_mtc.training.recipe import run_stage

pytestmark = pytest.mark.usefixtures("fast_compile")

QUESTIONS = dict(
    scheme="fa_semcom",
    config=dict(patch_size=4, num_features=4, num_bits=4, width=8),
    scenarios=[dict(num_groups=16, link=dict(fading="awgn", num_rx_ant=1, num_tx_ant=1))],
    ranges=dict(snr_db=[10.0, 20.0], knobs=dict(beta=[0.0, 1.0])),
    stages=dict(system=numbers(batch_size=16, total_steps=60, log_every=20, checkpoint_every=60,
                               optimizer=dict(learning_rate=2e-2, warmup_steps=1))),
)  # fmt: skip


@pytest.fixture
def packed(tmp_path):
    """Is the first feature of any patch large? Two windows, of which half of the questions send one."""
    rng, count = np.random.default_rng(0), 40
    answer = np.arange(count) % 2
    patches = rng.normal(size=(count + 1, 60, 4))
    patches[:count][answer == 0, 7, 0] += 30
    weights = rng.random((count + 1, 60))
    chosen = np.stack([np.arange(count), np.where(np.arange(count) < 20, count, -1)], axis=1)
    questions = PackedQuestions(
        np.float16(patches), np.tile(np.float32([0, 0, 1, 1]), (count + 1, 1)), np.float32(weights),
        np.zeros((count, 2), np.int32), np.int32(answer), np.int32(chosen), np.float32(rng.random((count, 2, 60))),
        np.arange(count, dtype=np.int32), np.array([f"p{i}.jpg" for i in range(count)]),
    )  # fmt: skip
    save_questions(tmp_path / "vqa.npz", questions)
    return tmp_path / "vqa.npz"


@pytest.mark.slow
def test_a_recipe_trains_it(packed, tmp_path):
    recipe = make_recipe(QUESTIONS, config=QUESTIONS["config"] | {"num_patches": 120})
    weights = run_stage(recipe, "all", packed, tmp_path / "run", progress=False)
    first, *_, last = (r for r in read_log(tmp_path / "run" / "system" / "log.jsonl") if r["event"] == "train")
    assert last["loss"] < 0.5 * first["loss"]
    scheme, params = load_scheme(weights)
    assert scheme.config.num_patches == 120
    patches = np.float64(load_questions(packed).patches).reshape(-1, 4)
    np.testing.assert_allclose(params["projection"]["mean"], patches.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(params["projection"]["deviation"], patches.std(axis=0) + 1e-3, rtol=1e-4)


def test_sources_hold_what_was_packed(packed):
    questions = load_questions(packed)
    source = question_source(questions, np.array([[3], [25]]))
    assert source.data["patches"].shape == (2, 1, 120, 4) and source.data["places"].shape == (2, 1, 120, 4)
    np.testing.assert_array_equal(source.data["patches"][0, 0, :60], questions.patches[3])
    np.testing.assert_array_equal(source.data["patches"][0, 0, 60:], questions.patches[40])
    np.testing.assert_array_equal(source.hints["valid"].sum(-1)[:, 0], [120, 60])
    np.testing.assert_array_equal(source.hints["objective"][1, 0, :60], questions.objective[25])
    np.testing.assert_array_equal(source.hints["subjective"][1, 0, :60], questions.subjective[25, 0])
    assert source.data["answer"].tolist() == [[1], [1]]


def test_questions_packed_for_other_sizes_are_refused(packed, tmp_path):
    with pytest.raises(ValueError, match="packed for num_patches 120, but FaSemComConfig.num_patches is 60"):
        run_stage(make_recipe(QUESTIONS), "all", packed, tmp_path / "run", progress=False)
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(ValueError, match="other.npz: is no file of packed questions"):
        load_questions(tmp_path / "other.npz")
