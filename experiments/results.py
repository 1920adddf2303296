r"""Measures what ``docs/results.md`` shows, into one result store.

    python experiments/results.py --data ../shared/data --store docs/results/results.sqlite
    python experiments/results_page.py --store docs/results/results.sqlite --out docs

Some twelve minutes on one idle core. What the store holds already is not computed again,
so a run that was broken off goes on; ``--only`` measures some of the sweeps.
"""

from __future__ import annotations

import argparse
import functools
import sys
import time
from collections.abc import Callable
from pathlib import Path

from results_masking import BERNOULLI, MASK_PROB, MASK_PROB_UNITS, SNR, over_mask_prob, over_mask_prob_drawn, over_snr
from results_sharing import KINDS, over_uavs

from lvm_mtc.evaluation.paired_sweep import NamedSweep, Pair, run_paired_sweep
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.sweep import Resources

MEASUREMENTS: dict[str, Callable[[Path], tuple[NamedSweep, list[Pair]]]] = {
    SNR: over_snr, MASK_PROB: over_mask_prob, BERNOULLI: over_mask_prob_drawn,
    **{name: functools.partial(over_uavs, name) for name in KINDS},
}  # fmt: skip
"""Name of a sweep in the store to what makes it from the folder of pictures."""
# Points of several P_r don't go together: a call holds those of one, on one channel.
RESOURCES = Resources(num_devices=1, items_per_device=MASK_PROB_UNITS)


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; returns the exit status: 0, or 2 after one line on stderr."""
    parser = argparse.ArgumentParser(description="Measure what docs/results.md shows.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="pictures")
    parser.add_argument("--store", type=Path, default=Path("docs/results/results.sqlite"), help="the result store")
    parser.add_argument("--only", nargs="+", choices=MEASUREMENTS, default=list(MEASUREMENTS), help="sweeps")
    options = parser.parse_args(arguments)
    start = time.monotonic()
    try:
        options.store.parent.mkdir(parents=True, exist_ok=True)
        for name in options.only:
            spec, pairs = MEASUREMENTS[name](options.data)

            def tell(done: int, of: int, name=name) -> None:
                print(f"{name}: {done} of {of} points, {time.monotonic() - start:.0f} s", flush=True)

            with ResultStore(options.store) as store:
                run_paired_sweep(spec, pairs, store, resources=RESOURCES, progress=tell)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        print(f"results: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
