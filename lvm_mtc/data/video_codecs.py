"""x264 and x265 by PyAV (the extra ``video``), for systems that code clip and channel apart.

Low delay: no B frames, no look-ahead, one intra frame at the beginning. Only what is inside the frames is counted: the
stream's headers are the same for all clips of a size. The smallest constant rate factor is taken whose bits fit.

x264 gives the same bits each time; x265 does not, on one thread either.
"""

import functools
import io
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.clips import import_av

CODECS = {"x264": "libx264", "x265": "libx265"}
WORST_CRF = 51
_FRACTIONS = 4
_UNIT = b"\0\0\1"
_NOTE = _UNIT + b"\6"


class EncodedClip(NamedTuple):
    """A group of frames through a codec.

    Attributes:
        num_bits: Of all frames, headers of the stream left out.
        frames: What comes out, ``[frames, height, width, 3]`` uint8.
        crf: The constant rate factor.
    """

    num_bits: int
    frames: np.ndarray
    crf: float


def encode_clip(frames: np.ndarray, codec: str, crf: float) -> EncodedClip:
    """Codes and decodes frames ``[frames, height, width, 3]`` uint8, even sides, with 4:2:0 colours.

    Raises:
        ImportError: without PyAV.
        ValueError: for an unknown codec.
    """
    if codec not in CODECS:
        raise ValueError(f"codec {codec!r} is unknown; known: {', '.join(CODECS)}")
    av = import_av(f"codec {codec!r} is of FFmpeg")
    buffer, bits = io.BytesIO(), 0
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream(CODECS[codec], rate=10)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        stream.options = _options(codec, crf, len(frames))
        images = (av.VideoFrame.from_ndarray(np.ascontiguousarray(f), format="rgb24") for f in frames)
        for image in (*images, None):
            for packet in stream.encode(image):
                bits += 8 * len(_coded(bytes(packet)))
                container.mux(packet)
    buffer.seek(0)
    with av.open(buffer) as container:
        decoded = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    return EncodedClip(bits, decoded, crf)


def _coded(packet: bytes) -> bytes:
    """A packet without the note about encoder and options (an SEI unit) that x264 puts before its first frame."""
    if not packet.startswith(_NOTE):
        return packet
    return packet[packet.index(_UNIT, len(_NOTE)) :]


def _options(codec: str, crf: float, frames: int) -> dict[str, str]:
    common = {"preset": "slow", "tune": "zerolatency", "crf": f"{crf:g}", "g": str(frames), "bf": "0"}
    if codec == "x265":
        rest = f"keyint={frames}:min-keyint={frames}:scenecut=0:repeat-headers=0:info=0:log-level=none:pools=none"
        return common | {"x265-params": rest}
    return common | {"keyint_min": str(frames), "sc_threshold": "0"}


def best_within(frames: np.ndarray, codec: str, num_bits: int) -> EncodedClip | None:
    """The best that fits into ``num_bits``, by bisection over quarters of a rate factor; None where nothing does."""
    at = functools.cache(lambda step: encode_clip(frames, codec, step / _FRACTIONS))
    low, high = 0, WORST_CRF * _FRACTIONS
    if at(high).num_bits > num_bits:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if at(middle).num_bits <= num_bits else (middle, high)
    return at(high)
