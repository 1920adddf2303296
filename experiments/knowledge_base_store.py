"""The rows of ``knowledge_base.py`` as points of a result store, from which ``lvm-mtc figures`` draws them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from object_psnr import CONVENTION

from lvm_mtc.evaluation.points import Measured, Point
from lvm_mtc.evaluation.store import ResultStore

METRICS = ("psnr_inside_db", "minus_annotated_db")


def store_results(results: Mapping[str, Any], path: Path) -> int:
    """Puts PSNR inside the largest object, for masks that follow each knowledge base, into a store.

    Args:
        results: Of ``knowledge_base.py``.
        path: The store; made where it is missing.

    Returns:
        How many points were new.

    Raises:
        StoreError: if the store cannot be written to, or holds other numbers.
    """
    config = {"study": "knowledge_base", "object": "largest"}
    config |= {name: results[name] for name in ("detector", "input_size", "pictures", "seed")}
    with ResultStore(path) as store:
        return store.add(_points(results, store.register(config)))


def _points(results: Mapping[str, Any], key: str) -> Iterator[Point]:
    for row in results["chain"]:
        of_all, guided = row["all"], row["masks"] != "uniform"
        yield Point(
            config_hash=key,
            coordinates={
                "channel": row["fading"], "num_uavs": 1, "csi_error_var": 0.0, "snr_db": row["snr_db"],
                "scheme": "object first" if guided else "uniform masking",
                "knowledge_base": row["masks"] if guided else "none",
            },
            metrics={name: Measured(*of_all[name], of_all["pictures"]) for name in METRICS},
            seed=results["seed"], snr_convention=CONVENTION, snr_db=row["snr_db"],
            ledger={"channel_uses": row["channel_uses"]},
        )
