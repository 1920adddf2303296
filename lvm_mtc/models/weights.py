"""Weights files: a plain npz archive with named tensors and a JSON description, readable without running any code."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lvm_mtc.models.packed import Packing, pack, unpack

METADATA_NAME = "__metadata__"
_ARCHIVE = b"PK\x03\x04"  # how every .npz begins
FORMAT = "lvm_mtc-weights-1"
SHIPPED = Path(__file__).resolve().parents[1] / "weights"
"""Folder of the weights that the package brings."""


class WeightsError(ValueError):
    """A weights file cannot be read, or does not fit the model; the message is one line."""


def flatten_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Nested dictionaries to a flat one with names ``"a/b/c"``, in sorted order.

    Raises:
        ValueError: if a name is no string, empty or holds a slash, or a branch is empty.
    """
    flat = {}
    for name in sorted(params, key=str):
        value = params[name]
        if not isinstance(name, str) or not name or "/" in name:
            raise ValueError(f"parameter names must be non-empty strings without '/', got {name!r}")
        if isinstance(value, Mapping):
            if not value:
                raise ValueError(f"parameter group {name!r} is empty")
            flat.update({f"{name}/{rest}": leaf for rest, leaf in flatten_params(value).items()})
        else:
            flat[name] = value
    return flat


def unflatten_params(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Inverse of :func:`flatten_params`.

    Raises:
        ValueError: if one name is the beginning of another, as in ``"a"`` and ``"a/b"``.
    """
    params = {}
    for name, value in flat.items():
        *groups, leaf = name.split("/")
        node = params
        for group in groups:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise ValueError(f"tensor name {name!r} goes through another tensor")
        if leaf in node:
            raise ValueError(f"tensor name {name!r} is also a group")
        node[leaf] = value
    return params


def load_described(path: str | os.PathLike, what: str, entry: str) -> tuple[dict, dict[str, Any], dict[str, Any]]:
    """Parameters, the configuration that stands under ``entry`` of a file's metadata, and all of them.

    Raises:
        WeightsError: if there is none; ``what`` it should be of stands in the message. And as :func:`load_weights`.
    """
    params, metadata = load_weights(Path(path))
    config = metadata.get(entry)
    if not isinstance(config, dict):
        raise WeightsError(f"{path} does not say which {what} its weights are for (metadata {entry!r})")
    return params, config, metadata


def save_weights(
    path: str | os.PathLike,
    params: Mapping[str, Any],
    metadata: Mapping[str, Any],
    dtype: Any = "float16",
    *,
    packings: Mapping[str, Packing] = {},
) -> None:
    """Writes parameters and their description; the file appears under its name only when it is complete.

    Args:
        path: ``*.npz`` by convention; its folder is made.
        metadata: JSON object: where the weights come from (seed, data, versions) and the model's configuration.
        dtype: Type in which floating-point tensors are stored; None keeps theirs.
        packings: Tensors ``"a/b/c"`` that are stored in another way; :func:`load_weights` unpacks them.

    Raises:
        ValueError: if a tensor holds a number that is not finite, in itself or in ``dtype``, or metadata is not JSON.
    """
    path = Path(path)
    tensors, packed = {}, {}
    for name, leaf in flatten_params(params).items():
        array = np.asarray(leaf)
        if name in packings:
            if not np.isfinite(array).all():
                raise ValueError(f"tensor {name} holds a number that is not finite")
            stored = pack(array, packings[name])
            parts = flatten_params(stored) if isinstance(stored, Mapping) else {"": stored}
            tensors |= {f"{name}/{part}".rstrip("/"): value for part, value in parts.items()}
            packed[name] = [*packings[name], list(array.shape)]
            continue
        if np.issubdtype(array.dtype, np.floating) or array.dtype.name == "bfloat16":
            with np.errstate(over="ignore"):
                array = array.astype(array.dtype if dtype is None else dtype)
            if not np.isfinite(array).all():
                raise ValueError(f"tensor {name} holds a number that is not finite as {array.dtype.name}")
        if array.dtype.name == "bfloat16":
            raise ValueError(f"tensor {name} is bfloat16, which npz cannot hold: pass a dtype")
        tensors[name] = array
    about = {"format": FORMAT, "metadata": dict(metadata)} | ({"packed": packed} if packed else {})
    description = json.dumps(about, sort_keys=True, allow_nan=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            np.savez_compressed(file, **{METADATA_NAME: np.array(description)}, **tensors)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_weights(
    path: str | os.PathLike, reference: Mapping[str, Any] | None = None, *, dtype: Any = "float32"
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads what :func:`save_weights` wrote. Nothing in the file is executed.

    Args:
        reference: Parameters or their ``jax.eval_shape``, which the file must fit; None checks nothing.
        dtype: Type to which floating-point tensors are converted; None keeps the stored one.

    Returns:
        params: Nested dictionaries of numpy arrays.
        metadata: What was given when saving.

    Raises:
        FileNotFoundError: if there is no such file.
        WeightsError: if it is truncated, damaged or foreign, or does not fit ``reference``.
    """
    path = Path(path)
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, not a weights file")
    try:
        with open(path, "rb") as file:
            if file.read(len(_ARCHIVE)) != _ARCHIVE:
                raise WeightsError(f"{path} is not a weights file of lvm_mtc, which is a .npz archive")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile) or METADATA_NAME not in archive.files:
                raise WeightsError(f"{path} is not a weights file of lvm_mtc")
            description = json.loads(str(archive[METADATA_NAME]))
            flat = {name: archive[name] for name in archive.files if name != METADATA_NAME}
            params = unflatten_params(_unpacked(flat, description))
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no weights file {path}") from None
    except WeightsError:
        raise
    except Exception as error:  # a damaged archive raises whatever its parser stumbles over
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise WeightsError(f"{path} is not a readable weights file (truncated or of another kind): {reason}") from error
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise WeightsError(f"{path} is not a weights file of the format {FORMAT}")
    if dtype is not None:
        params = jax.tree.map(lambda a: a.astype(dtype) if np.issubdtype(a.dtype, np.floating) else a, params)
    if reference is not None:
        check_params(params, reference, name=str(path))
    return params, description.get("metadata", {})


