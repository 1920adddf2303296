"""The comparisons are between equals: same pictures seen, same channels and SNRs, same symbols a picture."""

import json
import math

import pytest

from experiments.results import train_cifar10, train_photographs
from experiments.results.cifar10 import RATES
from experiments.results.training_runs import command, config_of, weights_of
from lvm_mtc.cli.parser import build_parser
from lvm_mtc.cli.train import read_config
from lvm_mtc.config import from_dict
from lvm_mtc.training.recipe import Recipe

RUNS = train_cifar10.RUNS | train_photographs.RUNS
TRAINED = [name for name, run in RUNS.items() if run.trained]
CODECS = {cbr: (f"token_{token}", f"deepjscc_{other}", f"witt_{other}", f"pca_{token}")
          for cbr, (token, other) in RATES.items()}  # fmt: skip
PHOTOGRAPHS = tuple(f"photographs_{codec}" for codec in ("token", "deepjscc", "witt", "pca"))
COMPARED = [(32, cbr, names) for cbr, names in CODECS.items()] + [(96, "1/6", PHOTOGRAPHS)]


def recipe(name):
    run = RUNS[name]
    return from_dict(Recipe, read_config(config_of(run), list(run.changes.items())))


@pytest.mark.parametrize("name", TRAINED)
def test_every_run_is_a_command_that_training_takes(name, tmp_path):
    arguments = command(RUNS[name], name, tmp_path / "data.npz", tmp_path / "runs")[3:]
    options = build_parser().parse_args(arguments)
    assert options.set == [(field, json.loads(json.dumps(value))) for field, value in RUNS[name].changes.items()]
    assert options.run_dir == tmp_path / "runs" / name and recipe(name).stages["system"].total_steps >= 300
    if RUNS[name].start:
        assert options.start == weights_of(tmp_path / "runs", RUNS[name].start)


@pytest.mark.parametrize(("size", "cbr", "names"), COMPARED, ids=[f"{size}, {cbr}" for size, cbr, _ in COMPARED])
def test_codecs_of_a_ratio_have_equal_budgets(size, cbr, names):
    token, *others, linear = (recipe(name) for name in names)
    schemes = [of.make_scheme() for of in (token, *others, linear)]
    numbers = token.stages["system"]
    for other in others:
        theirs = other.stages["system"]
        assert (theirs.total_steps, theirs.batch_size, theirs.seed) == (
            numbers.total_steps, numbers.batch_size, numbers.seed)  # fmt: skip
        assert other.scenarios == token.scenarios
        for field in ("snr_db", "csi_error_var"):
            assert getattr(other.ranges, field) == getattr(token.ranges, field)
        assert other.loss["image_loss"] == token.loss["image_loss"]
    assert len({scheme.config.receiver for scheme in schemes}) == 1
    assert {scheme.config.image_size for scheme in schemes} == {size}
    numerator, denominator = map(int, cbr.split("/"))
    assert {math.prod(scheme.frames()) for scheme in schemes} == {size * size * 3 * numerator // denominator}
    # No patch is left out, and what is not the codec's own is off.
    assert schemes[0].config.capacity == schemes[0].config.num_patches
    assert token.loss["token_weight"] == 0 and token.ranges.knobs["epsilon"] == (0.0, 0.0)
    assert linear.start["spread"] == 1 and not RUNS[names[-1]].trained


def test_the_tuned_codecs_differ_in_what_they_are_compared_by_alone():
    tuned = {name: recipe(f"token_64_csi_{name}") for name in ("perfect", "paper", "unbiased", "robust")}
    assert all(r.stages == tuned["perfect"].stages for r in tuned.values())
    assert {name: r.scenarios[0].link.equalizer for name, r in tuned.items() if name != "perfect"} == {
        name: name for name in ("paper", "unbiased", "robust")}  # fmt: skip
    assert tuned["perfect"].ranges.csi_error_var == (0.0, 0.0)
    assert {r.ranges.csi_error_var for name, r in tuned.items() if name != "perfect"} == {(0.0, 0.3)}


def test_missing_data_end_the_script_with_the_status_of_the_run(tmp_path, capfd):
    arguments = ["--data", str(tmp_path / "none.npz"), "--runs", str(tmp_path), "--only", "deepjscc_4"]
    assert train_cifar10.main(arguments) == 2
    assert "there is no such file of packed pictures" in capfd.readouterr().err
