"""Networks that judge what is received in a sweep: a learned distance of pictures, a classifier's accuracy."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.metrics.perceptual import perceptual_distance
from lvm_mtc.metrics.tables import inside, shown
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import Outcome


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Judge:
    """A metric with parameters.

    Attributes:
        measure: From (parameters, source, outcome) to ``[batch, num_uavs]``; one function object for equal measures,
            for it is part of the compiled program.
        needs_labels: Whether it compares with the pictures' classes.
        on_host: It is no part of the program: ``measure`` gets NumPy arrays, of the parameters, the source, and what
            arrived as it is shown (``metrics.tables.SHOWN``) in any number of cases, ``[..., batch, num_uavs, ...]``,
            and gives ``[..., batch, num_uavs]``.
    """

    name: str
    measure: Callable[[Any, Source, Outcome], jax.Array]
    params: Any
    needs_labels: bool = False
    on_host: bool = False


def perceptual_judges(params: Any) -> tuple[Judge, Judge]:
    """ST-LPIPS distance of whole pictures, ``perceptual``, and of their boxes, ``perceptual_inside``.

    Args:
        params: As ``interop.perceptual_weights.load_perceptual`` reads them.
    """
    return (
        Judge(name="perceptual", measure=_distance, params=params),
        Judge(name="perceptual_inside", measure=_distance_inside, params=params),
    )


def clip_distance_judge(params: Any) -> Judge:
    """ST-LPIPS distance of clips, the mean over their frames, ``perceptual``; ``params`` as of the others."""
    return Judge(name="perceptual", measure=_distance_of_frames, params=params)


def accuracy_judge(classify: Callable[[Any, jax.Array], jax.Array], params: Any) -> Judge:
    """Share of received pictures in which a classifier sees their class, ``accuracy``.

    Args:
        classify: From (parameters, pictures ``[n, height, width, 3]`` in [0, 1]) to scores ``[n, num_classes]``; one
            function object for equal classifiers.
        params: Its parameters.
    """
    return Judge(name="accuracy", measure=_Accuracy(classify), params=params, needs_labels=True)


def cloud_accuracy_judge(classify: Callable[[Any, Any], Any], params: Any) -> Judge:
    """Share of received point clouds in which a classifier sees their class, ``accuracy``, a judge on the host.

    Args:
        classify: From (parameters, clouds ``[n, num_points, 3]``) to scores ``[n, num_classes]``; one function object
            for equal classifiers.
        params: Its parameters.
    """
    return Judge(name="accuracy", measure=_CloudAccuracy(classify), params=params, needs_labels=True, on_host=True)


@dataclasses.dataclass(frozen=True)
class _CloudAccuracy:
    classify: Callable[[Any, Any], Any]

    def __call__(self, params: Any, source: Source, clouds: np.ndarray) -> np.ndarray:
        scores = np.asarray(self.classify(params, clouds.reshape(-1, *clouds.shape[-2:])))
        seen = scores.argmax(-1).reshape(clouds.shape[:-2])
        return (seen == np.asarray(source.hints["labels"])).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class _Accuracy:
    classify: Callable[[Any, jax.Array], jax.Array]

    def __call__(self, params: Any, source: Source, outcome: Outcome) -> jax.Array:
        pictures, lead = shown(outcome), source.lead()
        scores = self.classify(params, pictures.reshape(-1, *pictures.shape[-3:]))
        return (jnp.argmax(scores, axis=-1).reshape(lead) == source.hints["labels"]).astype(jnp.float32)


def _distance(params: Any, source: Source, outcome: Outcome) -> jax.Array:
    return perceptual_distance(params, source.data, shown(outcome))


def _distance_of_frames(params: Any, source: Source, outcome: Outcome) -> jax.Array:
    return _distance(params, source, outcome).mean(-1)


def _distance_inside(params: Any, source: Source, outcome: Outcome) -> jax.Array:
    return perceptual_distance(params, source.data, shown(outcome), inside(source))
