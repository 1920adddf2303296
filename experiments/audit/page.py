"""The page about public codes: the SNR that they really run at, and what that is worth on curves of PSNR over SNR.

    python -m experiments.audit.page

Fills the tables of ``docs/audit.md``; the curves are those of the zoo's table.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from experiments.audit.conventions import PUBLIC_CONVENTIONS
from experiments.script import script
from lvm_mtc import zoo
from lvm_mtc.report.pages import channel_name, fill_file, table

Curve = tuple[Sequence[float], Sequence[float]]  # SNR, dB, ascending; PSNR, dB
Curves = Mapping[str, Mapping[str, Curve]]  # by channel and scheme

FAR_DB = 3.0
SNR_DB = (1.0, 4.0, 7.0, 10.0, 13.0)
SHIFTED = {"token2": "token2_cifar10_cbr_1_3", "DeepJSCC": "deepjscc_cifar10_cbr_1_3"}
"""Name on the page to that of the codec in the zoo, whose scores are over the true SNR."""


def shift_db(curve: Curve, offset_db: float, snr_db: float) -> float | None:
    """What a code's PSNR at the SNR that it names is above that at the true SNR, which is ``offset_db`` higher, dB.

    The curve is PSNR over true SNR, linear between its points; None where one of the two lies beyond it.
    """
    places = np.array([snr_db + offset_db, snr_db])
    if places.min() < curve[0][0] or places.max() > curve[0][-1]:
        return None
    moved, here = np.interp(places, *curve)
    return float(moved - here)


def curves_of_zoo() -> Curves:
    """Curves of the codecs in ``SHIFTED``."""
    cards = {name: zoo.list_codecs()[codec].psnr_db for name, codec in SHIFTED.items()}
    return {
        channel: {name: tuple(zip(*((float(at), psnr) for at, psnr in of[channel].items()), strict=True))
                  for name, of in cards.items()}
        for channel in ("awgn", "rayleigh")
    }  # fmt: skip


def tables(curves: Curves) -> dict[str, str]:
    """Markdown tables by the name of their place."""
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
        "shifts": table(("preset", "channel", "offset, dB", "curve", *snrs), shifts),
    }


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+.2f}"


@script(page="the page")
def main(page: Path = Path("docs/audit.md")) -> None:
    """Fill the tables of the page about public codes."""
    fill_file(page, tables(curves_of_zoo()))


if __name__ == "__main__":
    sys.exit(main())
