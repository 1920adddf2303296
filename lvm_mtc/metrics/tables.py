"""Names of metrics, by modality."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from lvm_mtc.metrics import answers, pictures, points, stereo, text
from lvm_mtc.metrics.multi_scale import ms_ssim
from lvm_mtc.schemes.scheme import Source
from lvm_mtc.schemes.simulate import Outcome

Metric = Callable[[Source, Outcome], jax.Array]


def shown(outcome: Outcome) -> jax.Array:
    """Received pictures, clipped to [0, 1], as everywhere in the evaluation."""
    return jnp.clip(outcome.estimate.data, 0.0, 1.0)


def received_words(outcome: Outcome) -> jax.Array:
    """The best-scored word at each place, ``[batch, num_uavs, num_words]`` int32."""
    return jnp.argmax(outcome.estimate.data, axis=-1).astype(jnp.int32)


def inside(source: Source) -> jax.Array:
    """Pixels of the box that "inside" and "background" are measured by, ``[batch, num_uavs, height, width]`` bool."""
    box = source.hints["metric_loc"] if "metric_loc" in source.hints else source.hints["loc"]
    return pictures.box_mask(box, *source.data.shape[2:4])


def whole(source: Source, edge: int = 0) -> jax.Array | None:
    """Pixels of pictures that are smaller than the largest one, without a strip of ``edge`` pixels; None for all.

    ``[batch, num_uavs, height, width]`` bool, by the hint ``"extent"``.
    """
    if "extent" not in source.hints:
        return None
    size = jnp.asarray(source.hints["extent"])[..., ::-1].astype(jnp.float32)
    return pictures.box_mask(jnp.concatenate([size / 2, size - 2 * edge], axis=-1), *source.data.shape[2:4])


def _of_pictures(measure: Callable, where: str = "", edge: int | None = 0) -> Metric:
    """A function of two pictures, and a mask unless it looks at the whole, as a metric.

    ``edge`` is the strip along the edges of a whole picture that the function leaves out, pixels; None where a mask
    cannot stand for a smaller picture.
    """

    def metric(source: Source, outcome: Outcome) -> jax.Array:
        if edge is None and "extent" in source.hints:
            raise ValueError(f"{measure.__name__} is for pictures of one size, and these have several")
        if not where:
            return measure(source.data, shown(outcome), whole(source, edge or 0))
        pixels = inside(source)
        if where == "background":
            every = whole(source)
            pixels = ~pixels if every is None else every & ~pixels
        return measure(source.data, shown(outcome), pixels)

    return metric


def _of_clips(measure: Callable) -> Metric:
    """A function of two pictures as a metric, its mean over a clip's frames."""
    return lambda source, outcome: measure(source.data, shown(outcome)).mean(-1)


def _flicker(source: Source, outcome: Outcome) -> jax.Array:
    """Mean squared error of the change from frame to frame."""
    error = jnp.diff(shown(outcome) - source.data, axis=2)
    return jnp.mean(error**2, axis=(-4, -3, -2, -1))


def _of_text(measure: Callable, *options: int) -> Metric:
    return lambda source, outcome: measure(source.data, received_words(outcome), *options)


def _of_points(measure: Callable) -> Metric:
    return lambda source, outcome: measure(source.data, outcome.estimate.data)


def _nmse_tokens(source: Source, outcome: Outcome) -> jax.Array:
    """Of tokens against those that were sent; NaN for schemes that estimate none."""
    if "tokens" not in outcome.estimate.tells:
        return jnp.full(source.lead(), jnp.nan)
    valid = outcome.sent.tells["valid"][..., None]
    sent, received = outcome.sent.tells["tokens_sent"], outcome.estimate.tells["tokens"]
    return pictures.nmse(*(jnp.where(valid, a, 0.0) for a in (sent, received)), axis=(-2, -1))


_OF_SYMBOLS: Mapping[str, Metric] = {
    "nmse_tokens": _nmse_tokens,
    "nmse_symbols": lambda source, outcome: outcome.through.nmse_symbols,
    "evm": lambda source, outcome: jnp.sqrt(outcome.through.nmse_symbols),
}
"""Whatever is sent; symbols under the broadcast topology only, elsewhere NaN."""

