"""Picture codecs of which only the payload is counted."""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from lvm_mtc.data import demo_views, picture_codecs
from lvm_mtc.data.picture_codecs import CODECS, best_fit, decode, encode, largest_fits, rate_table, rebuild_file

# A few settings of each codec from end to end: AVIF is slow.
SOME = {"jpeg": (0, 1, 60, 101, 199), "webp": (0, 30, 100), "avif": (0, 20, 45, 63), "heic": (0, 20, 47)}


@pytest.fixture(scope="module")
def heif():
    """The encoder of HEIC; the test is skipped without it, which CI does not allow."""
    pytest.importorskip("pillow_heif", reason="needs pillow-heif (extra heic)")
    picture_codecs.require_codec("heic")


@pytest.fixture(params=CODECS)
def codec(request):
    """Every codec."""
    if request.param == "heic":
        request.getfixturevalue("heif")
    return request.param


@pytest.fixture(scope="module")
def pictures():
    """Real pictures, one of odd sides."""
    views = demo_views().views
    return [views[0, 1], views[3, 0], np.ascontiguousarray(views[2, 0][:61, :77])]


def _file(picture, codec, setting):
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, CODECS[codec].file_format, **CODECS[codec].settings[setting])
    return stream.getvalue()


def test_rebuilt_file_is_the_file_byte_for_byte(codec, pictures):
    for picture in pictures:
        for setting in SOME[codec]:
            encoded = encode(picture, codec, setting)
            file = _file(picture, codec, setting)
            assert rebuild_file(encoded.payload, codec, picture.shape[:2]) == file
            np.testing.assert_array_equal(decode(encoded.payload, codec, picture.shape[:2]), encoded.picture)
            np.testing.assert_array_equal(encoded.picture, np.asarray(Image.open(io.BytesIO(file)).convert("RGB")))


def test_header_is_the_same_for_every_picture(codec, pictures):
    """What is not counted tells nothing about the picture: two pictures' headers differ in lengths alone."""
    for setting in SOME[codec][:2]:
        files = [_file(picture, codec, setting) for picture in pictures[:2]]
        payloads = [encode(picture, codec, setting).payload for picture in pictures[:2]]
        assert payloads[0] != payloads[1]
        overhead = {len(file) - len(payload) for file, payload in zip(files, payloads, strict=True)}
        assert len(overhead) == 1


def test_fitted_huffman_tables_would_be_noticed(pictures):
    """The comparison can fail: tables made for a picture are not in the template."""
    stream = io.BytesIO()
    Image.fromarray(pictures[0]).save(stream, "JPEG", optimize=True, **CODECS["jpeg"].settings[60])
    payload = CODECS["jpeg"].split(stream.getvalue(), 60)
    assert rebuild_file(payload, "jpeg", (96, 96)) != stream.getvalue()


def _scan_of_jpeg(file):
    """Reads the segments one by one, and the scan with its stuffed bytes up to the end marker."""
    position, segments = 2, []
    while file[position + 1] != 0xDA:
        length = int.from_bytes(file[position + 2 : position + 4], "big")
        segments.append((file[position + 1], file[position + 4 : position + 2 + length]))
        position += 2 + length
    start = position + 2 + int.from_bytes(file[position + 2 : position + 4], "big")
    end = start
    while not (file[end] == 0xFF and file[end + 1] != 0):
        end += 1
    return segments, file[start:end], file[end:]


def test_jpeg_payload_is_setting_and_scan(pictures):
    for setting in SOME["jpeg"]:
        segments, scan, rest = _scan_of_jpeg(_file(pictures[0], "jpeg", setting))
        assert rest == b"\xff\xd9"
        assert encode(pictures[0], "jpeg", setting).payload == bytes([setting]) + scan
        # Baseline, and the standard's Huffman tables: the first one has the code lengths of table K.3.
        kinds = [kind for kind, _ in segments]
        assert 0xC0 in kinds and 0xC2 not in kinds
        tables = b"".join(body for kind, body in segments if kind == 0xC4)
        assert tables[:17] == bytes([0, 0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])


