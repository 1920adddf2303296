"""Time of an end-to-end training step against the same network in PyTorch, in one process on the CPU, float32.

Operating point (b): the paper's plain form for one UAV a picture, 224 pixels, patches of 16, a quarter of them kept, 64
symbols a token, AWGN, image and token MSE, clipped gradients, AdamW. The other side is transformers' ViTMAE with the
same channel between encoder and decoder, written in PyTorch, as it comes and through ``torch.compile`` (``--eager``
leaves that out; it needs a C++ compiler). All take one step in turn. Ours has more to do: its
positions learn, and it has the encoder of shared tokens, which one UAV does not use. All get their memory in huge
pages, as every command of the library does (``GLIBC_TUNABLES=glibc.malloc.hugetlb=0``: none does). Writes JSON:

    make .venv-torch/.installed
    .venv-torch/bin/python benchmarks/train_step.py [--variants small base] [--batches 1 4 8]
"""

import argparse
import functools
import itertools
import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import torch
import transformers

from lvm_mtc.cli.huge_pages import VARIABLE, restart_with_huge_pages
from lvm_mtc.link import LinkConfig
from lvm_mtc.models.variants import VARIANTS
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.training import OptimizerConfig, init_state, make_optimizer, make_train_step
from lvm_mtc.training.examples import Ranges, Scenario, make_batch_fn, make_loss_fn

SNR_DB = 10.0
OPTIMIZER = OptimizerConfig(learning_rate=1e-4, weight_decay=0.05, clip_norm=1.0, b1=0.9, b2=0.95)


def our_step(config: LvmMtcConfig, pictures: np.ndarray):
    """A function that takes one training step and returns its loss; and the number of parameters."""
    link = LinkConfig(fading="awgn", num_rx_ant=1, num_tx_ant=1)
    scenarios = (Scenario(num_groups=len(pictures), link=link),)
    knobs = {"mask_prob": (0.5, 0.5), "epsilon": (0.0, 0.0)}
    ranges = Ranges(snr_db=(SNR_DB, SNR_DB), csi_error_var=(0.0, 0.0), knobs=knobs)
    scheme = LvmMtc(config)
    optimizer, schedule = make_optimizer(OPTIMIZER, 1000)
    step = make_train_step(
        make_loss_fn(scheme.stages()[-1], scheme, scenarios),
        make_batch_fn(scheme, scenarios, ranges),
        optimizer,
        schedule=schedule,
    )
    params = scheme.init(jax.random.key(0))
    held = [init_state(params, optimizer, jax.random.key(1)), {"pictures": jnp.asarray(pictures)}]

    def take():
        held[0], metrics = step(*held)
        return float(metrics["loss"][0])

    return take, sum(leaf.size for leaf in jax.tree.leaves(params))


