"""Every number that a flag or a sweep's file takes is finite and in its range in single precision, or refused."""

import argparse
import contextlib
import dataclasses
import io
import json
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lvm_mtc.cli import entry, values
from lvm_mtc.cli.parser import UsageError, build_parser
from lvm_mtc.cli.sweep_config import SweepConfig
from lvm_mtc.config import ConfigError, from_dict

PROPERTY = settings(deadline=None, derandomize=True, database=None, max_examples=100)

# Command and flag -> interval, as the help texts say; a list where commas may stand.
REALS = {
    ("transmit", "--snr-db"): "[-50, 100]",
    ("transmit", "--csi-error"): "[0, 1e6]",
    ("transmit", "--overlap"): "[0, 1)",
    ("transmit", "--memory"): "(0, 3.4028235e38]",
    ("transmit", "--carrier"): "[0.5e9, 100e9]",
    ("sweep", "--carrier"): "[0.5e9, 100e9]",
    ("transmit", "--keep"): "(0, 1]",
    ("transmit", "--mask-prob"): "(0, 1)",
    ("transmit", "--importance-db"): "[0, 60]",
    ("transmit", "--alpha"): "[0, 1]",
    ("transmit", "--beta"): "[0, 8]",
    ("transmit", "--epsilon"): "[0, 3.4028235e38]",
    ("compress", "--snr-db"): "[-50, 100]",
    ("figures", "--width"): "[1, 100]",
    ("sweep", "--snr-db"): "[-50, 100]",
    ("sweep", "--csi-error"): "[0, 1e6]",
    ("sweep", "--mask-prob"): "(0, 1)",
    ("sweep", "--epsilon"): "[0, 3.4028235e38]",
    ("sweep", "--target"): "(0, 3.4028235e38]",
    ("sweep", "--patience"): "(0, 3.4028235e38]",
    ("sweep", "--memory"): "(0, 3.4028235e38]",
}
WHOLES = {
    ("demo", "--realisations"): (2, 100_000),
    ("demo", "--seed"): (0, 2**32 - 1),
    ("transmit", "--realisations"): (2, 100_000),
    ("transmit", "--seed"): (0, 2**32 - 1),
    ("transmit", "--uavs"): (1, 64),
    ("transmit", "--limit"): (1, math.inf),
    ("train", "--processes"): (1, 1024),
    ("compress", "--limit"): (1, math.inf),
    ("compress", "--seed"): (0, 2**32 - 1),
    ("sweep", "--uavs"): (1, 64),
    ("sweep", "--seeds"): (0, 2**32 - 1),
    ("sweep", "--units"): (2, 1_000_000),
    ("sweep", "--shown-groups"): (1, 64),
    ("sweep", "--shown-realisations"): (1, 64),
    ("sweep", "--workers"): (1, 1024),
    ("sweep", "--task-points"): (1, 100_000),
    ("sweep", "--task-units"): (1, 1_000_000),
    ("sweep", "--devices"): (1, math.inf),
    ("bench", "--batch"): (1, 4096),
    ("bench", "--devices"): (1, math.inf),
    ("bench", "--antennas"): (1, 64),
    ("bench", "--uavs"): (1, 64),
    ("bench", "--repeats"): (2, 10_000),
}
NEEDED = {
    "demo": [],
    "transmit": ["--images", "p", "--out", "o"],
    "train": ["--config", "c", "--stage", "all", "--data", "d", "--run-dir", "r"],
    "sweep": ["--store", "s"],
    "bench": [],
    "compress": ["--out", "o"],
    "figures": ["--store", "s", "--out", "o"],
}
PARSER = build_parser()

_edges = st.sampled_from(
    "nan inf -inf sNaN 1e39 -1e39 1e400 1e-50 -0.0 0 1 -50 100 0.99999999 1.00000001 99999999999 1e6 1000001 0x10 1_0"
    " 4294967295 4294967296 10.0000001 10 64 65".split()
)
_number = st.one_of(
    _edges,
    st.floats(width=64).map(repr),
    st.floats(-1, 2).map(repr),
    st.integers(-100, 200).map(str),
    st.integers().map(str),
    st.text(max_size=5),
)
_range = st.lists(_number, min_size=1, max_size=4).map(":".join)
_texts = st.lists(st.one_of(_number, _number, _range), min_size=1, max_size=4).map(",".join)


def commands():
    (subparsers,) = (action for action in PARSER._actions if isinstance(action, argparse._SubParsersAction))
    return subparsers.choices


def test_the_tables_know_every_numeric_flag():
    found = set()
    for name, parser in commands().items():
        for action in parser._actions:
            kind = getattr(action.type, "__qualname__", "").partition(".")[0]
            if kind in ("number", "numbers", "whole", "wholes", "int", "float"):
                found.add((name, action.option_strings[-1]))
    assert found == set(REALS) | set(WHOLES)


