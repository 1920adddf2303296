"""``lvm-mtc compress``: a weights file that fits a device. Imports nothing heavy."""

import argparse
import math
from pathlib import Path
from typing import Any

from lvm_mtc.cli import values
from lvm_mtc.cli.command import add_command, add_flags
from lvm_mtc.cli.errors import UsageError
from lvm_mtc.cli.outputs import check_new_file
from lvm_mtc.config import require_number

BUDGETS = ("megabytes", "megaflops", "milliseconds")
_ATTEMPTS = 5


def add_compress_parser(commands) -> None:
    """Declares the command."""
    summary = "Make a codec fit a device: heads and units out, fewer bits, thin factors, where they cost least."
    example = "lvm-mtc compress --weights demo.npz --budget megabytes=2 --budget megaflops=600 --out small.npz"
    parser = add_command(commands, "compress", summary, example, run_compress)
    add_flags(parser, {"--out FILE: the smaller weights file": Path}, required=True)
    flags = {
        "--weights FILE: weights file of a scheme for pictures (default: the shipped one)": Path,
        f"--budget NAME=NUMBER: of {', '.join(BUDGETS)}, > 0; the first of the stored parameters, the others of one "
        "picture there and back, milliseconds on this machine; may be repeated": values.assignment,
        "--images DIR: pictures to measure on, or one (default: scikit-image's photographs)": Path,
        "--limit N = 16: take the first N pictures only": values.whole(1),
        "--snr-db = 10: SNR of the AWGN link that is measured over, dB per receive antenna": values.number("snr_db"),
        "--seed = 0: of masks, channel and noise": values.whole(0, 2**32 - 1),
        "--overwrite: replace the file": bool,
    }
    add_flags(parser, flags)


def read_budget(given: list[tuple[str, Any]]) -> dict[str, float]:
    """The numbers of ``--budget``, those that are not given infinite; ``UsageError`` for any other name or value."""
    if not given:
        raise UsageError(f"--budget NAME=NUMBER is needed; of {', '.join(BUDGETS)}")
    for name, value in given:
        if name not in BUDGETS:
            raise UsageError(f"--budget {name}={value}: {name!r} is none of {', '.join(BUDGETS)}")
        try:
            require_number("--budget", name, value, 0.0, strict=True)
        except ValueError:
            raise UsageError(f"--budget {name}={str(value)[:40]}: not a finite number > 0") from None
    return dict.fromkeys(BUDGETS, math.inf) | dict(given)


def run_compress(options: argparse.Namespace) -> None:
    """Runs ``lvm-mtc compress``."""
    limits = read_budget(options.budget)
    check_new_file(options.out, overwrite=options.overwrite)

    import jax

    from lvm_mtc.cli.sending import load_picture_scheme, make_links
    from lvm_mtc.link import OperatingPoint
    from lvm_mtc.models.compression import Budget, adapt, measure_rises, singles
    from lvm_mtc.models.weights import load_weights
    from lvm_mtc.schemes.compressing import milliseconds, save_compressed, survey
    from lvm_mtc.schemes.loading import DEMO_WEIGHTS

    path = options.weights or DEMO_WEIGHTS
    scheme, params = load_picture_scheme(path)
    source = _source(options, scheme.config.image_size)
    (link,) = make_links(("awgn",), "rx_per_antenna", ())
    over = jax.random.key(options.seed), link, OperatingPoint(options.snr_db)
    network, measure = survey(scheme, params, source, *over)
    full = network.cost({})
    print(f"{path.name}: {full.size / 1e6:.3f} MB, {full.flops / 1e6:.1f} MFLOP a picture; {source.lead()[0]} pictures")

    def loss(params):
        return float(measure(params)[0])

    known = singles(network, loss)
    print(f"measuring what actions on {len(network.parts)} parts do, one by one", flush=True)
    rises = measure_rises(network, loss)
    budget = Budget(1e6 * limits["megabytes"], 1e6 * limits["megaflops"])
    for _ in range(_ATTEMPTS):
        found = adapt(network, rises, budget, loss, known)
        took = milliseconds(scheme, network.compressed(found.plan), source, *over)
        if took <= limits["milliseconds"]:
            break
        aim = 0.95 * min(limits["milliseconds"] / took, 1.0)
        budget = budget._replace(flops=min(budget.flops, found.cost.flops) * aim)
    else:
        raise ValueError(
            f"--budget milliseconds={limits['milliseconds']:g}: {took:.3g} ms is what {_ATTEMPTS} plans reach"
        )
    metadata = load_weights(path)[1] | {"compressed": {part: choice._asdict() for part, choice in found.plan.items()}}
    save_compressed(options.out, scheme, network, found.plan, metadata)
    for name, candidate in [(c.name, c) for c in known] + [(f"taken: {found.name}", found)]:
        print(_line(name, candidate, full, measure(network.same_shapes(candidate.plan))[1]))
    print(f"{options.out}: {options.out.stat().st_size:,} bytes on disk, {took:.2f} ms a picture on this machine")


def _source(options: argparse.Namespace, size: int):
    import jax.numpy as jnp

    from lvm_mtc.cli.pictures import demo_photographs, find_objects, load_views
    from lvm_mtc.schemes.scheme import Source

    cut = dict(views="cut", overlap=0.0, boxes=None, limit=options.limit)
    views = load_views(options.images, size=size, num_uavs=1, **cut) if options.images else demo_photographs(1, size)
    loc = find_objects(views, None, "").loc
    return Source(jnp.asarray(views.images), {"loc": jnp.asarray(loc)})


def _line(name: str, candidate: Any, full: Any, metrics: Any) -> str:
    cost = candidate.cost
    return (
        f"{name:16} {cost.size / 1e6:8.3f} MB (1/{full.size / cost.size:.2f}) {cost.flops / 1e6:9.1f} MFLOP  "
        f"PSNR {float(metrics['psnr']):.3f} dB"
    )
