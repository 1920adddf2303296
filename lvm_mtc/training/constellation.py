"""Fits the book of a constellation to the symbols that a trained scheme makes, the scheme as it is.

The points start on the rings of APSK or the squares of QAM, in the scale that is best for the symbols, or in the
middle of the symbols' clusters; first the decisions are soft, with falling temperature, then hard, with gradients
through the points alone. The best book of all is kept, the starts included.
"""

import dataclasses
from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.link import OperatingPoint, uav_keys
from lvm_mtc.phy.constellation import apsk_points, nearest_point, posterior
from lvm_mtc.schemes.constellation.scheme import Constellation, ConstellationConfig, complex_of
from lvm_mtc.schemes.loading import identity
from lvm_mtc.schemes.scheme import Params, Scheme, Source
from lvm_mtc.schemes.simulate import encode

KINDS = ("qam", "learned", "clustered")
_LEAST_USE = 1e-6
_TEST_BATCHES = 4
_LOOK_EVERY = 25
_LLOYD_STEPS, _CLUSTERED = 40, 2**17
Book = Mapping[str, jax.Array]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitConfig:
    """Numbers of a fit.

    Attributes:
        steps: Of the optimiser, in both stages together, > 0.
        soft_share: Share of the steps whose decisions are soft, in [0, 1].
        batch_size: Symbols of a step.
        learning_rate: Of Adam, falling to 0 as a cosine.
        scales: How many scales of the start are tried, in geometric order from 0.4 to 8 times that of unit power.
        commitment: Weight of the distance of symbols to their points: without noise nothing else would move points.
    """

    steps: int = 500
    soft_share: float = 0.3
    batch_size: int = 8192
    learning_rate: float = 1e-2
    scales: int = 18
    commitment: float = 0.1

    def __post_init__(self):
        for field in ("steps", "batch_size", "scales"):
            require_count("FitConfig", field, getattr(self, field))
        require_number("FitConfig", "soft_share", self.soft_share, 0.0, most=1.0)
        require_number("FitConfig", "learning_rate", self.learning_rate, 0.0, strict=True)
        require_number("FitConfig", "commitment", self.commitment, 0.0)


class Symbols(NamedTuple):
    """What is to be sent: ``values`` ``[N]`` complex, and the noise variance that each will meet, ``no`` ``[N]``."""

    values: jax.Array
    no: jax.Array


def fit_constellation(
    scheme: Scheme, params: Params, source: Source, snr_db: tuple[float, float], key: jax.Array, *,
    num_points: int = 64, kind: str = "learned", config: FitConfig = FitConfig(),
) -> tuple[Constellation, Params]:  # fmt: skip
    """A trained scheme over a constellation that is fitted to its symbols.

    Args:
        scheme: The scheme that makes the symbols.
        params: Its parameters, which stay.
        source: What it sends, ``[batch, num_uavs, ...]``.
        snr_db: Es/N0 is drawn uniformly from here for each of the batch, dB; the scheme is told.
        key: Of all that is drawn.
        num_points: K.
        kind: ``"learned"``; ``"qam"``: square QAM in the best scale; ``"clustered"``: means of the symbols' clusters,
            by Lloyd's algorithm from there and blind to the noise (Yang et al., 2024). The receiver is the same.
        config: Numbers of the fit.

    Returns:
        The scheme over the constellation, and its parameters.
    """
    require_one_of("fit_constellation", "kind", kind, KINDS)
    about = identity(scheme)
    over = Constellation(ConstellationConfig(scheme=about["scheme"], config=about["config"], num_points=num_points))
    draw_key, send_key, fit_key = jax.random.split(key, 3)
    point = OperatingPoint(snr_db=jax.random.uniform(draw_key, source.lead()[:1], minval=snr_db[0], maxval=snr_db[1]))
    symbols = sent_symbols(scheme, params, source, send_key, point)
    return over, {"scheme": params, "book": fit_book(symbols, num_points, kind, fit_key, config)}


