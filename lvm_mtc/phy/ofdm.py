"""OFDM: the waveform, and a link over a resource grid.

The link is simulated per resource element, ``y = H[symbol, subcarrier] x + n``. That is what a modulator, a channel of
sample-spaced taps, noise and a demodulator do if no delay exceeds the cyclic prefix
(:meth:`~lvm_mtc.phy.resource_grid.ResourceGrid.require_within_prefix`) and the channel stands still during a symbol;
interference between subcarriers by Doppler is left out, and delays beyond the prefix are taken as if it covered them.
The FFT is unitary, so ``no`` is the noise variance of a time sample and of a subcarrier alike, and SNR is per
subcarrier of data. The prefix costs ``grid.prefix_factor`` times the energy and the samples of the symbols without it,
which no SNR here contains.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from lvm_mtc.phy import link
from lvm_mtc.phy.csi import CSI_MODELS
from lvm_mtc.phy.keys import Stream, require_key, stream_key, uav_keys
from lvm_mtc.phy.mimo import EQUALIZERS
from lvm_mtc.phy.numerics import (
    align,
    fit,
    real_dtype,
    require_at_least,
    require_complex,
    require_count,
    standard_deviation,
    weighted_sum,
)
from lvm_mtc.phy.ofdm_estimate import INTERPOLATIONS, GridStatistics
from lvm_mtc.phy.ofdm_knowledge import SlotPlaces, at_places, know_from_pilots, know_when_told, place_slots
from lvm_mtc.phy.paths import Paths, frequency_response
from lvm_mtc.phy.resource_grid import ResourceGrid

PathSampler = Callable[..., Paths]


def ofdm_modulate(x: jax.Array, grid: ResourceGrid) -> jax.Array:
    """Time samples of OFDM symbols: unitary inverse FFT, then the cyclic prefix.

    Args:
        x: What each used subcarrier carries, ``[..., num_symbols, num_carriers]`` complex.
        grid: The resource grid; unused subcarriers are sent as 0.

    Returns:
        ``[..., num_symbols * (cyclic_prefix_length + fft_size)]`` complex, symbol after symbol. Without the prefixes
        its energy is that of ``x``.

    Raises:
        ValueError: if ``x`` is real or its last axis is not that of the used subcarriers.
    """
    require_complex("x", x)
    if x.ndim < 2 or x.shape[-1] != grid.num_carriers:
        raise ValueError(f"x must be [..., num_symbols, {grid.num_carriers} carriers], got shape {x.shape}")
    spectrum = jnp.zeros((*x.shape[:-1], grid.fft_size), x.dtype).at[..., grid.carriers].set(x)
    samples = jnp.fft.ifft(jnp.fft.ifftshift(spectrum, axes=-1), norm="ortho")
    prefix = samples[..., grid.fft_size - grid.cyclic_prefix_length :]
    return jnp.concatenate([prefix, samples], axis=-1).reshape(*x.shape[:-2], -1)


def ofdm_demodulate(samples: jax.Array, grid: ResourceGrid) -> jax.Array:
    """Inverse of :func:`ofdm_modulate`: drop the prefixes, then a unitary FFT.

    Args:
        samples: ``[..., num_symbols * (cyclic_prefix_length + fft_size)]`` complex, starting with a prefix.
        grid: The resource grid.

    Returns:
        The used subcarriers, ``[..., num_symbols, num_carriers]`` complex.

    Raises:
        ValueError: if ``samples`` is real or not a whole number of symbols.
    """
    require_complex("samples", samples)
    length = grid.fft_size + grid.cyclic_prefix_length
    if samples.ndim < 1 or samples.shape[-1] % length:
        raise ValueError(f"samples must be [..., num_symbols * {length}], got shape {samples.shape}")
    symbols = samples.reshape(*samples.shape[:-1], -1, length)[..., grid.cyclic_prefix_length :]
    return jnp.fft.fftshift(jnp.fft.fft(symbols, norm="ortho"), axes=-1)[..., grid.carriers]


class OfdmDraws(NamedTuple):
    """Everything random in a link over a resource grid, at unit variance.

    ``[...]`` ends with the UAV axis unless all streams are detected together.

    Attributes:
        h: Channel on the elements of data, in the order of ``grid.slot_elements``,
            ``[..., num_grids * slots_per_grid, num_rx_ant, num_tx_ant]`` complex.
        h_pilots: Channel in the pilot symbols,
            ``[..., num_grids, pilot_symbols, num_carriers, num_rx_ant, num_tx_ant]`` complex.
        csi: CN(0, 1) draw behind the estimation error and, where an antenna sends pilots, of their noise; shape of
            ``h_pilots``.
        noise: CN(0, 1), ``[..., num_slots, num_rx_ant]``.
    """

    h: jax.Array
    h_pilots: jax.Array
    csi: jax.Array
    noise: jax.Array


def draw_ofdm(
    key: jax.Array,
    batch_shape: tuple[int, ...],
    num_slots: int,
    *,
    grid: ResourceGrid,
    paths: PathSampler,
    num_tx_ant: int,
    num_rx_ant: int | None = None,
    total_slots: int | None = None,
    dtype: DTypeLike = jnp.complex64,
) -> OfdmDraws:
    """Draw everything random in a link over a resource grid once, for any number of operating points.

    ``ofdm_link(key, x, ...)`` draws ``draw_ofdm(split(key, num_uavs), x.shape[:-2], ...)``, with ``joint=True``
    ``draw_ofdm(key, x.shape[:-2], ...)``.

    Args:
        key: Typed key: a scalar, or one key per entry of the last axis of ``batch_shape`` (one per UAV). Then the
            sampler is mapped over the keys and its numbers broadcast against the other axes.
        batch_shape: Leading axes.
        num_slots: Slots of data that each link hears.
        grid: The resource grid.
        paths: Sampler of ``phy.paths`` with its numbers bound.
        num_tx_ant: Streams of a slot.
        num_rx_ant: Receive antennas; None: as many as streams.
        total_slots: Slots of data on the absolute time axis, which the grids carry; None: ``num_slots``.
        dtype: Complex dtype.

    Returns:
        The draws; every CSI model uses the same ones.

    Raises:
        ValueError: on counts or key shapes that do not fit.
    """
    num_rx_ant = num_tx_ant if num_rx_ant is None else num_rx_ant
    require_count("num_tx_ant", num_tx_ant)
    require_count("num_rx_ant", num_rx_ant)
    require_count("num_slots", num_slots)
    grid.require_pilots()
    num_grids = grid.num_grids(num_slots if total_slots is None else total_slots)
    symbols = np.arange(num_grids)[:, None] * grid.num_ofdm_symbols

    def draw(one_key: jax.Array, lead: tuple[int, ...]) -> OfdmDraws:
        gains, delays = paths(
            stream_key(one_key, Stream.FADING),
            lead,
            times=grid.symbol_times(num_grids),
            num_rx_ant=num_rx_ant,
            num_tx_ant=num_tx_ant,
            dtype=dtype,
        )

        def response(which: np.ndarray) -> jax.Array:
            chosen = jnp.take(gains, (symbols + which).reshape(-1), axis=-3)
            return frequency_response(Paths(chosen, delays), grid.frequencies)

        h_pilots = response(np.asarray(grid.pilot_symbols))
        pilot_shape = (*lead, num_grids, len(grid.pilot_symbols), *h_pilots.shape[-3:])
        return OfdmDraws(
            h=response(grid.data_symbols).reshape(*lead, -1, num_rx_ant, num_tx_ant),
            h_pilots=h_pilots.reshape(pilot_shape),
            csi=jax.random.normal(stream_key(one_key, Stream.CSI), pilot_shape, dtype),
            noise=jax.random.normal(stream_key(one_key, Stream.NOISE), (*lead, num_slots, num_rx_ant), dtype),
        )

    if require_key(key).ndim == 0:
        return draw(key, tuple(batch_shape))
    if not batch_shape or key.shape != tuple(batch_shape[-1:]):
        raise ValueError(f"key must be a scalar or have shape {tuple(batch_shape[-1:])}, got {key.shape}")
    lead = tuple(batch_shape[:-1])
    return jax.vmap(lambda one_key: draw(one_key, lead), out_axes=len(lead))(key)


def _fitted(draws: OfdmDraws, x: jax.Array, places: SlotPlaces, num_rx_ant: int) -> OfdmDraws:
    *lead, num_slots, num_tx_ant = x.shape
    grid, antennas = places.grid, (num_rx_ant, num_tx_ant)
    pilots = (*lead, places.num_grids, len(grid.pilot_symbols), grid.num_carriers, *antennas)
    shapes = dict(
        h=(*lead, places.num_grids * grid.slots_per_grid, *antennas),
        h_pilots=pilots,
        csi=pilots,
        noise=(*lead, num_slots, num_rx_ant),
    )
    return OfdmDraws(
        **{name: fit(f"draws.{name}", getattr(draws, name), shape, x.dtype) for name, shape in shapes.items()}
    )


def _stream_weights(active: jax.Array | None, joint: bool, dtype) -> jax.Array | None:
    """How much each stream's channel error counts: silent streams are dropped by the joint detector, else equally."""
    if active is None or not joint:
        return None
    weights = active.astype(dtype)
    return weights / jnp.maximum(jnp.sum(weights, axis=-1, keepdims=True), 1)


