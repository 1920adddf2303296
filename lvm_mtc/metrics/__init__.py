"""What a run is worth: metrics by the modality of the source, and networks that judge.

``METRICS`` holds, for each modality, name to a function of (source, outcome) to ``[batch, num_uavs]``.
"""

from collections.abc import Callable, Mapping

from lvm_mtc.metrics.tables import METRICS

__all__ = ["METRICS", "known_metrics"]


def known_metrics(modality: str) -> Mapping[str, Callable]:
    """The metrics of a modality."""
    if modality not in METRICS:
        raise ValueError(f"modality {modality!r} has no metrics; known: {', '.join(METRICS)}")
    return METRICS[modality]
