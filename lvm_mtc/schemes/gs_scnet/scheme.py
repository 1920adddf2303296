"""Stereo pairs in latents of which the receiver makes 3D Gaussians, seen from the left, the right and half way between.

Each view is a stream of its own. Beside what its own picture says, the latents of a position hold the disparity there,
found once at the transmitter: both ends use it to bring what the other view has to the same place, and the receiver
puts its Gaussians at the depth that it tells. Principal components of 8 x 8 pixels are the linear path beside the
learned branches, which add nothing to it at first.

After the abstract of GS-SCNet, whose text was not at hand: the rules are ours.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_count, require_number, require_one_of
from lvm_mtc.link import Frames, OperatingPoint, Received, Signal
from lvm_mtc.models.patches import unpatchify
from lvm_mtc.models.pca import fit_pca
from lvm_mtc.models.receivers import GAIN_BITS, as_sent, unit_power, wiener
from lvm_mtc.phy.numerics import lift
from lvm_mtc.rendering import Gaussians
from lvm_mtc.rendering.render import DILATION, RENDERERS
from lvm_mtc.schemes.gs_scnet.disparity import canonical, pool
from lvm_mtc.schemes.gs_scnet.lifting import disparity_of, lift_pair, views_of
from lvm_mtc.schemes.gs_scnet.losses import codec_loss, joint_loss, lift_loss
from lvm_mtc.schemes.gs_scnet.network import COARSE, FUSIONS, PATCH, Encoder, Lift, Matching, Pixels, Trunk, to_grid
from lvm_mtc.schemes.losses import IMAGE_LOSSES
from lvm_mtc.schemes.scheme import Estimate, Knob, Sent, Source, Stage

DECODERS = ("gaussians", "pixels")
PLACES = (0.0, 1.0, 0.5)
"""Of the cameras whose views are the estimate: left, right, half way between."""
CAMERA_BITS = 160
"""Of focal lengths, optical centre and baseline, five numbers of 32 bits."""
_GRID = 16
_TINY = 1e-8


@dataclasses.dataclass(frozen=True, kw_only=True)
class GsScnetConfig:
    """Shapes and rules; every field is static under ``jit``.

    Attributes:
        size: Height and width of the views, pixels, multiples of 16.
        features: Width of the networks at a position of 8 x 8 pixels.
        symbols_per_position: Complex symbols of a position of either view.
        fusion: What a view takes from the other one, at both ends: ``"disparity"``: what lies where the disparity
            points; ``"concat"``: what lies at the same place; ``"none"``: nothing.
        max_disparity: Largest disparity that is looked for, pixels, a multiple of 4 below the width.
        decoder: What the receiver makes: ``"gaussians"``, or ``"pixels"``: the two pictures alone.
        density: Pixels of a view from one Gaussian to the next, 1 or 2.
        renderer: ``"tiles"`` or ``"dense"``.
        tile: Side of the renderer's tiles, pixels.
        capacity: Gaussians of a tile at most; those beyond are lost, and counted.
        dilation: Variance of the renderer's low-pass filter, pixels squared.
    """

    size: tuple[int, int] = (64, 64)
    features: int = 64
    symbols_per_position: int = 6
    fusion: str = "disparity"
    max_disparity: int = 16
    decoder: str = "gaussians"
    density: int = 2
    renderer: str = "tiles"
    tile: int = 8
    capacity: int = 256
    dilation: float = DILATION

    def __post_init__(self):
        for field in ("features", "symbols_per_position", "max_disparity", "tile", "capacity"):
            require_count("GsScnetConfig", field, getattr(self, field))
        require_one_of("GsScnetConfig", "fusion", self.fusion, FUSIONS)
        require_one_of("GsScnetConfig", "decoder", self.decoder, DECODERS)
        require_one_of("GsScnetConfig", "density", self.density, (1, 2))
        require_one_of("GsScnetConfig", "renderer", self.renderer, RENDERERS)
        require_number("GsScnetConfig", "dilation", self.dilation, 0.0)
        if len(self.size) != 2 or any(length < _GRID or length % _GRID for length in self.size):
            wanted = f"a height and a width, multiples of {_GRID}"
            raise ValueError(f"GsScnetConfig.size must be {wanted}, got {self.size!r}")
        if self.max_disparity % COARSE or self.max_disparity >= self.size[1]:
            wanted = f"a multiple of {COARSE} below the width {self.size[1]}"
            raise ValueError(f"GsScnetConfig.max_disparity must be {wanted}, got {self.max_disparity}")
        if not 2 * self.symbols_per_position <= 3 * PATCH**2:
            most = 3 * PATCH**2 // 2
            raise ValueError(
                f"GsScnetConfig.symbols_per_position must be at most {most}, got {self.symbols_per_position}"
            )

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of positions."""
        return self.size[0] // PATCH, self.size[1] // PATCH

    @property
    def num_components(self) -> int:
        """Latents of a position that are of the picture; one more is the disparity."""
        return 2 * self.symbols_per_position - 1


