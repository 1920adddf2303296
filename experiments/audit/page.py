"""The page about public codes: the SNR that they really run at, and what that is worth on curves of PSNR over SNR.

    python -m experiments.audit.page [--store docs/results/results.sqlite]

Fills the tables of ``docs/audit.md``; the curves are those of the results store.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.audit.conventions import PUBLIC_CONVENTIONS
from experiments.script import STORE, script
from lvm_mtc.report.pages import channel_name, fill_file, table
from lvm_mtc.results.store import ResultStore, StoreError
from lvm_mtc.sweep.paired import find_sweep

Curve = tuple[Sequence[float], Sequence[float]]  # SNR, dB, ascending; PSNR, dB
Curves = Mapping[str, Mapping[str, Curve]]  # by channel and scheme

FAR_DB = 3.0
SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0)
TRUE_CONVENTIONS = ("esno", "rx_per_antenna")  # the same for one antenna
SWEEP = "CIFAR-10, CBR 1/3"
SHIFTED = ("token codec", "DeepJSCC", "WITT")
"""The schemes of the sweep that the page shows."""


def shift_db(curve: Curve, offset_db: float, snr_db: float) -> float | None:
    """What a code's PSNR at the SNR that it names is above that at the true SNR, which is ``offset_db`` higher, dB.

    The curve is PSNR over true SNR, linear between its points; None where one of the two lies beyond it.
    """
    places = np.array([snr_db + offset_db, snr_db])
    if places.min() < curve[0][0] or places.max() > curve[0][-1]:
        return None
    moved, here = np.interp(places, *curve)
    return float(moved - here)


def curves_of_store(path: Path, sweep: str = SWEEP) -> Curves:
    """Curves of ``psnr_db`` over the true SNR in a results store; ``StoreError`` where the sweep has none."""
    curves: dict[str, dict[str, dict[float, float]]] = {}
    with ResultStore(path, create=False) as store:
        named = find_sweep(store, sweep)
        for point in store.read(named.config_hash) if named else ():
            if "psnr_db" in point.metrics and point.snr_convention in TRUE_CONVENTIONS:
                at = point.coordinates
                curve = curves.setdefault(at["channel"], {}).setdefault(at["scheme"], {})
                curve[point.snr_db] = point.metrics["psnr_db"].mean
    if not curves:
        raise StoreError(f"{path}: no psnr_db over the true SNR in a sweep called {sweep!r}")
    return {channel: {scheme: tuple(zip(*sorted(curve.items()), strict=True)) for scheme, curve in schemes.items()}
            for channel, schemes in curves.items()}  # fmt: skip


def tables(curves: Curves, source: str) -> dict[str, str]:
    """Markdown tables by the name of their place; ``source`` says where the curves come from, a sentence."""
    channels = [(name, kind, of) for name, code in PUBLIC_CONVENTIONS.items() for kind, of in code.channels.items()]
    far = [(name, kind) for name, kind, of in channels if abs(of.offset_db) >= FAR_DB]
    awgn, any_channel = [name for name, kind in far if kind == "awgn"], list(dict.fromkeys(name for name, _ in far))
    with_awgn = sum("awgn" in code.channels for code in PUBLIC_CONVENTIONS.values())
    facts = (
        f"{len(PUBLIC_CONVENTIONS)} codes were read. Over AWGN {len(awgn)} of {with_awgn} are {FAR_DB:g} dB or "
        f"more away from the SNR that they name: {', '.join(awgn)}. With fading and BPSK counted it is "
        f"{len(any_channel)} of {len(PUBLIC_CONVENTIONS)}: {', '.join(any_channel)}."
    )
    codes = []
    for name, code in PUBLIC_CONVENTIONS.items():
        offsets = ", ".join(f"{channel_name(kind)} {_signed(of.offset_db)}" for kind, of in code.channels.items())
        stands = f"{code.repository} at {code.commit[:10]}: {code.path}"
        codes.append((name, offsets, code.does, stands, code.licence))
    offsets = [(name, channel_name(kind), _signed(of.offset_db), of.closed_form, of.depends or "-")
               for name, kind, of in channels if of.offset_db or of.depends]  # fmt: skip
    fading = [(name, code.fading) for name, code in PUBLIC_CONVENTIONS.items()
              if any("awgn" not in kind for kind in code.channels)]  # fmt: skip
    shifts = []
    for name, kind, of in channels:
        for scheme, curve in curves.get(kind.split("_")[0], {}).items() if of.offset_db else ():
            moves = (shift_db(curve, of.offset_db, snr_db) for snr_db in SNR_DB)
            shifts.append((name, channel_name(kind), _signed(of.offset_db), scheme,
                           *("-" if move is None else _signed(move) for move in moves)))  # fmt: skip
    snrs, offset = (f"{snr_db:g} dB" for snr_db in SNR_DB), "true less named SNR, dB"
    return {
        "facts": facts,
        "codes": table(("preset", offset, "what it does", "source", "licence"), codes),
        "offsets": table(("preset", "channel", offset, "closed form", "what else it depends on, dB"), offsets),
        "fading": table(("preset", "its fading"), fading),
        "curves": source,
        "shifts": table(("preset", "channel", "offset, dB", "curve", *snrs), shifts),
    }


def page_tables(store: Path) -> dict[str, str]:
    """The page's tables, with the curves of ``SWEEP`` in a results store."""
    curves = curves_of_store(store)
    shown = {channel: {name: of[name] for name in SHIFTED if name in of} for channel, of in curves.items()}
    return tables(shown, f"The curves are table (a) of [results](results.md), `{SWEEP}`, SNR per receive antenna.")


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+.2f}"


@script(store="results store with the curves that are shifted", page="the page")
def main(store: Path = STORE, page: Path = Path("docs/audit.md")) -> None:
    """Fill the tables of the page about public codes."""
    fill_file(page, page_tables(store))


if __name__ == "__main__":
    sys.exit(main())
