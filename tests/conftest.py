"""Settings of every test: 8 CPU devices, no silent rank promotion, no key used twice."""

import os
import re
from pathlib import Path

# Read by XLA once, at its first use: they must stand before any import of jax.
os.environ["JAX_PLATFORMS"] = "cpu"
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8").strip()
os.environ.setdefault("MPLBACKEND", "Agg")

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

SHARED_DATA = Path(os.environ.get("LVM_MTC_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

# What a test may lack: an extra that is not in `test`, a browser, or an accelerator.
_MAY_SKIP = re.compile(
    r"sionna|tensorflow|torch|GPU|TPU|accelerator|Python 3\.12|may not mount a tmpfs|no (chromium|zsh) on",
    re.IGNORECASE,
)
_unexpected_skips = []


@pytest.fixture(scope="session")
def shared_data():
    """Folder with the real pictures; the test is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no pictures in {SHARED_DATA} (set LVM_MTC_DATA)")
    return SHARED_DATA


@pytest.fixture(scope="module")
def fast_compile():
    """Compiles in half the time, for tests of what a program does and not of how fast it does it."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def pytest_addoption(parser):
    parser.addoption(
        "--no-silent-skips",
        action="store_true",
        help="fail when a test is skipped for anything but a missing extra or accelerator",
    )


def pytest_runtest_logreport(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if not _MAY_SKIP.search(reason):
            _unexpected_skips.append(f"{report.nodeid}: {reason}")


def pytest_sessionfinish(session, exitstatus):
    if session.config.getoption("--no-silent-skips") and _unexpected_skips and exitstatus == 0:
        session.exitstatus = 1


def pytest_terminal_summary(terminalreporter, config):
    if config.getoption("--no-silent-skips"):
        for line in _unexpected_skips:
            terminalreporter.write_line(f"NOT ALLOWED TO SKIP HERE: {line}", red=True)
