"""The results page's section on token sharing: what it saves over K, and what that costs."""

from experiments.results import parts
from experiments.results.measure import KINDS, PRICE
from experiments.results.parts import Drawing, Section, cell, curve_of, series
from lvm_mtc.report.figures import Curve, Panel
from lvm_mtc.report.pages import number, table
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import PREFIX

CBR, WITH_BITS = "cbr", "cbr_with_side_information"
LOST = f"{PREFIX}psnr_db"
_OfKinds = dict[str, tuple[list[Point], list[Point]]]  # kind of groups to points and their prices


def saving(point: Point, nothing_shared: Point, rate: str = CBR) -> float:
    """Share of the channel uses that sharing saves."""
    return 1 - point.metrics[rate].mean / nothing_shared.metrics[rate].mean


def sharing_section(store: ResultStore) -> Section:
    """Saving and its price over K and epsilon (Fig. 11)."""
    of_kinds = {kind: parts.read_both(store, name, scheme=PRICE) for name, kind in KINDS.items()}
    points = next(iter(of_kinds.values()))[0]
    drawing = _drawing(of_kinds)
    about = f"Rayleigh at {points[0].snr_db:g} dB, {points[0].ledger['num_groups']} groups of each kind"
    text = f"""The paper's Fig. 11, with its price beside it: what the K UAVs have in common is sent once. Comparator
and alignment are the paper's, intensity and index; [token sharing](token_sharing.md) measures others and says which
merges are wrong. {about}, the same for
every K, of which the first K pictures are taken. The saving is that of the channel uses against epsilon = 0, which
shares nothing, without and with the side information booked at a bit a channel use; the price is the mean PSNR of whole
pictures, paired. "For some UAVs" lets each token be shared by the largest set of two or more UAVs that agree, instead
of by all or none, at ceil(log2(2^K - K - 1)) bits a public token; "public tokens" counts those that some UAVs share.

{_table(of_kinds)}

{drawing.link}"""
    return Section(text, (drawing,))


def _table(of_kinds: _OfKinds) -> str:
    rows = []
    for kind, (points, prices) in of_kinds.items():
        for num_uavs in sorted({point.coordinates["num_uavs"] for point in points}):
            at = series(points, "epsilon", num_uavs=num_uavs)
            for epsilon, price in series(prices, "epsilon", num_uavs=num_uavs).items():
                point = at[epsilon]
                saved = (f"{number(100 * saving(point, at[0], rate), 1)} %" for rate in (CBR, WITH_BITS))
                rows.append((kind, num_uavs, f"{epsilon:g}", f"{point.metrics['public_share'].mean:.3f}", *saved,
                             cell(point, "psnr_db"), cell(price, LOST)))  # fmt: skip
    head = ("groups", "K", "epsilon", "public tokens", "saving", "with side information", "PSNR, dB",
            "PSNR less epsilon 0, dB")  # fmt: skip
    return table(head, rows)


def _drawing(of_kinds: _OfKinds) -> Drawing:
    panels, rows = [], []
    for kind, (points, prices) in of_kinds.items():
        nothing = series(points, "num_uavs", epsilon=0)
        saved, lost = [], []
        for i, epsilon in enumerate(sorted({point.coordinates["epsilon"] for point in prices})):
            label, over = f"epsilon {epsilon:g}", series(points, "num_uavs", epsilon=epsilon)
            lost.append(curve_of(series(prices, "num_uavs", epsilon=epsilon), LOST, label, f"C{i}"))
            percent = [100 * saving(point, nothing[num_uavs]) for num_uavs, point in over.items()]
            saved.append(Curve(label=label, convention=points[0].snr_convention, snr_db=list(over), mean=percent,
                               color=f"C{i}"))  # fmt: skip
        panels.append([Panel(title=kind, y_label=label, curves=curves, x_label="K, number of UAVs") for label, curves in
                       (("channel uses saved (%)", saved), ("PSNR less epsilon 0 (dB)", lost))])  # fmt: skip
        for of, metrics in ((points, (CBR, WITH_BITS, "public_share", "psnr_db")), (prices, (LOST,))):
            rows += [{"groups": kind} | row for row in parts.data_rows(of, metrics, ("scheme", "num_uavs", "epsilon"))]
    title = "What sharing saves over K, side information left out, and its price; bands: 95 %"
    figure = parts.draw(panels, title, differences=[row[1] for row in panels])
    return Drawing("sharing", "What sharing saves over K, and its price", figure, rows)
