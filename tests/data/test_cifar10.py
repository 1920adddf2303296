import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data import (
    CIFAR10_CLASSES,
    Cifar10Error,
    ImageError,
    cifar10,
    load_cifar10_binary,
    load_cifar10_sheets,
    load_class_folders,
    read_cifar10_bin,
)


def pictures(count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def record(label, picture):
    """One record as the data set's page describes it: label, then 1024 red, 1024 green, 1024 blue, row by row."""
    return bytes([label]) + b"".join(bytes(picture[:, :, channel].reshape(-1)) for channel in range(3))


# The official binary version


def test_binary_records_are_read(tmp_path):
    expected = pictures(3)
    (tmp_path / "a.bin").write_bytes(b"".join(map(record, (9, 0, 4), expected)))
    out = read_cifar10_bin(tmp_path / "a.bin", num_records=3)
    np.testing.assert_array_equal(out.pictures, expected)
    np.testing.assert_array_equal(out.labels, [9, 0, 4])
    assert out.pictures.dtype == out.labels.dtype == np.uint8 and out.classes == CIFAR10_CLASSES
    assert (out.pictures != expected.transpose(0, 2, 1, 3)).any()


def test_a_split_is_its_batches_in_order(tmp_path):
    for batch in range(1, 6):
        (tmp_path / f"data_batch_{batch}.bin").write_bytes(record(batch, pictures(1, batch)[0]) * 2)
    (tmp_path / "test_batch.bin").write_bytes(record(7, pictures(1)[0]))
    train = load_cifar10_binary(tmp_path, "train", num_records=2)
    np.testing.assert_array_equal(train.labels, np.repeat(np.arange(1, 6), 2))
    np.testing.assert_array_equal(train.pictures[6], pictures(1, 4)[0])
    np.testing.assert_array_equal(load_cifar10_binary(tmp_path, "test", num_records=1).labels, [7])


@pytest.mark.parametrize(
    "content, count, reason",
    [
        (b"", 1, "is empty"),
        (bytes(3072), 1, "has 3072 bytes; expected 3073, which is 1 records"),
        (bytes(3073), 2, "has 3073 bytes; expected 6146"),
        (bytes(3073), 10_000, "has 3073 bytes; expected 30730000, which is 10000 records of 3073"),
        (bytes(3073) + b"\x0a" + bytes(3072), 2, "label 10 of picture 1; expected 0 to 9"),
    ],
)
def test_bad_binary_files_are_refused(tmp_path, content, count, reason):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(content)
    with pytest.raises(Cifar10Error, match=reason) as caught:
        read_cifar10_bin(path, num_records=count)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_missing_batches_and_splits_are_named(tmp_path):
    with pytest.raises(Cifar10Error, match="data_batch_1.bin: does not exist"):
        load_cifar10_binary(tmp_path)
    with pytest.raises(Cifar10Error, match="split must be 'train' or 'test', got 'val'"):
        load_cifar10_binary(tmp_path, "val")
    with pytest.raises(Cifar10Error, match="does not exist; expected a folder"):
        load_cifar10_binary(tmp_path / "missing")


# Lossless sheets


@pytest.fixture
def sheets(tmp_path):
    expected = pictures(2000)
    for index in range(2):
        sheet = expected[1000 * index : 1000 * (index + 1)].reshape(1000, 1024, 3)
        Image.fromarray(sheet).save(tmp_path / f"cifar10_batch_{index}.png", compress_level=0)
    np.save(tmp_path / "labels_train_0_1999.npy", np.arange(2000) % 10)
    return tmp_path, expected


def test_sheets_are_read(sheets):
    out = load_cifar10_sheets(sheets[0])
    np.testing.assert_array_equal(out.pictures, sheets[1])
    np.testing.assert_array_equal(out.labels, np.arange(2000) % 10)


def test_bad_sheets_are_refused(sheets):
    folder = sheets[0]
    labels = folder / "labels_train_0_1999.npy"
    for content, reason in (
        (np.arange(1999) % 10, r"holds \(1999,\); expected 2000 whole numbers"),
        (np.zeros(2000), "expected 2000 whole numbers"),
        (np.full(2000, 10), "label 10 of picture 0"),
        (np.full(2000, -1), "label -1 of picture 0"),
        (np.array([{"evil": 1}] * 2000), "is no plain array"),
    ):
        np.save(labels, content)
        with pytest.raises(Cifar10Error, match=reason):
            load_cifar10_sheets(folder)
    labels.write_bytes(b"no array")
    with pytest.raises(Cifar10Error, match="is no plain array"):
        load_cifar10_sheets(folder)
    labels.unlink()
    with pytest.raises(Cifar10Error, match="holds 0 files labels_train"):
        load_cifar10_sheets(folder)
    Image.new("RGB", (1000, 1024)).save(folder / "cifar10_batch_1.png")
    with pytest.raises(Cifar10Error, match="cifar10_batch_1.png: is 1000 x 1024 pixels; expected 1024 x 1000"):
        load_cifar10_sheets(folder)
    (folder / "cifar10_batch_0.png").unlink()
    with pytest.raises(Cifar10Error, match="sheets found: cifar10_batch_1.png; expected cifar10_batch_0.png"):
        load_cifar10_sheets(folder)
    (folder / "cifar10_batch_1.png").unlink()
    with pytest.raises(Cifar10Error, match="sheets found: none"):
        load_cifar10_sheets(folder)


# A folder per class, on disk and in an archive


def png(picture):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, "PNG")
    return stream.getvalue()


