"""The door to Sionna and TensorFlow: loading them late, and making Sionna draw as a function of a key.

The only file with import statements of either. Everything else calls :func:`load` and uses the modules that it returns.
"""

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
import os
import random
import re
import tempfile
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

EXTRA = "pip install 'lvm-mtc[sionna]'"
# First release that allows numpy 2, and first release that is PyTorch and not TensorFlow.
SIONNA_FROM, SIONNA_BELOW = "1.2.2", "2"
TENSORFLOW_FROM = "2.21"

# Sionna keeps its generators in one global object, so that only one thread at a time may exchange them.
_LOCK = threading.RLock()
_GENERATORS = ("_tf_rng", "_np_rng", "_py_rng")


class SionnaUnavailable(ImportError, ValueError):
    """Sionna or TensorFlow is missing, too old or too new; the message is one line that says what to install.

    It is also a ``ValueError``, because to ask for a channel that is not installed is a mistake in the input.
    """


class Sionna(NamedTuple):
    """The loaded modules: ``tensorflow``, ``sionna.phy`` and ``jax.experimental.jax2tf``."""

    tf: ModuleType
    phy: ModuleType
    jax2tf: ModuleType


def _version(*distributions: str) -> str | None:
    """Version of the first of these distributions that is installed."""
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.match(r"[\d.]*", version)[0].strip(".").split(".") if part)


def check() -> None:
    """Raise unless the right Sionna and TensorFlow are installed; imports neither.

    Raises:
        SionnaUnavailable: if one of them is missing, too old or too new.
    """
    sionna = _version("sionna-no-rt", "sionna")
    tensorflow = _version("tensorflow", "tensorflow-cpu", "tensorflow-intel", "tensorflow-macos")
    if importlib.util.find_spec("sionna") is None:
        problem = f"this needs Sionna >= {SIONNA_FROM} and < {SIONNA_BELOW}, which is not installed"
    elif sionna is not None and _numbers(sionna) >= _numbers(SIONNA_BELOW):
        problem = (
            f"Sionna {sionna} is too new: from {SIONNA_BELOW} on it is PyTorch, and this needs the TensorFlow line, "
            f">= {SIONNA_FROM} and < {SIONNA_BELOW}"
        )
    elif sionna is not None and _numbers(sionna) < _numbers(SIONNA_FROM):
        problem = f"Sionna {sionna} is too old, this needs >= {SIONNA_FROM}"
    elif importlib.util.find_spec("tensorflow") is None:
        problem = f"Sionna needs TensorFlow >= {TENSORFLOW_FROM}, which is not installed"
    elif tensorflow is not None and _numbers(tensorflow) < _numbers(TENSORFLOW_FROM):
        problem = f"TensorFlow {tensorflow} is too old, this needs >= {TENSORFLOW_FROM}"
    else:
        return
    raise SionnaUnavailable(f"{problem}: {EXTRA}")


def _hide_accelerators(tf: ModuleType) -> None:
    """Keep TensorFlow away from accelerators, whose memory is JAX's."""
    for kind in ("GPU", "TPU"):
        try:
            tf.config.set_visible_devices([], kind)
        except RuntimeError:  # TensorFlow was used before, by somebody else
            if tf.config.list_logical_devices(kind):
                warnings.warn(
                    f"TensorFlow was in use with a {kind} before Sionna was loaded, and keeps that {kind}'s memory; "
                    f"load Sionna first, or hide the {kind} with tf.config.set_visible_devices([], {kind!r})",
                    stacklevel=3,
                )


