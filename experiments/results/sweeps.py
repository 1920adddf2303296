"""What the measurements share: channels, named sweeps, their differences, and both into a store."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lvm_mtc import LinkConfig
from lvm_mtc.results.store import ResultStore
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.paired import NamedSweep, Pair, run_paired_sweep
from lvm_mtc.sweep.run import Resources
from lvm_mtc.sweep.stopping import StoppingRule

CONVENTION = "rx_per_antenna"
LINKS = tuple(LinkConfig(fading=fading, convention=CONVENTION) for fading in ("awgn", "rayleigh"))


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


def store_sweep(spec: NamedSweep, pairs: Sequence[Pair], store: ResultStore, items_per_device: int) -> None:
    """Measures what the store lacks of a sweep, so many items at once, and says how far it is."""
    start = time.monotonic()

    def tell(done: int, of: int) -> None:
        print(f"{spec.name}: {done} of {of} points, {time.monotonic() - start:.0f} s", flush=True)

    resources = Resources(num_devices=1, items_per_device=items_per_device)
    run_paired_sweep(spec, pairs, store, resources=resources, progress=tell)