def sent_symbols(scheme: Scheme, params: Params, source: Source, key: jax.Array, point: OperatingPoint) -> Symbols:
    """The symbols that a scheme sends over AWGN of ``point.snr_db`` ``[batch]``."""
    num_uavs = source.lead()[1]

    @jax.jit
    def modulate(params, source, snr_db):
        encoded = encode(scheme, params, source, uav_keys(key, num_uavs), point.knobs)
        knobs = {name: point.knobs.get(name, knob.default) for name, knob in scheme.knobs.items()}
        return scheme.modulate(params, encoded, point._replace(snr_db=snr_db, knobs=knobs)).signal

    signal = modulate(params, source, point.snr_db)
    no = 10 ** (-np.asarray(point.snr_db) / 10)
    values, noise = [], []
    for frames in (signal.private, signal.public):
        if frames is not None:
            sent, its_no = np.asarray(frames.sent), no.reshape(-1, *[1] * (frames.symbols.ndim - 1))
            values.append(np.asarray(frames.symbols)[sent].ravel())
            noise.append(np.broadcast_to(its_no, frames.symbols.shape)[sent].ravel())
    return Symbols(jnp.asarray(np.concatenate(values)), jnp.asarray(np.concatenate(noise)))


def fit_book(symbols: Symbols, num_points: int, kind: str, key: jax.Array, config: FitConfig = FitConfig()) -> Book:
    """A book for symbols over AWGN, as ``schemes.constellation`` has it."""
    test_key, fit_key = jax.random.split(key)
    starts = np.stack([phy.qam_points(num_points.bit_length() - 1), apsk_points(num_points)][: 1 + (kind == "learned")])
    pairs = np.stack([starts.real, starts.imag], -1).astype(symbols.no.dtype)
    scaled = jnp.asarray(np.geomspace(0.4, 8, config.scales).astype(pairs.dtype)[:, None, None, None] * pairs)
    test = _draw(symbols, test_key, _TEST_BATCHES * config.batch_size)
    errors = jax.jit(_errors)(scaled.reshape(-1, *pairs.shape[1:]), test).reshape(config.scales, -1)
    tried = [(errors[:, n].min(), scaled[errors[:, n].argmin(), n]) for n in range(len(starts))]
    if kind != "qam":
        middles = _cluster(tried[0][1], symbols)
        if kind == "clustered":
            return book_of(middles, symbols)
        tried.append((jax.jit(_errors)(middles[None], test)[0], middles))
        tried += [_descend(*start, symbols, test, fit_key, config) for start in tried]
    return book_of(min(tried, key=lambda one: float(one[0]))[1], symbols)


def sdr_db(book: Book, symbols: Symbols, key: jax.Array) -> jax.Array:
    """Ratio of the symbols' power to the mean squared error of their estimates over AWGN, dB."""
    points, means = complex_of(book["points"]), complex_of(book["means"])
    power = jnp.sum(jnp.exp(book["log_use"]) * jnp.abs(points) ** 2)
    noise = jnp.sqrt(symbols.no * power) * jax.random.normal(key, symbols.values.shape, symbols.values.dtype)
    received = points[nearest_point(symbols.values, points)] + noise
    likely = posterior(received, symbols.no * power, points, book["log_use"])
    error = jnp.abs(symbols.values - likely.astype(means.dtype) @ means) ** 2
    return 10 * jnp.log10(jnp.mean(jnp.abs(symbols.values) ** 2) / jnp.mean(error))


@jax.jit
def book_of(pairs: jax.Array, symbols: Symbols) -> Book:
    """The book of points ``[K, 2]`` that is right for the symbols: each is sent as the point next to it."""
    chosen = nearest_point(symbols.values, complex_of(pairs))

    def per_point(values):
        return jax.ops.segment_sum(values, chosen, pairs.shape[0])

    count = per_point(jnp.ones_like(symbols.no))
    parts = jnp.stack([symbols.values.real, symbols.values.imag], -1)
    means = jnp.where(count[:, None] > 0, per_point(parts) / jnp.maximum(count, 1)[:, None], pairs)
    spread = per_point(jnp.sum((parts - means[chosen]) ** 2, -1)) / jnp.maximum(count, 1)
    log_use = jnp.log(jnp.maximum(count / count.sum(), _LEAST_USE))
    return {"points": pairs, "log_use": log_use, "means": means, "spread": spread}


