"""From symbols to symbols: what carries frames from the base station to the UAVs (or back), and what that costs.

For example::

    config = LinkConfig(fading="rayleigh", carrier=SingleCarrier(block_length=64))
    draws = draw(config, uav_keys(key, num_uavs), batch, num_frames, num_symbols)
    received, output = send(config, signal, draws, OperatingPoint(snr_db=10.0))
    ledger = book(config, signal)
"""

from lvm_mtc.link.carrier import Carrier, Slots, noise_variance, per_link
from lvm_mtc.link.code import code_of, describe
from lvm_mtc.link.config import LinkConfig
from lvm_mtc.link.fading import error_exponent
from lvm_mtc.link.ledger import Ledger
from lvm_mtc.link.mac import Mac
from lvm_mtc.link.mu_mimo import MuMimo
from lvm_mtc.link.ofdm import Ofdm
from lvm_mtc.link.ranked import RankedStreams
from lvm_mtc.link.recorded import RecordedChannel
from lvm_mtc.link.sampled import OfdmIci, Otfs
from lvm_mtc.link.scene import Scene
from lvm_mtc.link.signal import Frames, OperatingPoint, Received, Signal
from lvm_mtc.link.single_carrier import SingleCarrier
from lvm_mtc.link.transmission import Through, book, draw, measure, send
from lvm_mtc.phy.keys import uav_keys

__all__ = [
    "Carrier", "Frames", "Ledger", "LinkConfig", "Mac", "MuMimo", "Ofdm", "OfdmIci", "OperatingPoint", "Otfs",
    "RankedStreams", "Received", "RecordedChannel", "Scene", "Signal", "SingleCarrier", "Slots", "Through", "book",
    "code_of", "describe", "draw", "error_exponent", "measure", "noise_variance", "per_link", "send", "uav_keys",
]  # fmt: skip
