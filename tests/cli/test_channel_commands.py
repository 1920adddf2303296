"""The commands in docs/channels.md and docs/fading.md run as written, with small weights and few draws."""

import re
import shlex
from pathlib import Path

import pytest

from lvm_mtc.cli import main

DOCS = Path(__file__).resolve().parents[2] / "docs"
SMALL = {
    "transmit": "--weights small.npz --loc centre --realisations 2 --snr-db 10 --schemes object --limit 1",
    "sweep": "--images photos --set weights=small.npz --set loc=centre --units 2 --snr-db 10 --uavs 2 --no-pictures "
    "--devices 1",
}
COMMANDS = [
    line
    for page in ("channels.md", "fading.md")
    for line in re.findall(r"^(?:\$|   ) lvm-mtc (.*)$", (DOCS / page).read_text(), re.MULTILINE)
]

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("command", COMMANDS)
def test_it_runs(command, folder, fast_compile, capsys):
    assert main(shlex.split(f"{command} {SMALL[command.split()[0]]}")) == 0, capsys.readouterr().err


def test_the_pages_have_commands():
    assert len(COMMANDS) >= 6