def _cluster(pairs: jax.Array, symbols: Symbols) -> jax.Array:
    """Means of clusters of at most ``_CLUSTERED`` symbols, ``[K, 2]``, by Lloyd's algorithm from ``pairs``."""
    some = Symbols(*(values[:: max(1, len(values) // _CLUSTERED)] for values in symbols))
    for _ in range(_LLOYD_STEPS):
        pairs = book_of(pairs, some)["means"]
    return pairs


class _Batch(NamedTuple):
    values: jax.Array
    no: jax.Array
    noise: jax.Array


def _draw(symbols: Symbols, key: jax.Array, count: int) -> _Batch:
    which, noise = jax.random.split(key)
    chosen = jax.random.randint(which, (count,), 0, symbols.values.shape[0])
    return _Batch(symbols.values[chosen], symbols.no[chosen], jax.random.normal(noise, (count,), symbols.values.dtype))


def _squares(pairs: jax.Array, batch: _Batch) -> jax.Array:
    gap = batch.values[:, None] - complex_of(pairs)[None]
    return gap.real**2 + gap.imag**2


def _nearest(pairs: jax.Array, batch: _Batch) -> jax.Array:
    """Decisions as weights of the points, ``[N, K]``; no gradient."""
    chosen = jnp.argmin(_squares(jax.lax.stop_gradient(pairs), batch), -1)
    return jax.nn.one_hot(chosen, pairs.shape[0], dtype=pairs.dtype)


def _error(pairs: jax.Array, weights: jax.Array, batch: _Batch) -> tuple[jax.Array, jax.Array]:
    """Mean squared error of symbols that are sent as mixtures of points at power 1; how often each point is used."""
    use = weights.mean(0)
    points = complex_of(pairs) / jnp.sqrt(jnp.sum(use * jnp.sum(pairs**2, -1)))
    received = weights.astype(points.dtype) @ points + jnp.sqrt(batch.no) * batch.noise
    parts = jnp.stack([batch.values.real, batch.values.imag], -1)
    means = weights.T @ parts / jnp.maximum(weights.sum(0), 1e-3)[:, None]
    likely = posterior(received, batch.no, points, jnp.log(jnp.maximum(use, _LEAST_USE)))
    return jnp.mean(jnp.sum((parts - likely @ means) ** 2, -1)), use


def _errors(candidates: jax.Array, test: _Batch) -> jax.Array:
    return jax.lax.map(lambda pairs: _error(pairs, _nearest(pairs, test), test)[0], candidates)


def _descend(
    error: jax.Array, start: jax.Array, symbols: Symbols, test: _Batch, key: jax.Array, config: FitConfig
) -> tuple[jax.Array, jax.Array]:
    """Error on ``test``, and the points, the best of all; those of the start have ``error``."""
    optimizer = optax.adam(optax.cosine_decay_schedule(config.learning_rate, config.steps))
    closest = np.asarray(complex_of(start))
    closest = np.min(np.abs(closest[:, None] - closest) + np.where(np.eye(len(closest)), np.inf, 0)) ** 2

    def loss(pairs, batch, step):
        temperature = closest * 0.25 * jnp.maximum(1 - step / config.steps, 0.1)
        soft = jax.nn.softmax(-_squares(pairs, batch) / temperature, -1)
        hard = step >= config.soft_share * config.steps
        weights = jnp.where(hard, _nearest(pairs, batch), soft)
        parts = jnp.stack([batch.values.real, batch.values.imag], -1)
        away = jnp.mean(jnp.sum((parts - weights @ pairs) ** 2, -1))
        return _error(pairs, weights, batch)[0] + config.commitment * away

    def update(state, step):
        pairs, moments = state
        batch = _draw(symbols, jax.random.fold_in(key, step), config.batch_size)
        changes, moments = optimizer.update(jax.grad(loss)(pairs, batch, step), moments)
        return (optax.apply_updates(pairs, changes), moments), None

    def look(state, steps):
        pairs, moments, best, least = state
        (pairs, moments), _ = jax.lax.scan(update, (pairs, moments), steps)
        now, use = _error(pairs, _nearest(pairs, test), test)
        best, least = jnp.where(now < least, pairs, best), jnp.minimum(now, least)
        spare = _draw(symbols, jax.random.fold_in(key, config.steps + steps[0]), len(start)).values
        spare = jnp.stack([spare.real, spare.imag], -1)
        return (jnp.where(use[:, None] < _LEAST_USE, spare, pairs), moments, best, least), None

    steps = jnp.arange(config.steps // _LOOK_EVERY * _LOOK_EVERY).reshape(-1, _LOOK_EVERY)
    (_, _, best, least), _ = jax.jit(lambda state: jax.lax.scan(look, state, steps))(
        (start, optimizer.init(start), start, error)
    )
    return least, best
