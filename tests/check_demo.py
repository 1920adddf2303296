"""Whether the demo shows what it is there to show: `python tests/check_demo.py demo_output/table.csv`.

The table's boxes are those that the detector found in wide views. What the codec and the masks must reach is checked
beside it where the object is known: on the same photographs, with the boxes measured by hand.
"""

import sys
from itertools import pairwise

import numpy as np

from lvm_mtc.cli.study import measure_study, study_sweeps
from lvm_mtc.data import demo_views
from lvm_mtc.link import LinkConfig
from lvm_mtc.results.table import read_csv
from lvm_mtc.schemes.loading import DEMO_WEIGHTS, load_scheme
from lvm_mtc.sweep.named import MASKINGS, make_contenders
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.sweep.stopping import StoppingRule

# Whole picture at L = N/2, whole picture with every patch, object first over uniform inside the box; AWGN 20 dB, dB.
HAND_BOXES = (21.0, 33.0, 3.0)
FOUND_BOXES = (21.0, 32.5, 1.7)


def curves(rows):
    """Rows of each scheme, channel and CSI error in the order of their SNR."""
    found = {}
    for row in sorted(rows, key=lambda row: row["snr_db"]):
        found.setdefault((row["scheme"], row["channel"], row["csi_error_var"]), []).append(row)
    return found


def below(what, values, least):
    """Prints three values and returns a line for each that is below what is asked."""
    names = (
        "object first, whole picture",
        "every patch kept, whole picture",
        "object first over uniform masking, inside the box",
    )
    wrong = []
    for name, value, bound in zip(names, values, least, strict=True):
        print(f"AWGN 20 dB, {what}: {name}: {value:.2f} dB (at least {bound:g})")
        if not value >= bound:
            wrong.append(f"AWGN 20 dB, {what}: {name}: {value:.2f} dB is below {bound:g}")
    return wrong


def faults(rows):
    """One line for everything in the table that is not as it should be."""
    found = curves(rows)
    wrong = []
    for name, points in found.items():
        for low, high in pairwise(points):
            if high["psnr_db"] < low["psnr_db"] - low["psnr_db_ci95"]:
                wrong.append(f"{name}: PSNR falls from {low['psnr_db']} to {high['psnr_db']} dB")
    at_20 = {key: found[MASKINGS[key], "awgn", 0.0][-1] for key in ("object", "uniform", "all")}
    assert all(row["snr_db"] == 20 for row in at_20.values())
    if at_20["object"]["channel_uses"] != at_20["uniform"]["channel_uses"]:
        wrong.append("object first and uniform masking differ in channel uses")
    gain = at_20["object"]["psnr_inside_db"] - at_20["uniform"]["psnr_inside_db"]
    return wrong + below("boxes found", (at_20["object"]["psnr_db"], at_20["all"]["psnr_db"], gain), FOUND_BOXES)


def faults_with_hand_boxes():
    """The same at one point, on views around the boxes measured by hand."""
    scheme, params = load_scheme(DEMO_WEIGHTS)
    views = demo_views(4, scheme.config.image_size)
    sweeps = study_sweeps(
        make_contenders(("object", "uniform", "all"), scheme, params),
        links=(LinkConfig(fading="awgn", convention="rx_per_antenna"),),
        sources={4: picture_source(np.float32(views.views) / 255, views.boxes)},
        snr_db=(20.0,),
        stopping=StoppingRule(target_half_width=None, max_units=2),
    )
    points, _ = measure_study(sweeps)
    whole, inside = ([point.metrics[name].mean for point in points] for name in ("psnr_db", "psnr_inside_db"))
    return below("boxes by hand", (whole[0], whole[2], inside[0] - inside[1]), HAND_BOXES)


if __name__ == "__main__":
    problems = faults(read_csv(sys.argv[1])) + faults_with_hand_boxes()
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))