def ofdm_link(
    key: jax.Array | None,
    x: jax.Array,
    *,
    no: ArrayLike,
    csi_error_var: ArrayLike = 0.0,
    grid: ResourceGrid,
    paths: PathSampler | None = None,
    num_rx_ant: int | None = None,
    total_slots: int | None = None,
    slot_index: jax.Array | None = None,
    active: jax.Array | None = None,
    power: ArrayLike | None = None,
    csi: str = "additive",
    interpolation: str = "linear",
    equalizer: str = "robust",
    draws: OfdmDraws | None = None,
    statistics: GridStatistics | None = None,
    joint: bool = False,
) -> link.LinkOutput:
    """Send slots over a resource grid and equalise them, subcarrier by subcarrier.

    Slot i is resource element i of ``grid.slot_elements``. With one antenna on each side the equaliser has one tap.

    What the receiver is given: under ``additive`` and ``mmse`` an estimate in every pilot symbol, held until the next
    one (with ``max_doppler`` = 0 and ``csi_error_var`` = 0 perfect knowledge); with pilots what it makes of them, see
    ``phy.ofdm_estimate``. ``robust`` works with the posterior mean and variance of the channel under ``statistics``
    (with ``pilots_ls`` too: those of the Wiener filter on the same observations), the other equalisers trust ``h_hat``.

    Args:
        key: Typed key: a scalar, which is split into one key per UAV (``joint``: used as it is), or one key per UAV,
            ``[num_uavs]``. None with ``draws``.
        x: ``[..., num_uavs, num_slots, num_tx_ant]`` complex, each UAV through a channel of its own; with ``joint``
            ``[..., num_slots, num_streams]``, all detected from one observation. Power 1 per active symbol.
        no: Noise variance per complex dimension and subcarrier, linear, >= 0; scalar or broadcasting against ``[...]``
            of the draws, that is ``[..., num_uavs]``; traced. Its gradient at 0 is NaN; see ``phy.link``.
        csi_error_var: s of ``additive`` and ``mmse``, linear, >= 0; scalar or broadcasting likewise; traced. Its
            gradient at 0 is NaN. Pilots take it from ``no`` instead.
        grid: The resource grid, static.
        paths: Sampler of ``phy.paths`` with its numbers bound; unused with ``draws``.
        num_rx_ant: Receive antennas; None: those of ``draws``, else as many as streams.
        total_slots: Slots of data on the time axis, which whole grids carry; None: ``num_slots``.
        slot_index: Integer place of each slot on that axis, ``[..., num_slots]``, traced, in [0, total_slots). None:
            ``arange``. A place beyond the grids gives NaN in ``h`` and ``y``.
        active: Boolean, shape of ``x``: symbols on air; as in ``phy.broadcast`` and ``phy.joint``.
        power: Power of each slot, as in ``phy.broadcast``; not with ``joint``.
        csi: ``additive``, ``mmse``, ``pilots_ls`` or ``pilots_lmmse``.
        interpolation: ``nearest``, ``linear`` or ``hold``, for ``h_hat`` of ``pilots_ls``.
        equalizer: A name of ``EQUALIZERS``.
        draws: Unit-variance draws to use instead of drawing from ``key``; see :func:`draw_ofdm`.
        statistics: What the receiver knows of the channel; only ``max_doppler`` is used without pilots. None:
            ``default_statistics(grid, num_tx_ant)``, which has no Doppler.
        joint: Whether all streams are detected from one observation.

    Returns:
        See ``phy.LinkOutput``; ``h`` and ``h_hat`` are per slot, ``[..., num_slots, num_rx_ant, num_tx_ant]``.

    Raises:
        ValueError: on unknown names, shapes or counts that do not fit, or a missing key or sampler.
    """
    require_complex("x", x)
    if x.ndim < (2 if joint else 3):
        expected = "[..., num_slots, num_streams]" if joint else "[..., num_uavs, num_slots, num_tx_ant]"
        raise ValueError(f"x must be {expected}, got shape {x.shape}")
    for name, value, known in (
        ("csi", csi, CSI_MODELS),
        ("interpolation", interpolation, INTERPOLATIONS),
        ("equalizer", equalizer, EQUALIZERS),
    ):
        if value not in known:
            raise ValueError(f"unknown {name} {value!r}; known: {', '.join(known)}")
    if active is not None and active.shape != x.shape:
        raise ValueError(f"active must be boolean with the shape of x {x.shape}, got {active.dtype} {active.shape}")
    if joint and power is not None:
        raise ValueError(f"power is that of a slot, and with joint=True a slot has {x.shape[-1]} streams: leave it out")
    require_at_least("no", no, 0.0)
    require_at_least("csi_error_var", csi_error_var, 0.0)
    lead, num_tx_ant = x.shape[:-2], x.shape[-1]
    places = place_slots(x, grid, total_slots, slot_index)
    if num_rx_ant is None:
        num_rx_ant = num_tx_ant if draws is None else draws.noise.shape[-1]
    if draws is None:
        if key is None or paths is None:
            raise ValueError("give key and paths, or draws")
        draws = draw_ofdm(
            key if joint else uav_keys(key, lead[-1]),
            lead,
            x.shape[-2],
            grid=grid,
            paths=paths,
            num_tx_ant=num_tx_ant,
            num_rx_ant=num_rx_ant,
            total_slots=total_slots,
            dtype=x.dtype,
        )
    draws = _fitted(draws, x, places, num_rx_ant)
    options: dict[str, Any] = dict(csi=csi, robust=equalizer == "robust", statistics=statistics)
    if csi.startswith("pilots"):
        weights = _stream_weights(active, joint, real_dtype(x))
        known = know_from_pilots(draws.h_pilots, draws.csi, places, no, weights, interpolation=interpolation, **options)
    else:
        known = know_when_told(draws.h_pilots, draws.csi, places, csi_error_var, **options)
    noise = weighted_sum((standard_deviation(align("no", no, lead, 2, real_dtype(x))), draws.noise))
    receive = link.joint if joint else functools.partial(link.broadcast, power=power)
    output = receive(
        None,
        x,
        no=no,
        block_length=1,
        active=active,
        equalizer=equalizer,
        h=at_places(draws.h, places.element, -3),
        h_hat=known.used,
        h_hat_error_var=known.error_var,
        noise=noise,
    )
    return output._replace(h_hat=known.h_hat)
