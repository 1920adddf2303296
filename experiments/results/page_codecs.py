"""The results page's sections on whole-picture codecs: quality on CIFAR-10 and photographs, accuracy, CSI error."""

from collections.abc import Iterable, Mapping, Sequence

from experiments.results import cifar10, parts, photographs, train_photographs
from experiments.results.cifar10 import (
    ACCURACY,
    CSI_NAMES,
    LINK_KNOWN,
    LONG_NAME,
    MAGNITUDE,
    NAMES,
    PCA_SPREAD,
    RESNETS,
    SEPARATION,
    UNSPREAD,
    separation_name,
)
from experiments.results.parts import CHANNELS, Drawing, Section, cells, curve_of, read, read_both, schemes_of, series
from experiments.results.photographs import SIZE
from experiments.results.sweeps import DEEPJSCC, PCA, SNR_DB, TOKEN, WITT
from experiments.results.train_cifar10 import RUNS
from lvm_mtc.report.figures import Panel
from lvm_mtc.report.pages import table
from lvm_mtc.report.select import Missing
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import PREFIX, find_sweep

COLOURS = {
    TOKEN: "C0",
    UNSPREAD: "C9",
    DEEPJSCC: "C1",
    WITT: "C2",
    PCA: "C7",
    PCA_SPREAD: "C8",
    SEPARATION: "C3",
    LINK_KNOWN: "C4",
}
LOST = f"{PREFIX}psnr_db"
QUALITY = {"psnr_db": "PSNR (dB)", "ssim": "SSIM"}
"""Metrics of :func:`codecs_drawing` where pictures are compared."""

PUBLISHED = {
    "WITT": (29.55, 32.6, 35.35, 37.75, 39.7),
    "DeepJSCC, retrained by WITT's authors": (29.1, 31.3, 34.15, 36.45, 38.75),
}
"""AWGN, CBR 1/3, PSNR in dB at ``SNR_DB``, original test set: read off plots of Yang et al., WITT (2023), +-0.1 dB."""

PUBLISHED_MAGNITUDE = (27.3, 29.55, 31.4, 32.8, 33.75)
"""WITT over its "Rayleigh" channel, CBR 1/3, likewise."""


def trainings_table(points: Sequence[Point], runs: Iterable[str], script: str) -> str:
    """A row a training of ``script``, its cost and where it ended, below some words; a run without points has none."""
    rows = []
    for last in [list(of.values())[-1] for run in runs if (of := series(points, "num_pictures", run=run))]:
        ended = " / ".join(f"{last.metrics[name].mean:.2f}" for name in sorted(last.metrics) if "psnr" in name)
        rows.append((f"`{last.coordinates['run']}`", f"{last.ledger['num_parameters']:,}",
                     f"{last.coordinates['num_pictures']:,}", f"{last.ledger['learning_rate']:g}", ended,
                     f"{last.metrics['pictures_per_second'].mean:.0f}"))  # fmt: skip
    head = ("run", "parameters", "pictures seen", "learning rate", "PSNR at the end of the training, dB",
            "pictures/s at the end")  # fmt: skip
    devices = ", ".join(dict.fromkeys(point.device for point in points))
    return f"""Trainings, by the name of their run in `{script}`; PSNR over AWGN / Rayleigh of the
pictures that were being trained on, mean over the SNRs drawn. Device: {devices}. Other work ran on the same two cores,
so the speeds are no benchmark.

{table(head, rows)}"""


def levels_table(points: Sequence[Point]) -> str:
    """PSNR and SSIM of every codec over SNR, a table."""
    rows = [
        (name, scheme, label, *cells(series(points, "snr_db", scheme=scheme, channel=channel), metric))
        for channel, name in CHANNELS.items() for metric, label in (("psnr_db", "PSNR, dB"), ("ssim", "SSIM"))
        for scheme in schemes_of(points)
    ]  # fmt: skip
    return table(("channel", "codec", "", *parts.snr_head(points)), rows)


