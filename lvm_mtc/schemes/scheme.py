"""What a scheme is: it turns a source into a signal, and what is received into an estimate. It never sees a channel."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc.link import LinkConfig, OperatingPoint, Received, Signal

Params = Any
_SLACK = 1e-3  # what resizing may leave beyond [0, 1]
_OF_PICTURES = ("pictures", "clips", "stereo", "classes")  # modalities


class Source(NamedTuple):
    """What K UAVs are to get.

    Attributes:
        data: A pytree of arrays with leading ``[batch, num_uavs]``: pictures ``[height, width, 3]`` float in [0, 1],
            text ``[num_tokens]`` int, clips ``[frames, height, width, 3]``, points ``[num_points, 3]``.
        hints: What only the transmitter knows, by name, leading ``[batch, num_uavs]``: ``"loc"``, the object's box
            ``(x, y, w, h)``, centre, pixels; ``"metric_loc"``, the box that metrics use instead; ``"labels"``.
    """

    data: Any
    hints: Mapping[str, Any] = {}

    def lead(self) -> tuple[int, int]:
        """``(batch, num_uavs)``."""
        return jax.tree.leaves(self.data)[0].shape[:2]


def check_source(name: str, modality: str, data: Any) -> None:
    """Raises ``ValueError`` for pictures, clips or clouds out of their range; values of JAX arrays are not read."""
    if modality in _OF_PICTURES:
        check_pictures(name, data)
    elif modality == "points":
        for leaf in jax.tree.leaves(data):
            farthest = np.linalg.norm(leaf, axis=-1).max() if isinstance(leaf, np.ndarray) and leaf.size else 0.0
            if not farthest <= 1 + _SLACK:
                raise ValueError(f"{name} must be points in the unit ball, the farthest is at {farthest:g}: scale them")


def check_pictures(name: str, data: Any) -> None:
    """Raises ``ValueError`` for pictures that are not floating numbers in [0, 1]; values of JAX arrays are not read."""
    for leaf in jax.tree.leaves(data):
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(f"{name} must be pictures of floating numbers in [0, 1], got {leaf.dtype}: divide by 255")
        if isinstance(leaf, np.ndarray) and leaf.size:
            low, high = float(leaf.min()), float(leaf.max())
            if not (low >= -_SLACK and high <= 1 + _SLACK):
                raise ValueError(f"{name} must be pictures of numbers in [0, 1], got {low:g} ... {high:g}")


def check_link(scheme: "Scheme", link: LinkConfig) -> None:
    """Raises ``ValueError`` for a link that a scheme's receivers have no model for, if it says so (``ChecksLink``)."""
    if isinstance(scheme, ChecksLink):
        scheme.check_link(link)


def square_pictures(source: "Source", side: int) -> jax.Array:
    """The pictures of a source, ``[batch, num_uavs, side, side, 3]``; ``ValueError`` if they are of another shape."""
    images = source.data
    if images.ndim != 5 or images.shape[2:] != (side, side, 3):
        raise ValueError(f"images must be [batch, num_uavs, {side}, {side}, 3], got {images.shape}")
    return images


class Sent(NamedTuple):
    """What goes on air, and beside it.

    Attributes:
        signal: The symbols.
        side: All that the receivers may know besides the symbols, a pytree.
        side_bits: What ``side`` costs, bits, ``[batch]``.
        tells: For losses, metrics and reports, by name; ``decode`` never gets it.
    """

    signal: Signal
    side: Any
    side_bits: jax.Array
    tells: dict[str, jax.Array] = {}


class Estimate(NamedTuple):
    """What the UAVs make of what they received.

    Attributes:
        data: As ``Source.data``; pictures are not clipped, text is scores ``[num_tokens, vocabulary]``.
        tells: For losses and metrics, by name.
    """

    data: Any
    tells: dict[str, jax.Array] = {}


class Knob(NamedTuple):
    """A traced number of a scheme that sweeps may vary by name.

    Attributes:
        default: Where nothing else is asked for.
        low: Smallest value.
        high: Largest value.
        early: ``encode`` reads it; the others are read by ``modulate`` and ``decode`` alone, and points of a sweep that
            differ in them share what ``encode`` gives.
        open: ``low`` and ``high`` themselves are not allowed.
    """

    default: float
    low: float
    high: float
    early: bool = False
    open: bool = False

    def check(self, name: str, value: float) -> None:
        """Raises ``ValueError`` for a value out of range, naming the knob."""
        inside = self.low < value < self.high if self.open else self.low <= value <= self.high
        if not inside:
            low, high = ("(", ")") if self.open else ("[", "]")
            raise ValueError(f"{name} must lie in {low}{self.low:g}, {self.high:g}{high}, got {value!r}")


