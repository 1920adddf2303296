"""The comparison on CIFAR-10 is one of equals: same pictures seen, same channels and SNRs, same symbols a picture."""

import json

import pytest
from results_cifar10 import RATES
from train_cifar10 import CONFIGS, LINEAR, RUNS, command, main

from lvm_mtc.cli.parser import build_parser
from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.training.picture_recipe import PictureRecipe
from lvm_mtc.training.recipe import Recipe


def recipe(name):
    run = RUNS[name]
    config = read_config(CONFIGS / f"{run.config}.py", list(run.changes.items()))
    return from_dict(PictureRecipe if "picture_codec" in config else Recipe, config)


@pytest.mark.parametrize("name", RUNS)
def test_every_run_is_a_command_that_training_takes(name, tmp_path):
    arguments = command(name, tmp_path / "data.npz", tmp_path / "runs")[3:]
    options = build_parser().parse_args(arguments)
    assert options.overrides == [(field, json.loads(json.dumps(value))) for field, value in RUNS[name].changes.items()]
    assert options.run_dir == tmp_path / "runs" / name and recipe(name).end_to_end.batch_size == 32
    if RUNS[name].start:
        assert options.start == tmp_path / "runs" / RUNS[name].start / "system" / "weights.npz"


@pytest.mark.parametrize("rate", RATES, ids=lambda rate: rate.cbr)
def test_codecs_of_a_ratio_have_equal_budgets(rate):
    names = f"token_{rate.token}", f"deepjscc_{rate.picture}", f"witt_{rate.picture}"
    token, *others = (recipe(name) for name in names)
    symbols = {token.system.capacity * token.system.num_symbols}
    for other in others:
        assert (other.end_to_end.total_steps, other.end_to_end.batch_size, other.end_to_end.seed) == (
            token.end_to_end.total_steps, token.end_to_end.batch_size, token.end_to_end.seed)  # fmt: skip
        assert other.scenarios == token.scenarios
        for field in ("snr_db", "csi_error_var", "image_loss"):
            assert getattr(other.objective, field) == getattr(token.objective, field)
        assert other.picture_codec.receiver == token.system.receiver
        symbols.add(other.picture_codec.capacity * other.picture_codec.num_symbols)
    numerator, denominator = map(int, rate.cbr.split("/"))
    assert symbols == {32 * 32 * 3 * numerator // denominator}
    # No patch is left out, and what is not the codec's own is off.
    assert token.system.capacity == token.system.num_patches
    assert token.objective.token_weight == 0 and token.objective.epsilon == (0.0, 0.0)
    assert LINEAR[f"pca_{rate.token}"] == (rate.token, 1)


def test_the_tuned_codecs_differ_in_what_they_are_compared_by_alone():
    tuned = {name: recipe(f"token_64_csi_{name}") for name in ("perfect", "paper", "unbiased", "robust")}
    assert {r.end_to_end for r in tuned.values()} == {tuned["perfect"].end_to_end}
    assert {name: r.scenarios[0].link.equalizer for name, r in tuned.items() if name != "perfect"} == {
        name: name for name in ("paper", "unbiased", "robust")}  # fmt: skip
    assert tuned["perfect"].objective.csi_error_var == (0.0, 0.0)
    assert {r.objective.csi_error_var for name, r in tuned.items() if name != "perfect"} == {(0.0, 0.3)}


def test_missing_data_end_the_script_with_the_status_of_the_run(tmp_path, capfd):
    assert main(["--data", str(tmp_path / "none.npz"), "--runs", str(tmp_path), "--only", "deepjscc_4"]) == 2
    assert "there is no such file of packed pictures" in capfd.readouterr().err
