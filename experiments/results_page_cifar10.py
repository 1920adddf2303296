"""The results page's sections on CIFAR-10: quality against published numbers, accuracy, CSI error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from audit_page import PUBLISHED as PUBLISHED_CURVES
from results_cifar10 import (
    ACCURACY,
    DEEPJSCC,
    EQUALIZERS,
    LONG_NAME,
    MAGNITUDE,
    RATES,
    RESNETS,
    TOKEN,
    TRAININGS_NAME,
    WITT,
    csi_name,
    quality_name,
)
from results_page_codecs import COLOURS, levels_table, quality_drawing, trainings_table, verdict
from results_parts import (
    CHANNELS,
    Drawing,
    Section,
    curve_of,
    data_rows,
    draw,
    excludes_zero,
    read,
    series,
    table,
    text_of,
)
from train_cifar10 import RUNS

from lvm_mtc.evaluation.figures import Panel
from lvm_mtc.evaluation.paired_sweep import PREFIX, differences_name, find_sweep
from lvm_mtc.evaluation.points import Point
from lvm_mtc.evaluation.store import ResultStore
from lvm_mtc.evaluation.store_figures_select import Missing

PUBLISHED = {
    label: dict(zip(*PUBLISHED_CURVES["awgn"][name], strict=True))
    for label, name in (("WITT", "WITT"), ("DeepJSCC, retrained by WITT's authors", "Deep JSCC"))
}
"""AWGN, CBR 1/3, dB: read off the plots of Yang et al., WITT (2023), to about 0.1 dB; the original test set."""

PUBLISHED_MAGNITUDE = {1.0: 27.3, 4.0: 29.55, 7.0: 31.4, 10.0: 32.8, 13.0: 33.75}
"""WITT over its "Rayleigh" channel, CBR 1/3, likewise."""


def quality_section(store: ResultStore) -> Section:
    """PSNR and SSIM over SNR of all codecs, each ratio a table (table a).

    Args:
        store: The store.

    Raises:
        Missing: if the store lacks the rows of every ratio.
    """
    found = {rate.cbr: quality_name(rate.cbr) for rate in RATES if find_sweep(store, quality_name(rate.cbr))}
    if not found:
        raise Missing("the store has no rows of the CIFAR-10 sweeps")
    trainings = trainings_table(read(store, TRAININGS_NAME), RUNS, "experiments/train_cifar10.py")
    parts, drawings = [f"{_ABOUT}\n\n{trainings}"], []
    for cbr, name in found.items():
        points, gains = read(store, name), read(store, differences_name(name))
        drawing = quality_drawing(f"cifar10_cbr_{cbr.replace('/', '_')}", f"CIFAR-10 at CBR {cbr}",
                                  f"CIFAR-10, lossless hold-out, CBR {cbr}", points)  # fmt: skip
        drawings.append(drawing)
        tables = f"{levels_table(points)}{_untrained(points)}\n\n{verdict(gains)}"
        parts.append(f"### CBR {cbr}\n\n{tables}\n\n{drawing.link}")
        if cbr == "1/3":
            parts += [_published(store, points), _magnitude(store)]
    return Section("\n\n".join(parts), tuple(drawings))


_ABOUT = """Lossless hold-out of 500 pictures that no codec was trained on, nor on their JPEG copies. One codec for the
whole range of SNR and both channels; all of one ratio saw the same pictures in the same order, uncropped, mirrored at
random, half over AWGN and half over 4x4 Rayleigh, SNR uniform in 0 to 14 dB, loss log MSE. All receivers know no_eff,
and all pictures' gains are sent as 16 bits of side information, which the ratio does not count. `linear PCA` is not
trained: principal components of the same pictures. Every patch is kept.

The token codec starts as the linear PCA codec. Tried in its training at CBR 1/3: every principal component spread over
the four transmit antennas from the start (the default here; "not spread" is the same training without it), which is
what helps under fading; and, in runs of 300 to 400 steps that are not in the store, patches of 4 pixels, a linear path
that learns at the full rate, a learned level of each feature's power, and the plain form without a linear path, none of
which was better after as many pictures."""


def _untrained(points: Sequence[Point]) -> str:
    missing = {TOKEN, DEEPJSCC, WITT} - {point.coordinates["scheme"] for point in points}
    return "".join(f"\n\n{name} was not trained at this ratio." for name in sorted(missing))


def _published(store: ResultStore, points: Sequence[Point]) -> str:
    """AWGN beside the published curves, with what ten times the pictures give."""
    ours = {scheme: series(points, "snr_db", scheme=scheme, channel="awgn") for scheme in (TOKEN, DEEPJSCC, WITT)}
    try:
        more = read(store, LONG_NAME, channel="awgn")
        ours |= {f"{scheme}, ten times the pictures": of for scheme in (TOKEN, DEEPJSCC)
                 if (of := series(more, "snr_db", scheme=scheme))}  # fmt: skip
    except Missing:
        pass
    snrs = sorted({point.snr_db for point in points})
    rows = [(f"{name}, trained here", *(text_of(of[snr].metrics["psnr_db"]) for snr in snrs))
            for name, of in ours.items()]  # fmt: skip
    rows += [(f"{name}, published", *(f"{of[snr]:.2f}" for snr in snrs)) for name, of in PUBLISHED.items()]
    head = ("AWGN, CBR 1/3, PSNR in dB", *(f"{snr:g} dB" for snr in snrs))
    return f"""### Beside the published curves