METRICS: Mapping[str, Mapping[str, Metric]] = {
    "pictures": {
        "psnr_db": _of_pictures(pictures.psnr),
        "psnr_inside_db": _of_pictures(pictures.psnr, "inside"),
        "psnr_background_db": _of_pictures(pictures.psnr, "background"),
        "ssim": _of_pictures(pictures.ssim, edge=pictures.SSIM_RADIUS),
        "ssim_inside": _of_pictures(pictures.ssim, "inside"),
        "mse": _of_pictures(pictures.mse),
        "ssim_background": _of_pictures(pictures.ssim, "background"),
        "ms_ssim": _of_pictures(ms_ssim, edge=None),
        "ms_ssim_inside": _of_pictures(ms_ssim, "inside", None),
        "ms_ssim_background": _of_pictures(ms_ssim, "background", None),
        **_OF_SYMBOLS,
    },
    "text": {
        **{f"bleu{n}": _of_text(text.sentence_bleu, n) for n in (1, 2, 4)},
        "word_error_rate": _of_text(text.word_error_rate),
        "word_accuracy": lambda source, outcome: text.word_accuracy(source.data, outcome.estimate.data),
        **_OF_SYMBOLS,
    },
    "clips": {
        "psnr_db": _of_clips(pictures.psnr),
        "ssim": _of_clips(pictures.ssim),
        "mse": _of_clips(pictures.mse),
        "flicker": _flicker,
        **_OF_SYMBOLS,
    },
    "points": {
        "d1_psnr_db": _of_points(points.d1_psnr),
        "chamfer": _of_points(points.chamfer_distance),
        "hausdorff": _of_points(points.hausdorff_distance),
        **_OF_SYMBOLS,
    },
    "stereo": {
        "psnr_db": stereo.of_views(pictures.psnr),
        "psnr_middle_db": stereo.of_middle(pictures.psnr),
        "ssim": stereo.of_views(pictures.ssim),
        "ssim_middle": stereo.of_middle(pictures.ssim),
        "epe": stereo.end_point_error,
        "overflow": stereo.overflow,
        **_OF_SYMBOLS,
    },
    "classes": {
        "accuracy": lambda source, outcome: answers.is_best(outcome.estimate.data, source.hints["labels"]),
        **_OF_SYMBOLS,
    },
    "presence": {"accuracy": answers.accuracy, **_OF_SYMBOLS},
    "answers": {
        "accuracy": answers.accuracy,
        "bit_error_rate": answers.bit_error_rate,
        "bit_error_rate_top": answers.bit_error_rate_top,
        "nmse_features": answers.nmse_features,
        **_OF_SYMBOLS,
    },
}


def _best_scored(outcome: Outcome) -> jax.Array:
    return jnp.argmax(outcome.estimate.data, axis=-1).astype(jnp.int32)


SHOWN: Mapping[str, Callable[[Outcome], jax.Array]] = {
    "pictures": lambda outcome: jnp.round(shown(outcome) * 255).astype(jnp.uint8),
    "clips": lambda outcome: jnp.round(shown(outcome) * 255).astype(jnp.uint8),
    "stereo": lambda outcome: {
        "views": jnp.round(shown(outcome) * 255).astype(jnp.uint8),
        "disparity": outcome.estimate.tells["disparity"],
    },
    "text": received_words,
    "points": lambda outcome: outcome.estimate.data,
    "answers": lambda outcome: {
        "answers": _best_scored(outcome),
        "features": outcome.estimate.tells.get("features"),
    },
    "classes": _best_scored,
    "presence": _best_scored,
}
"""What arrived, as it is shown: pictures ``[..., height, width, 3]`` uint8, words ``[..., num_words]`` int32, points
``[..., num_points, 3]``, answers about presence and classes ``[...]`` int32; of stereo pairs views
``[..., 2 or 3, height, width, 3]`` uint8 and disparity ``[..., 2, rows, columns]``, pixels; other answers ``[...]``
int32 beside the features behind them, ``[..., tokens, num_features]``, None where there are none."""
