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
aerial, VOC), WITT at its authors' size for high resolution; {num_pictures} held-out photographs. **Reduced form**:
what two CPU cores give a network of that size in an hour is less than two passes over 2,720 pictures, too few for a
codec that starts from nothing. So the tables tell what a codec is worth after so few pictures, where a start from
principal components counts most, and not which is best in the end: on CIFAR-10, after ten times as many, WITT is ahead
at most SNRs.

{trainings}

{levels_table(points)}

{verdict(gains)}

{drawing.link}"""
    return Section(text, (drawing,))
