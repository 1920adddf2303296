r"""What disparity fusion adds while the stereo codec learns: two runs of one schedule, scenes and noise, side by side.

python -m experiments.stereo.learning --fused runs/gs_scnet/joint --alone runs/gs_scnet_none/joint

A row a logged step: PSNR of the views that were trained on, mean over the steps since the last row, and the mean
distance of the disparity from the truth. Steps that only one run has reached are left out.
"""

import sys
from pathlib import Path

from experiments.script import script
from lvm_mtc.results.table import write_csv
from lvm_mtc.training.log import read_log

LEARNING = Path("docs/stereo/learning.csv")
_TOLD = {"psnr_db": "psnr_0", "epe": "epe_0"}


@script(
    fused="folder of the run with disparity fusion", alone="folder of the run without fusion",
    out="the file to write (default: %(default)s)",
)  # fmt: skip
def main(
    fused: Path = Path("runs/gs_scnet/joint"), alone: Path = Path("runs/gs_scnet_none/joint"), out: Path = LEARNING
) -> None:
    """Write what both runs logged, a row a step."""
    both = [
        {row["step"]: row for row in read_log(run / "log.jsonl") if row["event"] == "train"} for run in (fused, alone)
    ]
    if not (steps := sorted(set(both[0]) & set(both[1]))):
        raise ValueError(f"{fused} and {alone} logged no step in common")
    of = lambda run, step: [round(run[step][name], 4) for name in _TOLD.values()]  # noqa: E731
    names = [f"{name}_{which}" for which in ("fused", "alone") for name in _TOLD]
    write_csv(out, [{"step": s} | dict(zip(names, of(both[0], s) + of(both[1], s), strict=True)) for s in steps])
    print(f"{out}: {len(steps)} rows to step {steps[-1]}")


if __name__ == "__main__":
    sys.exit(main())
