"""Pictures of any size with a codec for one size: tile after tile over the same link, or whole where the codec can.

A picture is mirrored at its right and lower edge up to whole tiles. Every tile is to the codec a picture of its own,
with masks, gain and power of its own, and its frames follow those of the tile before: one picture, one link, and a
channel that changes between blocks of slots, not between tiles. What is mirrored is cut off again. Pictures that are
smaller than the largest one, told by the hint ``"extent"``, leave out the tiles that they do not reach.

A codec that takes pictures of other sizes itself says so with ``multiple``, pixels of which its sides are multiples,
and ``with_size``: its one tile is the picture, where all pictures are of one size.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from lvm_mtc.config import require_count
from lvm_mtc.link import Frames, LinkConfig, OperatingPoint, Received, Signal
from lvm_mtc.models.tiles import boxes_in_tiles, cut_tiles, join_tiles, mirrored
from lvm_mtc.schemes import name_of
from lvm_mtc.schemes.scheme import Estimate, Knob, Masking, Params, Scheme, Sent, Source, check_link

SIZE_BITS = 32
"""Height and width of a picture, 16 bits each, told to its receiver."""


@runtime_checkable
class AnySize(Protocol):
    """What a scheme offers besides that takes pictures of any size, with the same parameters.

    Attributes:
        multiple: Pixels of which height and width must be multiples.
    """

    multiple: int

    def with_size(self, height: int, width: int) -> Scheme:
        """The scheme for pictures of this size."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True)
class TiledConfig:
    """Shapes; every field is static under ``jit``.

    Attributes:
        codec: Name of the scheme that sends the tiles.
        height: Of the largest picture, pixels.
        width: Likewise.
        tiles_at_once: Tiles that go through the codec together. It bounds the memory.
    """

    codec: str
    height: int
    width: int
    tiles_at_once: int = 16

    def __post_init__(self):
        for field in ("height", "width", "tiles_at_once"):
            require_count("TiledConfig", field, getattr(self, field))


class Encoded(NamedTuple):
    """What the codec makes of each tile, leading axis ``batch * num_tiles``; extents; and which tiles hold an object.

    ``extent`` is the hint or None, ``holds`` ``[batch, num_tiles, num_uavs]`` bool or None.
    """

    tiles: Any
    extent: jax.Array | None
    holds: jax.Array | None


