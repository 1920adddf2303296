"""Our channel layer against Sionna 2, which is PyTorch: time of the same simulation, in one process.

Operating points, checks and our side are those of ``vs_sionna.py``. Sionna's is a loop over one point written in its
blocks, eager and through ``torch.compile``, both as ``lmmse_equalizer`` comes and with its whitening off. Needs an
environment of its own, for Sionna 1.2.2 and 2 have one name, and a C++ compiler for ``torch.compile``. Writes JSON:

    python -m venv .venv-sionna2
    .venv-sionna2/bin/python -m pip install torch 'sionna-no-rt==2.2.*' -e .
    .venv-sionna2/bin/python benchmarks/vs_sionna_torch.py [--out FILE] [--repeats 10] [--slots 20000] [--devices 2]
"""

import importlib.metadata
import os
import sys

import phy as phy_benchmark
import torch
from peer import Loop, Points, capped_moments, measure_against, parse, parser_of, start_jax, write

MODES = {
    "eager": {"compiled": False, "whiten": True},
    "compiled": {"compiled": True, "whiten": True},
    "eager_unwhitened": {"compiled": False, "whiten": False},
    "compiled_unwhitened": {"compiled": True, "whiten": False},
}


def sionna_step(num_slots: int, *, whiten: bool):
    """One point in Sionna's blocks: x, x_hat and no_eff of the slots, as functions of the noise and error variance."""
    from sionna.phy.channel import FlatFadingChannel
    from sionna.phy.mapping import BinarySource
    from sionna.phy.mimo import lmmse_equalizer
    from sionna.phy.utils import complex_normal

    size = phy_benchmark.NUM_ANT
    channel, bits = FlatFadingChannel(size, size, return_channel=True), BinarySource()

    def step(no: torch.Tensor, csi_error_var: torch.Tensor):
        signs = (1 - 2 * bits([2, num_slots, size])) * 0.5**0.5
        x = torch.complex(signs[0], signs[1])
        y, h = channel(x, no)
        h_hat = h + torch.sqrt(csi_error_var) * complex_normal([num_slots, size, size])
        noise_cov = (no * torch.eye(size, dtype=h.dtype)).expand(num_slots, size, size)
        x_hat, no_eff = lmmse_equalizer(y, h_hat, noise_cov, whiten_interference=whiten)
        return x, x_hat, no_eff

    return step


def _abs2(value: torch.Tensor) -> torch.Tensor:
    return value.real**2 + value.imag**2


def _numbers(points: Points) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [(torch.tensor(10 ** (-snr / 10)), torch.tensor(error)) for snr, error in points]


def sionna_loop(points: Points, num_slots: int, *, compiled: bool, whiten: bool) -> Loop:
    """Sionna's side: one step, point after point."""
    step = sionna_step(num_slots, whiten=whiten)

    def point(no, csi_error_var):
        x, x_hat, no_eff = step(no, csi_error_var)
        return _abs2(x_hat - x).mean(), no_eff.mean()

    called, numbers = torch.compile(point, dynamic=False) if compiled else point, _numbers(points)

    @torch.no_grad()
    def run():
        results = [called(no, error) for no, error in numbers]
        return [float(mse) for mse, _ in results]

    return run


@torch.no_grad()
def sionna_capped_mse(points: Points, num_slots: int) -> list[tuple[float, float]]:
    """Mean of min(|x_hat - x|^2, 1) and its standard error at every point."""
    step, found = sionna_step(num_slots, whiten=True), []
    for no, error_var in _numbers(points):
        x, x_hat, _ = step(no, error_var)
        found.append(capped_moments(_abs2(x_hat - x).clamp(max=1).mean(-1).numpy()))
    return found


def main(argv: list[str] | None = None) -> int:
    """Run the comparison, print a table and write the result."""
    parser = parser_of(__doc__.splitlines()[0], "vs_sionna_torch")
    parser.add_argument("--eager", action="store_true", help="leave torch.compile out")
    args = parse(parser, argv)
    start_jax(args.devices)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    import sionna.phy

    sionna.phy.config.device, sionna.phy.config.seed = "cpu", 1
    modes = {mode: setting for mode, setting in MODES.items() if not (args.eager and setting["compiled"])}
    result = measure_against(
        lambda points: sionna_capped_mse(points, args.slots),
        lambda points: {mode: sionna_loop(points, args.slots, **setting) for mode, setting in modes.items()},
        args.slots,
        args.repeats,
    )
    if result["platform"] != "cpu":
        raise SystemExit(
            f"vs_sionna_torch.py compares on a CPU, and JAX runs on {result['platform']}: JAX_PLATFORMS=cpu"
        )
    result |= {
        "torch": torch.__version__,
        "torch_threads": torch.get_num_threads(),
        "sionna": importlib.metadata.version("sionna-no-rt"),
    }
    write(result, args.out, "vs_sionna_torch")
    return 0


if __name__ == "__main__":
    sys.exit(main())
