"""Point clouds from files: PLY, OFF, XYZ and NPZ; NumPy only.

What files hold is turned into clouds of a fixed number of points in the unit ball. Of a mesh points are drawn from its
faces, evenly by area.
"""

import codecs
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvm_mtc.data.files import check_directory, natural_order, reason

SUFFIXES = (".ply", ".off", ".xyz", ".npz")
_PLY_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}  # fmt: skip
_PLY_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


class Shape(NamedTuple):
    """What a file holds: vertices ``[n, 3]`` float64, and triangles ``[m, 3]`` int of a mesh, none of a cloud."""

    vertices: np.ndarray
    triangles: np.ndarray


def load_packed_clouds(path: str | Path, split: str) -> np.ndarray:
    """Clouds of an ``.npz`` file, its array ``split``: ``[num_clouds, num_points, 3]`` floating, in the unit ball.

    Raises:
        ValueError: if there is no such file or array, or it holds anything else.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            clouds = archive[split]
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file of packed clouds") from None
    except Exception as error:
        raise ValueError(f"{path} holds no clouds {split!r}: {reason(error)}") from error
    if clouds.ndim != 3 or clouds.shape[-1] != 3 or not np.issubdtype(clouds.dtype, np.floating) or not clouds.size:
        shape = f"got {clouds.shape} {clouds.dtype}"
        raise ValueError(f"{path}: {split} must be [num_clouds, num_points, 3] of floating numbers, {shape}")
    largest = np.linalg.norm(np.float32(clouds), axis=-1).max()
    if not largest <= 1.001:
        raise ValueError(f"{path}: points of {split} must lie in the unit ball, the farthest is at {largest:g}")
    return clouds


def load_cloud(path: str | Path, num_points: int, seed: int = 0) -> np.ndarray:
    """A file's points, or points drawn from its mesh, in the unit ball: ``[num_points, 3]`` float32.

    Args:
        path: A file with one of ``SUFFIXES``; of an ``.npz`` file its only array, or ``points``.
        num_points: Of a cloud with more so many are drawn.
        seed: Of what is drawn.

    Raises:
        ValueError: if the file cannot be read, or has too few points and no faces.
    """
    try:
        shape, rng = read_shape(path), np.random.default_rng(seed)
        if len(shape.triangles):
            return normalize_cloud(sample_surface(shape, num_points, rng))
        if len(shape.vertices) < num_points:
            raise ValueError(f"has {len(shape.vertices)} points and no faces, and {num_points} points are needed")
        # Sorted, so that a cloud of just so many points stays as it is.
        chosen = np.sort(rng.choice(len(shape.vertices), num_points, replace=False))
        return normalize_cloud(shape.vertices[chosen])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def list_clouds(path: str | Path, *, limit: int | None = None) -> list[Path]:
    """The file itself, or the first ``limit`` of a folder's files with one of ``SUFFIXES`` in their natural order.

    Raises:
        ValueError: if there is no such file or folder, or it holds no such file.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    check_directory(path)
    files = [file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and not file.name.startswith(".")]
    files = [file for file in files if file.is_file()]
    if not files:
        raise ValueError(f"{path}: holds no point cloud; expected files that end in {', '.join(SUFFIXES)}")
    return sorted(files, key=lambda file: natural_order(file.name))[:limit]


