"""JPEG, WebP, AVIF and HEIC with only the payload counted, for systems that code picture and channel apart.

What a file says in its header is the same for every picture of a size and needs no bit: both ends hold the header as a
template. Counted are

* ``jpeg``: the entropy-coded scan, and one byte for the setting that the decoder's quantisation tables depend on. The
  Huffman tables are the standard's (ITU-T T.81, annex K.3), baseline. Settings: qualities 1 to 100, each with chroma at
  half the resolution (4:2:0, better at low rates) and at the full one (4:4:4, better at high rates).
* ``webp``: the data of the ``VP8`` chunk, which names its own quantiser. Lossy, slowest method, 4:2:0 as always;
  qualities 0 to 100.
* ``avif``: the data of the AV1 image item, which names its own quantiser. 4:4:4, tuned for PSNR, at speed 4 of 0 to 10:
  half a dB better than the encoder's default speed 6 at four times its time. Settings: the 64 qualities whose
  quantisers differ.
* ``heic``: the coded picture of the HEVC image item, one NAL unit, which names its own quantiser; its length is that of
  the payload, and the parameter sets stand in the header. Intra coding of HEVC, as in BPG, for which it stands. By x265
  (extra ``heic``), 4:4:4, tuned for PSNR, in one thread without its break of the contexts at every row of blocks.
  Chroma's quantiser is one step finer than luma's and not x265's six steps coarser, which counts in RGB: 0.6 dB.
  Settings: the 48 qualities whose quantisers differ.

Sizes do not rise steadily with the quality. A table of all settings is made once per picture and kept, and the best
setting within a budget is the one of least squared error; where two are equal, the smaller.
"""

import bisect
import functools
import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

# An encoding without loss has an infinite PSNR, and then no mean over pictures exists. Its error counts as that of
# rounding to 8 bits, one twelfth of a level squared.
LOSSLESS_PSNR_DB = float(10 * np.log10(12 * 255**2))

_TABLES_KEPT = 4096  # pictures; about 300 kB each


class Encoded(NamedTuple):
    """One picture through one codec.

    Attributes:
        payload: What has to be sent.
        picture: What comes out of it, ``[H, W, 3]`` uint8.
        setting: Index into the codec's settings.
    """

    payload: bytes
    picture: np.ndarray
    setting: int


class RateTable(NamedTuple):
    """What each of the S settings of a codec makes of a picture.

    Attributes:
        payload_bits: ``[S]`` int64.
        mse: Mean squared error for pixels in [0, 1], ``[S]``.
        payloads: The S payloads.
    """

    payload_bits: np.ndarray
    mse: np.ndarray
    payloads: tuple[bytes, ...]


class FileFormat(NamedTuple):
    """How a codec of Pillow is driven, and how its files come apart.

    Attributes:
        file_format: Pillow's name.
        settings: Options of Pillow's encoder, one mapping a setting.
        split: From a file and its setting to the payload.
        join: From a payload and another picture's file of the same setting to the file.
        setting_of: From a payload to the setting whose header the decoder needs.
    """

    file_format: str
    settings: tuple[dict[str, Any], ...]
    split: Callable[[bytes, int], bytes]
    join: Callable[[bytes, bytes], bytes]
    setting_of: Callable[[bytes], int]


def _end_of_jpeg_header(file: bytes) -> int:
    """Where the scan begins: behind the start-of-scan segment."""
    position = 2
    while True:
        marker, length = file[position + 1], int.from_bytes(file[position + 2 : position + 4], "big")
        position += 2 + length
        if marker == 0xDA:
            return position


def _split_jpeg(file: bytes, setting: int) -> bytes:
    return bytes([setting]) + file[_end_of_jpeg_header(file) : -2]


def _join_jpeg(payload: bytes, template: bytes) -> bytes:
    return template[: _end_of_jpeg_header(template)] + payload[1:] + template[-2:]


def _split_webp(file: bytes, setting: int) -> bytes:
    return file[20 : 20 + int.from_bytes(file[16:20], "little")]


def _join_webp(payload: bytes, template: bytes) -> bytes:
    chunk = template[12:16] + len(payload).to_bytes(4, "little") + payload + bytes(len(payload) % 2)
    return template[:4] + (4 + len(chunk)).to_bytes(4, "little") + template[8:12] + chunk


