"""Every reader of files, on damaged ones: it gives a whole result, or says in one line why not.

Property-based: whole files are cut, mixed up, doubled and written in other encodings, annotations hold any JSON.
"""

import copy
import gzip
import io
import json
import re
import struct
import tarfile
import tempfile
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lvm_mtc.cli.parser import UsageError
from lvm_mtc.cli.pictures import read_boxes
from lvm_mtc.cli.train import read_config
from lvm_mtc.data import load_class_folders, load_image, load_packed, read_cifar10_bin, read_voc_annotation, save_packed
from lvm_mtc.data.captions import PackedSentences, load_sentences, read_sentences
from lvm_mtc.data.clip_tokenizer import NUM_MERGES, read_merges
from lvm_mtc.data.clips import load_clips
from lvm_mtc.data.clouds import load_cloud, load_packed_clouds
from lvm_mtc.data.coco import read_coco
from lvm_mtc.data.detection_packing import DetectionSet, load_detection_set, save_detection_sets
from lvm_mtc.data.frames import read_positions
from lvm_mtc.data.llff import read_llff
from lvm_mtc.data.packed_questions import PackedQuestions, load_questions
from lvm_mtc.data.packing import PackedPictures
from lvm_mtc.data.rle import Rle, RleError, decode_rle
from lvm_mtc.data.sa1b import read_sa1b_annotation
from lvm_mtc.data.stereo import StereoPairs, load_packed_stereo, load_stereo, save_stereo
from lvm_mtc.data.voc import read_voc_list
from lvm_mtc.data.word_vectors import read_word_vectors
from lvm_mtc.interop.peft_weights import merge_adapter
from lvm_mtc.interop.tensor_files import read_tensors
from lvm_mtc.link import RecordedChannel
from lvm_mtc.models.weights import load_weights, save_weights
from lvm_mtc.training.memory import SampleMemory, load_memory, save_memory
from lvm_mtc.training.pictures import load_arrays

PROPERTY = settings(deadline=None, derandomize=True, database=None, max_examples=30)

PICTURE = np.random.default_rng(0).integers(0, 256, (16, 20, 3), dtype=np.uint8)
BOX = (8.0, 6.0, 8.0, 6.0)  # of the mask below, centre first
COCO = {
    "images": [{"id": 1, "file_name": "a.jpg", "height": 16, "width": 20}],
    "categories": [{"id": 7, "name": "dog"}],
    "annotations": [{"image_id": 1, "category_id": 7, "bbox": [4, 3, 8, 6]}],
}
SA1B = {
    "image": {"width": 20, "height": 16, "file_name": "sa_1.jpg"},
    "annotations": [
        {
            "bbox": [4, 3, 8, 6], "predicted_iou": 0.9, "stability_score": 1,
            "segmentation": {"size": [16, 20], "counts": [67, *[6, 10] * 7, 6, 135]},
        }
    ],
}  # fmt: skip
POSITIONS = [{"file": f"f{i}.png", "lat": 46.8, "lon": -92.0 + i, "alt": 100} for i in range(3)]
OBJECT = "<object><name>dog</name><bndbox><xmin>5</xmin><ymin>4</ymin><xmax>12</xmax><ymax>9</ymax></bndbox></object>"
VOC = f"<annotation><size><width>20</width><height>16</height></size>{OBJECT}</annotation>"


def encoded(form, mode="RGB", **options):
    stream = io.BytesIO()
    Image.fromarray(PICTURE).convert(mode).save(stream, form, **options)
    return stream.getvalue()


def archive(kind):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=kind) as tar:
        for name in ("train/cat/1.png", "train/dog/2.png"):
            info = tarfile.TarInfo(name)
            info.size = len(encoded("PNG"))
            tar.addfile(info, io.BytesIO(encoded("PNG")))
    return stream.getvalue()


def saved(save, *content):
    """Bytes of a file that one of the library's own writers makes."""
    with tempfile.TemporaryDirectory() as folder:
        save(Path(folder) / "a.npz", *content)
        return (Path(folder) / "a.npz").read_bytes()


