"""What the README shows works: its Python runs, its commands parse, its files exist."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from lvm_mtc.cli.parser import UsageError, build_parser

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
CONSOLE = "\n".join(re.findall(r"```console\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = re.findall(r"^\$ (.*?)(?:\s+#.*)?$", CONSOLE, re.MULTILINE)
PATHS = [*re.findall(r"^(\S+/)\s{2,}", TEXT, re.MULTILINE), "experiments/configs/demo.py", "LICENSE"]


NAMES = ["channel layer", "air to ground", "whole chain", "sweep", "knowledge base"]


@pytest.mark.parametrize("code", PYTHON, ids=NAMES)
def test_python(code, tmp_path):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True,
                          timeout=600)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") in (1, 2)


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("lvm-mtc")])
def test_commands_parse(command):
    arguments = shlex.split(command)[1:]
    if arguments[0] in ("--version", "--help"):
        with pytest.raises(SystemExit, match="0"):
            build_parser().parse_args(arguments)
    else:
        assert callable(build_parser().parse_args(arguments).run)


def test_a_wrong_command_would_be_seen():
    with pytest.raises(UsageError):
        build_parser().parse_args(["transmit", "--images", "a", "--out", "b", "--snr", "3"])


@pytest.mark.parametrize("target", sorted(c.split()[1] for c in COMMANDS if c.startswith("make")))
def test_make_targets_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_commands_were_found():
    assert len(PYTHON) == 5 and len(COMMANDS) >= 8


@pytest.mark.parametrize("path", PATHS)
def test_paths_exist(path):
    assert (ROOT / path).exists()
