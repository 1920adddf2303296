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
import zipfile
import zlib
from collections.abc import Mapping
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


class TensorFileError(ValueError):
    """A file of tensors that cannot be used. The message is one line: the file and the reason."""


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
    path = _regular_file(path)
    with open(path, "rb") as file:
        start = file.read(4)
    if start[:2] == b"PK":
        with _open_zip(path) as archive:
            has_pickle = any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())
        return read_pytorch(path) if has_pickle else _read_npz(path)
    if start[:1] == b"\x80":
        raise TensorFileError(
            f"{path}: is a bare pickle, as PyTorch wrote before release 1.6; expected its zip format or safetensors"
        )
    return read_safetensors(path)


def read_safetensors(path: str | Path) -> dict[str, np.ndarray]:
    """Reads a safetensors file: the length of a JSON header, the header, and the tensors' bytes.

    Args:
        path: The file.

    Returns:
        Arrays by name; they are views of one read-only map of the file.

    Raises:
        FileNotFoundError: if there is no such file.
        TensorFileError: if it is truncated, its header is damaged, or its tensors overlap or leave holes.
    """
    path = _regular_file(path)
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, MAX_HEADER_BYTES):
            raise TensorFileError(f"{path}: is no safetensors file, or truncated in its header ({size} bytes)")
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise TensorFileError(f"{path}: is no safetensors file, its header is not JSON") from error
    if not isinstance(header, dict):
        raise TensorFileError(f"{path}: is no safetensors file, its header is a {type(header).__name__}")
    header.pop("__metadata__", None)
    entries = sorted((_checked_entry(path, name, entry) for name, entry in header.items()), key=lambda e: e[3:])
    position = 0
    for name, _, _, begin, end in entries:
        if begin != position:
            raise TensorFileError(f"{path}: tensor {name} begins at byte {begin}, expected {position}")
        position = end
    if 8 + length + position != size:
        raise TensorFileError(f"{path}: holds {size} bytes, its header speaks of {8 + length + position}: truncated?")
    data = np.memmap(path, np.uint8, "r", offset=8 + length) if position else np.empty(0, np.uint8)
    return {
        name: np.asarray(data[begin:end]).view(dtype).reshape(shape) for name, dtype, shape, begin, end in entries
    }


