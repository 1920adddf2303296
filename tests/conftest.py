"""Settings of every test: 8 CPU devices, no silent rank promotion, no key used twice.

``LVM_MTC_TEST_PLATFORM=cuda`` (or ``tpu``) runs tests on that device instead, compiled as users compile and with exact
products of float32; tests that need several devices fail there. ``make gpu`` does so with those that have an oracle.
"""

import contextlib
import ctypes
import gc
import itertools
import os
import re
from importlib.metadata import version
from pathlib import Path

# Read by XLA once, at its first use: they must stand before any import of jax.
os.environ["JAX_PLATFORMS"] = ",".join(dict.fromkeys([os.environ.get("LVM_MTC_TEST_PLATFORM", "cpu"), "cpu"]))
if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
    os.environ["XLA_FLAGS"] = (os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8").strip()
# Without optimisation and with XLA's older emitters most programs compile in half the time, draws of random numbers in
# a third, and unsplit they take a fifth less yet; the processes that tests start do the same.
# jaxlib 0.12 has no older emitters.
if "xla_cpu_use_fusion_emitters" not in os.environ["XLA_FLAGS"] and int(version("jaxlib").split(".")[1]) < 12:
    os.environ["XLA_FLAGS"] += " --xla_cpu_use_fusion_emitters=false"
if "xla_cpu_parallel_codegen_split_count" not in os.environ["XLA_FLAGS"]:
    os.environ["XLA_FLAGS"] += " --xla_cpu_parallel_codegen_split_count=1"
if os.environ["JAX_PLATFORMS"] == "cpu":
    os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
else:
    os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
os.environ.setdefault("MPLBACKEND", "Agg")
# Programs that one test has compiled are read by the others, in every worker and in the processes that tests start.
os.environ.setdefault(
    "JAX_COMPILATION_CACHE_DIR", str(Path(__file__).resolve().parents[1] / ".pytest_cache" / "programs")
)
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
# On some processors XLA writes to stderr of each program it reads there that it may not fit the machine it was made on.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest
from jax._src import compiler
from jax._src.interpreters import mlir
from jaxlib.mlir import ir

jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)

_make_ir_context, _programs, _contexts = mlir.make_ir_context, itertools.count(), []


def shared_ir_context():
    """JAX makes an MLIR context for each program, which takes longer than the rest of lowering a small one.

    Here each serves 200 programs, and then goes with the constants that it keeps. A program that is made while another
    is being lowered has one of its own, for it would be written into the other.
    """
    if ir.Context.current is not None:
        return _make_ir_context()
    if next(_programs) % 200 == 0:
        _contexts[:] = [_make_ir_context()]
    return _contexts[0]


mlir.make_ir_context = shared_ir_context

pytest_plugins = ["small_runs", "two_pictures"]

SHARED_DATA = Path(os.environ.get("LVM_MTC_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

_MOST_BYTES = int(2.4 * 2**30)

# Files of half a minute and more: workers begin with them, lest one is left with the last.
_LONGEST = (
    "schemes/lvm_mtc/test_chain.py",
    "sweep/test_sweep_engine.py",
    "training/test_recipe.py",
    "phy/test_link.py",
    "link/test_links.py",
    "link/test_standing_checks.py",
    "experiments/test_queue.py",
)

# What a test may lack: an extra that is not in `test`, a browser, or an accelerator.
_MAY_SKIP = re.compile(
    r"sionna|tensorflow|torch|GPU|TPU|accelerator|Python 3\.12|may not mount a tmpfs|no zsh on",
    re.IGNORECASE,
)
_unexpected_skips = []


@pytest.fixture(autouse=True)
def bounded_memory():
    """Compiling leaves free memory that the allocator keeps, and programs stay until somebody lets go of them."""
    yield
    if resident_bytes() > _MOST_BYTES:
        trim_memory()
    if resident_bytes() > _MOST_BYTES:
        jax.clear_caches()
        trim_memory()


def trim_memory() -> None:
    """Collects garbage, and gives memory that is free back to the system, where the C library can."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def resident_bytes() -> int:
    """Memory of this process, bytes; 0 where the system does not say."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


@pytest.fixture(scope="session")
def shared_data():
    """Folder with the real pictures; the test is skipped where there is none."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no pictures in {SHARED_DATA} (set LVM_MTC_DATA)")
    return SHARED_DATA


@pytest.fixture(scope="session")
def photographs():
    """scikit-image has the demo's photographs; the test is skipped without it, which CI does not allow."""
    pytest.importorskip("skimage", reason="needs scikit-image (extra demo)")


@pytest.fixture(scope="module")
def fast_compile():
    """Without optimisation even where ``JAX_DISABLE_MOST_OPTIMIZATIONS=0`` has the other tests compile as users do."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module")
def users_emitters():
    """Compiles with XLA's present emitters, for tests that hold different programs of the library to the same bits."""
    if int(version("jaxlib").split(".")[1]) >= 12:  # others are not to be had
        yield
        return
    real = compiler.get_compile_options

    def with_emitters(*args, env_options_overrides=None, **options):
        overrides = {**(env_options_overrides or {}), "xla_cpu_use_fusion_emitters": True}
        return real(*args, env_options_overrides=overrides, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", with_emitters)
        jax.clear_caches()
        yield
    jax.clear_caches()


def pytest_addoption(parser):
    parser.addoption(
        "--no-silent-skips",
        action="store_true",
        help="fail when a test is skipped for anything but a missing extra or accelerator",
    )


def pytest_collection_modifyitems(items):
    here = Path(__file__).parent
    place = {str(here / name): place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(str(item.path), len(place)))


def pytest_collection_finish(session):
    """What is loaded by now stays: collections of garbage need not look at it each time, nor come as often."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


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