def holds(interval, value):
    low, high = (float(edge) for edge in interval[1:-1].split(","))
    return (low < value if interval[0] == "(" else low <= value) and (
        value < high if interval[-1] == ")" else value <= high
    )


def parse(command, flag, text):
    """The value, or None where the text is refused: in one line, with exit code 2."""
    argv = [command, *NEEDED[command], f"{flag}={text}"]
    try:
        options = PARSER.parse_args(argv)
    except UsageError as error:
        assert flag in str(error)
        stderr = io.StringIO()
        with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stderr(stderr):
            patch.setattr(entry, "build_parser", lambda: PARSER)
            assert entry.main(argv) == 2
        assert stderr.getvalue().startswith("lvm-mtc: error: ") and stderr.getvalue().count("\n") == 1
        return None
    (action,) = (action for action in commands()[command]._actions if flag in action.option_strings)
    return getattr(options, action.dest)


@pytest.mark.parametrize(("command", "flag"), [*REALS, *WHOLES])
def test_an_ordinary_number_is_taken(command, flag):
    low = "2" if (command, flag) in WHOLES else REALS[command, flag]
    text = {"2": "2", "[1, 100]": "2", "[0.5e9, 100e9]": "2e9"}.get(low, "0.5")
    assert np.ravel(parse(command, flag, text)) == float(text)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "flag"), REALS)
@given(text=_texts)
@PROPERTY
def test_real_flags(command, flag, text):
    found = parse(command, flag, text)
    found = () if found is None else found if isinstance(found, tuple) else (found,)
    with np.errstate(over="ignore", under="ignore"):
        singles = [float(np.float32(value)) for value in found]
    for value, single in zip(found, singles, strict=True):
        assert math.isfinite(single) and holds(REALS[command, flag], value) and holds(REALS[command, flag], single)
    assert len(set(singles)) == len(singles)


@pytest.mark.parametrize(("command", "flag"), WHOLES)
@given(text=_texts)
@PROPERTY
def test_whole_flags(command, flag, text):
    found = parse(command, flag, text)
    found = () if found is None else found if isinstance(found, tuple) else (found,)
    low, high = WHOLES[command, flag]
    assert all(type(value) is int and low <= value <= high for value in found) and len(set(found)) == len(found)


@given(st.decimals(-50, 100, places=3), st.integers(0, 40), st.decimals("0.001", 5, places=3))
@PROPERTY
def test_a_range_holds_its_numbers_exactly(first, count, step):
    last = first + count * step
    text = f"{first}:{last}:{step}"
    if last > 100:
        assert parse("sweep", "--snr-db", text) is None
        return
    want = [float(Fraction(first) + i * Fraction(step)) for i in range(count + 1)]
    assert parse("sweep", "--snr-db", text) == tuple(want)


@given(st.text(max_size=8), st.sampled_from(["[", "1", "[NaN", "=", "\0"]), st.sampled_from([0, 1, 5000, 100_000]))
@PROPERTY
def test_an_assignment_takes_any_text(name, value, count):
    """As JSON, or as the text that it is; what a field makes of it is the field's business."""
    try:
        found, _ = values.assignment(f"{name}={value * count}")
    except argparse.ArgumentTypeError:
        found = ""
    assert found == name.partition("=")[0].strip()


_json_numbers = st.one_of(
    st.floats(), st.integers(), st.integers(-(10**320), 10**320), st.floats(-1, 2), st.booleans(), st.none(),
    st.sampled_from([0.99999999, 1e-50, 1e39, 1e6, 100.00000001, -0.0]),
)  # fmt: skip
SWEPT = {
    "snr_db": "[-50, 100]", "csi_error_var": "[0, 1e6]", "mask_prob": "(0, 1)", "epsilon": "[0, 3.4028235e38]",
    "keep": "(0, 1]", "overlap": "[0, 1)",
}  # fmt: skip


def test_the_table_knows_every_real_field_of_a_sweep():
    fields = {field.name for field in dataclasses.fields(SweepConfig) if "float" in str(field.type)} - {"knobs"}
    assert fields == set(SWEPT)


@pytest.mark.parametrize("field", SWEPT)
@given(value=_json_numbers)
@PROPERTY
def test_numbers_of_a_sweeps_file(field, value):
    given_value = value if field in ("keep", "overlap") else [value]
    text = json.dumps({field: given_value})
    try:
        config = from_dict(SweepConfig, json.loads(text))
    except ConfigError as error:
        assert f"SweepConfig.{field}" in str(error) and "\n" not in str(error)
        return
    (found,) = np.ravel(getattr(config, field))
    assert type(value) in (int, float)
    with np.errstate(over="ignore", under="ignore"):
        assert holds(SWEPT[field], found) and holds(SWEPT[field], float(np.float32(found)))