class TorchSystem(torch.nn.Module):
    """ViTMAE with a linear channel codec and AWGN between encoder and decoder."""

    def __init__(self, config: LvmMtcConfig):
        super().__init__()
        s = VARIANTS[config.variant]
        self.mae = transformers.ViTMAEForPreTraining(
            transformers.ViTMAEConfig(
                hidden_size=s.embed_dim,
                num_hidden_layers=s.depth,
                num_attention_heads=s.num_heads,
                intermediate_size=4 * s.embed_dim,
                decoder_hidden_size=s.decoder_embed_dim,
                decoder_num_hidden_layers=s.decoder_depth,
                decoder_num_attention_heads=s.decoder_num_heads,
                decoder_intermediate_size=4 * s.decoder_embed_dim,
                image_size=config.image_size,
                patch_size=config.patch_size,
                mask_ratio=1 - config.capacity / config.num_patches,
                layer_norm_eps=1e-6,
            )  # fmt: skip
        )
        self.channel_encoder = torch.nn.Linear(s.embed_dim, 2 * config.num_symbols)
        self.channel_decoder = torch.nn.Linear(2 * config.num_symbols, s.embed_dim)
        self.class_token = torch.nn.Parameter(0.02 * torch.randn(1, 1, s.embed_dim))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Loss of pictures ``[batch, 3, height, width]`` in [0, 1]."""
        encoded = self.mae.vit(images)
        tokens = encoded.last_hidden_state[:, 1:]
        symbols = self.channel_encoder(tokens)
        symbols = symbols * (2 * symbols.square().mean((1, 2), keepdim=True)).rsqrt()  # power 1 per complex symbol
        no = 10 ** (-SNR_DB / 10)
        received = (symbols + (no / 2) ** 0.5 * torch.randn_like(symbols)) / (1 + no)
        tokens_hat = self.channel_decoder(received)
        sequence = torch.cat([self.class_token.expand(len(images), 1, -1), tokens_hat], 1)
        patches = self.mae.decoder(sequence, encoded.ids_restore).logits
        image_mse = (patches - self.mae.patchify(images)).square().mean()
        return image_mse + (tokens_hat - tokens.detach()).square().mean()


def torch_step(config: LvmMtcConfig, pictures: np.ndarray, *, compiled: bool):
    """As :func:`our_step`."""
    torch.manual_seed(0)
    model = TorchSystem(config)
    o = OPTIMIZER
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=o.learning_rate, betas=(o.b1, o.b2), eps=o.eps, weight_decay=o.weight_decay
    )
    data, size = torch.tensor(pictures), config.image_size
    forward = torch.compile(model, dynamic=False) if compiled else model

    def take():
        images = data[torch.randint(len(data), (len(data),)), :size, :size].permute(0, 3, 1, 2).float() / 255
        loss = forward(images)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), o.clip_norm)
        optimizer.step()
        return float(loss.detach())

    return take, sum(p.numel() for p in model.parameters() if p.requires_grad)


def measure(options: argparse.Namespace) -> dict:
    """All sides take steps in turn; a dictionary of results."""
    config = LvmMtcConfig.paper(
        variant=options.variant,
        image_size=options.image_size,
        patch_size=options.patch_size,
        num_kept=(options.image_size // options.patch_size) ** 2 // 4,
    )
    side = options.image_size + 16
    pictures = np.random.default_rng(0).integers(0, 256, (options.batch, side, side, 3), np.uint8)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    result, steps = {}, {}
    sides = {"jax": our_step, "torch": functools.partial(torch_step, compiled=False)}
    if not options.eager:
        sides["torch_compiled"] = functools.partial(torch_step, compiled=True)
    for name, build in sides.items():
        steps[name], num_params = build(config, pictures)
        start = time.perf_counter()
        steps[name]()
        result[name] = {"num_params": num_params, "first_step_s": time.perf_counter() - start}
        steps[name]()
    times = {name: [] for name in steps}
    losses = {name: [] for name in steps}
    for _ in range(options.repeats):
        for name, take in steps.items():
            start = time.perf_counter()
            losses[name].append(take())
            times[name].append(time.perf_counter() - start)
    for name, series in times.items():
        result[name] |= {
            "median_s": statistics.median(series),
            "quartiles_s": statistics.quantiles(series, n=4),
            "min_s": min(series),
            "pictures_per_s": options.batch / statistics.median(series),
            "last_loss": losses[name][-1],
        }
    return result | {
        "operating_point": "b: end-to-end training step against ViTMAE with the same channel in PyTorch, float32",
        **{f"{name}_over_jax": result[name]["median_s"] / result["jax"]["median_s"] for name in sides if name != "jax"},
        "variant": options.variant,
        "image_size": options.image_size,
        "patch_size": options.patch_size,
        "num_kept": config.capacity,
        "batch": options.batch,
        "repeats": options.repeats,
        "num_cpus": len(os.sched_getaffinity(0)),
        "load_average_1_min": os.getloadavg()[0],
        "glibc_tunables": os.environ.get(VARIABLE, ""),
        "versions": {
            "python": platform.python_version(),
            "jax": jax.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }


def main(argv: list[str] | None = None) -> int:
    """Runs the benchmark and writes its result."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    known = [name for name in VARIANTS if name != "linear"]
    parser.add_argument("--variants", nargs="+", choices=known, default=["small", "base"], help="sizes of the network")
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 8], help="pictures a step (default: 1 4 8)")
    parser.add_argument("--image-size", type=int, default=224, help="pixels a side (default: 224)")
    parser.add_argument("--patch-size", type=int, default=16, help="pixels a side (default: 16)")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    parser.add_argument("--repeats", type=int, default=12, help="timed steps of each side, >= 10 (default: 12)")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "train_step_cpu.json")
    options = parser.parse_args(argv)
    if options.repeats < 10 or min(options.batches) < 1:
        parser.error(f"--repeats must be >= 10 and --batches >= 1, got {options.repeats} and {options.batches}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    for variant, batch in itertools.product(options.variants, options.batches):
        row = measure(argparse.Namespace(**vars(options) | {"variant": variant, "batch": batch}))
        rows.append(row)
        options.out.write_text(json.dumps({"rows": rows}, indent=1) + "\n")
        theirs = [name for name in ("torch", "torch_compiled") if name in row]
        said = [f"{name} {row[name]['median_s'] * 1e3:.0f} ms: {row[f'{name}_over_jax']:.2f} times" for name in theirs]
        print(
            f"{variant}, {batch} pictures: {row['jax']['median_s'] * 1e3:.0f} ms a step, {', '.join(said)}", flush=True
        )
    return 0


if __name__ == "__main__":
    restart_with_huge_pages()
    sys.exit(main())
