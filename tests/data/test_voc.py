import re

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data import VOC_CLASSES, AnnotationError, load_voc, read_voc_annotation
from lvm_mtc.data.voc import MAX_XML_BYTES, largest_object, read_voc_list, voc_boxes


def annotation(objects="", size="<size><width>100</width><height>80</height><depth>3</depth></size>"):
    return f"<annotation><filename>a.jpg</filename>{size}{objects}</annotation>"


def entry(name="dog", xmin=1, ymin=1, xmax=100, ymax=80, extra=""):
    edges = "".join(
        f"<{edge}>{value}</{edge}>"
        for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), (xmin, ymin, xmax, ymax), strict=True)
    )
    return f"<object><name>{name}</name>{extra}<bndbox>{edges}</bndbox></object>"


def write(tmp_path, text, name="a.xml"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_boxes_count_from_one_and_include_both_ends(tmp_path):
    """Object pixels painted by VOC's rule; the box must be what NumPy finds."""
    painted = np.zeros((80, 100), bool)
    painted[11 - 1 : 30, 21 - 1 : 70] = True  # ymin 11, ymax 30, xmin 21, xmax 70
    rows, columns = np.nonzero(painted)
    left, top, right, bottom = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    read = read_voc_annotation(write(tmp_path, annotation(entry("cat", 21, 11, 70, 30) + entry())))
    assert (read.height, read.width) == (80, 100)
    assert [item.name for item in read.objects] == ["cat", "dog"]
    assert read.objects[0].box == ((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)
    np.testing.assert_array_equal(voc_boxes(read), [[45, 20, 50, 20], [50, 40, 100, 80]])


def test_flags_fractions_and_parts_are_read(tmp_path):
    part = "<part><name>head</name><bndbox><xmin>500</xmin></bndbox></part>"
    objects = entry("person", 1.5, 2, 3.5, 4, extra="<difficult>1</difficult>" + part)
    (item,) = read_voc_annotation(write(tmp_path, annotation(objects))).objects
    assert item.difficult and item.box == (2.0, 2.5, 3.0, 3.0)


def test_a_picture_without_objects_is_read(tmp_path):
    read = read_voc_annotation(write(tmp_path, annotation()))
    assert read.objects == () and voc_boxes(read).shape == (0, 4) and largest_object(read) is None


def test_the_largest_object_is_that_of_the_largest_area(tmp_path):
    objects = entry("a", 1, 1, 90, 10) + entry("b", 1, 1, 40, 40) + entry("c", 1, 1, 40, 40)
    assert largest_object(read_voc_annotation(write(tmp_path, annotation(objects)))).name == "b"


LAUGHS = "<!DOCTYPE annotation [<!ENTITY a0 'ha'>" + "".join(
    f"<!ENTITY a{i} '{f'&a{i - 1};' * 10}'>" for i in range(1, 15)
)

BAD_XML = {
    "empty": ("", "is empty"),
    "no xml": ("picture 1: a dog", "not well-formed"),
    "cut off": (annotation(entry())[:150], "not well-formed"),
    "two roots": (annotation() + annotation(), "not well-formed"),
    "bad encoding name": ('<?xml version="1.0" encoding="no-such"?><annotation/>', "not well-formed"),
    "binary": (b"\xff\xfe\x00\x01\x02", "not well-formed"),
    "other root": ("<html></html>", "outermost element is <html>"),
    "billion laughs": (LAUGHS + "]><annotation>&a14;</annotation>", "declares a document type"),
    "external entity": (
        '<!DOCTYPE annotation [<!ENTITY e SYSTEM "file:///etc/passwd">]><annotation>&e;</annotation>',
        "declares a document type",
    ),
    "laughs in utf-16": ((LAUGHS + "]><annotation>&a14;</annotation>").encode("utf-16"), "declares a document type"),
    "too large": (annotation("<!-- " + "x" * MAX_XML_BYTES + " -->"), "too large"),
    "no size": (annotation(size=""), "has no <size/width>"),
    "no height": (annotation(size="<size><width>3</width></size>"), "has no <size/height>"),
    "size zero": (annotation(size="<size><width>0</width><height>9</height></size>"), "size is 0 x 9"),
    "size fraction": (annotation(size="<size><width>9.5</width><height>9</height></size>"), "size is 9.5 x 9"),
    "size infinite": (annotation(size="<size><width>inf</width><height>9</height></size>"), "<size/width> is 'inf'"),
    "no name": (annotation(entry(name=" ")), "has no <name>"),
    "no box": (annotation("<object><name>dog</name></object>"), "has no <bndbox/xmin>"),
    "a word": (annotation(entry(xmin="left")), "<bndbox/xmin> is 'left'"),
    "nan": (annotation(entry(ymax="nan")), "<bndbox/ymax> is 'nan'"),
    "reversed x": (annotation(entry("cat", xmin=60, xmax=20)), "box of 'cat' is reversed .xmin=60, ymin=1, xmax=20"),
    "no box corner": (annotation(entry().replace("ymax", "y")), "has no <bndbox/ymax>"),
    "reversed y": (annotation(entry(ymin=60, ymax=20)), "is reversed"),
    "left of it": (annotation(entry(xmin=0)), "reaches outside the picture of 100 x 80"),
    "above it": (annotation(entry(ymin=-4)), "reaches outside"),
    "right of it": (annotation(entry(xmax=101)), "reaches outside"),
    "below it": (annotation(entry(ymax=80.5)), "reaches outside"),
    "codec of several letters": ('<?xml version="1.0" encoding="idna"?><annotation/>', "not well-formed"),
    "codec of seven bits": ('<?xml version="1.0" encoding="utf-7"?><annotation/>', "not well-formed"),
    "cut off in gb2312": (annotation(entry("狗"))[:150].encode("gb2312"), "not well-formed"),
    "no gb2312": (b'<?xml version="1.0" encoding="gb2312"?><annotation>\xff\xff</annotation>', "not well-formed"),
    "laughs in gb2312": (f'<?xml version="1.0" encoding="gb2312"?>{LAUGHS}]><annotation/>', "declares a document type"),
}
# Of one object among others: left out, and where it lies a pixel outside at most, clipped.
OF_AN_OBJECT = (
    "no name", "no box", "no box corner", "a word", "nan", "reversed x", "reversed y", "above it",
)  # fmt: skip
CLIPPED = ("left of it", "right of it", "below it")


@pytest.mark.parametrize(
    ("case", "strict"),
    [(case, True) for case in BAD_XML] + [(case, False) for case in BAD_XML if case not in OF_AN_OBJECT + CLIPPED],
)
def test_bad_annotations_are_refused_in_one_line(tmp_path, case, strict):
    text, reason = BAD_XML[case]
    path = write(tmp_path, text)
    with pytest.raises(AnnotationError, match=reason) as caught:
        read_voc_annotation(path, strict=strict)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)
    assert "expected" in str(caught.value)


@pytest.mark.parametrize("case", OF_AN_OBJECT)
def test_an_object_that_cannot_be_used_is_left_out_and_counted(tmp_path, caplog, case):
    text, reason = BAD_XML[case]
    path = write(tmp_path, text.replace("</annotation>", entry("cat", 21, 11, 70, 30) + "</annotation>"))
    read = read_voc_annotation(path)
    (item,), (line,) = read.objects, read.left_out
    assert item.name == "cat" and re.search(reason, line)
    (message,) = caplog.messages
    assert message.startswith(f"{path}: left out 1 of 2 entries; expected ") and "\n" not in message


@pytest.mark.parametrize(
    ("edges", "box"),
    [
        (dict(xmin=0), (50, 40, 100, 80)),
        (dict(ymin=0, ymax=40), (50, 20, 100, 40)),
        (dict(xmin=51, xmax=100.4), (75, 40, 50, 80)),
        (dict(ymax=81), (50, 40, 100, 80)),
    ],
)
def test_boxes_of_programs_that_count_from_zero_are_clipped(tmp_path, caplog, edges, box):
    (item,) = read_voc_annotation(write(tmp_path, annotation(entry(**edges)))).objects
    assert item.box == box and not caplog.records


@pytest.mark.parametrize(
    ("encoding", "name"),
    [
        ("gb2312", "狗"), ("GBK", "鎔"), ("gb18030", "狗"), ("big5", "狗"), ("Shift_JIS", "犬"), ("euc-jp", "犬"),
        ("euc-kr", "개"), ("windows-1251", "пёс"), ("iso-8859-1", "chât"), ("utf-8", "狗"), ("utf-16", "狗"),
    ],
)  # fmt: skip
def test_the_declared_encoding_is_understood(tmp_path, encoding, name):
    text = f'<?xml version="1.0" encoding="{encoding}"?>' + annotation(entry(name))
    (item,) = read_voc_annotation(write(tmp_path, text.encode(encoding))).objects
    assert item.name == name


@pytest.fixture
def voc_root(tmp_path):
    for folder in ("ImageSets/Main", "Annotations", "JPEGImages"):
        (tmp_path / folder).mkdir(parents=True)
    for name in ("2007_000001", "2007_000002"):
        Image.new("RGB", (100, 80)).save(tmp_path / "JPEGImages" / f"{name}.jpg")
        write(tmp_path / "Annotations", annotation(entry()), f"{name}.xml")
    write(tmp_path / "ImageSets/Main", "2007_000002\n2007_000001  \n\n", "train.txt")
    return tmp_path


def test_a_split_is_listed_in_its_order(voc_root):
    examples = load_voc(voc_root, "train")
    assert [example.name for example in examples] == ["2007_000002", "2007_000001"]
    assert examples[0].image_path == voc_root / "JPEGImages" / "2007_000002.jpg"
    assert examples[0].annotation.objects[0].box == (50, 40, 100, 80)


def test_ids_and_pictures_of_other_programs_are_taken(voc_root, caplog):
    names = {"frame 1.5": ".png", "DJI_0001.v2": ".JPG", "été 0": ".jpeg", "2007_000001": ".png"}
    for name, suffix in names.items():
        Image.new("RGB", (100, 80)).save(voc_root / "JPEGImages" / f"{name}{suffix}")
        write(voc_root / "Annotations", annotation(entry("cat", ymin=-9) + entry()), f"{name}.xml")
    write(voc_root / "ImageSets/Main", "\n".join(names).encode("utf-8-sig"), "other list.v1.txt")
    examples = load_voc(voc_root, "other list.v1")
    found = [example.image_path.name for example in examples]
    assert found == ["frame 1.5.png", "DJI_0001.v2.JPG", "été 0.jpeg", "2007_000001.jpg"]
    assert all([item.name for item in example.annotation.objects] == ["dog"] for example in examples)
    assert caplog.messages == [f"{voc_root}: left out 4 of 8 entries; expected a box inside it (4)"]
    with pytest.raises(AnnotationError, match="frame 1.5.xml: the box of 'cat'"):
        load_voc(voc_root, "other list.v1", strict=True)


@pytest.mark.parametrize(
    "content, reason",
    [
        ("", "is empty"),
        ("\n  \n", "names no picture"),
        ("2007_000001\n../../etc/passwd\n", "line 2 is '../../etc/passwd'"),
        ("/etc/passwd\n", "line 1"),
        ("2007_000001 -1\n", "line 1 is '2007_000001 -1'"),
        ("2007_000001  1\n", "line 1 is '2007_000001  1'"),
        ("a\n..\n", "line 2 is '..'"),
        ("a\\b\n", "line 1"),
        ("a\0\n", "line 1"),
        (b"\xff\xfe\n", "cannot be read as text"),
    ],
)
def test_bad_lists_are_refused(tmp_path, content, reason):
    path = write(tmp_path, content, "train.txt")
    with pytest.raises(AnnotationError, match=reason):
        read_voc_list(path)


def test_what_is_missing_is_named(voc_root):
    with pytest.raises(AnnotationError, match="val.txt: does not exist"):
        load_voc(voc_root, "val")
    for split in ("../train", "", "a/b"):
        with pytest.raises(AnnotationError, match="split must be the plain name"):
            load_voc(voc_root, split)
    (voc_root / "Annotations" / "2007_000001.xml").unlink()
    with pytest.raises(AnnotationError, match="2007_000001.xml: does not exist"):
        load_voc(voc_root)
    (voc_root / "JPEGImages" / "2007_000002.jpg").unlink()
    with pytest.raises(AnnotationError, match="2007_000002.jpg: does not exist"):
        load_voc(voc_root)
    with pytest.raises(AnnotationError, match="ImageSets.Main: does not exist; expected a folder"):
        load_voc(voc_root / "JPEGImages")


def test_the_real_split_has_its_stated_numbers(shared_data):
    train, val = (load_voc(shared_data / "voc2012_320", split) for split in ("train", "val"))
    assert (len(train), len(val)) == (1200, 200)
    assert not {item.name for item in train} & {item.name for item in val}
    objects = [item for example in train + val for item in example.annotation.objects]
    assert len(objects) == 3367 and {item.name for item in objects} <= set(VOC_CLASSES)
    with Image.open(train[0].image_path) as image:
        assert image.size == (train[0].annotation.width, train[0].annotation.height)
