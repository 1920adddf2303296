"""Tensors out of other people's files: safetensors, npz, and PyTorch's pickles without running what they contain.

A pickle is a program. The reader here knows the few calls that a saved ``state_dict`` consists of (rebuild a tensor
from a storage, make an ordered dictionary) and refuses every other name before anything is called.
"""

import collections
import io
import json
import math
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np

MAX_HEADER_BYTES = 100_000_000
"""Largest header of a safetensors file, as its format says, and largest pickle of a PyTorch file."""

_SAFETENSORS_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": ml_dtypes.bfloat16, "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "<i1", "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "<u1", "BOOL": "?",
}  # fmt: skip

_STORAGE_DTYPES = {
    "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1", "ByteStorage": "<u1",
    "BoolStorage": "?",
}  # fmt: skip

_STATE_DICT_NAMES = ("state_dict", "model", "model_state_dict")

_WRAPPERS = re.compile(r"((module|model|clip)\.)+")


Source = str | os.PathLike | Mapping[str, Any]
"""A file that :func:`read_tensors` can read, or its arrays by name."""

_Storage = collections.namedtuple("_Storage", "values")  # a flat array that tensors are cut from
_StorageKind = collections.namedtuple("_StorageKind", "name")  # what a pickle calls the type of a storage


class TensorFileError(ValueError):
    """A file of tensors that cannot be used. The message is one line: the file and the reason."""


def open_tensors(source: Source, anchors: Sequence[str], *, kind: str) -> tuple[dict[str, Any], str]:
    """Tensors of a network under its own names, and what to call them in a message: the file, or ``kind``.

    Args:
        source: Prefixes that :func:`without_wrappers` knows may stand before the names. The counters of batches that
            PyTorch's norms keep are left out.
        anchors: As :func:`without_wrappers` takes them.

    Raises:
        FileNotFoundError: if there is no such file.
        TensorFileError: if it cannot be read or would run code, or an unknown prefix stands before its names.
    """
    in_memory = isinstance(source, Mapping)
    name = kind if in_memory else str(source)
    tensors = without_wrappers(source if in_memory else read_tensors(source), anchors, name=name)
    return {key: value for key, value in tensors.items() if not key.endswith(".num_batches_tracked")}, name