def _split_avif(file: bytes, setting: int) -> bytes:
    return file[file.index(b"mdat") + 4 :]


def _join_avif(payload: bytes, template: bytes) -> bytes:
    return _with_item(template, payload, base_offset_bytes=0)


def _split_heic(file: bytes, setting: int) -> bytes:
    return file[file.index(b"mdat") + 8 :]  # behind the length of the one NAL unit


def _join_heic(payload: bytes, template: bytes) -> bytes:
    return _with_item(template, len(payload).to_bytes(4, "big") + payload, base_offset_bytes=4)


def _with_item(template: bytes, item: bytes, base_offset_bytes: int) -> bytes:
    """A file of one item with other data, which stands at its end."""
    data = template.index(b"mdat")
    # The one extent of the one item; its length stands 22 bytes behind the name of the box "iloc" and the base offset
    # (ISO/IEC 14496-12, version 0, offsets and lengths of 4 bytes).
    extent = template.index(b"iloc") + 22 + base_offset_bytes
    header = template[:extent] + len(item).to_bytes(4, "big") + template[extent + 4 : data - 4]
    return header + (8 + len(item)).to_bytes(4, "big") + b"mdat" + item


# The lowest quality of each of libavif's 64 quantisers.
_AVIF_QUALITIES = sorted({((100 - quality) * 63 + 50) // 100: quality for quality in range(100, -1, -1)}.values())
_AVIF = dict(subsampling="4:4:4", speed=4, max_threads=1, advanced={"tune": "psnr"})
_JPEG = tuple(dict(quality=quality, subsampling=chroma) for quality in range(1, 101) for chroma in ("4:2:0", "4:4:4"))
# An offset of 0 is taken for x265's own choice, +6.
_X265 = {"chroma": "444", "tune": "psnr", "x265:cbqpoffs": -1, "x265:crqpoffs": -1, "x265:wpp": 0, "x265:pools": "none"}
_HEIC = tuple(dict(quality=quality, enc_params=_X265) for quality in range(0, 95, 2))
_WEBP = tuple(dict(quality=quality, method=6) for quality in range(101))
CODECS = {
    "jpeg": FileFormat("JPEG", _JPEG, _split_jpeg, _join_jpeg, lambda payload: payload[0]),
    "webp": FileFormat("WEBP", _WEBP, _split_webp, _join_webp, lambda payload: 0),
    "avif": FileFormat(
        "AVIF", tuple(_AVIF | {"quality": q} for q in _AVIF_QUALITIES), _split_avif, _join_avif, lambda payload: 0
    ),
    "heic": FileFormat("HEIF", _HEIC, _split_heic, _join_heic, lambda payload: 0),
}


def require_codec(name: str) -> None:
    """Raises ``ValueError`` unless a name is in :data:`CODECS` and its encoder is installed."""
    if name not in CODECS:
        raise ValueError(f"unknown picture codec {name!r}; known: {', '.join(CODECS)}")
    if name == "heic":
        _register_heic()


@functools.cache
def _register_heic() -> None:
    try:
        import pillow_heif
    except ImportError as error:
        raise ValueError("picture codec 'heic' needs pillow-heif: pip install 'lvm-mtc[heic]'") from error
    pillow_heif.register_heif_opener(decode_threads=1)


def _codec(name: str) -> FileFormat:
    require_codec(name)
    return CODECS[name]


def _check_picture(picture: np.ndarray) -> None:
    shape, dtype = getattr(picture, "shape", None), getattr(picture, "dtype", None)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or min(shape) < 1:
        raise ValueError(f"picture must be [H, W, 3] uint8, got {dtype} of shape {shape}")


def _write(picture: np.ndarray, codec: FileFormat, setting: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, codec.file_format, **codec.settings[setting])
    return stream.getvalue()


def _read(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


@functools.lru_cache(maxsize=1024)
def _template(codec: str, setting: int, height: int, width: int) -> bytes:
    """File of a grey picture: what both ends know before anything is sent."""
    return _write(np.full((height, width, 3), 128, np.uint8), _codec(codec), setting)


def encode(picture: np.ndarray, codec: str, setting: int) -> Encoded:
    """Compresses a picture ``[H, W, 3]`` uint8 with a codec of :data:`CODECS`.

    Args:
        setting: Index into ``CODECS[codec].settings``; higher ones ask for more quality.
    """
    how = _codec(codec)
    _check_picture(picture)
    if not 0 <= setting < len(how.settings):
        raise ValueError(f"setting of {codec!r} must lie in 0 ... {len(how.settings) - 1}, got {setting!r}")
    file = _write(picture, how, setting)
    return Encoded(how.split(file, setting), _read(file), setting)


def rebuild_file(payload: bytes, codec: str, shape: tuple[int, int]) -> bytes:
    """The file that a payload of :func:`encode` was taken from, with the header that both ends know.

    Args:
        shape: Height and width of the picture, pixels.

    Raises:
        ValueError: on an unknown codec, or a payload that is empty or names a setting that there is not.
    """
    how = _codec(codec)
    if not payload or how.setting_of(payload) >= len(how.settings):
        raise ValueError(f"payload of {len(payload)} bytes {payload[:4]!r}... is not one of codec {codec!r}")
    return how.join(payload, _template(codec, how.setting_of(payload), *shape))


def decode(payload: bytes, codec: str, shape: tuple[int, int]) -> np.ndarray:
    """The picture ``[H, W, 3]`` uint8 in a payload, with the arguments of :func:`rebuild_file`.

    Raises:
        ValueError: as :func:`rebuild_file`, or on a payload that the codec cannot read.
    """
    file = rebuild_file(payload, codec, shape)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _read(file)
    except (OSError, RuntimeError, SyntaxError, ValueError) as error:  # what Pillow's readers raise on damaged data
        raise ValueError(f"payload of {len(payload)} bytes does not decode with codec {codec!r}: {error}") from error


def rate_table(picture: np.ndarray, codec: str) -> RateTable:
    """Encodes a picture ``[H, W, 3]`` uint8 at every setting; the table is kept for the next call."""
    _codec(codec)
    _check_picture(picture)
    return _rate_table(picture.tobytes(), picture.shape, codec)


@functools.lru_cache(maxsize=_TABLES_KEPT)
def _rate_table(pixels: bytes, shape: tuple[int, int, int], codec: str) -> RateTable:
    picture = np.frombuffer(pixels, np.uint8).reshape(shape)
    encodings = [encode(picture, codec, setting) for setting in range(len(CODECS[codec].settings))]
    errors = [np.mean((np.float64(encoding.picture) - picture) ** 2) / 255**2 for encoding in encodings]
    bits = np.array([8 * len(encoding.payload) for encoding in encodings])
    return RateTable(bits, np.array(errors), tuple(encoding.payload for encoding in encodings))


def best_fit(picture: np.ndarray, codec: str, budget_bits: int) -> Encoded | None:
    """The encoding of a picture of least squared error whose payload has ``budget_bits`` at most, or None.

    All settings are tried.
    """
    table = rate_table(picture, codec)
    fitting = np.flatnonzero(table.payload_bits <= budget_bits)
    if not fitting.size:
        return None
    setting = int(fitting[np.lexsort((table.payload_bits[fitting], table.mse[fitting]))[0]])
    payload = table.payloads[setting]
    return Encoded(payload, decode(payload, codec, picture.shape[:2]), setting)


def largest_fits(picture: np.ndarray, codec: str, budgets_bits: Sequence[int]) -> list[Encoded | None]:
    """Encodings of a picture with about ``budgets_bits [B]`` each, by a few trials, for pictures too large for all.

    Bisects the settings of each chroma format as if sizes rose with them, and takes the better of the formats. Where
    they do, and errors fall, as with ``heic``, it is what :func:`best_fit` finds; what it finds fits in any case.
    """
    settings = _codec(codec).settings
    formats = {setting.get("subsampling"): [] for setting in settings}
    for i, setting in enumerate(settings):
        formats[setting.get("subsampling")].append(i)
    at = functools.cache(lambda setting: encode(picture, codec, setting))

    def largest(chain: list[int], budget: int) -> Encoded | None:
        fits = bisect.bisect_right(chain, budget, key=lambda setting: 8 * len(at(setting).payload))
        return at(chain[fits - 1]) if fits else None

    def error(one: Encoded) -> float:
        return float(np.mean((np.float64(one.picture) - picture) ** 2))

    found = ([largest(chain, budget) for chain in formats.values()] for budget in budgets_bits)
    return [min(filter(None, of_budget), key=error, default=None) for of_budget in found]