def test_webp_and_avif_payloads_are_the_coded_data(pictures):
    payload = encode(pictures[0], "webp", 50).payload
    # RFC 6386, 9.1: a key frame, its start code, 14 bits of width and height each.
    assert payload[0] & 1 == 0 and payload[3:6] == b"\x9d\x01\x2a"
    assert [int.from_bytes(payload[i : i + 2], "little") & 0x3FFF for i in (6, 8)] == [96, 96]
    # An AV1 temporal unit: temporal delimiter, then the sequence header.
    payload = encode(pictures[0], "avif", 30).payload
    assert payload[:2] == b"\x12\x00" and payload[2] >> 3 == 1


def test_avif_settings_are_all_the_quantisers():
    settings = CODECS["avif"].settings
    quantisers = {((100 - s["quality"]) * 63 + 50) // 100 for s in settings}
    assert len(settings) == 64 and quantisers == set(range(64))


def _nal_units(data):
    """Type and body of each, split at its length (ISO/IEC 14496-15, 4 bytes)."""
    while data:
        length = int.from_bytes(data[:4], "big")
        yield data[4] >> 1 & 63, data[4 : 4 + length]
        data = data[4 + length :]


def test_heic_payload_is_the_one_coded_slice(pictures, heif):
    """An IDR picture (ITU-T H.265, table 7-1: 19 and 20) and no parameter sets, which stand in the header."""
    for picture, setting in zip(pictures, (10, 30, 45), strict=True):
        file = _file(picture, "heic", setting)
        ((kind, body),) = _nal_units(file[file.index(b"mdat") + 4 :])
        assert kind in (19, 20) and encode(picture, "heic", setting).payload == body
    header = _file(pictures[0], "heic", 0)
    record = header.index(b"hvcC") + 4
    # ISO/IEC 14496-15, 8.3.3: the profile of the format range extensions, 4:4:4, three arrays of one NAL unit each.
    assert header[record + 1] & 31 == 4 and header[record + 16] & 3 == 3 and header[record + 22] == 3
    kinds, position = [], record + 23
    for _ in range(3):
        kinds.append(header[position] & 63)
        position += 5 + int.from_bytes(header[position + 3 : position + 5], "big")
    assert kinds == [32, 33, 34]  # of video, sequence and picture parameters


def test_heic_header_is_that_of_every_quality(pictures, heif):
    """The payload names its own quantiser: the file of another quality serves as template."""
    encoded = encode(pictures[0], "heic", 40)
    other = _file(np.full((96, 96, 3), 7, np.uint8), "heic", 3)
    assert CODECS["heic"].join(encoded.payload, other) == _file(pictures[0], "heic", 40)


def test_heic_settings_are_all_the_quantisers(pictures, heif):
    """Each has a payload of its own, larger than the one before and of less error; the qualities between add none."""
    table = rate_table(pictures[0][:48, :48].copy(), "heic")
    assert np.all(np.diff(table.payload_bits) > 0) and table.mse[-1] < 2e-5 < 4e-3 < table.mse[0]
    first = CODECS["heic"].settings[0]
    others = [first | {"quality": quality} for quality in (*range(1, 94, 8), 95, 100)]
    how = CODECS["heic"]._replace(settings=tuple(others))
    between = [picture_codecs._write(pictures[0][:48, :48].copy(), how, i) for i in range(len(others))]
    assert {CODECS["heic"].split(file, 0) for file in between} <= set(table.payloads)


def test_chroma_as_fine_as_luma_is_worth_half_a_decibel(pictures, heif):
    """The offsets of the settings against x265's own: more PSNR at fewer bits."""
    how = CODECS["heic"]
    own = {name: value for name, value in how.settings[0]["enc_params"].items() if "qpoffs" not in name}
    theirs = how._replace(settings=tuple(dict(quality=one["quality"], enc_params=own) for one in how.settings))
    curves = []
    for one in (how, theirs):
        files = [picture_codecs._write(pictures[0], one, setting) for setting in (10, 20, 30)]
        errors = [np.mean((np.float64(picture_codecs._read(file)) - pictures[0]) ** 2) for file in files]
        curves.append((np.log([len(one.split(file, 0)) for file in files]), -10 * np.log10(errors)))
    (rate, psnr), (their_rate, their_psnr) = curves
    assert psnr[1] - np.interp(rate[1], their_rate, their_psnr) > 0.4


def test_without_pillow_heif_one_line_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    picture_codecs._register_heic.cache_clear()
    with pytest.raises(ValueError, match=r"^picture codec 'heic' needs pillow-heif: pip install 'lvm-mtc\[heic\]'$"):
        encode(PICTURE, "heic", 0)
    picture_codecs._register_heic.cache_clear()


def test_a_few_trials_find_what_all_do(pictures, codec):
    """Where sizes rise and errors fall with the settings; elsewhere it is close, and fits."""
    picture = pictures[0][:64, :64].copy()
    if codec == "avif":  # it is slow
        picture = picture[:32, :32].copy()
    sizes = rate_table(picture, codec).payload_bits
    budgets = [int(sizes.min()) - 1, *np.quantile(sizes, (0.2, 0.5, 0.8)).astype(int).tolist()]
    for found, budget in zip(largest_fits(picture, codec, budgets), budgets, strict=True):
        best = best_fit(picture, codec, budget)
        if best is None:
            assert found is None
            continue
        errors = [np.mean((np.float64(one.picture) - picture) ** 2) for one in (found, best)]
        assert 8 * len(found.payload) <= budget and errors[0] <= 1.15 * errors[1]
        if codec == "heic":
            assert found.payload == best.payload


@pytest.mark.parametrize("codec", ["jpeg", "webp"])
def test_best_fit_is_the_best_of_all_settings(codec, pictures):
    picture = pictures[0]
    every = [encode(picture, codec, setting) for setting in range(len(CODECS[codec].settings))]
    sizes = np.array([8 * len(one.payload) for one in every])
    errors = np.array([np.mean((one.picture / 255.0 - picture / 255.0) ** 2) for one in every])
    table = rate_table(picture, codec)
    np.testing.assert_array_equal(table.payload_bits, sizes)
    np.testing.assert_allclose(table.mse, errors, rtol=1e-12)
    for budget in (int(sizes.min()), 6000, 12_000, 10**6):
        found = best_fit(picture, codec, budget)
        assert 8 * len(found.payload) <= budget
        assert errors[found.setting] == errors[sizes <= budget].min()
        np.testing.assert_array_equal(found.picture, every[found.setting].picture)
    assert best_fit(picture, codec, int(sizes.min()) - 1) is None
    # Not monotone: the search must not stop at the first setting that is too large.
    assert np.any(np.diff(sizes) < 0)


def test_table_is_kept(pictures):
    assert rate_table(pictures[0], "webp") is rate_table(pictures[0].copy(), "webp")
    assert rate_table(pictures[0], "webp") is not rate_table(pictures[1], "webp")


def test_the_newer_codec_needs_less(pictures, heif):
    """At about the same error (the budget of JPEG at half quality) the others are smaller."""
    reference = encode(pictures[0], "jpeg", 98)
    error = np.mean((reference.picture / 255.0 - pictures[0] / 255.0) ** 2)
    for codec, settings in (("webp", range(40, 80, 3)), ("avif", range(24, 44, 3)), ("heic", range(8, 30, 2))):
        found = [encode(pictures[0], codec, setting) for setting in settings]
        good = [one for one in found if np.mean((one.picture / 255.0 - pictures[0] / 255.0) ** 2) <= error]
        assert good and min(len(one.payload) for one in good) < len(reference.payload)


PICTURE = np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: encode(PICTURE, "bpg", 0), "unknown picture codec 'bpg'; known: jpeg, webp, avif, heic"),
        (lambda: encode(PICTURE, "webp", 101), r"setting of 'webp' must lie in 0 \.\.\. 100, got 101"),
        (lambda: encode(PICTURE / 255, "webp", 1), r"\[H, W, 3\] uint8, got float64 of shape \(16, 16, 3\)"),
        (lambda: rate_table(PICTURE[..., 0], "jpeg"), r"got uint8 of shape \(16, 16\)"),
        (lambda: rebuild_file(b"", "webp", (16, 16)), "payload of 0 bytes"),
        (lambda: decode(b"\xff\x00\x00", "jpeg", (16, 16)), "is not one of codec 'jpeg'"),
        (lambda: decode(b"\x12\x00nonsense", "avif", (16, 16)), "does not decode with codec 'avif'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()