def npz(**arrays):
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def pytorch():
    """PyTorch's zip format with one tensor, its pickle in the protocol of plain text."""
    stream = io.BytesIO()
    storage = b"((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI6\ntQ"
    tensor = storage + b"I0\n(I2\nI3\nt(I3\nI1\ntI00\nccollections\nOrderedDict\n)RtR"
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a/data.pkl", b"(dS'w'\nctorch._utils\n_rebuild_tensor_v2\n" + tensor + b"s.")
        file.writestr("a/byteorder", "little")
        file.writestr("a/data/0", np.arange(6, dtype="<f4").tobytes())
    return stream.getvalue()


def safetensors():
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}}).encode()
    return struct.pack("<Q", len(header)) + header + np.arange(6, dtype="<f4").tobytes()


def packed():
    part = (PICTURE[None, :16, :16], np.float32([BOX]), np.array(["a"]), np.array([True]))
    return PackedPictures(*part, *part)


def detection_set():
    one = np.ones((1, 2), bool)
    square = PICTURE[None, :16, :16]
    boxes = np.ones((1, 2, 4), np.float32)
    return DetectionSet(square, np.int32([[16, 16]]), boxes, np.int32(one), one, np.array(["a"]))


POINTS = np.random.default_rng(1).normal(size=(8, 3)).astype("<f4")
CORNERS = "0 0 0\n1 0 0\n0 1 0\n0 0 1\n"
PLY = "ply\nformat {} 1.0\nelement vertex {}\nproperty float x\nproperty float y\nproperty float z\n{}end_header\n"
FACES = "element face 2\nproperty list uchar int vertex_indices\n"
WORDS = np.ones((2, 3), np.uint16)
QUESTIONS = PackedQuestions(
    np.ones((2, 60, 3), np.float16), np.zeros((2, 4), np.float32), np.ones((2, 60), np.float32),
    np.zeros((1, 2), np.int32), np.zeros(1, np.int32), np.zeros((1, 1), np.int32), np.ones((1, 1, 60), np.float32),
    np.zeros(1, np.int32), np.array(["a"]),
)  # fmt: skip
CAMERA = np.float64([[0, 1, 0, 5, 30, 1, 0, 0, 6, 40, 0, 0, -1, 7, 35, 2, 50]])
ADAPTER = {"peft_type": "LORA", "lora_alpha": 2, "alpha_pattern": {"m": 3.0}}


def read_cloud(path):
    return load_cloud(path, 4)


def read_scales(path):
    """Two scenes with disparity, beside what says its scale."""
    for scene in ("a", "b"):
        (path.parent / scene).mkdir(exist_ok=True)
        for name in ("left", "right", "disp_left", "disp_right"):
            Image.fromarray(PICTURE[..., 0]).save(path.parent / scene / f"{name}.png")
    return load_stereo(path.parent, 16)[1]


def read_adapter(path):
    header = {f"m.lora_{part}.weight": {"dtype": "F32", "shape": shape, "data_offsets": at}
              for part, shape, at in (("A", [1, 3], [0, 12]), ("B", [2, 1], [12, 20]))}  # fmt: skip
    header = json.dumps(header).encode()
    content = struct.pack("<Q", len(header)) + header + np.arange(5, dtype="<f4").tobytes()
    (path.parent / "adapter_model.safetensors").write_bytes(content)
    return merge_adapter({"m.weight": np.ones((2, 3), np.float32)}, path.parent)["m.weight"].tolist()


