"""The results page's section on whole-picture codecs trained on photographs."""

from __future__ import annotations

from results_page_codecs import levels_table, quality_drawing, trainings_table, verdict
from results_parts import Section, read
from results_photographs import NAME, SIZE, TRAININGS_NAME
from train_photographs import RUNS

from lvm_mtc.evaluation.paired_sweep import differences_name, find_sweep
from lvm_mtc.evaluation.store import ResultStore


def photographs_section(store: ResultStore) -> Section:
    """PSNR and SSIM over SNR of all codecs.

    Args:
        store: The store.

    Raises:
        Missing: if the store lacks the rows.
    """
    points, gains = read(store, NAME), read(store, differences_name(NAME))
    trainings = trainings_table(read(store, TRAININGS_NAME), RUNS, "experiments/train_photographs.py")
    num_pictures = find_sweep(store, NAME).config["pictures"]["1"]["groups"]
    drawing = quality_drawing("photographs_cbr_1_6", "Photographs at CBR 1/6",
                              f"{num_pictures} held-out photographs of {SIZE} pixels, CBR 1/6", points)  # fmt: skip
    text = f"""The codecs of section (a) at {SIZE} pixels and CBR 1/6, trained on crops of photographs (ImageNet,
aerial, VOC), and {num_pictures} held-out photographs. **Reduced form**: 4,000 crops are what two CPU cores give a
network of WITT's size in half an hour, and few for a codec that starts from nothing. So the tables tell what a codec is
worth after so little training, where a start from principal components counts most, and not which is best in the end.
WITT has the two stages that its authors take for small pictures. Their four stages for high resolution were tried at
128 pixels with crops 16 at a time: after 120 steps (1,920 crops, not in the store) they still gave the mean picture.

{trainings}

{levels_table(points)}

{verdict(gains)}

{drawing.link}"""
    return Section(text, (drawing,))