def verdict(gains: Sequence[Point]) -> str:
    """Where our codec is better, worse or neither, by paired intervals of the PSNR."""
    lines = []
    for name in schemes_of(gains):
        for channel, called in (CHANNELS | {"rayleigh_magnitude": "real magnitude"}).items():
            of = series(gains, "snr_db", scheme=name, channel=channel)
            if of:
                texts = [f"{snr:g} dB: {text}" for snr, text in zip(of, cells(of, LOST), strict=True)]
                lines.append(f"* {name}, {called}: {_summary(list(of.values()))} ({'; '.join(texts)}).")
    return "Paired differences of PSNR in dB:\n\n" + "\n".join(lines)


def _summary(points: Sequence[Point]) -> str:
    better, worse = parts.better_and_worse(point.metrics[LOST] for point in points)
    if better == len(points):
        return "**better at every SNR**"
    if worse == len(points):
        return "**worse at every SNR**"
    return f"better at {better}, worse at {worse} of {len(points)} SNRs"


def codecs_drawing(name: str, called: str, title: str, points: Sequence[Point], metrics: dict[str, str]) -> Drawing:
    """Metrics and their labels over SNR, both channels; what the bands are is added to the title."""

    def panel(metric, channel):
        over = {scheme: series(points, "snr_db", scheme=scheme, channel=channel) for scheme in schemes_of(points)}
        curves = [curve_of(of, metric, scheme, COLOURS[scheme]) for scheme, of in over.items() if of]
        return Panel(title=CHANNELS[channel], y_label=metrics[metric], curves=curves)

    figure = parts.draw(parts.grid(metrics, panel), f"{title}; bands: 95 %, over pictures and channels")
    return Drawing(name, called, figure, parts.data_rows(points, tuple(metrics), ("scheme", "channel", "snr_db")))


def quality_section(store: ResultStore) -> Section:
    """PSNR and SSIM over SNR of all codecs, each ratio a table (table a)."""
    names = {cbr: name for cbr, name in NAMES.items() if find_sweep(store, name)}
    if not names:
        raise Missing("the store has no rows of the CIFAR-10 sweeps")
    trainings = read(store, cifar10.TRAININGS_NAME)
    texts, drawings = [f"{_ABOUT}\n\n{trainings_table(trainings, RUNS, 'experiments/results/train_cifar10.py')}"], []
    for cbr, name in names.items():
        points, gains = read_both(store, name)
        title = f"CIFAR-10, lossless hold-out, CBR {cbr}"
        file = f"cifar10_cbr_{cbr.replace('/', '_')}"
        drawings.append(codecs_drawing(file, f"CIFAR-10 at CBR {cbr}", title, points, QUALITY))
        untrained = sorted({TOKEN, DEEPJSCC, WITT} - set(schemes_of(points)))
        texts += [f"### CBR {cbr}", levels_table(points), *(f"{of} was not trained at this ratio." for of in untrained)]
        texts += [verdict(gains), drawings[-1].link]
        if cbr == "1/3":
            texts += [_published(store, points, trainings), _magnitude(store)]
    return Section("\n\n".join(texts), tuple(drawings))


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


def _read_if_there(store: ResultStore, name: str, **at: str) -> list[Point]:
    try:
        return read(store, name, **at)
    except Missing:
        return []


def _at_snrs(points: Sequence[Point], published: Sequence[float]) -> list[str]:
    at = dict(zip(SNR_DB, published, strict=True))
    return [f"{at[snr]:.2f}" for snr in sorted({point.snr_db for point in points})]


def _published(store: ResultStore, points: Sequence[Point], trainings: Sequence[Point]) -> str:
    """AWGN beside the published curves, with what ten times the pictures give."""
    more = _read_if_there(store, LONG_NAME, channel="awgn")
    ours = {scheme: series(points, "snr_db", scheme=scheme, channel="awgn") for scheme in (TOKEN, DEEPJSCC, WITT)}
    ours |= {f"{scheme}, ten times the pictures": series(more, "snr_db", scheme=scheme) for scheme in (TOKEN, DEEPJSCC)}
    rows = [(f"{name}, trained here", *cells(of, "psnr_db")) for name, of in ours.items() if of]
    rows += [(f"{name}, published", *_at_snrs(points, of)) for name, of in PUBLISHED.items()]
    head = ("AWGN, CBR 1/3, PSNR in dB", *parts.snr_head(points))
    return f"""### Beside the published curves

{table(head, rows)}

The published codecs were trained for hundreds of passes over the 50,000 lossless pictures, one codec an SNR or channel,
and measured on the original test set; ours saw a pass or ten of a mixture that is half JPEG copies, on two CPU cores,
and are measured on 500 lossless training pictures that were held out. SNR is Es/N0 on both sides ([audit](audit.md)).
For DeepJSCC and WITT the gap is one of training: their learning curves are still rising where the trainings end. That
of the token codec is nearly flat: it stays close to the linear code that it starts from, which is why it is ahead at
high SNR and falls behind WITT at low SNR and under fading, where a code that is not linear gains most.

{_curves(trainings)}"""


