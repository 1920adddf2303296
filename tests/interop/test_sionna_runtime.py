"""Keyed draws inside Sionna: a function of the key, and nothing global changes."""

import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from lvm_mtc.interop.sionna import runtime

pytestmark = pytest.mark.sionna

SEEDS = np.array([[3, -5]], np.int32)


@pytest.fixture
def sionna():
    return runtime.load()


def _draw_everything(sionna, seeds):
    config = sionna.phy.config
    with runtime.keyed(seeds):
        return (
            config.tf_rng.normal([4, 3], stddev=2.0).numpy(),
            config.tf_rng.uniform([4, 3], -1.0, 3.0).numpy(),
            config.tf_rng.uniform([4], 0, 5, dtype=sionna.tf.int32).numpy(),
            config.np_rng.normal(size=3),
            np.array(config.py_rng.random()),
        )


def test_draws_are_a_function_of_the_seeds(sionna):
    first, again = _draw_everything(sionna, SEEDS), _draw_everything(sionna, SEEDS)
    other = _draw_everything(sionna, SEEDS + 1)
    for a, b, c in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert np.any(a != c)
    # Two draws of one call differ too.
    assert not np.array_equal(first[0] / 2, (first[1] + 1) / 4)


def test_each_key_has_its_own_part(sionna):
    config = sionna.phy.config
    seeds = np.array([[1, 2], [7, 7], [1, 2]], np.int32)
    with runtime.keyed(seeds):
        together = [config.tf_rng.normal([6, 5]).numpy(), config.tf_rng.uniform([6], 2.0, 4.0).numpy()]
    for i, seed in enumerate(seeds):
        with runtime.keyed(seed[None]):
            alone = [config.tf_rng.normal([2, 5]).numpy(), config.tf_rng.uniform([2], 2.0, 4.0).numpy()]
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_allclose(all_of_them[2 * i : 2 * i + 2], one, rtol=1e-6)
    assert np.any(together[0][:2] != together[0][2:4])
    with pytest.raises(ValueError, match="leading size 5 can't be divided among 3 keys"), runtime.keyed(seeds):
        config.tf_rng.normal([5])


def test_moments(sionna):
    count = 200_000
    with runtime.keyed(SEEDS):
        normal = sionna.phy.config.tf_rng.normal([count], 1.0, 2.0).numpy().astype(np.float64)
        uniform = sionna.phy.config.tf_rng.uniform([count], -2.0, 1.0).numpy().astype(np.float64)
    assert abs(normal.mean() - 1) < 5 * 2 / np.sqrt(count)
    assert abs(normal.var() - 4) < 5 * 4 * np.sqrt(2 / count)
    assert abs(uniform.mean() + 0.5) < 5 * np.sqrt(9 / 12 / count)
    assert uniform.min() >= -2 and uniform.max() < 1


def _global_state(config):
    return (
        config._tf_rng,
        config._tf_rng.state.numpy().copy(),
        config._np_rng,
        config._np_rng.bit_generator.state,
        config._py_rng,
        config._py_rng.getstate(),
        config.precision,
    )


def _same(before, after):
    pairs = zip(before, after, strict=True)
    return all(np.array_equal(a, b) if isinstance(a, np.ndarray) else a is b or a == b for a, b in pairs)


def test_global_generators_are_not_advanced(sionna):
    config = sionna.phy.config
    _ = config.tf_rng, config.np_rng, config.py_rng  # they are made at their first use
    before = _global_state(config)
    _draw_everything(sionna, SEEDS)
    assert _same(before, _global_state(config))
    with pytest.raises(RuntimeError, match="inside"), runtime.keyed(SEEDS), runtime.precision("double"):
        with runtime.keyed(SEEDS + 1):
            config.tf_rng.normal([2])
        config.tf_rng.normal([2])
        raise RuntimeError("inside")
    assert _same(before, _global_state(config))
    # A draw from them would be seen.
    config.tf_rng.normal([2])
    assert not _same(before, _global_state(config))


def test_generators_that_nobody_used_stay_unmade(sionna, monkeypatch):
    config = sionna.phy.config
    for name in ("_tf_rng", "_np_rng", "_py_rng"):
        monkeypatch.setattr(config, name, None)
    _draw_everything(sionna, SEEDS)
    assert config._tf_rng is None and config._np_rng is None and config._py_rng is None


def test_host_numbers_are_refused_inside_a_graph(sionna):
    config = sionna.phy.config

    def body(seeds):
        with runtime.keyed(seeds):
            return sionna.tf.constant(config.np_rng.normal())

    with pytest.raises(ValueError, match=r"host random numbers \(normal\) while a graph was traced"):
        sionna.tf.function(body, autograph=False)(sionna.tf.constant(SEEDS))
    with pytest.raises(ValueError, match=r"seeds must be \[num_keys, 2\] integers, got shape \(2,\)"):
        with runtime.keyed(SEEDS[0]):
            pass


def test_threads_do_not_mix_their_draws(sionna):
    expected = [_draw_everything(sionna, SEEDS + i)[0] for i in range(4)]
    found = [None] * 4

    def work(i):
        for _ in range(10):
            found[i] = _draw_everything(sionna, SEEDS + i)[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_tensorflow_sees_no_accelerator(sionna):
    for kind in ("GPU", "TPU"):
        assert sionna.tf.config.get_visible_devices(kind) == []


def test_loading_is_silent():
    code = (
        "import jax, jax.numpy as jnp\n"
        "from lvm_mtc.interop.sionna import channels\n"
        "jax.block_until_ready(channels.awgn(jax.random.key(0), jnp.ones(3, jnp.complex64), 0.1))"
    )
    # XLA has lines of its own about programs that it reads from the tests' cache.
    ours = ("TF_CPP_MIN_LOG_LEVEL", "JAX_COMPILATION_CACHE_DIR")
    environment = {k: v for k, v in os.environ.items() if k not in ours} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
