"""The token system for K UAVs: configuration, chain and bandwidth ledger."""

from lvm_mtc.system.bandwidth import Ledger
from lvm_mtc.system.chain import System, uav_keys
from lvm_mtc.system.channel import draw_slots, send_slots
from lvm_mtc.system.config import Execution, OperatingPoint, PictureCodecConfig, SystemConfig
from lvm_mtc.system.link_config import LinkConfig
from lvm_mtc.system.picture_codec import EncodedPictures, PictureCodecSystem, PictureOutput
from lvm_mtc.system.records import Encoded, Output
from lvm_mtc.system.scale_aware import ScaleAware
from lvm_mtc.system.transmission import Sent, draw_channel

__all__ = [
    "Encoded",
    "EncodedPictures",
    "Execution",
    "Ledger",
    "LinkConfig",
    "OperatingPoint",
    "Output",
    "PictureCodecConfig",
    "PictureCodecSystem",
    "PictureOutput",
    "ScaleAware",
    "Sent",
    "System",
    "SystemConfig",
    "draw_channel",
    "draw_slots",
    "send_slots",
    "uav_keys",
]
