"""What the measurements of whole-picture codecs share: names, channels, SNRs, schemes from run folders, differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results_masking import pairs_by
from training_runs import weights_of

from lvm_mtc import LinkConfig
from lvm_mtc.evaluation.grid import Scheme
from lvm_mtc.evaluation.paired_sweep import NamedSweep, Pair
from lvm_mtc.evaluation.schemes import load_system
from lvm_mtc.evaluation.stopping import StoppingRule
from lvm_mtc.evaluation.sweep_plan import Pictures

TOKEN, DEEPJSCC, WITT, PCA = "token codec", "DeepJSCC", "WITT", "linear PCA"
CONVENTION = "rx_per_antenna"
LINKS = tuple(LinkConfig(fading=fading, convention=CONVENTION) for fading in ("awgn", "rayleigh"))
SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0)


def make_scheme(runs: Path, name: str, run: str) -> Scheme:
    """A trained codec as a scheme that nothing is swept of."""
    system, params = load_system(weights_of(runs, run))
    return Scheme(name=name, system=system, params=params, swept=())


def trained_schemes(runs: Path, of: Mapping[str, str]) -> list[Scheme]:
    """Schemes of the runs that are trained; the first must be, and a line says which others are not.

    Args:
        runs: Folder of the run folders.
        of: Name of the scheme to name of its run.
    """
    trained = {name: run for name, run in of.items() if name == next(iter(of)) or weights_of(runs, run).exists()}
    for name in of.keys() - trained.keys():
        print(f"left out: {weights_of(runs, of[name])} is not trained", flush=True)
    return [make_scheme(runs, name, run) for name, run in trained.items()]


def codec_sweep(
    name: str, schemes: Sequence[Scheme], pictures: Pictures, about: Mapping[str, str], units: int, **changes: Any
) -> NamedSweep:
    """A sweep over ``SNR_DB`` and ``LINKS`` with intervals over pictures and channel realisations.

    Args:
        name: Of the sweep in the store.
        schemes: What is compared.
        pictures: One a group.
        about: Stands in the store with it.
        units: Channel realisations.
        **changes: Fields of ``NamedSweep`` that differ.
    """
    settings = dict(links=LINKS, snr_db=SNR_DB, metrics=("psnr_db", "ssim", "mse"), pictures_per_step=50) | changes
    return NamedSweep(
        name=name, schemes=tuple(schemes), pictures={1: pictures}, random_pictures=True, about=about,
        stopping=StoppingRule(target_half_width=None, max_units=units), **settings,
    )  # fmt: skip


def against_others(spec: NamedSweep) -> list[Pair]:
    """The token codec minus each of the others."""
    others = [scheme.name for scheme in spec.schemes if scheme.name != TOKEN]
    return [pair for other in others for pair in pairs_by(spec, f"{TOKEN} minus {other}", (TOKEN,), {"scheme": other})]