def read_pytorch(path: str | Path) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch file in its zip format (release 1.6 and later) without PyTorch.

    Args:
        path: The file, such as ``pytorch_model.bin``: a dictionary of tensors, or one that holds such a dictionary as
            ``state_dict``, ``model`` or ``model_state_dict``. What is no tensor beside them is left out.

    Returns:
        Arrays by name, copies.

    Raises:
        FileNotFoundError: if there is no such file.
        TensorFileError: if it is truncated or damaged, holds no dictionary of tensors, or its pickle asks for anything
            but tensors and plain values; nothing that it names is then called.
    """
    path = _regular_file(path)
    with _open_zip(path) as archive:
        pickles = [name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise TensorFileError(f"{path}: is no PyTorch file: {len(pickles)} entries data.pkl, expected one")
        folder = pickles[0][: -len("data.pkl")]
        try:
            content = _TensorUnpickler(path, archive, folder).load()
        except TensorFileError:
            raise
        except Exception as error:  # a damaged pickle can raise nearly anything
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise TensorFileError(f"{path}: its pickle is truncated or damaged: {reason}") from error
    return _state_dict(path, content)


class _Storage(collections.namedtuple("_Storage", "values")):
    """A flat array that tensors are cut from."""


# The unpickler in C allocates what an opcode's number asks for, gigabytes if need be; the one in Python does not.
class _TensorUnpickler(pickle._Unpickler):
    """An unpickler that knows tensors, storages and ordered dictionaries, and nothing else."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, folder: str):
        super().__init__(io.BytesIO(_zip_entry(path, archive, f"{folder}data.pkl", MAX_HEADER_BYTES)))
        self._path, self._archive, self._folder = path, archive, folder
        self._storages: dict[str, _Storage] = {}
        try:
            order = _zip_entry(path, archive, f"{folder}byteorder", 16).decode("ascii", "replace")
        except KeyError:
            order = "little"
        if order != "little":
            raise TensorFileError(f"{path}: its numbers are stored in the byte order {order!r}; expected 'little'")

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return self._rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module in ("torch", "torch.storage") and name in _STORAGE_DTYPES:
            return _StorageKind(name)
        raise TensorFileError(
            f"{self._path}: its pickle asks for {f'{module}.{name}'[:80]!r}, which is neither tensor nor plain value "
            "and could run code: refused"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        if not (isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage" and isinstance(pid[1], _StorageKind)):
            raise TensorFileError(f"{self._path}: its pickle holds an unknown kind of storage")
        key = str(pid[2])
        if key not in self._storages:
            raw = _zip_entry(self._path, self._archive, f"{self._folder}data/{key}", None)
            dtype = np.dtype(_STORAGE_DTYPES[pid[1].name])
            if len(raw) != dtype.itemsize * pid[4]:
                raise TensorFileError(
                    f"{self._path}: storage {key} has {len(raw)} bytes instead of {pid[4]} times {dtype.itemsize}"
                )
            self._storages[key] = _Storage(np.frombuffer(raw, dtype))
        return self._storages[key]

    def _rebuild_tensor(self, storage, offset, shape, strides, *_):
        values = storage.values
        if any(type(n) is not int or n < 0 for n in (offset, *shape, *strides)):
            raise TensorFileError(f"{self._path}: a tensor's shape, strides or offset are no whole numbers >= 0")
        reach = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        # A stride of zero could blow one number up to any size; tensors that were saved as they are have none.
        if math.prod(shape) > values.size or (math.prod(shape) and reach >= values.size):
            raise TensorFileError(
                f"{self._path}: a tensor of shape {tuple(shape)}, strides {tuple(strides)} and offset {offset} does "
                f"not fit its storage of {values.size}"
            )
        steps = [step * values.itemsize for step in strides]
        return np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False).copy()


class _StorageKind(collections.namedtuple("_StorageKind", "name")):
    """What a pickle calls the type of a storage."""


def _rebuild_parameter(data, *_):
    return data


def _state_dict(path: Path, content: Any) -> dict[str, np.ndarray]:
    if isinstance(content, Mapping) and not any(isinstance(value, np.ndarray) for value in content.values()):
        nested = [content[name] for name in _STATE_DICT_NAMES if isinstance(content.get(name), Mapping)]
        content = nested[0] if nested else content
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {
            name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, np.ndarray)
        }
    if not tensors:
        raise TensorFileError(f"{path}: holds no dictionary of tensors but a {type(content).__name__}")
    return tensors


def _checked_entry(path: Path, name: str, entry: Any) -> tuple[str, np.dtype, tuple[int, ...], int, int]:
    try:
        dtype = np.dtype(_SAFETENSORS_DTYPES[entry["dtype"]])
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (*shape, begin, end))
    except (KeyError, TypeError, ValueError) as error:
        raise TensorFileError(f"{path}: the entry for tensor {name!r} is damaged or of an unknown type") from error
    if not whole or end - begin != math.prod(shape) * dtype.itemsize:
        raise TensorFileError(
            f"{path}: tensor {name} of shape {shape} and type {dtype.name} does not fit its bytes {begin} to {end}"
        )
    return name, dtype, shape, begin, end


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (ValueError, KeyError, EOFError, OSError, zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TensorFileError(f"{path}: is no readable npz archive: {reason}") from error


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise TensorFileError(f"{path}: is a truncated or damaged zip archive: {error}") from error


def _zip_entry(path: Path, archive: zipfile.ZipFile, name: str, limit: int | None) -> bytes:
    """Bytes of one entry, which must be stored as it is: a compressed one could unfold to any size."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or (limit is not None and info.file_size > limit):
        raise TensorFileError(f"{path}: entry {name} is compressed or too large ({info.file_size} bytes)")
    try:
        return archive.read(info)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise TensorFileError(f"{path}: entry {name} is truncated or damaged: {error}") from error


def _regular_file(path: str | os.PathLike) -> Path:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path}")
    if not path.is_file():
        raise TensorFileError(f"{path}: is no regular file")
    return path
