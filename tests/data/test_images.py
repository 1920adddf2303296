import io
import os
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lvm_mtc.data import ImageError, list_images, load_image
from lvm_mtc.data.files import natural_order

PROPERTY = settings(deadline=None, derandomize=True, database=None)


def photo(height=40, width=48, seed=0):
    """Smooth colours with a corner that tells left from right and up from down."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [np.clip(a * x + b * y + rng.normal(0, 3, x.shape) + 40, 0, 255) for a, b in ((3, 1), (1, 3), (2, 2))]
    image = np.stack(planes, axis=-1).astype(np.uint8)
    image[:6, :9] = (250, 10, 20)
    return image


def encoded(image, form, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, form, **options)
    return stream.getvalue()


def png(width, height, depth, color, rows, extra=b""):
    """A PNG written by hand, so that it can say what Pillow would not write."""

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + extra
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    return path


# What must load, and as what


@pytest.mark.parametrize("form, suffix", [("PNG", "png"), ("BMP", "bmp"), ("TIFF", "tif"), ("PPM", "ppm")])
def test_lossless_formats_load_exactly(tmp_path, form, suffix):
    loaded = load_image(write(tmp_path, f"a.{suffix}", encoded(photo(), form)))
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, photo())


def test_a_lossless_picture_that_differs_is_told_apart(tmp_path):
    other = photo()
    other[20, 20, 1] ^= 1
    loaded = load_image(write(tmp_path, "a.png", encoded(other, "PNG")))
    assert (loaded != photo()).sum() == 1


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_lossy_formats_load_closely(tmp_path, form):
    loaded = load_image(write(tmp_path, "a.img", encoded(photo(), form, quality=95)))
    assert np.abs(loaded.astype(int) - photo()).mean() < 4


def test_the_content_decides_not_the_suffix(tmp_path):
    np.testing.assert_array_equal(load_image(write(tmp_path, "a.jpg", encoded(photo(), "PNG"))), photo())


def test_grey_gets_three_equal_channels(tmp_path):
    grey = photo()[..., 0]
    loaded = load_image(write(tmp_path, "a.png", encoded(grey, "PNG")))
    np.testing.assert_array_equal(loaded, np.repeat(grey[..., None], 3, axis=-1))


def test_one_bit_becomes_black_and_white(tmp_path):
    bits = photo()[..., 0] > 100
    loaded = load_image(write(tmp_path, "a.png", encoded(Image.fromarray(bits), "PNG")))
    np.testing.assert_array_equal(loaded[..., 2], np.where(bits, 255, 0))


def test_cmyk_becomes_the_same_colours(tmp_path):
    flat = Image.new("CMYK", (32, 32), (0, 255, 255, 0))  # no cyan: red
    loaded = load_image(write(tmp_path, "a.jpg", encoded(flat, "JPEG", quality=95)))
    np.testing.assert_allclose(loaded.reshape(-1, 3).mean(axis=0), [255, 0, 0], atol=6)


def test_16_bit_grey_keeps_its_upper_8_bits(tmp_path):
    samples = np.arange(48 * 40, dtype=np.uint16).reshape(40, 48) * 34
    loaded = load_image(write(tmp_path, "a.png", encoded(Image.fromarray(samples), "PNG")))
    np.testing.assert_array_equal(loaded[..., 0], samples >> 8)
    assert loaded.max() == (samples >> 8).max() > 200


def test_16_bit_grey_tiff_keeps_its_upper_8_bits(tmp_path):
    samples = np.arange(48 * 40, dtype=np.uint16).reshape(40, 48) * 34
    loaded = load_image(write(tmp_path, "a.tif", encoded(Image.fromarray(samples), "TIFF")))
    np.testing.assert_array_equal(loaded[..., 1], samples >> 8)


def test_16_bit_colour_keeps_its_upper_8_bits(tmp_path):
    samples = np.random.default_rng(1).integers(0, 65536, (20, 24, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in samples)
    loaded = load_image(write(tmp_path, "a.png", png(24, 20, 16, 2, rows)))
    np.testing.assert_array_equal(loaded, samples >> 8)


def tiff(samples, bits, photometric, order="<"):
    """An uncompressed grey TIFF written by hand: Pillow writes no white-is-zero and no 12 bits."""
    height, width = samples.shape
    if bits == 16:
        data = samples.astype(f"{order}u2").tobytes()
    else:
        planes = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
        data = b"".join(np.packbits(row).tobytes() for row in planes.reshape(height, -1))
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 134, 277: 1, 278: height}
    tags = {**tags, 279: len(data), 339: 1}
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags.items())
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4)
    assert len(head) == 134
    return head + data


@pytest.mark.parametrize(("bits", "photometric"), [(16, 0), (16, 1), (12, 1), (8, 0), (8, 1), (4, 0), (4, 1), (1, 0)])
def test_a_grey_tiff_shows_its_greys_from_black_to_white(tmp_path, bits, photometric):
    """TIFF 6.0, PhotometricInterpretation: 0 says that the sample 0 is white."""
    samples = np.random.default_rng(bits).integers(0, 2**bits, (20, 24))
    loaded = load_image(write(tmp_path, "a.tif", tiff(samples, bits, photometric)))
    shown = samples if photometric else 2**bits - 1 - samples
    want = shown >> (bits - 8) if bits >= 8 else shown * (255 // (2**bits - 1))
    np.testing.assert_array_equal(loaded, np.repeat(want[..., None], 3, axis=-1))


def test_a_16_bit_tiff_is_turned_upright_the_right_way_round(tmp_path):
    samples = np.random.default_rng(0).integers(0, 2**16, (20, 24))
    content = bytearray(tiff(samples, 16, 0))
    entry = content.index(struct.pack("<HH", 339, 4))  # the sample format, whose default it names: in its place 274
    content[entry : entry + 12] = struct.pack("<HHII", 274, 3, 1, 3)
    np.testing.assert_array_equal(
        load_image(write(tmp_path, "a.tif", bytes(content)))[..., 0], (65535 - samples[::-1, ::-1]) >> 8
    )


def transparent(*sample):
    data = struct.pack(f">{len(sample)}H", *sample)
    return struct.pack(">I", len(data)) + b"tRNS" + data + struct.pack(">I", zlib.crc32(b"tRNS" + data))


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_laid_over_white(tmp_path, depth):
    samples = np.random.default_rng(depth).integers(0, 2**depth, (20, 24))
    chosen = samples[3, 3] = 1
    samples[3, 4] = min(2, 2**depth - 1) if depth > 1 else 0  # with 16 bits of the same upper byte
    bits = (samples[..., None] >> np.arange(depth - 1, -1, -1)) & 1
    rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits.reshape(20, -1))
    loaded = load_image(write(tmp_path, "a.png", png(24, 20, depth, 0, rows, transparent(chosen))))
    shown = samples >> (depth - 8) if depth >= 8 else samples * (255 // (2**depth - 1))
    np.testing.assert_array_equal(loaded[..., 1], np.where(samples == chosen, 255, shown))


@pytest.mark.parametrize("kind", [">u1", ">u2"])
def test_the_transparent_colour_of_a_png_is_laid_over_white(tmp_path, kind):
    samples = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (20, 24, 3)).astype(kind)
    chosen = samples[:10] = samples[0, 0]
    samples[0, 1, 2] ^= 1  # another colour, with 16 bits of the same upper bytes
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    depth = 8 * samples.itemsize
    loaded = load_image(write(tmp_path, "a.png", png(24, 20, depth, 2, rows, transparent(*map(int, chosen)))))
    shown = np.where((samples == chosen).all(-1, keepdims=True), 255, samples >> (depth - 8))
    np.testing.assert_array_equal(loaded, shown)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_laid_over_white(tmp_path, mode):
    picture = Image.new(mode, (32, 32), (0, 0, 0, 0) if mode == "RGBA" else (0, 0))
    picture.paste((0, 0, 0, 255) if mode == "RGBA" else (0, 255), (0, 0, 16, 32))
    loaded = load_image(write(tmp_path, "a.png", encoded(picture, "PNG")))
    assert (loaded[:, :16] == 0).all() and (loaded[:, 16:] == 255).all()


def test_a_transparent_palette_is_laid_over_white(tmp_path):
    picture = Image.new("P", (32, 32), 0)
    picture.putpalette([10, 20, 30, 200, 100, 50])
    picture.paste(1, (0, 0, 16, 32))
    loaded = load_image(write(tmp_path, "a.png", encoded(picture, "PNG", transparency=0)))
    assert (loaded[:, :16] == [200, 100, 50]).all() and (loaded[:, 16:] == 255).all()


def test_an_animation_gives_its_first_picture(tmp_path):
    frames = [Image.new("RGB", (32, 32), color) for color in ("red", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (load_image(write(tmp_path, "a.gif", content)) == [255, 0, 0]).all()


# The eight EXIF orientations: what the camera's raw array has to go through to stand upright (EXIF 2.3, tag 0x0112)
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_is_applied(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    loaded = load_image(write(tmp_path, "a.png", encoded(photo(), "PNG", exif=exif)))
    np.testing.assert_array_equal(loaded, UPRIGHT[orientation](photo()))


def test_garbled_exif_is_ignored(tmp_path):
    content = encoded(photo(), "JPEG", exif=b"Exif\0\0MM\0*" + b"\xff" * 40)
    assert load_image(write(tmp_path, "a.jpg", content)).shape == photo().shape


# What must be refused: file name -> (content, word of the reason)


def jpeg():
    return encoded(photo(200, 200), "JPEG", quality=95)


BAD_FILES = {
    "empty.jpg": (lambda: b"", "empty"),
    "text.jpg": (lambda: b"this is no picture at all, only a line of text\n", "not a picture"),
    "zeros.png": (lambda: bytes(5000), "not a picture"),
    "html.jpg": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "not a picture"),
    "pickle.png": (lambda: b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x04evil\x94.", "not a picture"),
    "script.eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\nshowpage\n", "not a picture"),
    "header.jpg": (lambda: jpeg()[:20], "not a picture|damaged"),
    "half.jpg": (lambda: jpeg()[: len(jpeg()) // 2], "truncated"),
    "half.png": (lambda: encoded(photo(200, 200), "PNG")[:4000], "truncated"),
    "half.webp": (lambda: encoded(photo(200, 200), "WEBP")[:400], "not a picture|damaged"),
    "half.gif": (lambda: encoded(photo(200, 200), "GIF")[:2000], "truncated"),
    "half.tif": (lambda: encoded(photo(200, 200), "TIFF")[:2000], "damaged|not a picture"),
    "half.ppm": (lambda: encoded(photo(200, 200), "PPM")[:2000], "truncated"),
    "half.bmp": (lambda: encoded(photo(200, 200), "BMP")[:2000], "truncated"),
    "crc.png": (lambda: encoded(photo(), "PNG").replace(b"IDAT", b"IDAX", 1), "damaged|not a picture"),
    "garbage.png": (lambda: png(32, 32, 8, 2, b"\0" * 5), "damaged"),
    "tiny.png": (lambda: encoded(photo(15, 40), "PNG"), "40 x 15 pixels is too small"),
    "pixel.png": (lambda: encoded(photo(1, 1), "PNG"), "1 x 1 pixels is too small"),
    "bomb.png": (lambda: png(60_000, 60_000, 8, 2, b""), "3600000000 pixels"),
    "big.png": (lambda: png(10_000, 10_000, 8, 2, b""), "100000000 pixels, too large"),
    "float.tif": (lambda: encoded(Image.fromarray(np.ones((32, 32), np.float32)), "TIFF"), "floating-point"),
    "int32.tif": (lambda: encoded(Image.fromarray(np.full((32, 32), 70_000, np.int32)), "TIFF"), "samples span 70000"),
    "text_bomb.png": (lambda: png(32, 32, 8, 0, b"\0" * 33 * 32, text_chunk(80_000_000)), "damaged"),
}


def text_chunk(size):
    data = b"k\0\0" + zlib.compress(bytes(size))
    return struct.pack(">I", len(data)) + b"zTXt" + data + struct.pack(">I", zlib.crc32(b"zTXt" + data))


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file_is_refused_in_one_line_with_its_name(tmp_path, name):
    content, reason = BAD_FILES[name]
    path = write(tmp_path, name, content())
    with pytest.raises(ImageError, match=reason) as caught:
        load_image(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message and "expected" in message


@pytest.mark.parametrize("name", ["big.png", "bomb.png"])
def test_a_huge_claim_is_refused_without_a_warning(tmp_path, name, recwarn):
    with pytest.raises(ImageError):
        load_image(write(tmp_path, name, BAD_FILES[name][0]()))
    assert not recwarn.list


def test_what_is_no_regular_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    for name, reason in (
        ("pipe.png", "not a regular file"),
        ("folder.png", "is a folder"),
        ("loop.png", "cannot be read"),
        ("dangling.png", "does not exist"),
        ("missing.png", "does not exist"),
        ("missing/below.png", "does not exist"),
        ("n" * 300 + ".png", "cannot be read"),
        ("nul\0.png", "not a usable name"),
    ):
        with pytest.raises(ImageError, match=reason):
            load_image(tmp_path / name)


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path, "a.png", encoded(photo(), "PNG"))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(ImageError, match=r"a.png: cannot be read \(Permission denied\); expected a readable file"):
        load_image(path)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "GIF", "TIFF", "BMP", "WEBP", "PPM"])
def test_damage_anywhere_is_a_picture_or_a_refusal(tmp_path, form):
    rng = np.random.default_rng(7)
    whole = encoded(photo(32, 32), form)
    refused = 0
    for trial in range(60):
        damaged = bytearray(whole[: rng.integers(1, len(whole))] if trial % 2 else whole)
        for place in rng.integers(0, len(damaged), size=rng.integers(0, 4) if trial % 2 else 3):
            damaged[place] = rng.integers(256)
        path = write(tmp_path, "a.bin", bytes(damaged))
        try:
            loaded = load_image(path)
        except ImageError as error:
            assert "\n" not in str(error)
            refused += 1
        else:
            assert loaded.dtype == np.uint8 and loaded.ndim == 3 and loaded.shape[2] == 3
    assert refused > 5


# Folders


@pytest.fixture
def folder(tmp_path):
    for name in ("b.png", "a.PNG", "c.bmp", "positions.json", "._a.png"):  # the last one of another system
        write(tmp_path, name, b"x")
    return tmp_path


def test_a_folder_is_listed_without_hidden_and_other_files(folder):
    assert [path.name for path in list_images(folder)] == ["a.PNG", "b.png", "c.bmp"]


# Names in the order in which their numbers count, as people and cameras write them.
NATURAL = [
    ["shot1.png", "shot2.png", "shot9.png", "shot10.png", "shot11.png", "shot12.png"],
    ["1.png", "2.png", "10.png", "9999.png", "10000.png"],
    [f"t{time}_uav{uav}.png" for time in (1, 2, 10) for uav in range(1, 11)],
    ["DJI_0009.JPG", "dji_10.jpg", "DJI_11.jpg", "img1.png", "IMG2.png"],
    ["a.png", "a01.png", "a1.png", "a1b.png", "a2.png", "a-1.png", "b.png"],
    [f"{2**64 + i}.png" for i in range(8, 12)],
]


@pytest.mark.parametrize("names", NATURAL, ids=lambda names: names[0])
def test_a_folder_is_listed_by_the_value_of_its_numbers(tmp_path, names):
    for name in reversed(names):
        write(tmp_path, name, b"x")
    assert [path.name for path in list_images(tmp_path)] == names
    assert [path.name for path in list_images(tmp_path, limit=3)] == names[:3]


@given(st.lists(st.text(st.characters(exclude_characters="/\0", codec="utf-8"), max_size=12), max_size=8))
@settings(PROPERTY, max_examples=200)
def test_any_names_have_one_order(names):
    order = sorted(names, key=natural_order)
    assert sorted(reversed(names), key=natural_order) == order and sorted(order) == sorted(names)


@given(st.lists(st.integers(0, 10**30), min_size=1, max_size=8, unique=True), st.sampled_from(["", "f_", "Aß"]))
@settings(PROPERTY, max_examples=100)
def test_numbers_of_any_length_are_ordered_by_value(numbers, prefix):
    names = [f"{prefix}{number}.png" for number in numbers]
    assert sorted(names, key=natural_order) == [f"{prefix}{number}.png" for number in sorted(numbers)]


def test_bad_folders_are_refused(folder, tmp_path):
    with pytest.raises(ImageError, match="does not exist"):
        list_images(tmp_path / "missing")
    with pytest.raises(ImageError, match="not a folder"):
        list_images(folder / "b.png")
    for name, reason in (("n" * 300, "cannot be read .File name too long"), ("nul\0", "not a usable name")):
        with pytest.raises(ImageError, match=reason):
            list_images(tmp_path / name)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no picture; expected files that end in .jpg"):
        list_images(tmp_path / "empty")
    for limit in (0, -1):
        with pytest.raises(ValueError, match=f"limit must be at least 1 or None, got {limit}"):
            list_images(folder, limit=limit)


def test_real_pictures_load(shared_data):
    pictures = [load_image(path) for path in list_images(shared_data / "kodak")]
    assert len(pictures) == 24 and {picture.shape for picture in pictures} <= {(512, 768, 3), (768, 512, 3)}