MEMBERS = {
    f"{split}/{name}/{index:04d}.png": pictures(1, seed)[0]
    for seed, (split, name, index) in enumerate(
        [("train", "cat", 1), ("train", "cat", 0), ("train", "airplane", 0), ("train", "truck", 0), ("test", "cat", 0)]
    )
}
ORDER = ["train/airplane/0000.png", "train/cat/0000.png", "train/cat/0001.png", "train/truck/0000.png"]


def archive(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                header = content.tobuf()  # alone: Python 3.13 adds no file without what it announces
                tar.fileobj.write(header)
                tar.offset += len(header)
                continue
            content = content if isinstance(content, bytes) else png(content)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(params=["folder", "w", "w:xz", "w:gz"])
def classes(request, tmp_path):
    extra = {"train/cat/._0000.png": b"hidden", "train/README.txt": b"text", "train/cat/deeper/x.png": b"no picture"}
    if request.param != "folder":
        return archive(tmp_path / "a.tar", {**MEMBERS, **extra}, request.param)
    for name, content in {**MEMBERS, **extra}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else png(content))
    return tmp_path


def test_class_folders_are_read_in_sorted_order(classes):
    out = load_class_folders(classes, "train")
    assert out.classes == ("airplane", "cat", "truck")
    np.testing.assert_array_equal(out.labels, [0, 1, 1, 2])
    np.testing.assert_array_equal(out.pictures, np.stack([MEMBERS[name] for name in ORDER]))
    np.testing.assert_array_equal(load_class_folders(classes, "train", limit_per_class=1).labels, [0, 1, 2])
    assert load_class_folders(classes, "test", size=(16, 24)).pictures.shape == (1, 16, 24, 3)


def test_pictures_of_a_class_are_read_by_the_value_of_their_numbers(tmp_path):
    members = {f"train/cat/{number}.png": np.full((32, 32, 3), number, np.uint8) for number in (10, 2, 100, 1)}
    out = load_class_folders(archive(tmp_path / "a.tar", members), "train", limit_per_class=3)
    np.testing.assert_array_equal(out.pictures[:, 0, 0, 0], [1, 2, 10])


def test_bad_requests_for_class_folders_are_refused(classes):
    with pytest.raises(Cifar10Error, match="holds no picture below val/|does not exist"):
        load_class_folders(classes, "val")
    with pytest.raises(ValueError, match="limit_per_class must be at least 1 or None, got 0"):
        load_class_folders(classes, "train", limit_per_class=0)


def test_a_split_cannot_leave_its_folder(tmp_path):
    (tmp_path / "inner").mkdir()
    for split in ("..", ".", "", "inner/..", "/etc"):
        with pytest.raises(Cifar10Error, match="split must be the plain name"):
            load_class_folders(tmp_path / "inner", split)


def link(name, target, kind):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def announced(name, size):
    info = tarfile.TarInfo(name)
    info.size = size
    return info


UNSAFE = {
    "parent": ({"train/../../evil.png": b"x"}, "leaves the archive"),
    "parent that would come back": ({"train/cat/../cat/0.png": b"x"}, "leaves the archive"),
    "absolute": ({"/tmp/evil.png": b"x"}, "leaves the archive"),
    "backslash": ({"train\\..\\evil.png": b"x"}, "leaves the archive"),
    "symbolic link": ({"a": link("train/cat/0.png", "/etc/passwd", tarfile.SYMTYPE)}, "is a link or a device"),
    "hard link": ({"a": link("train/cat/0.png", "../../x", tarfile.LNKTYPE)}, "is a link or a device"),
    "pipe": ({"a": link("train/cat/0.png", "", tarfile.FIFOTYPE)}, "is a link or a device"),
    "device": ({"a": link("train/cat/0.png", "", tarfile.CHRTYPE)}, "is a link or a device"),
    "huge member": ({"a": announced("train/cat/0.png", 10**12)}, "holds 1000000000000 bytes, above 10000000"),
}


