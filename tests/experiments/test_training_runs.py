"""The comparisons are between equals: same pictures seen, same channels and SNRs, same symbols a picture."""

import json

import pytest
import train_cifar10
import train_photographs
from results_cifar10 import RATES
from training_runs import CONFIGS, command, weights_of

from lvm_mtc.cli.parser import build_parser
from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.training.picture_recipe import PictureRecipe
from lvm_mtc.training.recipe import Recipe

RUNS = train_cifar10.RUNS | train_photographs.RUNS
TRAINED = [name for name, run in RUNS.items() if run.trained]
CODECS = {rate.cbr: (f"token_{rate.token}", f"deepjscc_{rate.picture}", f"witt_{rate.picture}", f"pca_{rate.token}")
          for rate in RATES}  # fmt: skip
PHOTOGRAPHS = tuple(f"photographs_{codec}" for codec in ("token", "deepjscc", "witt", "pca"))
COMPARED = [(32, cbr, names) for cbr, names in CODECS.items()] + [(96, "1/6", PHOTOGRAPHS)]


def recipe(name):
    run = RUNS[name]
    config = read_config(CONFIGS / f"{run.config}.py", list(run.changes.items()))
    return from_dict(PictureRecipe if "picture_codec" in config else Recipe, config)


@pytest.mark.parametrize("name", TRAINED)
def test_every_run_is_a_command_that_training_takes(name, tmp_path):
    arguments = command(RUNS[name], name, tmp_path / "data.npz", tmp_path / "runs")[3:]
    options = build_parser().parse_args(arguments)
    assert options.overrides == [(field, json.loads(json.dumps(value))) for field, value in RUNS[name].changes.items()]
    assert options.run_dir == tmp_path / "runs" / name and recipe(name).end_to_end.total_steps >= 300
    if RUNS[name].start:
        assert options.start == weights_of(tmp_path / "runs", RUNS[name].start)


@pytest.mark.parametrize(("size", "cbr", "names"), COMPARED, ids=[f"{size}, {cbr}" for size, cbr, _ in COMPARED])
def test_codecs_of_a_ratio_have_equal_budgets(size, cbr, names):
    token, *others, linear = (recipe(name) for name in names)
    symbols = {token.system.capacity * token.system.num_symbols, linear.system.capacity * linear.system.num_symbols}
    for other in others:
        assert (other.end_to_end.total_steps, other.end_to_end.batch_size, other.end_to_end.seed) == (
            token.end_to_end.total_steps, token.end_to_end.batch_size, token.end_to_end.seed)  # fmt: skip
        assert other.scenarios == token.scenarios
        for field in ("snr_db", "csi_error_var", "image_loss"):
            assert getattr(other.objective, field) == getattr(token.objective, field)
        assert other.picture_codec.receiver == token.system.receiver
        assert other.picture_codec.image_size == size
        symbols.add(other.picture_codec.capacity * other.picture_codec.num_symbols)
    numerator, denominator = map(int, cbr.split("/"))
    assert symbols == {size * size * 3 * numerator // denominator}
    # No patch is left out, and what is not the codec's own is off.
    assert token.system.capacity == token.system.num_patches and token.system.image_size == size
    assert token.objective.token_weight == 0 and token.objective.epsilon == (0.0, 0.0)
    assert linear.spread == 1 and not RUNS[names[-1]].trained


def test_the_tuned_codecs_differ_in_what_they_are_compared_by_alone():
    tuned = {name: recipe(f"token_64_csi_{name}") for name in ("perfect", "paper", "unbiased", "robust")}
    assert {r.end_to_end for r in tuned.values()} == {tuned["perfect"].end_to_end}
    assert {name: r.scenarios[0].link.equalizer for name, r in tuned.items() if name != "perfect"} == {
        name: name for name in ("paper", "unbiased", "robust")}  # fmt: skip
    assert tuned["perfect"].objective.csi_error_var == (0.0, 0.0)
    assert {r.objective.csi_error_var for name, r in tuned.items() if name != "perfect"} == {(0.0, 0.3)}


def test_missing_data_end_the_script_with_the_status_of_the_run(tmp_path, capfd):
    arguments = ["--data", str(tmp_path / "none.npz"), "--runs", str(tmp_path), "--only", "deepjscc_4"]
    assert train_cifar10.main(arguments) == 2
    assert "there is no such file of packed pictures" in capfd.readouterr().err