# Reader, a whole file, the name of the file.
READERS = {
    "ply": (read_cloud, (PLY.format("ascii", 4, FACES) + CORNERS + "3 0 1 2\n3 0 2 3\n").encode(), "a.ply"),
    "binary ply": (read_cloud, PLY.format("binary_little_endian", 8, "").encode() + POINTS.tobytes(), "a.ply"),
    "off": (read_cloud, ("OFF\n4 2 0\n" + CORNERS + "3 0 1 2\n3 0 2 3\n").encode(), "a.off"),
    "xyz": (read_cloud, CORNERS.encode(), "a.xyz"),
    "points": (read_cloud, npz(points=POINTS), "a.npz"),
    "packed clouds": (lambda path: load_packed_clouds(path, "train"), npz(train=POINTS[None] / 10), "a.npz"),
    "sentences": (read_sentences, b"a man rides\na dog\n", "a.txt"),
    "sentences.gz": (read_sentences, gzip.compress(b"a man rides\na dog\n" * 20), "a.txt.gz"),
    "packed sentences": (
        load_sentences,
        npz(**PackedSentences(np.array(["a", "b"]), WORDS, WORDS, WORDS, np.array([2, 2, 2]))._asdict()),
        "a.npz",
    ),
    "packed stereo": (
        load_packed_stereo,
        saved(save_stereo, StereoPairs(pictures=np.ones((1, 2, 16, 16, 3), np.uint8))),
        "a.npz",
    ),
    "cameras": (lambda path: read_llff(path).centre, npy(CAMERA), "poses_bounds.npy"),
    "disparity": (read_scales, b'{"a": {"scale": 3}, "b": {"scale": 4.5}}', "disparity.json"),
    "packed clips": (load_clips, npz(clips=np.ones((1, 2, 16, 16, 3), np.uint8)), "a.npz"),
    "packed questions": (load_questions, npz(**QUESTIONS._asdict()), "a.npz"),
    "memory": (load_memory, saved(save_memory, SampleMemory(np.ones((2, 3)), np.ones((2, 3)), 3)), "a.npz"),
    "training pictures": (load_arrays, npz(pictures=PICTURE[None], labels=np.ones(1, np.int32)), "a.npz"),
    "recorded channel": (
        RecordedChannel.load,
        npz(gains=np.ones((2, 1, 1, 2), np.complex64), delays=np.arange(2) * 1e-7, interval=1e-3),
        "a.npz",
    ),
    "adapter": (read_adapter, json.dumps(ADAPTER).encode(), "adapter_config.json"),
    "coco": (read_coco, json.dumps(COCO).encode(), "a.json"),
    "sa1b": (read_sa1b_annotation, json.dumps(SA1B).encode(), "a.json"),
    "voc": (read_voc_annotation, VOC.encode(), "a.xml"),
    "voc list": (read_voc_list, "2007_1\nframe 2.5\nété\n".encode(), "a.txt"),
    "positions": (read_positions, json.dumps(POSITIONS).encode(), "positions.json"),
    "boxes": (lambda path: read_boxes(path, ["a.png"]), b'{"a.png": [1, 2, 3, 4]}', "boxes.json"),
    "json config": (lambda path: read_config(path, []), b'{"system": {"num_symbols": 16}}', "a.json"),
    "cifar": (
        lambda path: read_cifar10_bin(path, num_records=2),
        np.arange(2 * 3073, dtype=np.uint8).tobytes().replace(b"\xff", b"\1"),
        "a.bin",
    ),
    "tar": (lambda path: load_class_folders(path, "train", size=8), archive("w"), "a.tar"),
    "tar.gz": (lambda path: load_class_folders(path, "train", size=8), archive("w:gz"), "a.tar.gz"),
    "tar.xz": (lambda path: load_class_folders(path, "train", size=8), archive("w:xz"), "a.tar.xz"),
    "packed": (load_packed, saved(save_packed, packed()), "a.npz"),
    "detection set": (
        lambda path: load_detection_set(path, "train"),
        saved(save_detection_sets, {"train": detection_set()}),
        "a.npz",
    ),
    "word vectors": (read_word_vectors, npz(words=np.array([b"dog", b"cat"]), vec=np.eye(2, 3)), "a.npz"),
    "merges": (read_merges, b"#version\n" + b"i n\n" * NUM_MERGES, "a.txt"),
    "safetensors": (read_tensors, safetensors(), "a.safetensors"),
    "pytorch": (read_tensors, pytorch(), "a.bin"),
    "npz of tensors": (read_tensors, npz(w=np.arange(6.0)), "a.npz"),
    "weights": (load_weights, saved(save_weights, {"a": np.ones(3)}, {"seed": 0}), "a.npz"),
    "png": (load_image, encoded("PNG"), "a.png"),
    "palette png": (load_image, encoded("PNG", "P", transparency=0), "a.png"),
    "jpeg": (load_image, encoded("JPEG", exif=Image.Exif()), "a.jpg"),
    "webp": (load_image, encoded("WEBP"), "a.webp"),
    "gif": (load_image, encoded("GIF", "P"), "a.gif"),
    "tiff": (load_image, encoded("TIFF", compression="tiff_lzw"), "a.tif"),
    "grey tiff": (load_image, encoded("TIFF", "I;16"), "a.tif"),
    "bmp": (load_image, encoded("BMP"), "a.bmp"),
    "ppm": (load_image, encoded("PPM"), "a.ppm"),
}
TEXTS = (
    "coco", "sa1b", "voc", "voc list", "positions", "boxes", "json config", "merges", "ply", "off", "xyz", "sentences",
    "disparity", "adapter",
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("readers")


@st.composite
def _damaged(draw, content):
    """A file after some accidents."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        place, other = (draw(st.integers(0, len(content))) for _ in range(2))
        first, last = sorted((place, other))
        kind = draw(st.sampled_from(["cut", "leave out", "double", "replace", "flip", "zero", "append"]))
        if kind == "cut":
            del content[place:]
        elif kind == "leave out":
            del content[first : min(last, first + 20)]
        elif kind == "double":
            content[first:first] = content[first:last]
        elif kind == "replace":
            content[first : first + 8] = draw(st.binary(max_size=8))
        elif kind == "flip" and place < len(content):
            content[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "zero":
            content[first:last] = bytes(last - first)
        elif kind == "append":
            content += draw(st.binary(max_size=16))
    return bytes(content)


def read(reader, path):
    """The result, or None where the file is refused: in one line that names it."""
    try:
        return reader(path)
    except (ValueError, UsageError, FileNotFoundError) as error:
        message = str(error)
        assert path.name in message and "\n" not in message, message
        return None


@pytest.mark.parametrize("name", READERS)
def test_a_whole_file_is_read(folder, name):
    reader, content, file = READERS[name]
    (folder / file).write_bytes(content)
    assert reader(folder / file) is not None


@pytest.mark.parametrize("name", READERS)
@given(data=st.data())
@PROPERTY
def test_a_damaged_file_is_read_or_refused_in_one_line(folder, name, data):
    reader, content, file = READERS[name]
    (folder / file).write_bytes(data.draw(_damaged(content)))
    found = read(reader, folder / file)
    if reader is load_image and found is not None:
        assert found.dtype == np.uint8 and found.ndim == 3 and found.shape[2] == 3


@pytest.mark.parametrize("name", TEXTS)
@given(
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp037"]),
    garbage=st.sampled_from(["", "\0", "\x00\xff", "\ufeff", "é", "\ud800", "𝄞", "\r\n", "]" * 9, "[" * 100_000]),
    place=st.sampled_from(["before", "after", "within"]),
)
@settings(PROPERTY, max_examples=25)
def test_odd_encodings_are_read_or_refused_in_one_line(folder, name, encoding, garbage, place):
    reader, content, file = READERS[name]
    text = content.decode("utf-8")
    at = {"before": 0, "after": len(text), "within": len(text) // 2}[place]
    text = text[:at] + garbage + text[at:]
    whole = text.encode(encoding, "surrogatepass" if encoding.startswith("utf") else "replace")
    (folder / file).write_bytes(whole)
    found = read(reader, folder / file)
    if not garbage and encoding in ("utf-8", "utf-8-sig") and name != "merges":
        (folder / file).write_bytes(content)
        np.testing.assert_equal(found, reader(folder / file))


@pytest.mark.parametrize("name", [name for name, (_, content, _) in READERS.items() if b".npy" in content])
def test_an_archive_that_announces_more_than_it_holds_is_refused(folder, name):
    reader, content, file = READERS[name]
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as whole, zipfile.ZipFile(stream, "w") as forged:
        for entry in whole.namelist():
            header, _, data = whole.read(entry).partition(b"\n")
            text = re.sub(rb"'shape': \((?=\d)", b"'shape': (9999999999999", header[10:])
            header = header[:8] + struct.pack("<H", len(text) + 1) + text
            forged.writestr(entry, header + b"\n" + data)
    (folder / file).write_bytes(stream.getvalue())
    assert read(reader, folder / file) is None


# Annotations of any content beside a good one: that one survives.

_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def _places(node, path=()):
    """Paths of all values within some JSON."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from _places(value, (*path, key))


@st.composite
def _spoiled(draw, entry):
    """An entry with some values replaced by any JSON or near misses, or left out; or something else altogether."""
    if draw(st.integers(0, 9)) == 0:
        return draw(_json)
    entry = copy.deepcopy(entry)
    for _ in range(draw(st.integers(1, 2))):
        places = list(_places(entry))
        if not places:
            break
        *way, last = draw(st.sampled_from(places))
        node = entry
        for step in way:
            node = node[step]
        if draw(st.integers(0, 4)) == 0:
            del node[last]
        else:
            near = st.sampled_from([0, -1, 0.0, 1e-20, 20.0, 20.4, 21, 1e300, "", "..", [], {}, True, None])
            node[last] = draw(near | _json)
    return entry


def _check_boxes(boxes, height, width):
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    assert np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()
    assert (boxes[:, :2] - boxes[:, 2:] / 2 >= -1e-9).all()
    assert (boxes[:, :2] + boxes[:, 2:] / 2 <= np.array([width, height]) + 1e-9).all()


@given(
    images=st.lists(_spoiled(COCO["images"][0] | {"id": 2}), max_size=2),
    categories=st.lists(_spoiled(COCO["categories"][0] | {"id": 8}), max_size=2),
    annotations=st.lists(_spoiled(COCO["annotations"][0]), max_size=4),
    place=st.integers(0, 4),
)
@settings(PROPERTY, max_examples=80)
def test_the_good_part_of_coco_survives(folder, images, categories, annotations, place):
    annotations = [*annotations[:place], *COCO["annotations"], *annotations[place:]]
    content = {
        "images": COCO["images"] + images,
        "categories": COCO["categories"] + categories,
        "annotations": annotations,
    }
    (folder / "a.json").write_text(json.dumps(content))
    found = read_coco(folder / "a.json")
    first = next(picture for picture in found.pictures if picture[:3] == ("a.jpg", 16, 20))
    assert any(item.box == BOX and found.classes[item.label] == "dog" for item in first.objects)
    for picture in found.pictures:
        _check_boxes([item.box for item in picture.objects], picture.height, picture.width)
    kept = len(found.pictures) + len(found.classes) + sum(len(picture.objects) for picture in found.pictures)
    assert kept + len(found.left_out) == sum(map(len, content.values()))
    assert all("\n" not in line and re.match(r".*a\.json: \w+\[\d+\]", line) for line in found.left_out)


@given(annotations=st.lists(_spoiled(SA1B["annotations"][0]), max_size=4), place=st.integers(0, 4))
@settings(PROPERTY, max_examples=80)
def test_the_good_part_of_sa1b_survives(folder, annotations, place):
    annotations = [*annotations[:place], *SA1B["annotations"], *annotations[place:]]
    (folder / "a.json").write_text(json.dumps(SA1B | {"annotations": annotations}))
    found = read_sa1b_annotation(folder / "a.json")
    assert BOX in [item.box for item in found.objects]
    _check_boxes([item.box for item in found.objects], 16, 20)
    assert len(found.objects) + len(found.left_out) == len(annotations)


_words = st.sampled_from(["", "0", "1", "5", "12", "20.4", "21", "99", "-3", "nan", "inf", "1e400", "links"]) | st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=4
)