def _unpacked(flat: Mapping[str, np.ndarray], description: Any) -> dict[str, np.ndarray]:
    """Tensors of which some are stored in parts, all of them whole."""
    flat = dict(flat)
    for name, (bits, rank, shape) in (description.get("packed", {}) if isinstance(description, dict) else {}).items():
        parts = {key[len(name) + 1 :]: flat.pop(key) for key in [*flat] if key == name or key.startswith(f"{name}/")}
        stored = parts[""] if "" in parts else unflatten_params(parts)
        try:
            flat[name] = unpack(stored, Packing(bits, rank), tuple(shape))
        except ValueError as error:
            raise ValueError(f"tensor {name} {error}") from error
    return flat


def check_params(params: Mapping[str, Any], reference_shapes: Mapping[str, Any], *, name: str = "params") -> None:
    """Compares names and shapes of parameters with those that a model wants.

    Args:
        reference_shapes: Arrays or ``jax.ShapeDtypeStruct``, as ``jax.eval_shape`` of ``init`` gives.
        name: What to call ``params`` in the message, such as the file's name.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors, in one line.
    """
    have, want = ({n: np.shape(leaf) for n, leaf in flatten_params(p).items()} for p in (params, reference_shapes))
    lists = {
        "missing": [n for n in want if n not in have],
        "not known": [n for n in have if n not in want],
        "of another shape": [f"{n} {have[n]} instead of {want[n]}" for n in want if have.get(n, want[n]) != want[n]],
    }
    faults = [f"{len(items)} {kind}: {', '.join(items)}" for kind, items in lists.items() if items]
    if faults:
        raise WeightsError(f"{name} does not fit the model of {len(want)} tensors; " + "; ".join(faults))
