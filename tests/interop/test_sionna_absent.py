"""What can be known of Sionna's channels without Sionna: names, profiles, errors."""

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lvm_mtc.cli.errors import one_line
from lvm_mtc.interop.sionna import CHANNELS, channels, profiles, runtime

DELAY_LINES = [name for name in CHANNELS if "dl_" in name]
TIMES = np.arange(4) * 1e-4


def test_import_loads_neither_sionna_nor_tensorflow():
    code = (
        "import sys\n"
        "import lvm_mtc.interop.sionna.channels\n"
        "print([m for m in ('sionna', 'tensorflow', 'flax') if m in sys.modules])"
    )
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120, env=environment
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def installed(monkeypatch):
    """Pretends that packages of given versions are installed, and no others."""

    def pretend(**versions):
        def version(name):
            if name in versions:
                return versions[name]
            raise importlib.metadata.PackageNotFoundError(name)

        def find_spec(name):
            found = versions.get({"sionna": "sionna-no-rt"}.get(name, name), versions.get(name))
            return None if found is None else types.SimpleNamespace(name=name)

        monkeypatch.setattr(importlib.metadata, "version", version)
        monkeypatch.setattr(importlib.util, "find_spec", find_spec)

    return pretend


@pytest.mark.parametrize(
    ("versions", "message"),
    [
        ({}, r"needs Sionna >= 1\.2\.2 and < 2, which is not installed"),
        ({"sionna": "2.0.1", "tensorflow": "2.21.0"}, r"Sionna 2\.0\.1 is too new: from 2 on it is PyTorch"),
        ({"sionna-no-rt": "1.1.0", "tensorflow": "2.21.0"}, r"Sionna 1\.1\.0 is too old, this needs >= 1\.2\.2"),
        ({"sionna-no-rt": "1.2.2"}, r"Sionna needs TensorFlow >= 2\.21, which is not installed"),
        ({"sionna-no-rt": "1.2.2", "tensorflow": "2.19.1"}, r"TensorFlow 2\.19\.1 is too old, this needs >= 2\.21"),
    ],
)
def test_what_is_missing_is_said_in_one_line(installed, versions, message):
    installed(**versions)
    with pytest.raises(runtime.SionnaUnavailable, match=message) as caught:
        runtime.load()
    assert isinstance(caught.value, ValueError) and isinstance(caught.value, ImportError)
    assert "pip install 'lvm-mtc[sionna]'" in one_line(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "versions",
    [
        {"sionna-no-rt": "1.2.2", "tensorflow": "2.21.0"},
        {"sionna": "1.2.3rc1", "tensorflow-cpu": "2.30", "tensorflow": "2.30"},
    ],
)
def test_what_fits_is_accepted(installed, versions):
    installed(**versions)
    runtime.check()


def test_a_channel_of_sionna_without_sionna_says_what_to_install(installed):
    installed()
    for name, channel in CHANNELS.items():
        if channel.kind == "awgn":
            continue
        time = {} if channel.kind == "flat" else {"times": TIMES}
        sample = channels.sampler(name, delay_spread=1e-7, carrier_frequency=3.5e9, max_doppler=10.0)
        with pytest.raises(runtime.SionnaUnavailable, match="pip install"):
            sample(jax.random.key(0), (2,), num_rx_ant=3, num_tx_ant=1, **time)
    with pytest.raises(runtime.SionnaUnavailable, match="pip install"):
        channels.awgn(jax.random.key(0), jnp.ones(3, jnp.complex64), 0.2)


@pytest.mark.parametrize("name", DELAY_LINES)
def test_profiles_have_unit_power_and_unit_delay_spread(name):
    delays, powers = channels.delay_profile(name, 100e-9)
    delays = np.asarray(delays) / 100e-9
    assert delays.shape == powers.shape and delays.min() == 0
    np.testing.assert_allclose(powers.sum(), 1, rtol=1e-12)
    spread = np.sqrt(np.sum(powers * delays**2) - np.sum(powers * delays) ** 2)
    # Four digits in the standard; model D, as printed there, has 0.9937.
    assert abs(spread - 1) < (7e-3 if name.endswith("d") else 3e-4)


def test_profiles_scale_with_a_traced_spread_per_link():
    spreads = jnp.array([1e-8, 3e-7])
    delays = jax.jit(lambda s: channels.delay_profile("sionna_tdl_c", s)[0])(spreads)
    np.testing.assert_allclose(delays, np.outer(spreads, profiles.unit_profile("sionna_tdl_c")[0]), rtol=1e-6)