@contextlib.contextmanager
def _without_greetings() -> Iterator[None]:
    """Hold back what TensorFlow's libraries write to stderr while they are loaded; after an error, show it.

    They greet before they read how much they shall log.
    """
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(stderr, held.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@functools.cache
def _import() -> Sionna:
    # JAX has set it to 1, at which XLA warns of every assertion of Sionna's that it leaves out, and TensorFlow of every
    # missing accelerator. Errors come as exceptions anyway. Set it to 0 to see everything.
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    quiet = os.environ["TF_CPP_MIN_LOG_LEVEL"] != "0"
    try:
        with _without_greetings() if quiet else contextlib.nullcontext():
            import tensorflow as tf

            _hide_accelerators(tf)
            import sionna.phy
            from jax.experimental import jax2tf
        if quiet:
            # Gradients of Sionna's casts from real to complex numbers are announced as a loss of the imaginary part.
            tf.get_logger().setLevel("ERROR")
    except ImportError as error:
        raise SionnaUnavailable(f"Sionna is installed but can't be loaded ({error}): {EXTRA}") from error
    return Sionna(tf, sionna.phy, jax2tf)


def load() -> Sionna:
    """Import Sionna and TensorFlow after a :func:`check`, at the first call; TensorFlow sees no accelerator."""
    with _LOCK:
        check()
        return _import()


class KeyedGenerator:
    """Stands in for ``tf.random.Generator``: draws are a function of seeds and of how many draws came before.

    With several seeds the leading axis of every draw is divided among them, part i depends on seed i only, and equals
    what seed i alone would draw: this is how a mapped axis is folded into Sionna's batch axis.

    Attributes:
        seeds: ``[num_keys, 2]`` int32 tensor, eager or symbolic, with static shape.
    """

    def __init__(self, seeds):
        self._tf = load().tf
        self.seeds = seeds
        self._draws = 0

    def _draw(self, sample, shape):
        tf = self._tf
        # Philox is the one algorithm that both the host's kernels and XLA have.
        number, self._draws = self._draws, self._draws + 1
        fold = functools.partial(tf.random.experimental.stateless_fold_in, data=number, alg="philox")
        num_keys = self.seeds.shape[0]
        if num_keys == 1:
            return sample(shape=shape, seed=fold(self.seeds[0]), alg="philox")
        shape = tf.convert_to_tensor(shape, tf.int32)
        size = tf.get_static_value(shape[0])
        if size is not None and size % num_keys:
            raise ValueError(f"a draw of leading size {size} can't be divided among {num_keys} keys")
        part = tf.concat([shape[:1] // num_keys, shape[1:]], 0)

        # A loop and not an unrolled stack: with 64 keys, that takes XLA half a minute to compile.
        def draw_part(seed):
            return sample(shape=part, seed=fold(seed), alg="philox")

        dtype = sample.keywords["dtype"]
        return tf.reshape(tf.map_fn(draw_part, self.seeds, fn_output_signature=dtype), shape)

    def normal(self, shape, mean=0.0, stddev=1.0, dtype=None, name=None):
        """As ``tf.random.Generator.normal``."""
        tf = self._tf
        dtype = tf.as_dtype(dtype or tf.float32)
        drawn = self._draw(functools.partial(tf.random.stateless_normal, dtype=dtype), shape)
        return drawn * tf.cast(stddev, dtype) + tf.cast(mean, dtype)

    def uniform(self, shape, minval=0, maxval=None, dtype=None, name=None):
        """As ``tf.random.Generator.uniform``; ``minval`` and ``maxval`` broadcast against ``shape``."""
        tf = self._tf
        dtype = tf.as_dtype(dtype or tf.float32)
        if dtype.is_integer:
            bounds = dict(minval=minval, maxval=maxval, dtype=dtype)
            return self._draw(functools.partial(tf.random.stateless_uniform, **bounds), shape)
        low, high = tf.cast(minval, dtype), tf.cast(1 if maxval is None else maxval, dtype)
        drawn = self._draw(functools.partial(tf.random.stateless_uniform, dtype=dtype), shape)
        return drawn * (high - low) + low


class _NoDraws:
    """Stands in for a host generator while a graph is traced, where its numbers would be frozen into the graph."""

    def __getattr__(self, name: str) -> Any:
        raise ValueError(f"Sionna wanted host random numbers ({name}) while a graph was traced; call it eagerly")


def _generators(seeds) -> tuple[Any, Any, Any]:
    """Generators of TensorFlow, NumPy and Python that depend on the seeds only."""
    tf = load().tf
    seeds = tf.convert_to_tensor(seeds, tf.int32)
    if seeds.shape.rank != 2 or seeds.shape[0] in (None, 0) or seeds.shape[1] != 2:
        raise ValueError(f"seeds must be [num_keys, 2] integers, got shape {seeds.shape}")
    if not tf.executing_eagerly():
        return KeyedGenerator(seeds), _NoDraws(), _NoDraws()
    words = [int(word) for word in seeds.numpy().view(np.uint32).ravel()]
    return KeyedGenerator(seeds), np.random.default_rng(words), random.Random(repr(words))


@contextlib.contextmanager
def keyed(seeds) -> Iterator[None]:
    """While this lasts, Sionna's global generators are replaced by ones that depend on ``seeds`` only.

    Afterwards, and after an error inside, the global generators are what they were: the same objects, not advanced.
    Inside a graph that is being traced, NumPy's and Python's generators refuse to draw.

    Threads wait for each other here. A thread that uses Sionna without this function at the same time draws from the
    replaced generators.

    Args:
        seeds: ``[num_keys, 2]`` integers of 32 bits; with more than one key, see :class:`KeyedGenerator`.
    """
    config = load().phy.config
    generators = _generators(seeds)
    with _LOCK:
        before = {name: getattr(config, name) for name in _GENERATORS}
        try:
            for name, generator in zip(_GENERATORS, generators, strict=True):
                setattr(config, name, generator)
            yield
        finally:
            for name, generator in before.items():
                setattr(config, name, generator)


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Meanwhile Sionna's global precision is ``"single"`` or ``"double"``; some blocks hand none of theirs on."""
    config = load().phy.config
    with _LOCK:
        before = config.precision
        try:
            config.precision = name
            yield
        finally:
            config.precision = before