{table(head, rows)}

The published codecs were trained for hundreds of passes over the 50,000 lossless pictures, one codec an SNR or channel,
and measured on the original test set; ours saw a pass or ten of a mixture that is half JPEG copies, on two CPU cores,
and are measured on 500 lossless training pictures that were held out. SNR is Es/N0 on both sides ([audit](audit.md)).
For DeepJSCC and WITT the gap is one of training: their learning curves are still rising where the trainings end. That
of the token codec is nearly flat: it stays close to the linear code that it starts from, which is why it is ahead at
high SNR and falls behind WITT at low SNR and under fading, where a code that is not linear gains most.

{_curves(store)}"""


def _magnitude(store: ResultStore) -> str:
    """The channel of WITT's published Rayleigh curve, which is another one than ours."""
    heading = "### The channel of WITT's Rayleigh curve"
    try:
        points = read(store, MAGNITUDE)
    except Missing as missing:
        return f"{heading}\n\nNot measured yet: {missing}."
    snrs = sorted({point.snr_db for point in points})
    rows = [(f"{scheme}, tuned here", *(text_of(point.metrics["psnr_db"]) for point in
                                        series(points, "snr_db", scheme=scheme).values()))
            for scheme in dict.fromkeys(point.coordinates["scheme"] for point in points)]  # fmt: skip
    rows.append(("WITT, published", *(f"{PUBLISHED_MAGNITUDE[snr]:.2f}" for snr in snrs)))
    return f"""{heading}

`LinkConfig.witt_rayleigh()`: 1x1, a real magnitude drawn for each symbol, no equaliser, SNR Es/N0. The codecs of CBR
1/3, tuned on it for 300 steps more:

{table(("PSNR, dB", *(f"{snr:g} dB" for snr in snrs)), rows)}

{verdict(read(store, differences_name(MAGNITUDE)))}"""


def _curves(store: ResultStore) -> str:
    """Learning curves as a table: PSNR over AWGN after so many pictures."""
    points = read(store, TRAININGS_NAME)
    rows = []
    for run in ("token_64", "token_64_long", "deepjscc_16", "deepjscc_16_long", "witt_16"):
        of = list(series(points, "num_pictures", run=run).values())
        if of:
            shown = of[3::4] if len(of) >= 4 else of
            rows.append((f"`{run}`", *(f"{point.metrics['psnr_0'].mean:.2f} after "
                                       f"{point.coordinates['num_pictures']:,}" for point in shown)))  # fmt: skip
    width = max(len(row) for row in rows) - 1
    rows = [row + ("-",) * (width + 1 - len(row)) for row in rows]
    head = ("run", *("first quarter", "half", "three quarters", "end")[:width])
    top = "PSNR over AWGN of the pictures that were being trained on, dB, after so many pictures:"
    return f"{top}\n\n{table(head, rows)}"


def accuracy_section(store: ResultStore) -> Section:
    """Accuracy over SNR beside the clean pictures' (Fig. 12).

    Args:
        store: The store.

    Raises:
        Missing: if the store lacks the rows.
    """
    points, gains = read(store, ACCURACY), read(store, differences_name(ACCURACY))
    metrics = {f"accuracy_resnet{depth}": f"ResNet-{depth}" for depth in RESNETS}
    clean = next(iter(read(store, f"{ACCURACY}, clean")))
    try:
        points = points + read(store, f"{ACCURACY}, separation")
    except Missing:
        pass
    schemes = list(dict.fromkeys(point.coordinates["scheme"] for point in points))
    rows = [(called, scheme, label, *(text_of(point.metrics[metric], 3) for point in
                                      series(points, "snr_db", scheme=scheme, channel=channel).values()))
            for channel, called in CHANNELS.items() for metric, label in metrics.items() for scheme in schemes
            if series(points, "snr_db", scheme=scheme, channel=channel)]  # fmt: skip
    snrs = sorted({point.snr_db for point in points})
    drawing = _accuracy_drawing(points, metrics, schemes)
    ceiling = ", ".join(f"{label} {text_of(clean.metrics[metric], 3)}" for metric, label in metrics.items())
    text = f"""The paper's Fig. 12. CBR 1/3; 500 pictures of the test set as **JPEG copies**, 50 of each class, so these
numbers do not compare with those on the original test set. The same pictures unsent, which is the ceiling: {ceiling}.

{table(("channel", "codec", "classifier, share right", *(f"{snr:g} dB" for snr in snrs)), rows)}

{_accuracy_verdict(gains, metrics)}

{drawing.link}"""
    return Section(text, (drawing,))


