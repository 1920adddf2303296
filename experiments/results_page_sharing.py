"""The results page's section on token sharing: what it saves over K, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence

from results_parts import Drawing, Section, curve_of, data_rows, draw, read, series, table, text_of
from results_sharing import KINDS, PRICE

from lvm_mtc.evaluation.figures import Curve, Panel
from lvm_mtc.evaluation.paired_sweep import PREFIX, differences_name
from lvm_mtc.evaluation.points import Point
from lvm_mtc.evaluation.store import ResultStore

CBR, WITH_BITS = "cbr", "cbr_with_side_information"


def saving(point: Point, nothing_shared: Point, rate: str = CBR) -> float:
    """Share of the channel uses that sharing saves."""
    return 1 - point.metrics[rate].mean / nothing_shared.metrics[rate].mean


def sharing_section(store: ResultStore) -> Section:
    """Saving and its price over K and epsilon (Fig. 11).

    Args:
        store: The store.

    Raises:
        Missing: if the store lacks the rows.
    """
    found = {kind: (read(store, name), read(store, differences_name(name), scheme=PRICE))
             for name, kind in KINDS.items()}  # fmt: skip
    points = next(iter(found.values()))[0]
    drawing = _drawing(found)
    about = f"Rayleigh at {points[0].snr_db:g} dB, {points[0].ledger['num_groups']} groups of each kind"
    text = f"""The paper's Fig. 11, with its price beside it: what the K UAVs have in common is sent once. Comparator
and alignment are the paper's, intensity and index; [token sharing](token_sharing.md) measures others and says which
merges are wrong. {about}, the same for
every K, of which the first K pictures are taken. The saving is that of the channel uses against epsilon = 0, which
shares nothing, without and with the side information booked at a bit a channel use; the price is the mean PSNR of whole
pictures, paired. "For some UAVs" lets each token be shared by the largest set of two or more UAVs that agree, instead
of by all or none, at ceil(log2(2^K - K - 1)) bits a public token; "public tokens" counts those that some UAVs share.

{_table(found)}

{drawing.link}"""
    return Section(text, (drawing,))


def _table(found: dict[str, tuple[list[Point], list[Point]]]) -> str:
    rows = []
    for kind, (points, prices) in found.items():
        for num_uavs in sorted({point.coordinates["num_uavs"] for point in points}):
            at = series(points, "epsilon", num_uavs=num_uavs)
            for epsilon, price in series(prices, "epsilon", num_uavs=num_uavs).items():
                saved = (f"{round(100 * saving(at[epsilon], at[0], rate), 1) + 0.0:.1f} %" for rate in (CBR, WITH_BITS))
                rows.append((kind, str(num_uavs), f"{epsilon:g}", f"{at[epsilon].metrics['public_share'].mean:.3f}",
                             *saved, text_of(at[epsilon].metrics["psnr_db"]),
                             text_of(price.metrics[f"{PREFIX}psnr_db"])))  # fmt: skip
    head = ("groups", "K", "epsilon", "public tokens", "saving", "with side information", "PSNR, dB",
            "PSNR less epsilon 0, dB")  # fmt: skip
    return table(head, rows)


def _drawing(found: dict[str, tuple[list[Point], list[Point]]]) -> Drawing:
    panels, rows = [], []
    for kind, (points, prices) in found.items():
        epsilons = sorted({point.coordinates["epsilon"] for point in prices})
        saved, lost = [], []
        for i, epsilon in enumerate(epsilons):
            over = series(points, "num_uavs", epsilon=epsilon)
            lost.append(curve_of(series(prices, "num_uavs", epsilon=epsilon), f"{PREFIX}psnr_db",
                                 f"epsilon {epsilon:g}", f"C{i}"))  # fmt: skip
            saved.append(_saving_curve(over, points, epsilon, i))
        panels.append([Panel(title=kind, y_label="channel uses saved (%)", curves=saved, x_label="K, number of UAVs"),
                       Panel(title=kind, y_label="PSNR less epsilon 0 (dB)", curves=lost, x_label="K, number of UAVs"),
                       ])  # fmt: skip
        of = [(points, (CBR, WITH_BITS, "public_share", "psnr_db")), (prices, (f"{PREFIX}psnr_db",))]
        rows += [{"groups": kind} | row for some, metrics in of
                 for row in data_rows(some, metrics, ("scheme", "num_uavs", "epsilon"))]  # fmt: skip
    lost = [row[1] for row in panels]
    title = "What sharing saves over K, side information left out, and its price; bands: 95 %"
    figure = draw(panels, title, differences=lost)
    return Drawing("sharing", "What sharing saves over K, and its price", figure, rows)


def _saving_curve(over: dict[int, Point], points: Sequence[Point], epsilon: float, number: int) -> Curve:
    nothing = series(points, "num_uavs", epsilon=0)
    saved = [100 * saving(point, nothing[num_uavs]) for num_uavs, point in over.items()]
    return Curve(label=f"epsilon {epsilon:g}", convention=points[0].snr_convention, snr_db=list(over), mean=saved,
                 color=f"C{number}")  # fmt: skip