def test_line_of_sight_is_part_of_the_first_path():
    for name in DELAY_LINES:
        power = profiles.unit_profile(name)[1][0]
        assert (power > 0.5) == (name[-1] in "de")


def test_clustered_profiles_ascend_and_hold_the_same_paths():
    for letter in "abcd":
        tapped, clustered = (np.stack(profiles.unit_profile(f"sionna_{f}_{letter}")) for f in ("tdl", "cdl"))
        assert np.all(np.diff(clustered[0]) >= 0)
        np.testing.assert_allclose(tapped[:, np.argsort(tapped[0], kind="stable")], clustered, rtol=1e-14)
    assert np.any(np.diff(profiles.unit_profile("sionna_tdl_a")[0]) < 0)


X = jnp.ones((5, 2), jnp.complex64)
KEY = jax.random.key(0)
TDL = channels.sampler("sionna_tdl_a", delay_spread=1e-7, max_doppler=5.0)
CDL = channels.sampler("sionna_cdl_a", delay_spread=1e-7, carrier_frequency=3.5e9)
ANTENNAS = dict(num_rx_ant=1, num_tx_ant=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: channels.sampler("sionna_tdl_f"), "unknown channel of Sionna 'sionna_tdl_f'; known: sionna_awgn"),
        (lambda: channels.sampler("sionna_tdl_a", speed=3.0), "unknown number 'speed' of channel 'sionna_tdl_a'"),
        (lambda: channels.sampler("sionna_awgn"), "'sionna_awgn' has no fading to draw"),
        (lambda: channels.delay_profile("sionna_umi", 1e-7), "'sionna_umi' has no fixed power-delay profile"),
        (lambda: channels.awgn(KEY, X.real, 0.1), "x must be complex, got float32"),
        (lambda: channels.awgn(KEY, X, -0.1), "no must be >= 0, got -0.1"),
        (lambda: channels.awgn(KEY, X, jnp.ones(3)), r"no of shape \(3,\) does not broadcast.*\(5, 2\)"),
        (lambda: channels.flat(KEY, (2,), num_rx_ant=0, num_tx_ant=1), "num_rx_ant must be an integer >= 1, got 0"),
        (
            lambda: channels.flat(KEY, (2,), num_rx_ant=2, num_tx_ant=1, rx_corr=jnp.eye(3)),
            r"rx_corr must have shape \(2, 2\), got \(3, 3\)",
        ),
        (lambda: channels.flat(KEY, (2,), dtype=jnp.float32, **ANTENNAS), "dtype of a channel must be complex"),
        (lambda: TDL(KEY, (2,), times=TIMES**2, **ANTENNAS), "times must ascend in equal steps"),
        (lambda: TDL(KEY, (2,), times=-TIMES, **ANTENNAS), "times must ascend in equal steps"),
        (lambda: TDL(KEY, (2,), times=TIMES[:, None], **ANTENNAS), r"times must be \[num_times\], got shape \(4, 1\)"),
        (lambda: TDL(KEY, (2,), times=TIMES, max_doppler=-1.0, **ANTENNAS), "max_doppler must be >= 0, got -1.0"),
        (
            lambda: TDL(KEY, (2,), times=TIMES, max_doppler=np.ones(3), **ANTENNAS),
            r"max_doppler of shape \(3,\) does not broadcast.*\(2,\)",
        ),
        (lambda: TDL(KEY, (2,), times=TIMES, model="F", **ANTENNAS), "unknown model 'F'; known: A, B, C, D, E"),
        (lambda: TDL(KEY, (2,), times=TIMES, delay_spread=-1e-7, **ANTENNAS), "delay_spread must be >= 0"),
        (lambda: CDL(KEY, (2,), times=TIMES, carrier_frequency=0.0, **ANTENNAS), "carrier_frequency must be > 0"),
        (
            lambda: jax.jit(lambda f: CDL(KEY, (2,), times=TIMES, carrier_frequency=f, **ANTENNAS))(3e9),
            "carrier_frequency of this model must be a Python number",
        ),
        (
            lambda: channels.system_level(KEY, (2,), times=TIMES, scenario="inf", carrier_frequency=3e9, **ANTENNAS),
            "unknown scenario 'inf'; known: umi, uma, rma",
        ),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
