"""A training run of seconds, as a program: the victim of the kill-and-resume test.

Usage: ``python tiny_run.py RUN_DIR [--total-steps 40] [--pause 0.05] ...``; writes ``RUN_DIR/final.npz`` at the end.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.training import OptimizerConfig, TrainConfig, TrainingStopped, averaged_params, train
from lvm_mtc.training.mesh import whole_on_host
from lvm_mtc.training.processes import ended_with_peers, is_first, join_processes

NUM_PICTURES, SIZE, WIDTH, BATCH = 32, 6, 16, 8


def make_data(seed: int = 0) -> np.ndarray:
    """Random pictures ``[NUM_PICTURES, SIZE, SIZE, 3]`` uint8."""
    return np.random.default_rng(seed).integers(0, 256, (NUM_PICTURES, SIZE, SIZE, 3), dtype=np.uint8)


def make_params(seed: int = 0, dtype=np.float32) -> dict:
    """Two dense layers, ``encoder`` and ``decoder``."""
    rng = np.random.default_rng(seed)
    inputs = SIZE * SIZE * 3
    return {
        "encoder": {"kernel": rng.normal(0, 0.1, (inputs, WIDTH)).astype(dtype), "bias": np.zeros(WIDTH, dtype)},
        "decoder": {"kernel": rng.normal(0, 0.1, (WIDTH, inputs)).astype(dtype), "bias": np.zeros(inputs, dtype)},
    }


def batch_fn(data, key):
    """Draws pictures and flips some, ``[BATCH, SIZE, SIZE, 3]`` uint8."""
    pick_key, flip_key = jax.random.split(key)
    pictures = data[jax.random.randint(pick_key, (BATCH,), 0, data.shape[0])]
    flip = jax.random.bernoulli(flip_key, 0.5, (BATCH, 1, 1, 1))
    return jnp.where(flip, pictures[:, :, ::-1], pictures)


def loss_fn(params, batch, key):
    """Denoising autoencoder: mean squared error of the pictures behind a noisy bottleneck."""
    dtype = params["encoder"]["kernel"].dtype
    x = batch.reshape(batch.shape[0], -1).astype(dtype) / 255
    hidden = jnp.tanh(x @ params["encoder"]["kernel"] + params["encoder"]["bias"][None])
    hidden = hidden + 0.1 * jax.random.normal(key, hidden.shape, dtype)
    x_hat = hidden @ params["decoder"]["kernel"] + params["decoder"]["bias"][None]
    loss = jnp.mean(jnp.square(x_hat - x))
    return loss, {"psnr": -10 * jnp.log10(loss)}


def validate(params, step):
    """Loss on fixed pictures without noise."""
    x = make_data(1)[:BATCH].reshape(BATCH, -1) / np.float32(255)
    hidden = np.tanh(x @ np.asarray(params["encoder"]["kernel"]) + np.asarray(params["encoder"]["bias"]))
    x_hat = hidden @ np.asarray(params["decoder"]["kernel"]) + np.asarray(params["decoder"]["bias"])
    return {"mse": float(np.mean((x_hat - x) ** 2))}


def make_config(**changes) -> TrainConfig:
    """The tiny run's configuration, with changes."""
    numbers = dict(
        batch_size=BATCH,
        total_steps=40,
        checkpoint_every=6,
        log_every=4,
        validate_every=10,
        steps_per_call=2,
        ema_decay=0.99,
        optimizer=OptimizerConfig(learning_rate=1e-2, warmup_steps=5, weight_decay=1e-4),
    )
    return TrainConfig(**(numbers | changes))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("run_dir", type=Path)
    parser.add_argument("--total-steps", type=int, default=40)
    parser.add_argument("--shard-params", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0, help="seconds that every validation takes")
    arguments = parser.parse_args()
    join_processes()

    def slow_validate(params, step):
        time.sleep(arguments.pause)
        return validate(jax.tree.map(whole_on_host, params), step)

    try:
        with ended_with_peers():
            state = train(
                make_config(total_steps=arguments.total_steps, shard_params=arguments.shard_params),
                loss_fn=loss_fn,
                batch_fn=batch_fn,
                data=make_data(),
                init_params=make_params(),
                run_dir=arguments.run_dir,
                validate=slow_validate,
            )
    except TrainingStopped as stop:
        print(stop)
        return 128 + stop.signum
    finals = (state._replace(key=jax.random.key_data(state.key)), averaged_params(state))
    arrays = {
        jax.tree_util.keystr(path): whole_on_host(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(finals)
    }
    if is_first():
        np.savez(arguments.run_dir / "final.npz", **arrays)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