class Stage(NamedTuple):
    """A step of training.

    Attributes:
        name: Of its folder and on the command line.
        loss: Of (scheme, params, source, key, link, point, weights) to the loss and what is logged, scalars by name.
        trainable: Whether a parameter, ``"a/b/c"``, learns; None: all.
        weights: What a recipe may choose about the loss, name to default: a number, or a tuple of words of which the
            first is the default. ``loss`` gets one value of each.
    """

    name: str
    loss: Callable
    trainable: Callable[[str], bool] | None = None
    weights: Mapping[str, float | tuple[str, ...]] = {}


class Scheme(Protocol):
    """A frozen dataclass, static under ``jit``; its methods are pure.

    Attributes:
        config: Shapes and rules, a frozen dataclass.
        modality: Kind of source, a key of ``metrics.METRICS``.
        knobs: Its traced numbers by name.
        reports: Names of ``Sent.tells``, ``[batch, num_uavs]`` each, whose means stand in a point's row.
    """

    config: Any
    modality: ClassVar[str]
    knobs: ClassVar[Mapping[str, Knob]]
    reports: ClassVar[tuple[str, ...]]

    def init(self, key: jax.Array, num_uavs: int | None = None) -> Params:
        """Draws parameters; ``num_uavs`` where UAVs have parameters of their own."""

    def frames(self) -> tuple[int, int]:
        """Frames of a UAV at most, and complex symbols of a frame: the size of the link's draws."""
        ...

    def encode(self, params: Params, source: Source, key: jax.Array, knobs: Mapping[str, Any]) -> Any:
        """What does not depend on the SNR, once for all points of a sweep.

        Args:
            params: From :meth:`init`.
            source: The source.
            key: One per UAV, ``[num_uavs]``.
            knobs: All of :attr:`knobs`; a number, ``[batch]`` or ``[batch, num_uavs]``.
        """

    def modulate(self, params: Params, encoded: Any, point: OperatingPoint) -> Sent:
        """What is sent at a point: of it the nominal SNR and the knobs are known, never the channel."""
        ...

    def decode(self, params: Params, received: Received, side: Any, point: OperatingPoint) -> Estimate:
        """What the UAVs make of it, knowing the symbols, what was booked, the nominal SNR and the knobs."""
        ...

    def stages(self) -> tuple[Stage, ...]:
        """Steps of training, one after the other; empty: nothing is learned by gradients."""
        ...


@runtime_checkable
class Masking(Protocol):
    """What a scheme offers besides that leaves out patches of pictures, by its knobs ``mask_prob`` and ``epsilon``.

    Attributes:
        scale_aware: P_r follows the object's size.
    """

    scale_aware: bool

    def patches(self) -> tuple[int, int]:
        """Patches of a picture that are sent at most, and all of them."""
        ...

    def with_budget(self, num_kept: int, *, scale_aware: bool) -> Scheme:
        """The scheme that keeps so many patches of each picture."""
        ...


@runtime_checkable
class ChecksLink(Protocol):
    """What a scheme offers besides whose receivers do not have a model of what every link gives them."""

    def check_link(self, link: LinkConfig) -> None:
        """Raises ``ValueError`` for a link that does not do."""
        ...


class Trained(Protocol):
    """What training asks of a scheme besides, by name; it does without what a scheme does not have.

    Attributes:
        per_uav: Names of groups of parameters, ``"encoder"``, whose leading axis is that of the UAVs.
    """

    per_uav: tuple[str, ...]

    def start(self, params: Params, data: Any, seed: int, **options: Any) -> Params:
        """Parameters to begin training with, better than drawn ones.

        Args:
            params: From :meth:`Scheme.init`.
            data: Some of what is trained on; pictures ``[num_pictures, height, width, 3]`` uint8.
            seed: Of what is drawn.
            **options: ``Recipe.start``.
        """

    def to_file(self, params: Params) -> Params:
        """Parameters as weights files hold them, the same for every way in which the scheme may be computed."""

    def from_file(self, params: Params) -> Params:
        """Inverse of :meth:`to_file`."""
