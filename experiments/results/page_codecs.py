"""The results page's sections on whole pictures: accuracy over SNR, and quality over CSI error."""

from collections.abc import Sequence

from experiments.results import parts
from experiments.results.codecs import (
    ACCURACY,
    CLEAN_NAME,
    CSI,
    DEEPJSCC,
    DIGITAL,
    LINK_KNOWN,
    MENU,
    OTHERS,
    PCA,
    RESNETS,
    ROBUST,
    SELECTION_PICTURES,
    SEPARATION,
    TEST_PICTURES,
    TOKEN2,
    minus_rule,
    separation_name,
)
from experiments.results.parts import CHANNELS, Drawing, Section, cells, curve_of, read, read_both, schemes_of, series
from lvm_mtc.report.figures import Panel
from lvm_mtc.report.pages import number, table
from lvm_mtc.results.points import Point
from lvm_mtc.results.store import ResultStore
from lvm_mtc.sweep.paired import PREFIX, find_sweep

COLOURS = {TOKEN2: "C0", DEEPJSCC: "C1", MENU: "C2", PCA: "C7", SEPARATION: "C3", LINK_KNOWN: "C4"}
LINES = {TOKEN2: "-", DEEPJSCC: "--"}
LOST = f"{PREFIX}psnr_db"
ACCURACIES = {f"accuracy_resnet{depth}": f"ResNet-{depth}" for depth in RESNETS}


def accuracy_section(store: ResultStore) -> Section:
    """Accuracy over SNR beside the clean pictures' (Fig. 12)."""
    points, gains = read_both(store, ACCURACY)
    (clean,) = read(store, CLEAN_NAME)
    for digital in DIGITAL:
        points = points + read(store, separation_name(digital))
    (decoder,) = {find_sweep(store, separation_name(digital)).config["decoder"] for digital in DIGITAL}
    rows = [(called, scheme, label, *cells(series(points, "snr_db", scheme=scheme, channel=channel), metric, 3))
            for channel, called in CHANNELS.items() for metric, label in ACCURACIES.items()
            for scheme in schemes_of(points)]  # fmt: skip
    drawing = _accuracy_drawing(points)
    ceiling = ", ".join(f"{label} {parts.cell(clean, metric, 3)}" for metric, label in ACCURACIES.items())
    text = f"""The paper's Fig. 12. CBR 1/3, the codecs of the [zoo](zoo.md), and `{PCA}`, fitted to lossless pictures
that are not held out, each component spread over four antennas; {TEST_PICTURES} pictures of the test set as **JPEG
copies**, {TEST_PICTURES // 10} of each class, so these numbers do not compare with those on the original test set. The
same pictures unsent, which is the ceiling: {ceiling}.
The digital system comes twice: its transmitter knows the SNR and chooses one modulation and code rate for AWGN and
Rayleigh alike, as the codecs serve both; or it knows its channel by name, which they do not. Both choose what has the
largest mean PSNR on {SELECTION_PICTURES} other pictures, which need not be what is classified best: over one channel
the share that is right can fall with the SNR, and where the channel is known it can be the smaller one. Decoder of the
5G LDPC code in both ([coded bits](coding.md)): {decoder}.

{table(("channel", "codec", "classifier, share right", *parts.snr_head(points)), rows)}

{_verdict(gains, [PREFIX + metric for metric in ACCURACIES], "channel, SNR, classifier")}

{drawing.link}"""
    return Section(text, (drawing,))


def _accuracy_drawing(points: Sequence[Point]) -> Drawing:
    def panel(metric, channel):
        over = {scheme: series(points, "snr_db", scheme=scheme, channel=channel) for scheme in schemes_of(points)}
        curves = [curve_of(of, metric, scheme, COLOURS[scheme]) for scheme, of in over.items()]
        return Panel(title=CHANNELS[channel], y_label=f"{ACCURACIES[metric]}: share right", curves=curves)

    title = "CIFAR-10, JPEG copies of the test set, CBR 1/3; bands: 95 %, over pictures and channels"
    rows = parts.data_rows(points, tuple(ACCURACIES), ("scheme", "channel", "snr_db"))
    figure = parts.draw(parts.grid(ACCURACIES, panel), title)
    return Drawing("cifar10_accuracy", "Classification accuracy over SNR", figure, rows)


def _verdict(gains: Sequence[Point], metrics: Sequence[str], of_what: str) -> str:
    lines = []
    for name in schemes_of(gains):
        values = [point.metrics[metric] for point in gains if point.coordinates["scheme"] == name for metric in metrics]
        better, worse = parts.better_and_worse(values)
        lowest = min(value.mean for value in values if parts.excludes_zero(value))
        by = f" (by {number(-lowest, 3)} at most)" if worse else ""
        lines.append(f"* {name}: better at {better}, worse at {worse}{by} of {len(values)} points ({of_what}).")
    return "Paired differences whose interval excludes zero:\n\n" + "\n".join(lines)


def csi_section(store: ResultStore) -> Section:
    """PSNR over CSI error behind the three L-MMSE variants."""
    points, gains = read_both(store, CSI)
    rows, panels = [], []
    for snr in sorted({point.snr_db for point in points}):
        curves = []
        for scheme in schemes_of(points):
            for colour, rule in zip(("C0", "C1", "C2"), (ROBUST, *OTHERS), strict=True):
                at = series(points, "csi_error_var", scheme=scheme, channel=rule, snr_db=snr)
                rows.append((f"{snr:g}", scheme, rule, *cells(at, "psnr_db")))
                curves.append(curve_of(at, "psnr_db", f"{scheme}, {rule}", colour, LINES[scheme]))
            for rule in OTHERS:
                at = series(gains, "csi_error_var", scheme=minus_rule(scheme, rule), snr_db=snr)
                rows.append((f"{snr:g}", scheme, f"{ROBUST} minus {rule}", *cells(at, LOST)))
        panels.append(Panel(title=f"SNR per receive antenna {snr:g} dB", y_label="PSNR (dB)", curves=curves,
                            x_label="variance of the CSI error, linear"))  # fmt: skip
    figure = parts.draw([panels], "CIFAR-10, 4x4 Rayleigh, CBR 1/3, L-MMSE variants; bands: 95 %")
    axes = ("scheme", "channel", "csi_error_var", "snr_db")
    drawing = Drawing("cifar10_csi_error", "PSNR over CSI error for three L-MMSE variants", figure,
                      parts.data_rows([*points, *gains], ("psnr_db", LOST), axes))  # fmt: skip
    errors = sorted({point.coordinates["csi_error_var"] for point in points})
    text = f"""4x4 Rayleigh, CBR 1/3, lossless hold-out, additive CSI error. `paper` is Eq. 5, biased and blind to the
CSI error; `unbiased` scales its streams; `robust` knows the error's variance too. The codecs of the [zoo](zoo.md) were
trained behind `robust` with perfect CSI, SNR 0 to 14 dB, and are not tuned to anything here: the rows of `paper` say
what its bias costs codecs that have not met it. Rows of differences are paired: same pictures, channels, noise, errors.

{table(("SNR, dB", "codec", "equaliser", *(f"{error:g}" for error in errors)), rows)}

{_verdict(gains, [LOST], "SNR, CSI error")}

{drawing.link}"""
    return Section(text, (drawing,))
