"""The menu codec as a scheme: principal components of 16 x 16-pixel patches, each by a code of 0 to 5 real symbols.

Codes and their powers are chosen by the nominal SNR; the receiver takes the posterior mean of each component. All that
is a table that ``experiments/queue/menu.py`` makes and the package ships. A refiner behind it is learned.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal, per_link
from lvm_mtc.models.conditioned import require_windows
from lvm_mtc.models.patches import patchify, unpatchify
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power
from lvm_mtc.models.refiner import REFINERS, TOKEN_SIZE, Refiner
from lvm_mtc.models.weights import SHIPPED
from lvm_mtc.phy.numerics import require_given
from lvm_mtc.schemes.losses import IMAGE_LOSSES, picture_loss
from lvm_mtc.schemes.menu.codes import Codes, posterior, symbols_of
from lvm_mtc.schemes.scheme import Estimate, Knob, Sent, Source, Stage, square_pictures

TABLE = SHIPPED / "menu.npz"
PATCH_SIZE = 16
RATIOS = (256, 128, 64)
"""Complex symbols of a patch for which there are allocations: bandwidth ratios 1/3, 1/6 and 1/12."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MenuConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        image_size: Side of the square pictures, pixels, a multiple of 16.
        num_symbols: Complex symbols of a patch, in ``RATIOS``.
        refiner: Sizes of the network behind the receiver, a name in ``REFINERS``; None: there is none.
    """

    image_size: int = 32
    num_symbols: int = 256
    refiner: str | None = None

    def __post_init__(self):
        require_count("MenuConfig", "image_size", self.image_size)
        if self.num_symbols not in RATIOS:
            raise ValueError(f"MenuConfig.num_symbols must be one of {RATIOS}, got {self.num_symbols!r}")
        if self.image_size % PATCH_SIZE:
            raise ValueError(f"MenuConfig.image_size {self.image_size} is no multiple of {PATCH_SIZE} pixels")
        if self.refiner is not None:
            require_one_of("MenuConfig", "refiner", self.refiner, tuple(REFINERS))
            require_windows("MenuConfig", self.image_size, TOKEN_SIZE * REFINERS[self.refiner].window, self.refiner)


@dataclasses.dataclass(frozen=True)
class Menu:
    """The codec over a link; all UAVs share the parameters.

    Attributes:
        config: Shapes.
    """

    config: MenuConfig
    modality: ClassVar[str] = "pictures"
    knobs: ClassVar[Mapping[str, Any]] = {"margin_db": Knob(0.0, 0.0, 12.0)}
    """``margin_db``: the codes are those for an SNR that is so much lower, for links that may fade."""
    reports: ClassVar[tuple[str, ...]] = ()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """The shipped table, laid out for the configuration, as ``table``; a drawn ``refiner``, if there is one.

        Codes of component i, symbol j at the s-th SNR are ``amplitude[s, i, j]`` and so on, in standard deviations, for
        noise of variance 1 a real symbol; they stand in the frame at ``place[s, i, j]``, one behind the last where
        there is none.
        """
        with np.load(TABLE) as file:
            table = {name: file[name] for name in file.files}
        params = {"table": jax.tree.map(jnp.asarray, lay_out(table, self.config.num_symbols))}
        if self.config.refiner is not None:
            image = jnp.zeros((1, self.config.image_size, self.config.image_size, 3))
            key = phy.stream_key(key, phy.Stream.INIT)
            params["refiner"] = self._refiner.init(key, image, image, jnp.zeros(1))["params"]
        return params

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: patches, and the symbols of one."""
        return (self.config.image_size // PATCH_SIZE) ** 2, self.config.num_symbols

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> jax.Array:
        """Components in standard deviations, ``[batch, num_uavs, num_patches, M]``.

        Raises:
            ValueError: if the pictures are not of the configured size.
        """
        images = square_pictures(source, self.config.image_size)
        table = params["table"]
        centred = patchify(images, PATCH_SIZE) - table["mean"].reshape(1, 1, 1, -1)
        return centred @ table["basis"] / table["deviation"].reshape(1, 1, 1, -1)

    def modulate(self, params: dict, encoded: jax.Array, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each picture; beside them its gain."""
        lead = encoded.shape[:2]
        codes, place = _codes(params["table"], point, lead)
        symbols = symbols_of(encoded, Codes(*(a[:, :, None] for a in codes)))
        frame = _put(symbols, place, 2 * self.config.num_symbols)
        symbols, gain = unit_power(phy.features_to_symbols(frame))
        signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        return Sent(signal, as_sent(gain), jnp.full(lead[:1], float(GAIN_BITS * lead[1])))

    def decode(self, params: dict, received: Received, side: jax.Array, point: OperatingPoint) -> Estimate:
        """Pictures from the symbols, their variances, and the pictures' gains ``side [batch, num_uavs]``."""
        codes, place = _codes(params["table"], point, received.symbols.shape[:2])
        gain = side[..., None, None]
        frame = phy.symbols_to_features(received.symbols) / gain
        noise = jnp.repeat(received.no_eff, 2, axis=-1) / 2 / gain**2
        inputs = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), (frame, noise, codes, place))
        images, deviation = _paint(params["table"], *inputs, image_size=self.config.image_size)
        if self.config.refiner is not None:
            images, deviation = jax.lax.stop_gradient((images, deviation))
            snr_db = per_link(point.snr_db, frame.shape[:2]).reshape(-1)
            images = jnp.asarray(self._refiner.apply({"params": params["refiner"]}, images, deviation, snr_db))
        return Estimate(images.reshape(*frame.shape[:2], *images.shape[1:]))

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``: the refiner's, if there is one."""
        if self.config.refiner is None:
            return ()
        return (Stage("refiner", picture_loss, _of_refiner, weights={"image_loss": IMAGE_LOSSES}),)

    @property
    def _refiner(self) -> Refiner:
        return Refiner(REFINERS[require_given("MenuConfig.refiner", self.config.refiner)])


