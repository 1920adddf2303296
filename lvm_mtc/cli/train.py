"""``lvm-mtc train``: a recipe from a file, with changes from the command line, through its training steps."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvm_mtc.cli import values
from lvm_mtc.cli.command import add_command, add_flags
from lvm_mtc.cli.errors import UsageError, read_json
from lvm_mtc.config import from_dict, replace_dotted

_OLD_FIELDS = {
    "system": 'scheme ("lvm_mtc") and config',
    "picture_codec": 'scheme ("deepjscc" or "witt") and config',
    "objective": "ranges (mask_prob and epsilon in ranges.knobs) and loss",
    "spread": "start.spread",
    "execution": "fields.execution",
    "token": "stages.token",
    "channel": "stages.channel",
    "end_to_end": "stages.system",
}
"""Fields of recipes from before schemes had names, and what stands in their place."""


def add_train_parser(commands) -> None:
    """Declares the command."""
    parser = add_command(
        commands,
        "train",
        "Train detector, token codec, channel codec or the whole system; goes on where it stopped.",
        "lvm-mtc train --config experiments/configs/demo.py --stage all --data pictures.npz --run-dir runs/demo\n"
        "  lvm-mtc train --config experiments/configs/flashsam.py --stage detector --data detection_256.npz "
        "--guide efficientnet_lite0.npz --run-dir runs/flashsam",
        run_train,
        own_signals=True,
    )
    needed = {
        "--config FILE: the recipe: JSON, or a Python file with get_config() (which is run), FILE.py:NAME for "
        "get_config('NAME')": Path,
        "--stage NAME: a stage of the recipe's scheme (token, channel, system; most schemes have system alone), all of "
        "them after one another, or detector": str,
        "--run-dir DIR: folder for checkpoints and logs; an unfinished run there is resumed": Path,
    }
    add_flags(parser, needed, required=True)
    parser.add_argument(
        "--data",
        type=Path,
        nargs="+",
        required=True,
        metavar="PATH",
        help="packed training pictures, npz; or a folder of pictures, which worker processes read "
        "(needs the extra 'stream'); for the detector one file or several, packed at each size",
    )
    flags = {
        "--guide FILE: EfficientNet-Lite0's weights, where a detector's recipe has a guide_weight": Path,
        "--teacher FILE: YOLOX's ONNX file, where a detector's recipe has a teacher_weight (needs the extra "
        "'detection')": Path,
        "--start FILE: weights file that the first stage begins with (default: weights are drawn)": Path,
        "--set FIELD=VALUE: change a field of the configuration, such as config.num_symbols=16": values.assignment,
        "--processes N = 1: processes of this host that train as one": values.whole(1, 1024),
    }
    add_flags(parser, flags)


def run_train(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc train``, in ``options.processes`` processes that train as one.

    Raises:
        SystemExit: after a stop that saved the state; with the exit code of the process that failed, of several.
    """
    from lvm_mtc.training import NonFiniteLoss, RunBusy, TrainingStopped
    from lvm_mtc.training.processes import NUM_PROCESSES, ended_with_peers, is_first, join_processes

    prepare = _detector if options.stage == "detector" else _stage
    run = prepare(options, read_config(options.config, options.set))
    _check_run_directory(options.run_dir)
    if options.processes > 1 and NUM_PROCESSES not in os.environ:
        _run_processes(options)
        return
    join_processes()
    try:
        with ended_with_peers():
            path = run()
    except TrainingStopped as stop:
        if is_first():
            print(f"lvm-mtc: {stop}", file=sys.stderr)
        raise SystemExit(128 + stop.signum) from None
    except (NonFiniteLoss, RunBusy) as error:
        raise UsageError(str(error)) from None
    if is_first():
        print(f"weights: {path}")


def _stage(options: argparse.Namespace, config: dict[str, Any]) -> Callable[[], Path]:
    """Looks at everything before anything is written, and returns what is left to do."""
    from lvm_mtc.models.weights import load_weights
    from lvm_mtc.training.recipe import Recipe, read_data, run_stage

    if options.guide or options.teacher or len(options.data) > 1:
        raise UsageError(f"--stage {options.stage}: several --data, --guide and --teacher are for --stage detector")
    old = [f"{name} is now {now}" for name, now in _OLD_FIELDS.items() if name in config]
    if old:
        raise UsageError(f"{options.config}: recipes have other fields since schemes have names: {'; '.join(old)}")
    recipe, (data,) = from_dict(Recipe, config), options.data
    if options.stage != "all":
        recipe.stage(options.stage)
    read_data(recipe, data)
    if options.start is not None:
        load_weights(options.start)
    return lambda: run_stage(recipe, options.stage, data, options.run_dir, start=options.start)


def _detector(options: argparse.Namespace, config: dict[str, Any]) -> Callable[[], Path]:
    from lvm_mtc.cli.train_detector import prepare_detector

    if options.processes > 1:
        raise UsageError(f"--processes {options.processes}: the detector trains in one process")
    return prepare_detector(options, config)


def _run_processes(options: argparse.Namespace) -> None:
    from lvm_mtc.training.launch import launch

    program = [sys.executable, "-c", "import sys; from lvm_mtc.cli import main; sys.exit(main())", "train"]
    for name in ("config", "stage", "run_dir"):
        program += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    program += ["--data", *map(str, options.data)]
    program += [] if options.start is None else ["--start", str(options.start)]
    for name, value in options.set:
        program += ["--set", f"{name}={json.dumps(value)}"]
    code = launch(program, num_processes=options.processes)
    if code:
        raise SystemExit(code)


_KINDS = "a configuration is a JSON file, or a Python file with get_config()"


def read_config(name: Path, overrides: list[tuple[str, Any]]) -> dict[str, Any]:
    """Reads a configuration and applies ``--set`` to it.

    Args:
        name: JSON file with one object, or a Python file whose ``get_config()`` returns a ``ConfigDict`` or dict; the
            latter is run. ``FILE.py:ARGUMENT`` calls ``get_config(ARGUMENT)``, unless there is a file of that name.
        overrides: Dotted names and values.
    """
    path, arguments = name, ()
    file, colon, argument = str(name).rpartition(":")
    if colon and file.endswith(".py") and not name.exists():
        path, arguments = Path(file), (argument,)
    config = _run_config(path, arguments) if path.suffix == ".py" else read_json("--config", path, _KINDS)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, dict):
        raise UsageError(f"--config {name}: holds a {type(config).__name__}, expected an object of fields")
    for field, value in overrides:
        config = replace_dotted(config, field, value)
    return config


def _run_config(path: Path, arguments: tuple[str, ...]) -> Any:
    source = path.read_bytes()  # bytes, so that a byte-order mark and a declared encoding are understood
    scope: dict[str, Any] = {"__name__": "config", "__file__": str(path)}
    try:
        exec(compile(source, str(path), "exec"), scope)  # the user's own program, as with `python FILE`
        if "get_config" not in scope:
            raise UsageError(f"--config {path}: has no get_config(), which is to return the fields")
        return scope["get_config"](*arguments)
    except UsageError:
        raise
    except Exception as error:
        call = f"get_config({', '.join(map(repr, arguments))})"
        raise UsageError(f"--config {path}: {call} failed ({type(error).__name__}: {error})") from error


def _check_run_directory(path: Path) -> None:
    """Refuses a run folder that is a file, or that could not be written or made."""
    if path.exists() and not path.is_dir():
        raise UsageError(f"--run-dir {path}: is not a folder; name a new one")
    parent = path.absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"--run-dir {path}: cannot be made below {parent}")