def _accuracy_verdict(gains: Sequence[Point], metrics: Mapping[str, str]) -> str:
    lines = []
    for name in dict.fromkeys(point.coordinates["scheme"] for point in gains):
        of = [point.metrics[PREFIX + metric] for point in gains if point.coordinates["scheme"] == name
              for metric in metrics]  # fmt: skip
        better, worse = (sum(excludes_zero(v) and sign * v.mean > 0 for v in of) for sign in (1, -1))
        lines.append(f"* {name}: better at {better}, worse at {worse} of {len(of)} points (channel, SNR, classifier).")
    return "Paired differences whose interval excludes zero:\n\n" + "\n".join(lines)


def _accuracy_drawing(points: Sequence[Point], metrics: Mapping[str, str], schemes: Sequence[str]) -> Drawing:
    panels = [
        [Panel(title=called, y_label=f"{label}: share right",
               curves=[curve_of(of, metric, scheme, COLOURS[scheme]) for scheme in schemes
                       if (of := series(points, "snr_db", scheme=scheme, channel=channel))])
         for channel, called in CHANNELS.items()]
        for metric, label in metrics.items()
    ]  # fmt: skip
    title = "CIFAR-10, JPEG copies of the test set, CBR 1/3; bands: 95 %, over pictures and channels"
    rows = data_rows(points, tuple(metrics), ("scheme", "channel", "snr_db"))
    return Drawing("cifar10_accuracy", "Classification accuracy over SNR", draw(panels, title), rows)


def csi_section(store: ResultStore) -> Section:
    """PSNR over CSI error for the three L-MMSE variants (table f).

    Args:
        store: The store.

    Raises:
        Missing: if the store lacks the rows.
    """
    found = {name: (read(store, csi_name(name)), read(store, differences_name(csi_name(name)))) for name in EQUALIZERS}
    rows, panels = [], []
    points = [point for of, _ in found.values() for point in of]
    snrs = sorted({point.snr_db for point in points})
    for snr in snrs:
        for name, (of, gains) in found.items():
            for scheme in dict.fromkeys(point.coordinates["scheme"] for point in of):
                at = series(of, "csi_error_var", scheme=scheme, snr_db=snr)
                rows.append((f"{snr:g}", name, scheme, *(text_of(point.metrics["psnr_db"]) for point in at.values())))
            at = series(gains, "csi_error_var", snr_db=snr)
            rows.append((f"{snr:g}", name, "difference",
                         *(text_of(point.metrics[PREFIX + "psnr_db"]) for point in at.values())))  # fmt: skip
        curves = [curve_of(series(of, "csi_error_var", scheme=scheme, snr_db=snr), "psnr_db", f"{name}, {scheme}",
                           f"C{number}", "-" if scheme.startswith("tuned") else "--")
                  for number, (name, (of, _)) in enumerate(found.items())
                  for scheme in dict.fromkeys(point.coordinates["scheme"] for point in of)]  # fmt: skip
        panels.append(Panel(title=f"SNR per receive antenna {snr:g} dB", y_label="PSNR (dB)", curves=curves,
                            x_label="variance of the CSI error, linear"))  # fmt: skip
    figure = draw([panels], "CIFAR-10, 4x4 Rayleigh, CBR 1/3, L-MMSE variants; bands: 95 %")
    drawing = Drawing("cifar10_csi_error", "PSNR over CSI error for three L-MMSE variants", figure,
                      data_rows(points, ("psnr_db",), ("scheme", "csi_error_var", "snr_db")))  # fmt: skip
    errors = sorted({point.coordinates["csi_error_var"] for point in points})
    text = f"""4x4 Rayleigh, CBR 1/3, lossless hold-out, additive CSI error. `paper` is Eq. 5, biased and blind to the
CSI error; `unbiased` scales its streams; `robust` knows the error's variance. One codec was tuned with each of them for
300 steps on errors of 0 to 0.3, half of the pictures without; "perfect CSI" was tuned as long without errors, with
`robust`, and is tested with all three.

{table(("SNR, dB", "equaliser", "codec", *(f"{error:g}" for error in errors)), rows)}

{drawing.link}"""
    return Section(text, (drawing,))
