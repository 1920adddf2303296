"""Tables of the page about context, from ``results.json``."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.file_codecs import NAMES, cell
from lvm_mtc.report.pages import number, table, with_interval


def tables(results: Mapping[str, Any]) -> dict[str, str]:
    """Markdown tables by the name of their place, of the parts that were measured."""
    found = {}
    if "rates" in results:
        found |= {"rates": _rates(results), "books": _books(results["rates"]), "times": _times(results["rates"])}
    if "networks" in results:
        found |= {"networks": _networks(results["networks"]), "network_books": _books(results["networks"])}
    return found | ({"progressive": _progressive(results["progressive"])} if "progressive" in results else {})


def _rates(results: Mapping[str, Any]) -> str:
    head = (
        "K", "bits", "bits a pixel", "with context, dB", "without, dB", "difference, dB", "progressive, dB",
        "bits without context, coded", *(f"{NAMES[name]}, dB" for name in results.get("files", {})),
    )  # fmt: skip
    rows = (
        (rate["codebook_size"], rate["bits"], number(rate["bits"] / results["pixels"], 3),
         number(rate["context_vq"]["psnr_db"]), number(rate["plain"]["psnr_db"]), with_interval(rate["gain"]),
         number(rate["progressive_psnr_db"]), number(rate["plain_coded_bits"], 0),
         *(cell(*found[i]) for found in results.get("files", {}).values()))
        for i, rate in enumerate(results["rates"])
    )  # fmt: skip
    return table(head, rows)


def _networks(rates: Any) -> str:
    head = (
        "K", "bits", "with context, dB", "without, dB", "difference, dB", "progressive, dB", "ahead of it, dB",
        "encode with context, ms", "decode", "encode without, ms", "decode",
    )  # fmt: skip
    rows = (
        (rate["codebook_size"], rate["bits"], number(rate["context_vq"]["psnr_db"]), number(rate["plain"]["psnr_db"]),
         with_interval(rate["gain"]), number(rate["progressive_psnr_db"]), with_interval(rate["ahead"]),
         *(number(rate["times"][name][way]) for name in ("context_vq", "plain") for way in ("encode_ms", "decode_ms")))
        for rate in rates
    )  # fmt: skip
    return table(head, rows)


def _books(rates: Any) -> str:
    head = ("K", "slice", "squares", "entropy, bits", "of", "codes used", "features, dB", "without context: entropy",
            "features, dB")  # fmt: skip
    rows = []
    for rate in rates:
        for group, (one, other) in enumerate(zip(rate["context_vq"]["books"], rate["plain"]["books"], strict=True)):
            rows.append((
                rate["codebook_size"], group // 2 + 1, ("even", "odd")[group % 2], number(one["entropy"]),
                number(np.log2(rate["codebook_size"]), 0), one["used"], number(one["sqnr_db"]),
                number(other["entropy"]), number(other["sqnr_db"]),
            ))  # fmt: skip
    return table(head, rows)


def _times(rates: Any) -> str:
    head = ("K", "encode with context, ms", "decode", "encode without, ms", "decode", "arithmetic coder both ways, ms")
    rows = (
        (rate["codebook_size"], *(number(rate["times"][name][way]) for name in ("context_vq", "plain")
                                  for way in ("encode_ms", "decode_ms")), number(rate["times"]["plain"]["coder_ms"]))
        for rate in rates
    )  # fmt: skip
    return table(head, rows)


def _progressive(found: Any) -> str:
    head = ("stages", "bits", "coded", "encode, ms", "decode, ms", "arithmetic coder both ways, ms")
    rows = (
        (row["stages"], row["bits"], row["coded_bits"],
         *(number(row[f"{name}_ms"]) for name in ("encode", "decode", "coder")))
        for row in found
    )  # fmt: skip
    return table(head, rows)
