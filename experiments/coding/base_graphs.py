"""Writes ``lvm_mtc/phy/coding/base_graph_{1,2}.txt`` from the tables of 3GPP TS 38.212 that Sionna carries as CSV.

    python -m experiments.coding.base_graphs [--csv FOLDER] [--out FOLDER]

``--csv`` names the folder with ``5G_bg1.csv`` and ``5G_bg2.csv`` (of an unpacked wheel, say) where Sionna is not
installed. The CSV files name a row of the base graph once and leave the field empty below it; here every line has it.
"""

import importlib.util
import sys
from pathlib import Path

from experiments.script import script

HEADER = """\
# 3GPP TS 38.212 V17, table 5.3.2-{table}: base graph {graph} of the LDPC codes.
# row column V(i_LS = 0) ... V(i_LS = 7)
"""
ENTRIES = {1: 316, 2: 197}
OUT = Path(__file__).parents[2] / "lvm_mtc" / "phy" / "coding"


def sionna_folder() -> Path:
    """Where an installed Sionna keeps the tables; it is not imported, which would load TensorFlow."""
    return Path(importlib.util.find_spec("sionna").origin).parent / "phy" / "fec" / "ldpc" / "codes"


def read_csv(path: Path) -> list[list[int]]:
    """Entries of a base graph: row, column and eight shifts each."""
    row, entries = 0, []
    for line in path.read_text(encoding="utf-8-sig").splitlines()[2:]:
        fields = line.split(";")
        row = int(fields[0]) if fields[0] else row
        entries.append([row, *map(int, fields[1:10])])
    return entries


def text_of(graph: int, entries: list[list[int]]) -> str:
    """The shipped file of a base graph."""
    if len(entries) != ENTRIES[graph]:
        raise ValueError(f"base graph {graph} has {ENTRIES[graph]} entries, got {len(entries)}")
    lines = (" ".join(map(str, entry)) for entry in entries)
    return HEADER.format(table=graph + 1, graph=graph) + "\n".join(lines) + "\n"


@script(csv="folder of the two CSV files (default: Sionna's)", out="folder of the two files")
def main(csv: Path | None = None, out: Path = OUT) -> None:
    """Write the tables of both base graphs."""
    folder = csv or sionna_folder()
    for graph in ENTRIES:
        (out / f"base_graph_{graph}.txt").write_text(text_of(graph, read_csv(folder / f"5G_bg{graph}.csv")))


if __name__ == "__main__":
    sys.exit(main())
