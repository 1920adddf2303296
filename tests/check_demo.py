"""Whether a demo's table shows what the demo is there to show: `python tests/check_demo.py demo_output/table.csv`."""

import sys
from itertools import pairwise

from lvm_mtc.evaluation.schemes import SCHEMES
from lvm_mtc.evaluation.table import read_csv


def curves(rows):
    """Rows of each scheme, channel and CSI error in the order of their SNR."""
    found = {}
    for row in sorted(rows, key=lambda row: row["snr_db"]):
        found.setdefault((row["scheme"], row["channel"], row["csi_error_var"]), []).append(row)
    return found


def faults(rows):
    """One line for everything that is not as it should be."""
    found = curves(rows)
    wrong = []
    for name, points in found.items():
        for low, high in pairwise(points):
            if high["psnr_db"] < low["psnr_db"] - low["psnr_db_ci95"]:
                wrong.append(f"{name}: PSNR falls from {low['psnr_db']} to {high['psnr_db']} dB")
    at_20 = {key: found[SCHEMES[key], "awgn", 0.0][-1] for key in ("object", "uniform", "all", "pca")}
    assert all(row["snr_db"] == 20 for row in at_20.values())
    if at_20["object"]["channel_uses"] != at_20["uniform"]["channel_uses"]:
        wrong.append("object first and uniform masking differ in channel uses")
    gain = at_20["object"]["psnr_inside_db"] - at_20["uniform"]["psnr_inside_db"]
    for what, value, least in [
        ("object first, whole picture", at_20["object"]["psnr_db"], 20.9),
        ("every patch kept, whole picture", at_20["all"]["psnr_db"], 32.5),
        ("object first over uniform masking, inside the box", gain, 1.7),
    ]:
        print(f"AWGN 20 dB: {what}: {value:.2f} dB (at least {least:g})")
        if not value >= least:
            wrong.append(f"AWGN 20 dB: {what}: {value:.2f} dB is below {least:g}")
    return wrong


if __name__ == "__main__":
    problems = faults(read_csv(sys.argv[1]))
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))