def _magnitude(store: ResultStore) -> str:
    """The channel of WITT's published Rayleigh curve, which is another one than ours."""
    heading = "### The channel of WITT's Rayleigh curve"
    try:
        points, gains = read_both(store, MAGNITUDE)
    except Missing as missing:
        return f"{heading}\n\nNot measured yet: {missing}."
    rows = [(f"{scheme}, tuned here", *cells(series(points, "snr_db", scheme=scheme), "psnr_db"))
            for scheme in schemes_of(points)]  # fmt: skip
    rows.append(("WITT, published", *_at_snrs(points, PUBLISHED_MAGNITUDE)))
    return f"""{heading}

`LinkConfig.witt_rayleigh()`: 1x1, a real magnitude drawn for each symbol, no equaliser, SNR Es/N0. The codecs of CBR
1/3, tuned on it for 300 steps more:

{table(("PSNR, dB", *parts.snr_head(points)), rows)}

{verdict(gains)}"""


def _curves(trainings: Sequence[Point]) -> str:
    """Learning curves as a table: PSNR over AWGN after so many pictures."""
    rows = []
    for run in ("token_64", "token_64_long", "deepjscc_16", "deepjscc_16_long", "witt_16"):
        of = list(series(trainings, "num_pictures", run=run).values())
        if of:
            shown = of[3::4] if len(of) >= 4 else of
            rows.append((f"`{run}`", *(f"{point.metrics['psnr_0'].mean:.2f} after "
                                       f"{point.coordinates['num_pictures']:,}" for point in shown)))  # fmt: skip
    width = max(map(len, rows))
    rows = [row + ("-",) * (width - len(row)) for row in rows]
    head = ("run", "first quarter", "half", "three quarters", "end")[:width]
    top = "PSNR over AWGN of the pictures that were being trained on, dB, after so many pictures:"
    return f"{top}\n\n{table(head, rows)}"


def accuracy_section(store: ResultStore) -> Section:
    """Accuracy over SNR beside the clean pictures' (Fig. 12)."""
    points, gains = read_both(store, ACCURACY)
    metrics = {f"accuracy_resnet{depth}": f"ResNet-{depth}" for depth in RESNETS}
    (clean,) = read(store, f"{ACCURACY}, clean")
    for digital in (SEPARATION, LINK_KNOWN):
        points = points + _read_if_there(store, separation_name(digital))
    rows = [(called, scheme, label, *cells(of, metric, 3)) for channel, called in CHANNELS.items()
            for metric, label in metrics.items() for scheme in schemes_of(points)
            if (of := series(points, "snr_db", scheme=scheme, channel=channel))]  # fmt: skip
    labels = {metric: f"{label}: share right" for metric, label in metrics.items()}
    drawing = codecs_drawing("cifar10_accuracy", "Classification accuracy over SNR",
                             "CIFAR-10, JPEG copies of the test set, CBR 1/3", points, labels)  # fmt: skip
    ceiling = ", ".join(f"{label} {parts.cell(clean, metric, 3)}" for metric, label in metrics.items())
    text = f"""The paper's Fig. 12. CBR 1/3; 500 pictures of the test set as **JPEG copies**, 50 of each class, so these
numbers do not compare with those on the original test set. The same pictures unsent, which is the ceiling: {ceiling}.
The digital system comes twice: its transmitter knows the SNR and chooses one modulation and code rate for AWGN and
Rayleigh alike, as the codecs serve both; or it knows its channel by name, which they do not. The choice for both
maximises mean PSNR on other pictures: over one channel the share that is classified rightly can fall with the SNR.

{table(("channel", "codec", "classifier, share right", *parts.snr_head(points)), rows)}

{_accuracy_verdict(gains, metrics)}

{drawing.link}"""
    return Section(text, (drawing,))