@given(
    objects=st.lists(st.tuples(_words, _words, _words, _words, _words, st.integers(0, 9)), max_size=4),
    place=st.integers(0, 4),
)
@settings(PROPERTY, max_examples=80)
def test_the_good_part_of_voc_survives(folder, objects, place):
    texts = []
    for name, *edges, dropped in objects:
        pairs = list(zip(("xmin", "ymin", "xmax", "ymax"), edges, strict=True))
        parts = [f"<{tag}>{escape(edge)}</{tag}>" for tag, edge in pairs[:dropped] + pairs[dropped + 1 :]]
        texts.append(f"<object><name>{escape(name)}</name><bndbox>{''.join(parts)}</bndbox></object>")
    texts.insert(place, OBJECT)
    (folder / "a.xml").write_text(VOC.replace(OBJECT, "".join(texts)), encoding="utf-8")
    found = read_voc_annotation(folder / "a.xml")
    assert BOX in [item.box for item in found.objects]
    _check_boxes([item.box for item in found.objects], 16, 20)
    assert len(found.objects) + len(found.left_out) == len(texts)


@given(
    height=st.integers(-1, 9) | st.just(10**9),
    width=st.integers(-1, 9),
    counts=st.text(max_size=8)
    | st.text([chr(code) for code in range(48, 112)], max_size=8)
    | st.lists(st.integers(-2, 20) | st.integers(), max_size=5).map(tuple),
)
@settings(PROPERTY, max_examples=80)
def test_run_lengths_are_unpacked_or_refused(height, width, counts):
    try:
        mask = decode_rle(Rle(height, width, counts))
    except RleError as error:
        assert "\n" not in str(error)
    else:
        assert mask.shape == (height, width)