def normalize_cloud(points: np.ndarray) -> np.ndarray:
    """Moves the centroid to 0 and the farthest point to distance 1; ``[n, 3]`` float32.

    Raises:
        ValueError: for points that are not ``[n, 3]`` finite numbers, or all the same.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 3 or not len(points):
        raise ValueError(f"points must be [n, 3], got {points.shape}")
    if not np.isfinite(points).all():
        bad = int(np.argmin(np.isfinite(points).all(1)))
        raise ValueError(f"points must be finite, point {bad} is {points[bad].tolist()}")
    points = points - points.mean(0)
    with np.errstate(over="ignore"):
        radius = np.linalg.norm(points, axis=1).max()
    if not 1e-12 < radius < np.inf:
        raise ValueError(f"points must not all be the same nor too far apart to be squared, their radius is {radius:g}")
    return np.float32(points / radius)


def sample_surface(shape: Shape, num_points: int, rng: np.random.Generator) -> np.ndarray:
    """Points drawn evenly from the faces of a mesh, ``[num_points, 3]`` float64.

    Raises:
        ValueError: if the faces have no area or name vertices that there are not.
    """
    if shape.triangles.min() < 0 or shape.triangles.max() >= len(shape.vertices):
        bad = next(i for i in shape.triangles.ravel() if not 0 <= i < len(shape.vertices))
        raise ValueError(f"a face names vertex {bad}, and there are {len(shape.vertices)}")
    corners = shape.vertices[shape.triangles]
    one, two = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.linalg.norm(np.cross(one, two), axis=1)
    if not 0 < area.sum() < np.inf:
        raise ValueError(f"faces must have an area, theirs is {area.sum() / 2:g}")
    face = rng.choice(len(area), num_points, p=area / area.sum())
    u, v = rng.random((2, num_points, 1))
    fold = u + v > 1
    u, v = np.where(fold, 1 - u, u), np.where(fold, 1 - v, v)
    return corners[face, 0] + u * one[face] + v * two[face]


def read_shape(path: str | Path) -> Shape:
    """Reads a file by its suffix; polygons become fans of triangles.

    Raises:
        ValueError: for another suffix, or a file that is not what its suffix says.
    """
    readers = {".ply": _read_ply, ".off": _read_off, ".xyz": _read_xyz, ".npz": _read_npz}
    suffix = Path(path).suffix.lower()
    if suffix not in readers:
        raise ValueError(f"suffix {suffix!r} is none of {', '.join(SUFFIXES)}")
    try:
        vertices, polygons = readers[suffix](Path(path).read_bytes())
    except OSError:
        raise  # names the file
    except Exception as error:  # A damaged file raises whatever its parser stumbles over.
        raise ValueError(f"is not a readable {suffix} file: {reason(error)}") from error
    return Shape(np.asarray(vertices, np.float64).reshape(-1, 3), _triangles(polygons))


def _triangles(polygons: Sequence[np.ndarray]) -> np.ndarray:
    fans = [(face[0], face[i], face[i + 1]) for face in polygons for i in range(1, len(face) - 1)]
    return np.array(fans, np.int64).reshape(-1, 3)


def _read_xyz(content: bytes) -> tuple[np.ndarray, list]:
    lines = [line.split("#")[0].replace(",", " ").split() for line in _text(content).splitlines()]
    short = next((number for number, words in enumerate(lines, start=1) if 0 < len(words) < 3), None)
    if short is not None:
        raise ValueError(f"line {short} has no three numbers")
    return np.array([[float(word) for word in words[:3]] for words in lines if words]), []


def _text(content: bytes) -> str:
    return content.decode("utf-8-sig")


def _read_npz(content: bytes) -> tuple[np.ndarray, list]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [name.removesuffix(".npy") for name in archive.namelist()]
    name = "points" if "points" in files else files[0]
    if name != "points" and len(files) > 1:
        raise ValueError(f"has the arrays {', '.join(files)} and none is called points")
    with np.load(io.BytesIO(content), allow_pickle=False) as archive:
        points = archive[name]
    if points.ndim != 2 or points.shape[1] != 3 or points.dtype.kind not in "fiu":
        raise ValueError(f"array {name!r} must be [n, 3] real numbers, got {points.shape} {points.dtype}")
    return points, []


def _read_off(content: bytes) -> tuple[np.ndarray, list]:
    text = "\n".join(line.split("#")[0] for line in _text(content).splitlines())
    if not text.lstrip().startswith("OFF"):
        raise ValueError(f"an OFF file begins with OFF, got {text[:8]!r}")
    words = text.lstrip()[3:].split()
    num_vertices, num_faces = int(words[0]), int(words[1])
    stop = 3 + 3 * num_vertices
    if len(words) < stop:
        raise ValueError(f"ends before its {num_vertices} vertices do")
    return np.array(words[3:stop], float), _faces(words[stop:], num_faces)


def _faces(words: Sequence[str], count: int) -> list[np.ndarray]:
    """Faces of a number of corners and their places, one after the other."""
    faces, place = [], 0
    for _ in range(count):
        size = int(words[place])
        if size < 0:
            raise ValueError(f"a face has {size} corners")
        faces.append(np.array(words[place + 1 : place + 1 + size], np.int64))
        if len(faces[-1]) < size:
            raise IndexError(f"it ends before its {count} faces do")
        place += 1 + size
    return faces


def _read_ply(content: bytes) -> tuple[np.ndarray, list]:
    head, end, body = content.removeprefix(codecs.BOM_UTF8).partition(b"end_header")
    lines = [line.split() for line in head.decode("ascii").splitlines()]
    if lines[0] != ["ply"] or not end:
        raise ValueError("a PLY file begins with ply and has an end_header")
    order = _PLY_ORDERS[next((line[1] for line in lines if line[:1] == ["format"]), "none")]
    elements: list[tuple[str, int, list]] = []
    for line in lines:
        if line[:1] == ["element"]:
            elements.append((line[1], int(line[2]), []))
        elif line[:1] == ["property"]:
            elements[-1][2].append(line[1:])
    body = body.partition(b"\n")[2]
    read = _PlyText(body.split()) if not order else _PlyBytes(body, order)
    vertices, faces = np.zeros((0, 3)), []
    for name, count, properties in elements:
        if name == "vertex":
            columns = read.table(count, properties)
            vertices = np.stack([columns[axis] for axis in "xyz"], -1)
        elif properties:
            rows = [read.row(properties) for _ in range(count)]
            lists = [next((value for value in row if isinstance(value, np.ndarray)), None) for row in rows]
            faces = [face.astype(np.int64) for face in lists if face is not None] if name == "face" else faces
    return vertices, faces


class _PlyText:
    """Values of an ascii body, one after the other."""

    def __init__(self, words: list[bytes]):
        self.words, self.place = words, 0

    def take(self, count: int, kind: str) -> np.ndarray:
        words = self.words[self.place : self.place + count]
        if len(words) < count:
            raise ValueError("ends before its header says")
        self.place += count
        return np.array(words, float)

    def table(self, count: int, properties: list) -> dict[str, np.ndarray]:
        """Columns of an element without lists."""
        values = self.take(count * len(properties), "double").reshape(count, len(properties))
        return {line[-1]: values[:, i] for i, line in enumerate(properties)}

    def row(self, properties: list) -> list:
        """Values of one row, arrays where they are lists."""
        row = []
        for line in properties:
            is_list = line[0] == "list"
            size = int(self.take(1, line[1] if is_list else line[0])[0]) if is_list else 1
            value = self.take(size, line[-2])
            row.append(value if is_list else value[0])
        return row


class _PlyBytes(_PlyText):
    """Values of a binary body."""

    def __init__(self, body: bytes, order: str):
        self.body, self.order, self.place = body, order, 0

    def take(self, count: int, kind: str) -> np.ndarray:
        return self._read(np.dtype(self.order + _PLY_TYPES[kind]), count)

    def table(self, count: int, properties: list) -> dict[str, np.ndarray]:
        columns = self._read(np.dtype([(name, self.order + _PLY_TYPES[kind]) for kind, name in properties]), count)
        return {name: columns[name].astype(float) for name in columns.dtype.names}

    def _read(self, dtype: np.dtype, count: int) -> np.ndarray:
        size = dtype.itemsize * count
        if count < 0 or self.place + size > len(self.body):
            raise ValueError("ends before its header says")
        values = np.frombuffer(self.body, dtype, count, self.place)
        self.place += size
        return values
