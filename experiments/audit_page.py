"""The page about public codes: the SNR that they really run at, and what that is worth on curves of PSNR over SNR.

    python experiments/audit_page.py [--store docs/results/results.sqlite]

Fills the tables of ``docs/audit.md``. Without a store the curves are those that WITT's authors published.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from knowledge_base_page import fill_page

from lvm_mtc.evaluation.files import atomic_file
from lvm_mtc.evaluation.public_conventions import PUBLIC_CONVENTIONS
from lvm_mtc.evaluation.store import ResultStore, StoreError

Curve = tuple[Sequence[float], Sequence[float]]  # SNR, dB, ascending; PSNR, dB
Curves = Mapping[str, Mapping[str, Curve]]  # by channel and scheme

SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0)
FAR_DB = 3.0
PUBLISHED: Curves = {
    "awgn": {
        "WITT": (SNR_DB, (29.55, 32.6, 35.35, 37.75, 39.7)),
        "Deep JSCC": (SNR_DB, (29.1, 31.3, 34.15, 36.45, 38.75)),
    }
}
PUBLISHED_SOURCE = (
    "The curves are WITT's and Deep JSCC's over AWGN at CBR 1/3 on CIFAR-10, as WITT's "
    "authors published them (read off plots, ±0.1 dB). WITT's Rayleigh curve is left out: its channel is a real "
    "magnitude that nothing equalises."
)
TRUE_CONVENTIONS = ("esno", "rx_per_antenna")  # the same for one antenna
SWEEP = "CIFAR-10, CBR 1/3"
SHIFTED = ("token codec", "DeepJSCC", "WITT")
"""The schemes of the sweep that the page shows."""


def shift_db(curve: Curve, offset_db: float, snr_db: float) -> float | None:
    """What a code's PSNR at the SNR that it names is above that at the true SNR.

    Args:
        curve: PSNR over true SNR; linear between its points.
        offset_db: True less named SNR, dB.
        snr_db: The named SNR, dB.

    Returns:
        PSNR(snr_db + offset_db) - PSNR(snr_db), dB; None where one of the two lies beyond the curve.
    """
    places = np.array([snr_db + offset_db, snr_db])
    if places.min() < curve[0][0] or places.max() > curve[0][-1]:
        return None
    moved, here = np.interp(places, *curve)
    return float(moved - here)


def curves_of_store(path: Path, sweep: str = SWEEP) -> Curves:
    """Curves of the metric ``psnr_db`` over SNR in a results store, by channel and scheme.

    Args:
        path: The store.
        sweep: Name of the sweep; its links have one antenna at each end.

    Raises:
        StoreError: if it cannot be read, or the sweep has no such points in a convention that is the true SNR.
    """
    found: dict[str, dict[str, dict[float, float]]] = {}
    with ResultStore(path, create=False) as store:
        for key in [stored.config_hash for stored in store.sweeps() if stored.config.get("name") == sweep]:
            for point in store.read(key):
                if "psnr_db" in point.metrics and point.snr_convention in TRUE_CONVENTIONS:
                    at = point.coordinates
                    curve = found.setdefault(at["channel"], {}).setdefault(at["scheme"], {})
                    curve[point.snr_db] = point.metrics["psnr_db"].mean
    if not found:
        raise StoreError(f"{path}: no psnr_db over the true SNR in a sweep called {sweep!r}")
    return {channel: {scheme: tuple(zip(*sorted(curve.items()), strict=True)) for scheme, curve in schemes.items()}
            for channel, schemes in found.items()}  # fmt: skip


def tables(curves: Curves = PUBLISHED, source: str = PUBLISHED_SOURCE) -> dict[str, str]:
    """Markdown tables by the name of their place.

    Args:
        curves: PSNR over true SNR, by channel (``"awgn"``, ``"rayleigh"``) and scheme.
        source: Where they come from, a sentence.
    """
    return {"facts": _facts(), "codes": _codes(), "offsets": _offsets(), "fading": _fading(), "curves": source,
            "shifts": _shifts(curves)}  # fmt: skip


def _facts() -> str:
    def far(kind: str) -> list[str]:
        """Codes with a channel of this kind that is far away; of any kind where it is empty."""
        return [name for name, code in PUBLIC_CONVENTIONS.items()
                if any(abs(found.offset_db) >= FAR_DB for channel, found in code.channels.items()
                       if kind in ("", channel))]  # fmt: skip

    with_awgn = sum("awgn" in code.channels for code in PUBLIC_CONVENTIONS.values())
    return (
        f"{len(PUBLIC_CONVENTIONS)} codes were read. Over AWGN {len(far('awgn'))} of {with_awgn} are {FAR_DB:g} dB or "
        f"more away from the SNR that they name: {', '.join(far('awgn'))}. With fading and BPSK counted it is "
        f"{len(far(''))} of {len(PUBLIC_CONVENTIONS)}: {', '.join(far(''))}."
    )


def _codes() -> str:
    rows = []
    for name, code in PUBLIC_CONVENTIONS.items():
        offsets = ", ".join(f"{_channel(kind)} {_signed(found.offset_db)}" for kind, found in code.channels.items())
        source = f"{code.repository} at {code.commit[:10]}: {code.path}"
        rows.append((name, offsets, code.does, source, code.licence))
    return _table(("preset", "true less named SNR, dB", "what it does", "source", "licence"), rows)


def _offsets() -> str:
    rows = [
        (name, _channel(kind), _signed(found.offset_db), found.closed_form, found.depends or "-")
        for name, code in PUBLIC_CONVENTIONS.items()
        for kind, found in code.channels.items()
        if found.offset_db or found.depends
    ]
    return _table(("preset", "channel", "true less named SNR, dB", "closed form", "what else it depends on, dB"), rows)


def _fading() -> str:
    rows = [(name, code.fading) for name, code in PUBLIC_CONVENTIONS.items()
            if any("awgn" not in kind for kind in code.channels)]  # fmt: skip
    return _table(("preset", "its fading"), rows)


def _shifts(curves: Curves) -> str:
    rows = []
    for name, code in PUBLIC_CONVENTIONS.items():
        for kind, found in code.channels.items():
            for scheme, curve in curves.get(kind.split("_")[0], {}).items() if found.offset_db else ():
                moves = (shift_db(curve, found.offset_db, snr_db) for snr_db in SNR_DB)
                rows.append((name, _channel(kind), _signed(found.offset_db), scheme,
                             *("-" if move is None else _signed(move) for move in moves)))  # fmt: skip
    return _table(("preset", "channel", "offset, dB", "curve", *(f"{snr_db:g} dB" for snr_db in SNR_DB)), rows)


def _channel(kind: str) -> str:
    first, *rest = kind.split("_")
    return " ".join(("AWGN" if first == "awgn" else first.capitalize(), *(word.upper() for word in rest)))


def page_tables(store: Path) -> dict[str, str]:
    """The page's tables, with the curves of ``SWEEP`` in a results store.

    Args:
        store: The store.

    Raises:
        StoreError: as :func:`curves_of_store`.
    """
    curves = curves_of_store(store)
    shown = {channel: {name: of[name] for name in SHIFTED if name in of} for channel, of in curves.items()}
    return tables(shown, f"The curves are table (a) of [results](results.md), `{SWEEP}`, SNR per receive antenna.")


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+.2f}"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = (columns, ["---"] * len(columns), *([cell.replace("|", r"\|") for cell in row] for row in rows))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", type=Path, default=Path("docs/results/results.sqlite"),
                        help="results store with the curves that are to be shifted")
    parser.add_argument("--page", type=Path, default=Path("docs/audit.md"), help="the page")
    options = parser.parse_args()
    if not options.page.is_file():
        parser.error(f"--page {options.page}: there is no such page")
    try:
        found = page_tables(options.store)
    except StoreError as error:
        parser.error(f"--store: {error}")
    with atomic_file(options.page) as temporary:
        temporary.write_text(fill_page(options.page.read_text(), found))


if __name__ == "__main__":
    main()