def _of_refiner(name: str) -> bool:
    return name.startswith("refiner/")


def _codes(table: dict, point: OperatingPoint, lead: tuple[int, ...]) -> tuple[Codes, jax.Array]:
    """Codes ``[batch, num_uavs, M, J]``, and their places, of the SNR in the table nearest to what is asked for."""
    asked = per_link(point.snr_db, lead) - per_link(point.knobs["margin_db"], lead)
    known = table["snr_db"]
    nearest = jnp.clip(jnp.round(asked - known[0]), 0, len(known) - 1).astype(jnp.int32)
    return Codes(*(table[name][nearest] for name in Codes._fields)), table["place"][nearest]


def _paint(table: dict, frame, noise, codes, place, image_size: int) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation of each pixel, ``[pictures, height, width, 3]``, picture after picture.

    Args:
        table: The parameters' ``table``.
        frame: Real symbols, ``[pictures, patches, 2C]``.
        noise: Their variances, same shape.
        codes: ``[pictures, M, J]``.
        place: Where in a frame their symbols are, same shape.
        image_size: Side of a picture, pixels.
    """
    log_prior = table["log_prior"][table["band"]]

    def of_patch(frame, noise, codes, place):
        symbols = jnp.pad(frame, (0, 1))[place]
        variance = jnp.pad(noise, (0, 1), constant_values=jnp.inf)[place]
        return posterior(symbols, variance, codes, table["grid"], log_prior)

    def of_picture(inputs):
        return jax.vmap(of_patch, in_axes=(0, 0, None, None))(*inputs)

    components, variance = jax.lax.map(of_picture, (frame, noise, codes, place))
    deviation = table["deviation"].reshape(1, 1, -1)
    mean = (components * deviation) @ table["basis"].T + table["mean"].reshape(1, 1, -1)
    variance = (variance * deviation**2) @ (table["basis"] ** 2).T + table["rest"].reshape(1, 1, -1)
    mean, deviation = (unpatchify(a, PATCH_SIZE, (image_size,) * 2) for a in (mean, jnp.sqrt(variance)))
    return mean, deviation


def lay_out(table: Mapping[str, np.ndarray], num_symbols: int) -> dict[str, np.ndarray]:
    """A fitted table as the codec's parameters.

    Args:
        table: Arrays of ``experiments/queue/menu.py``.
        num_symbols: Complex symbols of a patch.
    """
    count, power = (np.asarray(table[f"{name}_{num_symbols}"], np.int64) for name in ("count", "power"))
    used = int(np.flatnonzero(count.any(0)).max()) + 1
    count, power, band = count[:, :used], power[:, :used], np.asarray(table["band"][:used], np.int64)
    order = np.arange(table["amplitude"].shape[-1])
    sent = order < count[..., None]
    number = np.maximum(count, 1) - 1
    shape = {name: table[name][number, power] for name in ("period", "phase")}
    amplitude = np.where(sent, table["amplitude"][band[None], number, power], 0)
    place = np.where(sent, np.cumsum(sent.reshape(len(sent), -1), 1).reshape(sent.shape) - 1, 2 * num_symbols)
    kept = dict(mean=table["mean"], basis=table["basis"][:, :used], deviation=np.sqrt(table["variance"][:used]))
    dropped = np.float32(table["basis"][:, used:]) ** 2 @ table["variance"][used:]
    kept["rest"] = dropped + 1e-8  # variance of each pixel that no component carries
    kept |= {name: table[name] for name in ("grid", "log_prior", "snr_db")}
    laid = dict(amplitude=amplitude, **shape, **kept)
    whole = {name: np.asarray(a, np.int32) for name, a in dict(place=place, band=band).items()}
    return {name: np.asarray(a, np.float32) for name, a in laid.items()} | whole


def _put(symbols: jax.Array, place: jax.Array, size: int) -> jax.Array:
    """Symbols ``[batch, num_uavs, patches, M, J]`` at their places ``[batch, num_uavs, M, J]`` in frames of a size."""

    def of_picture(symbols, place):
        frames = jnp.zeros((symbols.shape[0], size + 1))
        return frames.at[:, place.reshape(-1)].set(symbols.reshape(symbols.shape[0], -1))[:, :size]

    return jax.vmap(jax.vmap(of_picture))(symbols, place)