def usual_file(path: str | os.PathLike, names: Sequence[str]) -> Path:
    """The file itself, or in a folder the first that there is of these names.

    Raises:
        FileNotFoundError: if a folder holds none of them.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    for name in names:
        if (path / name).is_file():
            return path / name
    raise FileNotFoundError(f"folder {path} holds none of {', '.join(names)}")


def configured(path: Path, find: Callable[[Any], str], model: str) -> str | None:
    """What ``find`` reads from a JSON file that comes with weights; None where there is no such file.

    Raises:
        TensorFileError: if it is damaged or lacks what is looked for.
    """
    try:
        return find(json.loads(path.read_bytes()))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise TensorFileError(f"{path}: is no configuration of a {model} model") from error


def read_tensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a file of tensors, whichever of the three kinds it is; its content decides, not its name.

    Args:
        path: A safetensors file, a PyTorch file in its zip format, or an npz archive.

    Returns:
        Arrays by their names in the file, in their stored types (bfloat16 as ``ml_dtypes.bfloat16``).

    Raises:
        FileNotFoundError: if there is no such file.
        TensorFileError: if it is truncated, damaged, of another kind, or would run code.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.is_file():
        raise TensorFileError(f"{path}: is no regular file")
    with open(path, "rb") as file:
        start = file.read(4)
    try:
        return _read_zip(path) if start in (b"PK\3\4", b"PK\5\6") else _read_safetensors(path)
    except TensorFileError as error:
        raise TensorFileError(f"{path}: {error}") from error


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    try:
        archive = zipfile.ZipFile(path)
    except NotImplementedError as error:
        raise TensorFileError(f"is a zip archive of a kind that is not read: {error}") from error
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise TensorFileError(f"is a truncated or damaged zip archive: {error}") from error
    with archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if pickles:
            return _read_pytorch(archive, pickles)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged archive raises whatever its parser stumbles over
        raise TensorFileError(f"is no readable npz archive: {_first_line(error)}") from error


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The length of a JSON header, the header, and the tensors' bytes; views of one read-only map of the file."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            if start[:1] == b"\x80":
                raise TensorFileError(
                    "is a bare pickle, as PyTorch wrote before release 1.6; expected its zip format or safetensors"
                )
            raise TensorFileError(f"is no safetensors file, or truncated in its header ({size} bytes)")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise TensorFileError("is no safetensors file, its header is not JSON") from error
    if not isinstance(header, dict):
        raise TensorFileError(f"is no safetensors file, its header is a {type(header).__name__}")
    header.pop("__metadata__", None)
    entries = sorted((_checked_entry(name, entry) for name, entry in header.items()), key=lambda e: e[3:])
    position = 0
    for name, _, _, begin, end in entries:
        if begin != position:
            raise TensorFileError(f"tensor {name} begins at byte {begin}, expected {position}")
        position = end
    if 8 + length + position != size:
        raise TensorFileError(f"holds {size} bytes, its header speaks of {8 + length + position}: truncated?")
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if position else np.empty(0, np.uint8)
    return {name: np.asarray(data[begin:end]).view(dtype).reshape(shape) for name, dtype, shape, begin, end in entries}


def _read_pytorch(archive: zipfile.ZipFile, pickles: list[str]) -> dict[str, np.ndarray]:
    """A dictionary of tensors, or what holds one as ``state_dict``, ``model`` or ``model_state_dict``, as copies."""
    if len(pickles) != 1:
        raise TensorFileError(f"is no PyTorch file: {len(pickles)} entries data.pkl, expected one")
    try:
        content = _TensorUnpickler(archive, pickles[0].removesuffix("data.pkl")).load()
    except TensorFileError:
        raise
    except Exception as error:  # a damaged pickle can raise nearly anything
        raise TensorFileError(f"its pickle is truncated or damaged: {_first_line(error)}") from error
    if isinstance(content, Mapping) and not any(isinstance(value, np.ndarray) for value in content.values()):
        nested = (content[name] for name in _STATE_DICT_NAMES if isinstance(content.get(name), Mapping))
        content = next(nested, content)
    items = content.items() if isinstance(content, Mapping) else ()
    tensors = {key: value for key, value in items if isinstance(key, str) and isinstance(value, np.ndarray)}
    if not tensors:
        raise TensorFileError(f"holds no dictionary of tensors but a {type(content).__name__}")
    return tensors


def without_wrappers(tensors: Mapping[str, Any], anchors: Sequence[str], *, name: str) -> dict[str, Any]:
    """Tensors under the names of the network itself, without what training programs put in front of them.

    Data-parallel training adds ``module.``, compilation ``_orig_mod.`` (also within a name), and a module that holds
    the network ``model.`` or ``clip.``; several may stand there.

    Args:
        tensors: Arrays by name.
        anchors: Names of tensors, one of which every network of the kind has; the longer of two that end alike first.
        name: What to call the tensors in a message.

    Returns:
        The arrays; under the names that they had where no anchor is among them.

    Raises:
        TensorFileError: if something else stands in front of an anchor, or two names are one without the addition.
    """
    plain = {key.replace("_orig_mod.", ""): value for key, value in tensors.items()}
    if not any(anchor in plain for anchor in anchors):
        longer = [(key, anchor) for anchor in anchors for key in plain if key.endswith(f".{anchor}")]
        known = [prefix for key, anchor in longer if _WRAPPERS.fullmatch(prefix := key.removesuffix(anchor))]
        if longer and not known:
            key, anchor = longer[0]
            prefix = key.removesuffix(anchor)
            raise TensorFileError(f"{name}: {prefix!r} stands before the names of its tensors; expected {anchor!r}")
        plain = {key.removeprefix(known[0]) if known else key: value for key, value in plain.items()}
    if len(plain) != len(tensors):
        raise TensorFileError(f"{name}: some tensors stand there twice, with and without a prefix such as 'module.'")
    return plain


# The unpickler in C allocates what an opcode's number asks for, gigabytes if need be; the one in Python does not.
class _TensorUnpickler(pickle._Unpickler):
    """An unpickler that knows tensors, storages and ordered dictionaries, and nothing else."""

    def __init__(self, archive: zipfile.ZipFile, folder: str):
        super().__init__(io.BytesIO(_zip_entry(archive, f"{folder}data.pkl", MAX_HEADER_BYTES)))
        self._archive, self._folder = archive, folder
        self._storages: dict[str, _Storage] = {}
        try:
            order = _zip_entry(archive, f"{folder}byteorder", 16).decode("ascii", "replace")
        except KeyError:
            order = "little"
        if order != "little":
            raise TensorFileError(f"its numbers are stored in the byte order {order!r}; expected 'little'")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda data, *_: data
        if module in ("torch", "torch.storage") and name in _STORAGE_DTYPES:
            return _StorageKind(name)
        raise TensorFileError(
            f"its pickle asks for {f'{module}.{name}'[:80]!r}, which is neither tensor nor plain value "
            "and could run code: refused"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], _StorageKind)):
            raise TensorFileError("its pickle holds an unknown kind of storage")
        key = str(pid[2])
        if key not in self._storages:
            raw = _zip_entry(self._archive, f"{self._folder}data/{key}", None)
            dtype = np.dtype(_STORAGE_DTYPES[pid[1].name])
            if len(raw) != dtype.itemsize * pid[4]:
                raise TensorFileError(f"storage {key} has {len(raw)} bytes instead of {pid[4]} times {dtype.itemsize}")
            self._storages[key] = _Storage(np.frombuffer(raw, dtype))
        return self._storages[key]

    def _rebuild_tensor(self, storage, offset, shape, strides, *_):
        values = storage.values
        if any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
            raise TensorFileError("a tensor's shape, strides or offset are no whole numbers >= 0")
        reach = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        # A stride of zero could blow one number up to any size; tensors that were saved as they are have none.
        if math.prod(shape) > values.size or (math.prod(shape) and reach >= values.size):
            raise TensorFileError(
                f"a tensor of shape {tuple(shape)}, strides {tuple(strides)} and offset {offset} does "
                f"not fit its storage of {values.size}"
            )
        steps = [step * values.itemsize for step in strides]
        return np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False).copy()


def _checked_entry(name: str, entry: Any) -> tuple[str, np.dtype, tuple[int, ...], int, int]:
    try:
        dtype = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]])
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError) as error:
        raise TensorFileError(f"the entry for tensor {name!r} is damaged or of an unknown type") from error
    if not whole or end - begin != math.prod(shape) * dtype.itemsize:
        raise TensorFileError(
            f"tensor {name} of shape {shape} and type {dtype.name} does not fit its bytes {begin} to {end}"
        )
    return name, dtype, shape, begin, end


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _zip_entry(archive: zipfile.ZipFile, name: str, limit: int | None) -> bytes:
    """Bytes of one entry, which must be stored as it is: a compressed one could unfold to any size."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or (limit is not None and info.file_size > limit):
        raise TensorFileError(f"entry {name} is compressed or too large ({info.file_size} bytes)")
    try:
        return archive.read(info)
    except RuntimeError as error:
        raise TensorFileError(f"entry {name} is encrypted or of a kind that is not read: {error}") from error
    except (zipfile.BadZipFile, OSError, EOFError) as error:
        raise TensorFileError(f"entry {name} is truncated or damaged: {error}") from error
