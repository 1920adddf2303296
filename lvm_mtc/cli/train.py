"""``lvm-mtc train``: a recipe from a file, with changes from the command line, through its training steps."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lvm_mtc.cli.parser import UsageError
from lvm_mtc.config import from_dict, replace_dotted


def run_train(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc train``, in ``options.processes`` processes that train as one.

    Args:
        options: Of the parser.

    Raises:
        UsageError: if the configuration cannot be read, the run folder cannot be made or is in use, or the loss is not
            finite.
        SystemExit: after a stop that saved the state; with the exit code of the process that failed, of several.
        ValueError: for wrong fields, data or weights.
    """
    from lvm_mtc.training import NonFiniteLoss, RunBusy, TrainingStopped
    from lvm_mtc.training.processes import NUM_PROCESSES, ended_with_peers, is_first, join_processes

    config = read_config(options.config, options.overrides)
    prepare = _detector if options.stage == "detector" else _stage
    run = prepare(options, config)
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
    from lvm_mtc.training.picture_recipe import PictureRecipe, run_picture_recipe
    from lvm_mtc.training.pictures import load_training_pictures
    from lvm_mtc.training.recipe import Recipe, run_stage

    if options.guide or options.teacher or len(options.data) > 1:
        raise UsageError(f"--stage {options.stage}: several --data, --guide and --teacher are for --stage detector")
    of_pictures, (data,) = "picture_codec" in config, options.data
    recipe = from_dict(PictureRecipe if of_pictures else Recipe, config)
    if of_pictures and options.stage not in ("system", "all"):
        raise UsageError(f"--stage {options.stage}: a codec for whole pictures is trained end to end, --stage system")
    if not of_pictures and options.stage != "all":
        recipe.train_config(options.stage)
    load_training_pictures(data, (recipe.picture_codec if of_pictures else recipe.system).image_size, 1, 0)
    if options.start is not None:
        load_weights(options.start)
    check_run_directory(options.run_dir)
    if of_pictures:
        return lambda: run_picture_recipe(recipe, data, options.run_dir, start=options.start)
    return lambda: run_stage(recipe, options.stage, data, options.run_dir, start=options.start)


def _detector(options: argparse.Namespace, config: dict[str, Any]) -> Callable[[], Path]:
    from lvm_mtc.cli.train_detector import prepare_detector

    if options.processes > 1:
        raise UsageError(f"--processes {options.processes}: the detector trains in one process")
    run = prepare_detector(options, config)
    check_run_directory(options.run_dir)
    return run


def _run_processes(options: argparse.Namespace) -> None:
    from lvm_mtc.training.launch import launch

    program = [sys.executable, "-c", "import sys; from lvm_mtc.cli import main; sys.exit(main())", "train"]
    for name in ("config", "stage", "run_dir"):
        program += [f"--{name.replace('_', '-')}", str(getattr(options, name))]
    program += ["--data", *map(str, options.data)]
    program += [] if options.start is None else ["--start", str(options.start)]
    for name, value in options.overrides:
        program += ["--set", f"{name}={json.dumps(value)}"]
    code = launch(program, num_processes=options.processes)
    if code:
        raise SystemExit(code)


def read_config(path: Path, overrides: list[tuple[str, Any]]) -> dict[str, Any]:
    """Reads a configuration and applies ``--set`` to it.

    Args:
        path: JSON file with one object, or a Python file whose ``get_config()`` returns a ``ConfigDict`` or dict; the
            latter is run.
        overrides: Dotted names and values.

    Returns:
        Nested dicts.

    Raises:
        UsageError: if the file does not hold such a configuration.
        OSError: if it cannot be read.
        ValueError: if an override does not fit.
    """
    config = _run_config(path) if path.suffix == ".py" else _parse_config(path)
    if hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, dict):
        raise UsageError(f"--config {path}: holds a {type(config).__name__}, expected an object of fields")
    for name, value in overrides:
        config = replace_dotted(config, name, value)
    return config


def _parse_config(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path}: is not JSON ({error})") from None


def _run_config(path: Path) -> Any:
    source = path.read_text(encoding="utf-8")
    scope: dict[str, Any] = {"__name__": "config", "__file__": str(path)}
    try:
        exec(compile(source, str(path), "exec"), scope)  # the user's own program, as with `python FILE`
        return scope["get_config"]()
    except Exception as error:
        raise UsageError(f"--config {path}: get_config() failed ({type(error).__name__}: {error})") from error


def check_run_directory(path: Path) -> None:
    """Refuses a run folder that could not be written.

    Args:
        path: The folder; it need not exist.

    Raises:
        UsageError: if it is a file, or it or its nearest existing parent cannot be written to.
    """
    if path.exists() and not path.is_dir():
        raise UsageError(f"--run-dir {path}: is not a folder; name a new one")
    parent = path.absolute()
    while not parent.exists():
        parent = parent.parent
    if not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"--run-dir {path}: cannot be made below {parent}")