class Encoded(NamedTuple):
    """What does not depend on the SNR, in the canonical form of ``disparity.py``.

    Attributes:
        latents: ``[batch, num_uavs, 2, h, w, C]``.
        disparity: Pixels, at a quarter of the scale, ``[batch, num_uavs, 2, H / 4, W / 4]``.
        camera: Focal lengths, optical centre and baseline, ``[batch, num_uavs, 5]``, pixels, and the unit of depth.
    """

    latents: jax.Array
    disparity: jax.Array
    camera: jax.Array


class Side(NamedTuple):
    """What receivers know besides: the ``gain`` of each stream, ``[batch, num_uavs, 2]``, and ``camera``."""

    gain: jax.Array
    camera: jax.Array


class Heard(NamedTuple):
    """What a receiver knows of the views of ``n`` pairs, in the canonical form.

    Attributes:
        features: At half of the scale, ``[n, 2, H / 2, W / 2, width]``.
        pictures: ``[n, 2, H, W, 3]``.
        disparity: As received, pixels, ``[n, 2, h, w]``.
    """

    features: jax.Array
    pictures: jax.Array
    disparity: jax.Array


@dataclasses.dataclass(frozen=True)
class GsScnet:
    """The codec over a link; all UAVs share the parameters, and both decoders stand in them."""

    config: GsScnetConfig
    modality: ClassVar[str] = "stereo"
    knobs: ClassVar[Mapping[str, Knob]] = {}
    reports: ClassVar[tuple[str, ...]] = ()

    def init(self, key: jax.Array, num_uavs: int | None = None) -> dict:
        """Parameters of the networks by name, drawn; ``linear`` knows of no picture, ``receiver`` of no power."""
        c, keys = self.config, jax.random.split(phy.stream_key(key, phy.Stream.INIT), 5)
        views, disparity = jnp.zeros((1, 2, *c.size, 3)), jnp.zeros((1, 2, *c.grid))
        inputs = {
            "matching": (views,),
            "encoder": (views, disparity),
            "trunk": (jnp.zeros((1, 2, *c.grid, c.num_components + 3)), disparity),
            "pixels": (jnp.zeros((1, 2, *c.grid, c.features)), views),
            "lift": (jnp.zeros((1, 2, c.size[0] // 2, c.size[1] // 2, Pixels.width)),),
        }
        networks = {
            name: network.init(its_key, *inputs[name])["params"]
            for its_key, (name, network) in zip(keys, self._networks().items(), strict=True)
        }
        linear = {
            "mean": jnp.full(3 * PATCH**2, 0.45),
            "basis": jnp.eye(3 * PATCH**2, c.num_components),
            "amplitude": jnp.ones(c.num_components),
            "disparity": jnp.array([c.max_disparity / 4, c.max_disparity / 8]),
        }
        return networks | {"linear": linear, "receiver": {"log_power": jnp.zeros(c.num_components + 1)}}

    def _networks(self) -> dict[str, Any]:
        c = self.config
        return {
            "matching": Matching(c.max_disparity),
            "encoder": Encoder(c.features, c.num_components, c.fusion),
            "trunk": Trunk(c.features, c.fusion),
            "pixels": Pixels(),
            "lift": Lift(c.density),
        }

    def _apply(self, params: dict, name: str, *args: jax.Array) -> Any:
        return self._networks()[name].apply({"params": params[name]}, *args)

    def start(self, params: dict, data: Mapping[str, np.ndarray], seed: int) -> dict:
        """As ``Trained.start``: the linear path of training pairs; ``seed`` is not used.

        Args:
            data: ``pictures [n, 2, H, W, 3]`` uint8, and ``disparity [n, 2, H, W]`` float32, pixels.
        """
        c, views = self.config, np.asarray(canonical(jnp.asarray(data["pictures"])))
        pca = fit_pca(np.asarray(to_grid(jnp.asarray(views), PATCH)).reshape(-1, 3 * PATCH**2) / 255.0)
        known = data["disparity"][data["disparity"] > 0]
        spread = np.sqrt(np.maximum(pca.variances[: c.num_components], _TINY))
        scale = 1 / spread.mean()
        linear = {
            "mean": pca.mean,
            "basis": pca.basis[:, : c.num_components],
            "amplitude": np.sqrt(scale / spread),
            "disparity": np.array([known.mean(), known.std()]),
        }
        power = np.log(np.append(scale * spread, 1.0))
        fitted = {"linear": linear, "receiver": {"log_power": power}}
        return params | jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), fitted)

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: a view is one frame."""
        return 2, math.prod(self.config.grid) * self.config.symbols_per_position

    def encode(self, params: dict, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """Disparity and latents; both views by the same functions.

        Raises:
            ValueError: if the views are not of the configured size.
        """
        c, views, lead = self.config, source.data, source.lead()
        wanted = (2, *c.size, 3)
        if views.ndim != 6 or views.shape[2:] != wanted:
            raise ValueError(f"pairs must be [batch, num_uavs, {', '.join(map(str, wanted))}], got {views.shape}")
        views = canonical(jnp.asarray(views).reshape(-1, *wanted))
        disparity = self._apply(params, "matching", views)
        coarse = pool(disparity, PATCH // COARSE)
        learned = self._apply(params, "encoder", views, coarse)
        linear = params["linear"]
        components = (to_grid(views, PATCH) - lift(linear["mean"], views.shape, 0)) @ linear["basis"]
        told = (coarse - linear["disparity"][0]) / linear["disparity"][1]
        latents = components * lift(linear["amplitude"], views.shape, 0) + learned
        latents = jnp.concatenate([latents, told[..., None]], axis=-1)
        camera = jnp.array([c.size[1], c.size[1], c.size[1] / 2, c.size[0] / 2, 1.0])
        latents, disparity = (a.reshape(*lead, *a.shape[1:]) for a in (latents, disparity))
        return Encoded(latents, disparity, jnp.broadcast_to(camera.reshape(1, 1, 5), (*lead, 5)))

    def modulate(self, params: dict, encoded: Encoded, point: OperatingPoint) -> Sent:
        """Symbols of average power 1 over each view; beside them the gains and the camera."""
        lead = encoded.latents.shape[:2]
        latents = encoded.latents.reshape(*lead, 2, -1, encoded.latents.shape[-1])
        symbols, gain = unit_power(phy.features_to_symbols(latents))
        symbols = symbols.reshape(*lead, 2, -1)
        signal = Signal(Frames(symbols, jnp.ones(symbols.shape[:-1], bool)))
        bits = jnp.full(lead[:1], float((CAMERA_BITS + 2 * GAIN_BITS) * lead[1]))
        disparity = encoded.disparity.reshape(-1, *encoded.disparity.shape[2:])
        tells = {"disparity": canonical(disparity).reshape(encoded.disparity.shape)}
        return Sent(signal, Side(as_sent(gain), encoded.camera), bits, tells)

    def decode(self, params: dict, received: Received, side: Side, point: OperatingPoint) -> Estimate:
        """Views left, right and, of Gaussians, half way between, ``[batch, num_uavs, 2 or 3, H, W, 3]``."""
        lead = side.gain.shape[:2]
        if self.config.decoder == "gaussians":
            return self._seen(*self.gaussians(params, received, side), side)
        heard = self._hear(params, received, side)
        seen = canonical(heard.pictures), {"disparity": canonical(heard.disparity)}
        return Estimate(*jax.tree.map(lambda a: a.reshape(*lead, *a.shape[1:]), seen))

    def _seen(self, gaussians: Gaussians, disparity: jax.Array, side: Side) -> Estimate:
        """The views of Gaussians, ``tells`` their disparity and the overflow."""
        lead = side.gain.shape[:2]
        places = jnp.broadcast_to(jnp.array(PLACES).reshape(1, -1), (len(disparity), len(PLACES)))
        views, overflow = self.render(gaussians, places, side)
        seen = views, {"disparity": disparity, "overflow": overflow}
        return Estimate(*jax.tree.map(lambda a: a.reshape(*lead, *a.shape[1:]), seen))

    def gaussians(self, params: dict, received: Received, side: Side) -> tuple[Gaussians, jax.Array]:
        """Gaussians of the ``n = batch num_uavs`` pairs, and their disparity, pixels, ``[n, 2, rows, columns]``."""
        heard = self._hear(params, received, side)
        numbers = self._apply(params, "lift", heard.features)
        disparity = disparity_of(numbers, heard.disparity)
        made = jax.vmap(lift_pair)(numbers, disparity, heard.pictures, side.camera.reshape(-1, 5))
        return made, canonical(disparity)

    def render(self, gaussians: Gaussians, places: jax.Array, side: Side) -> tuple[jax.Array, jax.Array]:
        """What cameras at ``places [n, m]`` see of ``n`` scenes, ``[n, m, H, W, 3]``, and the overflow, ``[n]``.

        The left camera is at 0, the right one at 1.
        """
        c = self.config
        options = dict(renderer=c.renderer, tile=c.tile, capacity=c.capacity, dilation=c.dilation)
        each = functools.partial(views_of, size=c.size, **options)
        return jax.vmap(each)(gaussians, places, side.camera.reshape(-1, 5))

    def _hear(self, params: dict, received: Received, side: Side) -> Heard:
        """Latents as the scalar L-MMSE estimates them, and what the trunk makes of these."""
        c, linear = self.config, params["linear"]
        shape = (-1, 2, math.prod(c.grid), c.symbols_per_position)
        symbols, no_eff = (a.reshape(shape) for a in received)
        gain = side.gain.reshape(-1, 2)
        latents = wiener(symbols, no_eff, gain, jnp.exp(params["receiver"]["log_power"]))
        noise = jnp.mean(no_eff, axis=-1, keepdims=True) / gain[..., None, None] ** 2
        told = latents[..., -1:] * linear["disparity"][1] + linear["disparity"][0]
        told = jnp.clip(told, 0, c.max_disparity)
        scaled = told / c.max_disparity
        grid = (len(gain), 2, *c.grid)
        disparity = told.reshape(grid)
        features = jnp.concatenate([latents, scaled, jnp.log(noise + 1e-3)], axis=-1).reshape(*grid, -1)
        features = self._apply(params, "trunk", features, disparity)
        patches = (latents[..., :-1] / lift(linear["amplitude"], shape, 0)) @ linear["basis"].T
        pictures = unpatchify(patches + lift(linear["mean"], shape, 0), PATCH, c.size)
        pictures, fine = self._apply(params, "pixels", features, pictures)
        return Heard(fine, pictures, disparity)

    def stages(self) -> tuple[Stage, ...]:
        """As ``Scheme.stages``.

        ``codec``: pictures and disparity, end to end; ``lift``: Gaussians of latents without noise; ``joint``: all of
        it, end to end.
        """
        learned = lambda name: not name.startswith("linear/")  # noqa: E731
        pixels = lambda name: not name.startswith(("linear/", "lift/"))  # noqa: E731
        options = {"image_loss": IMAGE_LOSSES, "disparity": 0.1}
        return (
            Stage("codec", codec_loss, pixels, options),
            Stage("lift", lift_loss, learned, options),
            Stage("joint", joint_loss, learned, options | {"pixels": 0.5}),
        )
