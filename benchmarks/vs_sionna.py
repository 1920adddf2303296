"""Our channel layer against Sionna 1.2.2: time and memory of the same simulation, in one process.

Operating point (a): 11 SNRs x 5 CSI-error variances, 4x4 Rayleigh fading with a channel of its own for every slot,
L-MMSE that trusts its estimate (Sionna's receiver, our ``unbiased``), 20,000 slots a point; and one of these points by
itself. Ours is one program for all points, which share their draws (the sweep of benchmarks/phy.py); Sionna's is a loop
over its compiled step, which draws anew at every point, as a graph (``tf.function``) and through XLA (``jit_compile``),
both as ``lmmse_equalizer`` comes and with its whitening off, which white noise does not need. Writes JSON:

    python benchmarks/vs_sionna.py [--out FILE] [--repeats 10] [--slots 20000] [--devices 2]

Nothing is reported unless both sides have the same mean squared error at every point, within 5 standard errors.
``vs_sionna_torch.py`` is the same against Sionna 2, which is PyTorch.
"""

import os
import sys

import jax
import numpy as np
import phy as phy_benchmark
from lacking import need
from peer import Loop, Points, capped_moments, measure_against, parse, parser_of, start_jax, write
from vs_sionna_memory import memory_of_sides

MODES = {
    "graph": {"jit_compile": False, "whiten": True},
    "xla": {"jit_compile": True, "whiten": True},
    "graph_unwhitened": {"jit_compile": False, "whiten": False},
    "xla_unwhitened": {"jit_compile": True, "whiten": False},
}


def import_sionna():
    """TensorFlow and Sionna, on the kind of device that JAX has, and without all of its memory."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    if jax.default_backend() == "cpu":
        tf.config.set_visible_devices([], "GPU")
    elif not gpus:
        raise SystemExit(f"vs_sionna.py: JAX runs on {jax.default_backend()}, but TensorFlow finds no GPU")
    else:
        for gpu in gpus:
            tf.config.experimental.set_memory_growth(gpu, True)
    import sionna.phy

    sionna.phy.config.seed = 1
    return tf, sionna


def _sionna_step(tf, *, whiten: bool):
    """One point in Sionna's blocks: x_hat, x and no_eff of ``num_slots`` slots."""
    from sionna.phy.channel import FlatFadingChannel
    from sionna.phy.mapping import BinarySource
    from sionna.phy.mimo import lmmse_equalizer
    from sionna.phy.utils import complex_normal

    size = phy_benchmark.NUM_ANT
    channel, bits = FlatFadingChannel(size, size, return_channel=True), BinarySource()

    def step(no, csi_error_var, num_slots):
        signs = (1 - 2 * bits([2, num_slots, size])) * np.float32(0.5**0.5)
        x = tf.complex(signs[0], signs[1])
        y, h = channel(x, no)
        error = complex_normal([num_slots, size, size])
        h_hat = h + tf.cast(tf.sqrt(csi_error_var), h.dtype) * error
        noise_cov = tf.cast(no, h.dtype) * tf.eye(size, batch_shape=[num_slots], dtype=h.dtype)
        x_hat, no_eff = lmmse_equalizer(y, h_hat, noise_cov, whiten_interference=whiten)
        return x, x_hat, no_eff

    return step


def _abs2(tf, value):
    return tf.math.real(value) ** 2 + tf.math.imag(value) ** 2


def sionna_loop(tf, points: Points, num_slots: int, *, jit_compile: bool, whiten: bool) -> Loop:
    """Sionna's side: one compiled step, point after point."""
    step = _sionna_step(tf, whiten=whiten)

    @tf.function(jit_compile=jit_compile)
    def point(no, csi_error_var):
        x, x_hat, no_eff = step(no, csi_error_var, num_slots)
        return tf.reduce_mean(_abs2(tf, x_hat - x)), tf.reduce_mean(no_eff)

    numbers = [(tf.constant(10 ** (-snr / 10), tf.float32), tf.constant(error)) for snr, error in points]

    def run():
        results = [point(no, error) for no, error in numbers]
        return [float(mse.numpy()) for mse, _ in results]

    return run


def sionna_capped_mse(tf, points, num_slots: int):
    """The same of Sionna's step."""
    step = _sionna_step(tf, whiten=True)

    @tf.function
    def point(no, csi_error_var):
        x, x_hat, _ = step(no, csi_error_var, num_slots)
        return tf.reduce_mean(tf.minimum(_abs2(tf, x_hat - x), 1.0), axis=-1)

    return [
        capped_moments(point(tf.constant(10 ** (-snr / 10), tf.float32), tf.constant(error)).numpy())
        for snr, error in points
    ]


def measure(num_slots: int, repeats: int, devices: int) -> dict:
    """Both operating points against Sionna 1.2.2."""
    start_jax(devices)
    tf, sionna = import_sionna()
    return measure_against(
        lambda points: sionna_capped_mse(tf, points, num_slots),
        lambda points: {mode: sionna_loop(tf, points, num_slots, **setting) for mode, setting in MODES.items()},
        num_slots,
        repeats,
    ) | {
        "tensorflow": tf.__version__,
        "tensorflow_intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads() or "default",
        "sionna": sionna.phy.__version__ if hasattr(sionna.phy, "__version__") else sionna.__version__,
    }


def main(argv: list[str] | None = None) -> int:
    """Run the comparison, print a table and write the result."""
    args = parse(parser_of(__doc__.splitlines()[0], "vs_sionna"), argv)
    need("sionna", "sionna", "tensorflow")
    result = measure(args.slots, args.repeats, args.devices)
    result["memory"] = memory_of_sides(args.slots, args.devices)
    write(result, args.out, "vs_sionna")
    return 0


if __name__ == "__main__":
    sys.exit(main())