@pytest.mark.parametrize("case", UNSAFE)
def test_unsafe_archives_are_refused_and_leave_nothing(tmp_path, case):
    members, reason = UNSAFE[case]
    path = archive(tmp_path / "a.tar", members)
    with pytest.raises(Cifar10Error, match=reason) as caught:
        load_class_folders(path, "train")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_that_unfolds_too_far_is_refused(tmp_path, monkeypatch):
    path = archive(tmp_path / "a.tar.xz", {f"train/cat/{i}.png": bytes(3000) for i in range(5)}, "w:xz")
    monkeypatch.setattr(cifar10, "MAX_ARCHIVE_BYTES", 14_000)
    with pytest.raises(Cifar10Error, match="unpacks to too much; expected at most 14000 bytes"):
        load_class_folders(path, "train")


@pytest.mark.parametrize("mode", ["w", "w:xz", "w:gz", "w:bz2"])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.6, 0.9])
def test_cut_off_archives_are_refused(tmp_path, mode, part):
    path = archive(tmp_path / "a.tar", MEMBERS, mode)
    content = path.read_bytes()
    content = content.rstrip(b"\0") if mode == "w" else content
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(Cifar10Error, match="not a whole tar archive"):
        load_class_folders(path, "train")


def test_an_archive_cut_between_members_is_refused(tmp_path):
    """tarfile alone takes this for the end, and three pictures would be missing in silence."""
    path = archive(tmp_path / "a.tar", MEMBERS)
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[2].offset
    path.write_bytes(path.read_bytes()[:offset])
    with tarfile.open(path) as tar:
        assert len(tar.getmembers()) == 2
    with pytest.raises(Cifar10Error, match="not a whole tar archive"):
        load_class_folders(path, "train")


def test_a_damaged_header_is_refused(tmp_path):
    path = archive(tmp_path / "a.tar", MEMBERS)
    with tarfile.open(path) as tar:
        offset = tar.getmembers()[2].offset
    content = bytearray(path.read_bytes())
    content[offset + 10] ^= 0x55
    path.write_bytes(content)
    with pytest.raises(Cifar10Error, match="not a whole tar archive .*bad checksum"):
        load_class_folders(path, "train")


def test_other_files_and_bad_pictures_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 no tar")
    with pytest.raises(Cifar10Error, match="not a whole tar archive"):
        load_class_folders(tmp_path / "a.zip", "train")
    with pytest.raises(Cifar10Error, match="does not exist"):
        load_class_folders(tmp_path / "missing.tar", "train")
    path = archive(tmp_path / "a.tar", {"train/cat/0001.png": b"broken"})
    with pytest.raises(ImageError, match="a.tar:train/cat/0001.png: is not a picture"):
        load_class_folders(path, "train")
    path = archive(tmp_path / "b.tar", {"train/cat/1.png": pictures(1)[0], "train/cat/2.png": pictures(1)[0][:20]})
    with pytest.raises(Cifar10Error, match=r"2.png has shape \(20, 32, 3\) and the first picture \(32, 32, 3\)"):
        load_class_folders(path, "train", size=None)


# The real thing


def test_real_sheets_and_jpeg_copies_agree_on_the_classes(shared_data):
    """The mean picture of a class is nearer to that of the same class of the other source than to any other's."""
    lossless = load_cifar10_sheets(shared_data / "cifar10")
    assert lossless.pictures.shape == (3000, 32, 32, 3)
    copies = load_class_folders(shared_data / "cifar10" / "cifar10_jpeg_test.tar.xz", "test", limit_per_class=200)
    assert copies.classes == CIFAR10_CLASSES and copies.pictures.shape == (2000, 32, 32, 3)
    first, second = (
        np.stack([source.pictures[source.labels == label].mean(axis=0).ravel() for label in range(10)])
        for source in (lossless, copies)
    )
    distance = np.linalg.norm(first[:, None] - second[None], axis=-1)
    assert (distance.argmin(axis=1) == np.arange(10)).sum() >= 8, distance.round()
