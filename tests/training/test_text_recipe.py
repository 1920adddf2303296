"""A text scheme through the one recipe."""

import numpy as np
import pytest
from recipes import make_recipe, numbers

from lvm_mtc.cli.sentences import load_text_contender
from lvm_mtc.data.captions import pack_sentences
from lvm_mtc.training.log import read_log
from lvm_mtc.training.recipe import run_stage

pytestmark = pytest.mark.usefixtures("fast_compile")

TEXT = dict(
    scheme="vlm_csc",
    config=dict(vocabulary=5, num_words=4, num_symbols=2, width=8, depth=1, num_heads=1, hidden=8,
                noise_attention="none"),
    scenarios=[dict(num_groups=8, link=dict(fading="awgn", convention="rx_per_antenna"))],
    ranges=dict(snr_db=[5.0, 10.0]),
    stages=dict(system=numbers(batch_size=8, total_steps=40, log_every=20, checkpoint_every=40,
                               optimizer=dict(learning_rate=2e-2, warmup_steps=1))),
)  # fmt: skip


@pytest.fixture
def packed(tmp_path):
    lines = ["the dog runs", "a dog runs", "the dog", "a dog"]
    sentences = pack_sentences(lines, ["dog a"], ["dog the"], num_words=4, fewest=2, vocabulary=5)
    np.savez(tmp_path / "captions.npz", **sentences._asdict())
    return tmp_path / "captions.npz"


@pytest.mark.slow
def test_a_recipe_trains_it_and_its_weights_know_the_words(packed, tmp_path):
    weights = run_stage(make_recipe(TEXT), "all", packed, tmp_path / "run", progress=False)
    first, last = (r["loss"] for r in read_log(tmp_path / "run" / "system" / "log.jsonl") if r["event"] == "train")
    assert last < 0.7 * first
    contender, vocabulary = load_text_contender(weights)
    assert contender.name == "vlm_csc" and vocabulary.words == ("dog", "a", "runs", "the")
    assert contender.scheme == make_recipe(TEXT).make_scheme()


@pytest.mark.parametrize(("field", "value"), [("vocabulary", 6), ("num_words", 5)])
def test_sentences_packed_for_other_sizes_are_refused(packed, tmp_path, field, value):
    recipe = make_recipe(TEXT, config=TEXT["config"] | {field: value})
    with pytest.raises(ValueError, match=f"packed for {field} {value - 1}, but VlmCscConfig.{field} is {value}"):
        run_stage(recipe, "all", packed, tmp_path / "run", progress=False)
