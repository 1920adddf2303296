"""What the measurements share: channels, sweeps into a store, differences; and the schemes of whole-picture codecs."""

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.results.training_runs import weights_of
from lvm_mtc import LinkConfig
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.loading import load_scheme
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.paired import NamedSweep, Pair, run_paired_sweep
from lvm_mtc.sweep.run import Resources
from lvm_mtc.sweep.stopping import StoppingRule

CONVENTION = "rx_per_antenna"
LINKS = tuple(LinkConfig(fading=fading, convention=CONVENTION) for fading in ("awgn", "rayleigh"))
TOKEN, DEEPJSCC, WITT, PCA = "token codec", "DeepJSCC", "WITT", "linear PCA"
SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0)
CODECS = {"snr_db": SNR_DB, "metrics": ("psnr_db", "ssim", "mse"), "pictures_per_step": 50}
"""Fields of the sweeps of whole-picture codecs."""


def make_sweep(
    name: str, contenders: Sequence[Contender], sources: dict[int, Source], about: Mapping[str, str], units: int,
    **fields: Any,
) -> NamedSweep:  # fmt: skip
    """A sweep over ``LINKS`` with intervals over pictures and ``units`` channel realisations; ``fields`` are others."""
    settings = dict(links=LINKS, random_pictures=True, pictures_per_step=40) | fields
    stopping = StoppingRule(target_half_width=None, max_units=units)
    return NamedSweep(name=name, schemes=tuple(contenders), sources=sources, about=about, stopping=stopping, **settings)


def pairs_by(spec: NamedSweep, name: str, schemes: Iterable[str], second: dict[str, Any]) -> list[Pair]:
    """Every point of some schemes beside the one that differs from it by the coordinates ``second``, if it does."""
    wanted = set(schemes)
    pairs = (Pair(name, at, {**at, **second}) for at in spec.coordinates() if at["scheme"] in wanted)
    return [pair for pair in pairs if pair.first != pair.second]


def store_sweep(spec: NamedSweep, pairs: Sequence[Pair], store: ResultStore, resources: Resources) -> None:
    """Measures what the store lacks of a sweep, and says how far it is."""
    start = time.monotonic()

    def tell(done: int, of: int) -> None:
        print(f"{spec.name}: {done} of {of} points, {time.monotonic() - start:.0f} s", flush=True)

    run_paired_sweep(spec, pairs, store, resources=resources, progress=tell)


def trained_schemes(runs: Path, of: Mapping[str, str]) -> list[Contender]:
    """Schemes, of which nothing is swept, of the runs that are trained; the first must be, a line says which are not.

    ``of`` is the name of the scheme to that of its run.
    """
    schemes = []
    for name, run in of.items():
        weights = weights_of(runs, run)
        if schemes and not weights.exists():
            print(f"left out: {weights} is not trained", flush=True)
            continue
        scheme, params = load_scheme(weights)
        schemes.append(Contender(name=name, scheme=scheme, params=params, swept=()))
    return schemes


def against_others(spec: NamedSweep) -> list[Pair]:
    """The token codec minus each of the others."""
    others = [scheme.name for scheme in spec.schemes if scheme.name != TOKEN]
    return [pair for other in others for pair in pairs_by(spec, f"{TOKEN} minus {other}", (TOKEN,), {"scheme": other})]