@dataclasses.dataclass(frozen=True)
class Tiled:
    """A scheme for pictures of one size, on pictures of any size; parameters are the scheme's.

    Attributes:
        scheme: Sends a tile.
        tile: Its height and width, pixels.
    """

    config: TiledConfig
    scheme: Scheme
    tile: tuple[int, int]
    modality: ClassVar[str] = "pictures"

    @property
    def knobs(self) -> Mapping[str, Knob]:
        """As ``Scheme.knobs``: the codec's."""
        return self.scheme.knobs

    @property
    def reports(self) -> tuple[str, ...]:
        """As ``Scheme.reports``: the codec's, means over tiles; of an object's inside, over those that hold some."""
        return self.scheme.reports

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        (height, width), c = self.tile, self.config
        return -(-c.height // height), -(-c.width // width)

    @property
    def padding(self) -> tuple[int, int]:
        """Rows and columns of pixels that are mirrored to fill the tiles of the largest picture."""
        (rows, columns), (height, width), c = self.grid, self.tile, self.config
        return rows * height - c.height, columns * width - c.width

    def init(self, key: jax.Array, num_uavs: int | None = None) -> Params:
        """As ``Scheme.init``: the codec's."""
        return self.scheme.init(key, num_uavs)

    def frames(self) -> tuple[int, int]:
        """As ``Scheme.frames``: those of all tiles."""
        num_frames, num_symbols = self.scheme.frames()
        return self._num_tiles * num_frames, num_symbols

    def check_link(self, link: LinkConfig) -> None:
        """As the codec does."""
        check_link(self.scheme, link)

    def encode(self, params: Params, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Encoded:
        """As ``Scheme.encode``; every tile has keys of its own.

        Args:
            params: The codec's.
            source: Pictures ``[batch, num_uavs, height, width, 3]``; of the hints ``"loc"`` is cut into tiles and
                ``"extent"``, ``[batch, num_uavs, 2]`` int, is the height and width that each picture really has.
            key: One per UAV.
            knobs: As ``Scheme.encode``.

        Raises:
            ValueError: if the pictures are not of the configured size.
        """
        c, batch = self.config, source.lead()[0]
        if source.data.ndim != 5 or source.data.shape[2:] != (c.height, c.width, 3):
            wanted = f"[batch, num_uavs, {c.height}, {c.width}, 3]"
            raise ValueError(f"images must be {wanted}, got {source.data.shape}")
        tiles = cut_tiles(source.data, self.tile)
        hints, holds = {}, None
        if "loc" in source.hints:
            hints["loc"] = boxes_in_tiles(source.hints["loc"], self.grid, self.tile)
            holds = hints["loc"][..., 2:].min(axis=-1) > 0
        keys = jnp.swapaxes(jax.vmap(lambda one: jax.random.split(one, batch * self._num_tiles))(key), 0, 1)

        def encode_one(tile, hints, key, knobs):
            return self.scheme.encode(params, Source(tile[None], {n: v[None] for n, v in hints.items()}), key, knobs)

        flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), (tiles, hints))
        each = self._each(encode_one, *flat, keys, self._spread(knobs, batch))
        return Encoded(each, source.hints.get("extent"), holds)

    def modulate(self, params: Params, encoded: Encoded, point: OperatingPoint) -> Sent:
        """As ``Scheme.modulate``; tells of the codec's what it reports, and which pixels were not sent."""
        batch = jax.tree.leaves(encoded.tiles)[0].shape[0] // self._num_tiles

        def modulate_one(tile, point):
            return self.scheme.modulate(params, tile, point)

        sent = self._each(modulate_one, encoded.tiles, self._spread(point, batch))
        present = self._present(encoded.extent, sent.signal.private.sent.shape[2], batch)
        of_group = present.any(axis=-1)
        bits = jnp.where(of_group, sent.side_bits.reshape(batch, -1), 0).sum(axis=-1)
        tells = {}
        for name in self.scheme.reports:
            counts = present & encoded.holds if "inside" in name and encoded.holds is not None else present
            values = sent.tells[name].reshape(present.shape)
            tells[name] = jnp.nanmean(jnp.where(counts, values, jnp.nan), axis=1)
        if "removed" in sent.tells:
            tells["removed"] = self._joined(sent.tells["removed"][..., None], batch)[..., 0]
        signal = self._signal(sent.signal, present)
        return Sent(signal, (sent.side, encoded.extent), bits + SIZE_BITS * present.shape[-1], tells)

    def decode(self, params: Params, received: Received, side: Any, point: OperatingPoint) -> Estimate:
        """As ``Scheme.decode``. Beyond a picture's extent stands its mirror image, as it does in the source."""
        side, extent = side
        batch, num_uavs, num_frames, num_symbols = received.symbols.shape

        def of_tiles(a):
            a = a.reshape(batch, num_uavs, self._num_tiles, -1, num_symbols)
            return jnp.swapaxes(a, 1, 2).reshape(-1, 1, num_uavs, num_frames // self._num_tiles, num_symbols)

        def decode_one(received, side, point):
            return self.scheme.decode(params, received, side, point).data

        tiles = self._each(decode_one, Received(*map(of_tiles, received)), side, self._spread(point, batch))
        images = self._joined(tiles, batch)
        return Estimate(images if extent is None else mirrored(images, extent))

    def stages(self) -> tuple:
        """As ``Scheme.stages``: none; the codec is trained on pictures of its own size."""
        return ()

    @property
    def _num_tiles(self) -> int:
        rows, columns = self.grid
        return rows * columns

    def _each(self, function: Callable, *trees: Any) -> Any:
        """A function of one tile on all, few at a time; the last portion is padded."""
        (leaf, *_), at_once = jax.tree.leaves(trees), self.config.tiles_at_once
        count = leaf.shape[0]
        portions = -(-count // at_once)
        at_once = -(-count // portions)
        place = jnp.minimum(jnp.arange(portions * at_once), count - 1).reshape(portions, at_once)
        given = jax.tree.map(lambda a: a[place], trees)
        done = jax.lax.map(lambda portion: jax.vmap(function)(*portion), given)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], done)

    def _spread(self, numbers: Any, batch: int) -> Any:
        """Numbers of a point, scalar, ``[batch]`` or ``[batch, num_uavs]``, for every tile as a picture of its own."""
        count = self._num_tiles

        def spread(value):
            value = jnp.asarray(value, jnp.float32)
            if value.ndim == 0:
                return jnp.broadcast_to(value, (batch * count,))
            return jnp.repeat(value, count, axis=0)[:, None]

        return jax.tree.map(spread, numbers)

    def _present(self, extent: jax.Array | None, num_uavs: int, batch: int) -> jax.Array:
        """Which tiles hold pixels of a picture, ``[batch, num_tiles, num_uavs]`` bool."""
        if extent is None:
            return jnp.ones((batch, self._num_tiles, num_uavs), bool)
        row, column = jnp.divmod(jnp.arange(self._num_tiles), self.grid[1])
        corner = jnp.stack([row * self.tile[0], column * self.tile[1]], axis=-1)
        return (corner[None, :, None] < extent[:, None]).all(axis=-1)

    def _signal(self, signal: Signal, present: jax.Array) -> Signal:
        """Signals of tiles, ``[batch * num_tiles, 1, ...]``, one behind the other; absent tiles are not sent."""
        batch, count, num_uavs = present.shape
        num_frames = signal.private.sent.shape[-1]

        def private(a):
            a = jnp.swapaxes(a.reshape(batch, count, num_uavs, *a.shape[3:]), 1, 2)
            return a.reshape(batch, num_uavs, count * num_frames, *a.shape[4:])

        def public(a):
            return a.reshape(batch, count * num_frames, *a.shape[3:])

        here = jnp.repeat(jnp.swapaxes(present, 1, 2), num_frames, axis=-1)
        common, soft, turns = signal.public, signal.soft, signal.turns
        if common is not None:
            common = Frames(public(common.symbols), public(common.sent) & here.any(axis=1))
        if turns is not None:
            first = num_frames * jnp.tile(jnp.arange(count), batch)
            turns = private(turns + first.reshape(-1, 1, 1, 1))
        return Signal(
            Frames(private(signal.private.symbols), private(signal.private.sent) & here),
            common,
            None if signal.audience is None else private(signal.audience),
            None if soft is None else public(soft) * here.any(axis=1),
            turns,
            None if signal.power is None else private(signal.power),
        )

    def _joined(self, tiles: jax.Array, batch: int) -> jax.Array:
        """Pictures ``[batch, num_uavs, height, width, channels]`` from ``[batch * num_tiles, 1, num_uavs, ...]``."""
        tiles = tiles.reshape(batch, self._num_tiles, *tiles.shape[2:])
        return join_tiles(tiles, self.grid)[:, :, : self.config.height, : self.config.width]


class TiledMasking(Tiled):
    """The same of a scheme that leaves out patches: ``Masking``."""

    scheme: Any

    @property
    def scale_aware(self) -> bool:
        """As ``Masking.scale_aware``."""
        return self.scheme.scale_aware

    def patches(self) -> tuple[int, int]:
        """As ``Masking.patches``: of all tiles."""
        kept, every = self.scheme.patches()
        return self._num_tiles * kept, self._num_tiles * every

    def with_budget(self, num_kept: int, *, scale_aware: bool) -> Tiled:
        """As ``Masking.with_budget``; every tile keeps the same share."""
        return tiled(self.scheme.with_budget(num_kept // self._num_tiles, scale_aware=scale_aware), *self._size)

    @property
    def _size(self) -> tuple[int, int]:
        return self.config.height, self.config.width


def tiled(scheme: Scheme, height: int, width: int, *, several: bool = False) -> Tiled:
    """A scheme for pictures of ``height`` x ``width`` pixels or less.

    Args:
        scheme: Of square pictures, ``config.image_size``.
        height: Of the largest picture.
        width: Likewise.
        several: Some pictures are smaller. All codecs then send tiles, of which a small picture has few: taken whole it
            would cost as much as the largest one.

    Raises:
        ValueError: for a scheme without such a size, or one whose P_r follows the object's share of the picture, which
            a tile does not know.
    """
    side, name = getattr(scheme.config, "image_size", None), name_of(scheme)
    if scheme.modality != "pictures" or not isinstance(side, int):
        raise ValueError(f"scheme {name!r} has no size of pictures, so there are no tiles of it")
    if getattr(scheme, "scale_aware", False):
        raise ValueError("scale_aware: P_r follows the object's share of the picture, which tiles do not know")
    config, tile = TiledConfig(codec=name, height=height, width=width), (side, side)
    if isinstance(scheme, AnySize) and not several:
        multiple = scheme.multiple
        tile = -(-height // multiple) * multiple, -(-width // multiple) * multiple
        scheme = scheme.with_size(*tile)
    return (TiledMasking if isinstance(scheme, Masking) else Tiled)(config, scheme, tile)
