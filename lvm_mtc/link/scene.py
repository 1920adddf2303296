"""UAVs at positions around a base station: each has the SNR, the K factor and the Doppler shift of its place."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lvm_mtc import phy
from lvm_mtc.config import require_number, require_one_of
from lvm_mtc.link.carrier import ChannelDraws, Link, Slots, of_carrier, per_link
from lvm_mtc.link.ledger import Ledger
from lvm_mtc.link.signal import OperatingPoint, Sight
from lvm_mtc.link.single_carrier import SingleCarrier

Place = tuple[float, float, float]


class SceneDraws(NamedTuple):
    """Draws of the carrier within, and of each UAV ``[batch, num_uavs]`` its SNR above the scene's, dB, and Hz."""

    within: ChannelDraws
    gain_db: jax.Array
    max_doppler: jax.Array


def _places(name: str, places: Any) -> tuple[Place, ...]:
    if np.ndim(places) != 2 or np.shape(places)[1] != 3:
        raise ValueError(f"Scene.{name} must be a list of [x, y, z], got {places!r}")
    for i, place in enumerate(places):
        for value in place:
            require_number("Scene", f"{name}[{i}]", value)
    return tuple((float(x), float(y), float(z)) for x, y, z in places)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scene:
    """A carrier to UAVs at known places, over the air-to-ground link of TR 36.777 (``phy.air_to_ground``).

    ``snr_db`` of a point is what the UAVs have on average, in dB, in line of sight and without shadowing; the own one
    of each lies above or below it by its path loss, its state of the line of sight and its shadowing, which are drawn
    anew for every group of pictures and channel realisation. :meth:`snr_db` says what a transmit power gives. Under
    Rician fading the K factor is that of the place; over resource grids UAVs that fly have a Doppler shift. K UAVs take
    the first K places.

    Lines of sight of Rician fading have angles and phases at random. With ``line_of_sight="geometric"`` they are those
    of the places (``phy.geometric_line_of_sight``): the phase -2 pi d / wavelength of the distance of each pair of
    antennas, line arrays along y half a wavelength apart; over resource grids they turn with the Doppler shift of the
    velocity along the line of sight, on a single carrier they stand still.

    Attributes:
        positions: Metres around the base station, z above ground, in [1.5, 300] m.
        carrier: What carries the symbols, of topology ``"broadcast"``.
        scenario: ``"RMa-AV"``, ``"UMa-AV"`` or ``"UMi-AV"``.
        carrier_frequency: Hz, of the air-to-ground link.
        velocity: Of each UAV, m/s; None: they hover.
        bs_position: Of the base station, metres; None: the scenario's height at (0, 0).
        shadowing: False leaves it out.
        spatial_consistency: Near UAVs have alike shadowing and states of the line of sight.
        line_of_sight: ``"drawn"`` or ``"geometric"``, of Rician fading.
    """

    positions: tuple[Place, ...]
    carrier: Any = SingleCarrier()
    scenario: str = "UMa-AV"
    carrier_frequency: float = 3.5e9
    velocity: tuple[Place, ...] | None = None
    bs_position: Place | None = None
    shadowing: bool = True
    spatial_consistency: bool = True
    line_of_sight: str = "drawn"

    topology = of_carrier("topology", "broadcast")
    takes_power = of_carrier("takes_power", False)
    private_only = of_carrier("private_only", False)
    block_length = of_carrier("block_length", None)
    num_pilots = of_carrier("num_pilots", None)
    grid = of_carrier("grid", None)

    def __post_init__(self):
        object.__setattr__(self, "positions", _places("positions", self.positions))
        if self.velocity is not None:
            object.__setattr__(self, "velocity", _places("velocity", self.velocity))
            if len(self.velocity) != len(self.positions):
                raise ValueError(f"Scene.velocity has {len(self.velocity)} entries for {len(self.positions)} positions")
        if self.bs_position is not None:
            object.__setattr__(self, "bs_position", _places("bs_position", (self.bs_position,))[0])
        require_one_of("Scene", "scenario", self.scenario, tuple(phy.SCENARIOS))
        require_one_of("Scene", "line_of_sight", self.line_of_sight, ("drawn", "geometric"))
        require_number("Scene", "carrier_frequency", self.carrier_frequency, 0.5e9, most=100e9)
        try:
            jax.eval_shape(lambda: self._line_of_sight(len(self.positions)))
        except ValueError as error:
            raise ValueError(f"Scene: {error}") from error

    def check(self, link: Link) -> None:
        """As ``Carrier.check``."""
        if self.topology != "broadcast":
            raise ValueError(f"Scene: UAVs with SNRs of their own need topology 'broadcast', got {self.topology!r}")
        if self.line_of_sight == "geometric":
            if link.fading != "rician":
                raise ValueError(f"Scene.line_of_sight 'geometric' is of fading 'rician', not {link.fading!r}")
            if getattr(self.carrier, "block_doppler", None) is not None:
                raise ValueError(
                    "Scene.line_of_sight 'geometric' needs to know how long a block is: leave out "
                    f"SingleCarrier.block_doppler {self.carrier.block_doppler!r}, or take a resource grid"
                )
        self.carrier.check(self._within(link))

    def draw(
        self, link: Link, keys: jax.Array, batch: int, num_slots: int, total_slots: int, point: OperatingPoint
    ) -> SceneDraws:
        """As ``Carrier.draw``: the scenes of the groups are independent."""
        num_uavs = keys.shape[0]
        if num_uavs > len(self.positions):
            raise ValueError(f"Scene.positions are {len(self.positions)} places, and there are {num_uavs} UAVs")
        # The key of a UAV serves its fading, and the first one's, in streams of its own, the scene.
        air = jax.vmap(lambda key: self._air(num_uavs, key))(jax.random.split(keys[0], batch))
        gain_db = jnp.mean(self._line_of_sight(num_uavs).path_loss_db) - air.path_loss_db - air.shadowing_db
        own = self._own(link, point, air.k_factor_db, air.max_doppler)
        if self.line_of_sight == "geometric":
            own = own._replace(sight=self.sight(batch, num_uavs))
        within = self.carrier.draw(self._within(link), jax.random.clone(keys), batch, num_slots, total_slots, own)
        return SceneDraws(within, gain_db, air.max_doppler)

    def send(self, link: Link, slots: Slots, draws: SceneDraws, point: OperatingPoint) -> phy.LinkOutput:
        """As ``Carrier.send``; the channel is not told, for one SNR is not measured where each UAV has its own."""
        snr_db = per_link(point.snr_db, draws.gain_db.shape) + draws.gain_db
        own = self._own(link, point._replace(snr_db=snr_db), None, draws.max_doppler)
        return self.carrier.send(self._within(link), slots, draws.within, own)._replace(h=None, y=None)

    def book(self, link: Link, ledger: Ledger, num_uavs: int) -> Ledger:
        """As ``Carrier.book``."""
        return self.carrier.book(self._within(link), ledger, num_uavs)

    def snr_db(
        self, tx_power_dbm: float, bandwidth: float, noise_figure_db: float, num_uavs: int | None = None
    ) -> float:
        """The ``snr_db`` of a point, under ``"rx_per_antenna"``, that a base station's transmit power gives.

        Args:
            tx_power_dbm: Over all antennas.
            bandwidth: Hz.
            noise_figure_db: Of the UAVs' receivers.
            num_uavs: How many of the places; None: all.
        """
        loss = self._line_of_sight(len(self.positions) if num_uavs is None else num_uavs).path_loss_db
        return float(tx_power_dbm - jnp.mean(loss) - phy.thermal_noise_dbm(bandwidth, noise_figure_db))

    def level_db(self, num_uavs: int) -> np.ndarray:
        """SNR of each UAV above a point's ``snr_db``, in line of sight and without shadowing, dB, ``[num_uavs]``."""
        loss = self._line_of_sight(num_uavs).path_loss_db
        return np.asarray(jnp.mean(loss) - loss)

    def sight(self, batch: int, num_uavs: int) -> Sight:
        """Where the UAVs are and how they fly, in wavelengths, ``[batch, num_uavs, 3]`` each."""
        base = self.bs_position or (0.0, 0.0, phy.SCENARIOS[self.scenario].bs_height)
        wavelength = phy.SPEED_OF_LIGHT / self.carrier_frequency
        apart = np.asarray(self.positions[:num_uavs]) - np.asarray(base)
        velocity = np.zeros_like(apart) if self.velocity is None else np.asarray(self.velocity[:num_uavs])
        return Sight(*(jnp.broadcast_to(jnp.float32(a / wavelength), (batch, num_uavs, 3)) for a in (apart, velocity)))

    def _within(self, link: Link) -> Link:
        return dataclasses.replace(link, carrier=self.carrier)

    def _own(self, link: Link, point: OperatingPoint, k_factor_db: Any, max_doppler: jax.Array) -> OperatingPoint:
        """The point with what a UAV has from its place, where the point does not say otherwise."""
        if link.fading == "rician" and point.k_factor_db is None:
            point = point._replace(k_factor_db=k_factor_db)
        if self.grid is not None and self.velocity is not None and point.max_doppler is None:
            point = point._replace(max_doppler=max_doppler)
        return point

    def _air(self, num_uavs: int, key: jax.Array | None, **states: Any) -> phy.AirToGround:
        velocity = None if self.velocity is None else np.asarray(self.velocity[:num_uavs], np.float32)
        bs_position = None if self.bs_position is None else np.asarray(self.bs_position, np.float32)
        budget = dict(tx_power_dbm=0.0, bandwidth=1.0, noise_figure_db=0.0)  # only losses are looked at
        places = np.asarray(self.positions[:num_uavs], np.float32)
        return phy.air_to_ground(
            key, places, scenario=self.scenario, carrier_frequency=self.carrier_frequency, velocity=velocity,
            bs_position=bs_position, **budget,
            **{"shadowing": self.shadowing, "spatial_consistency": self.spatial_consistency} | states,
        )  # fmt: skip

    def _line_of_sight(self, num_uavs: int) -> phy.AirToGround:
        return self._air(num_uavs, None, los=True, shadowing=False, spatial_consistency=False)