def _accuracy_verdict(gains: Sequence[Point], metrics: Mapping[str, str]) -> str:
    lines = []
    for name in schemes_of(gains):
        values = [point.metrics[PREFIX + metric] for point in gains if point.coordinates["scheme"] == name
                  for metric in metrics]  # fmt: skip
        better, worse = parts.better_and_worse(values)
        lines.append(
            f"* {name}: better at {better}, worse at {worse} of {len(values)} points (channel, SNR, classifier)."
        )
    return "Paired differences whose interval excludes zero:\n\n" + "\n".join(lines)


def csi_section(store: ResultStore) -> Section:
    """PSNR over CSI error for the three L-MMSE variants (table f)."""
    of_rules = {equalizer: read_both(store, name) for equalizer, name in CSI_NAMES.items()}
    points = [point for of, _ in of_rules.values() for point in of]
    rows, panels = [], []
    for snr in sorted({point.snr_db for point in points}):
        curves = []
        for number, (name, (of, gains)) in enumerate(of_rules.items()):
            for scheme in schemes_of(of):
                at, line = series(of, "csi_error_var", scheme=scheme, snr_db=snr), "-" if "tuned" in scheme else "--"
                rows.append((f"{snr:g}", name, scheme, *cells(at, "psnr_db")))
                curves.append(curve_of(at, "psnr_db", f"{name}, {scheme}", f"C{number}", line))
            at = series(gains, "csi_error_var", snr_db=snr)
            rows.append((f"{snr:g}", name, "difference", *cells(at, PREFIX + "psnr_db")))
        panels.append(Panel(title=f"SNR per receive antenna {snr:g} dB", y_label="PSNR (dB)", curves=curves,
                            x_label="variance of the CSI error, linear"))  # fmt: skip
    figure = parts.draw([panels], "CIFAR-10, 4x4 Rayleigh, CBR 1/3, L-MMSE variants; bands: 95 %")
    drawing = Drawing("cifar10_csi_error", "PSNR over CSI error for three L-MMSE variants", figure,
                      parts.data_rows(points, ("psnr_db",), ("scheme", "csi_error_var", "snr_db")))  # fmt: skip
    errors = sorted({point.coordinates["csi_error_var"] for point in points})
    text = f"""4x4 Rayleigh, CBR 1/3, lossless hold-out, additive CSI error. `paper` is Eq. 5, biased and blind to the
CSI error; `unbiased` scales its streams; `robust` knows the error's variance. One codec was tuned with each of them for
300 steps on errors of 0 to 0.3, half of the pictures without; "perfect CSI" was tuned as long without errors, with
`robust`, and is tested with all three.

{table(("SNR, dB", "equaliser", "codec", *(f"{error:g}" for error in errors)), rows)}

{drawing.link}"""
    return Section(text, (drawing,))


def photographs_section(store: ResultStore) -> Section:
    """PSNR and SSIM over SNR of all codecs."""
    points, gains = read_both(store, photographs.NAME)
    trainings = read(store, photographs.TRAININGS_NAME)
    num_pictures = find_sweep(store, photographs.NAME).config["pictures"]["1"]["groups"]
    title = f"{num_pictures} held-out photographs of {SIZE} pixels, CBR 1/6"
    drawing = codecs_drawing("photographs_cbr_1_6", "Photographs at CBR 1/6", title, points, QUALITY)
    text = f"""The codecs of section (a) at {SIZE} pixels and CBR 1/6, trained on crops of photographs (ImageNet,
aerial, VOC), and {num_pictures} held-out photographs. **Reduced form**: 4,000 crops are what two CPU cores give a
network of WITT's size in half an hour, and few for a codec that starts from nothing. So the tables tell what a codec is
worth after so little training, where a start from principal components counts most, and not which is best in the end.
WITT has the two stages that its authors take for small pictures. Their four stages for high resolution were tried at
128 pixels with crops 16 at a time: after 120 steps (1,920 crops, not in the store) they still gave the mean picture.

{trainings_table(trainings, train_photographs.RUNS, "experiments/results/train_photographs.py")}

{levels_table(points)}

{verdict(gains)}

{drawing.link}"""
    return Section(text, (drawing,))
