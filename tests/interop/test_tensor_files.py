"""Tensor files: what the formats' own writers would write, by hand; truncation everywhere; pickles that would act."""

import collections
import io
import json
import pickle
import struct
import zipfile

import ml_dtypes
import numpy as np
import pytest

from lvm_mtc.interop.tensor_files import TensorFileError, read_tensors, without_wrappers


@pytest.mark.parametrize(
    ("names", "plain"),
    [
        (["a.w", "b"], ["a.w", "b"]),
        (["module.a.w", "module.b"], ["a.w", "b"]),
        (["module._orig_mod.model.clip.a.w", "module._orig_mod.model.clip.b"], ["a.w", "b"]),
        (["_orig_mod.a.w", "_orig_mod.b"], ["a.w", "b"]),
        (["a._orig_mod.w", "b"], ["a.w", "b"]),
        (["model.a.w", "loss.b"], ["a.w", "loss.b"]),  # the reader of the network names what it does not know
        (["teacher.a.w", "model.a.w"], ["teacher.a.w", "a.w"]),
        (["module.long.a.w"], ["long.a.w"]),
        (["a.w", "module.b"], ["a.w", "module.b"]),
        (["other", "module.b"], ["other", "module.b"]),
        ([], []),
    ],
)
def test_wrappers_are_taken_off_the_names(names, plain):
    found = without_wrappers({name: i for i, name in enumerate(names)}, ("long.a.w", "a.w"), name="f")
    assert found == {name: i for i, name in enumerate(plain)}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["student.a.w", "student.b"], "f: 'student.' stands before the names of its tensors; expected 'a.w'"),
        (["module.net.a.w"], "'module.net.' stands before"),
        (["module.a.w", "module.b", "b"], "stand there twice"),
        (["a.w", "_orig_mod.a.w"], "stand there twice"),
    ],
)
def test_a_prefix_that_is_not_known_is_named(names, words):
    with pytest.raises(TensorFileError, match=words):
        without_wrappers(dict.fromkeys(names), ("a.w",), name="f")


def safetensors(header, data=b""):
    text = json.dumps(header).encode() if not isinstance(header, bytes) else header
    return struct.pack("<Q", len(text)) + text + data


GOOD = safetensors(
    {
        "__metadata__": {"format": "pt"},
        "b": {"dtype": "F16", "shape": [2], "data_offsets": [12, 16]},
        "a": {"dtype": "F32", "shape": [3, 1], "data_offsets": [0, 12]},
        "c": {"dtype": "BF16", "shape": [], "data_offsets": [16, 18]},
        "none": {"dtype": "I64", "shape": [0, 4], "data_offsets": [18, 18]},
    },
    np.array([1, 2, 3], "<f4").tobytes() + np.array([0.5, -2], "<f2").tobytes() + b"\x80\x3f",
)


class _Kind:
    """Pickled as a name of torch."""

    def __init__(self, name):
        self.name = name


class _Storage:
    def __init__(self, kind, key, count):
        self.pid = ("storage", _Kind(kind), key, "cpu", count)


class _Tensor:
    def __init__(self, storage, offset, shape, strides, function="torch._utils _rebuild_tensor_v2"):
        self.args = (storage, offset, shape, strides, False, collections.OrderedDict())
        self.function = function


class _Pickler(pickle._Pickler):
    """Writes what torch.save writes, without torch."""

    dispatch = dict(pickle._Pickler.dispatch)

    def persistent_id(self, obj):
        return obj.pid if isinstance(obj, _Storage) else None

    def save_kind(self, obj):
        self.write(b"ctorch\n" + obj.name.encode() + b"\n")

    def save_tensor(self, obj):
        module, _, name = obj.function.partition(" ")
        self.write(b"c" + module.encode() + b"\n" + name.encode() + b"\n")
        self.save(obj.args)
        self.write(pickle.REDUCE)

    dispatch[_Kind] = save_kind
    dispatch[_Tensor] = save_tensor


def pytorch(content, storages, *, raw_pickle=None, compression=zipfile.ZIP_STORED, byteorder="little"):
    stream = io.BytesIO()
    _Pickler(stream, protocol=2).dump(content)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("model/data.pkl", stream.getvalue() if raw_pickle is None else raw_pickle)
        archive.writestr("model/byteorder", byteorder)
        for key, array in storages.items():
            archive.writestr(f"model/data/{key}", array.tobytes())
        archive.writestr("model/version", "3\n")
    return buffer.getvalue()


STORAGE = np.arange(12, dtype="<f4")


def state_dict():
    storage = _Storage("FloatStorage", "0", 12)
    return collections.OrderedDict(
        weight=_Tensor(storage, 0, (3, 4), (4, 1)),
        transposed=_Tensor(storage, 2, (2, 3), (1, 3)),
        bias=_Tensor(_Storage("BFloat16Storage", "1", 2), 0, (2,), (1,)),
        number=_Tensor(storage, 5, (), ()),
    )


STORAGES = {"0": STORAGE, "1": np.array([1, -2], ml_dtypes.bfloat16)}


def test_safetensors_by_hand(tmp_path):
    file = tmp_path / "any.name"
    file.write_bytes(GOOD)
    found = read_tensors(file)
    assert sorted(found) == ["a", "b", "c", "none"]
    np.testing.assert_array_equal(found["a"], np.array([[1], [2], [3]], np.float32))
    np.testing.assert_array_equal(found["b"], np.array([0.5, -2], np.float16))
    assert found["c"] == 1 and found["c"].dtype == ml_dtypes.bfloat16 and found["none"].shape == (0, 4)
    # Lengths of a header that begin like a pickle and like a zip archive.
    for length in (2, 0x80, 0x4B50):
        file.write_bytes(safetensors(b"{}" + b" " * (length - 2)))
        assert read_tensors(file) == {}


def test_truncated_safetensors_is_one_clear_line(tmp_path):
    file = tmp_path / "cut.safetensors"
    for length in range(len(GOOD)):
        file.write_bytes(GOOD[:length])
        with pytest.raises(TensorFileError) as caught:
            read_tensors(file)
        assert "cut.safetensors" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}, "does not fit its bytes 0 to 4"),
        ({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "does not fit its bytes"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, "begins at byte 4, expected 0"),
        ({"dtype": "F8", "shape": [1], "data_offsets": [0, 4]}, "damaged or of an unknown type"),
        ({"dtype": "F32", "shape": [1], "data_offsets": [0]}, "damaged or of an unknown type"),
        ({"dtype": "F32", "shape": [1]}, "damaged or of an unknown type"),
        (3, "damaged or of an unknown type"),
    ],
)
def test_damaged_header(tmp_path, entry, message):
    file = tmp_path / "damaged.safetensors"
    file.write_bytes(safetensors({"a": entry}, bytes(4)))
    with pytest.raises(TensorFileError, match=message):
        read_tensors(file)


def test_overlapping_tensors_and_foreign_headers(tmp_path):
    file = tmp_path / "x.safetensors"
    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    file.write_bytes(safetensors({"a": entry, "b": entry}, bytes(4)))
    with pytest.raises(TensorFileError, match="tensor b begins at byte 0, expected 4"):
        read_tensors(file)
    for header, message in ((b"[1]", "header is a list"), (b"{", "is not JSON"), (b"[" * 100_000, "is not JSON")):
        file.write_bytes(safetensors(header))
        with pytest.raises(TensorFileError, match=message):
            read_tensors(file)


def test_npz_and_other_files(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    np.testing.assert_array_equal(read_tensors(tmp_path / "a.npz")["x"], np.arange(3))
    np.savez(tmp_path / "object.npz", x=np.array([{}], object))
    with pytest.raises(TensorFileError, match="is no readable npz archive"):
        read_tensors(tmp_path / "object.npz")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        read_tensors(tmp_path / "none")
    with pytest.raises(TensorFileError, match="is no regular file"):
        read_tensors(tmp_path)
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    with pytest.raises(TensorFileError, match="is a bare pickle"):
        read_tensors(tmp_path / "old.pt")


def test_pytorch_file(tmp_path):
    file = tmp_path / "model.bin"
    content = state_dict()
    content["epoch"] = 3
    for wrapped in (content, {"state_dict": content, "step": 5}, {"model": content}):
        file.write_bytes(pytorch(wrapped, STORAGES))
        found = read_tensors(file)
        assert sorted(found) == ["bias", "number", "transposed", "weight"]
        np.testing.assert_array_equal(found["weight"], STORAGE.reshape(3, 4))
        np.testing.assert_array_equal(found["transposed"], [[2, 5, 8], [3, 6, 9]])
        np.testing.assert_array_equal(found["bias"].astype(np.float32), [1, -2])
        assert found["number"] == 5


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (_Tensor(_Storage("FloatStorage", "0", 12), 0, (4, 4), (4, 1)), "does not fit its storage of 12"),
        (_Tensor(_Storage("FloatStorage", "0", 12), 10, (3,), (1,)), "does not fit its storage of 12"),
        (_Tensor(_Storage("FloatStorage", "0", 12), 0, (2,), (-1,)), "no whole numbers"),
        (_Tensor(_Storage("FloatStorage", "0", 12), 0, (10**12,), (0,)), "does not fit its storage of 12"),
        (_Tensor(_Storage("FloatStorage", "0", 11), 0, (2,), (1,)), "storage 0 has 48 bytes instead of 11 times 4"),
        (_Tensor(_Storage("FloatStorage", "9", 12), 0, (2,), (1,)), "truncated or damaged"),
        (_Tensor(_Storage("FloatStorage", "0", 12), 0, (2,), (1,), "torch._utils _rebuild_xla"), "refused"),
        (_Tensor("no storage", 0, (2,), (1,)), "truncated or damaged"),
        (3, "holds no dictionary of tensors"),
    ],
)
def test_pytorch_tensors_that_do_not_fit(tmp_path, tensor, message):
    file = tmp_path / "model.bin"
    file.write_bytes(pytorch({"w": tensor}, STORAGES))
    with pytest.raises(TensorFileError, match=message):
        read_tensors(file)


@pytest.mark.parametrize(
    ("part", "offset", "value", "message"),
    [
        (b"PK\1\2", 8, 1, "entry .* is encrypted or of a kind that is not read: File .* is encrypted"),
        (b"PK\1\2", 6, 99, "is a zip archive of a kind that is not read: zip file version 9.9"),
    ],
)
def test_a_whole_archive_that_is_not_read_is_not_called_damaged(tmp_path, part, offset, value, message):
    file, content = tmp_path / "model.bin", bytearray(pytorch(state_dict(), STORAGES))
    at = content.find(part)
    while at >= 0:
        content[at + offset] = value
        at = content.find(part, at + 1)
    file.write_bytes(content)
    with pytest.raises(TensorFileError, match=message):
        read_tensors(file)


class _Acts:
    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


def malicious(marker):
    """Pickles of several protocols that each would create the file ``marker``."""
    import builtins
    import os

    command = f"touch {marker}"
    yield from (pickle.dumps(_Acts(os.system, command), protocol) for protocol in range(6))
    yield from (pickle.dumps(_Acts(builtins.eval, f"open({str(marker)!r}, 'w')"), protocol) for protocol in (0, 2, 4))
    yield f"(S{command!r}\nios\nsystem\n.".encode()  # INST
    yield f"(cos\nsystem\nS{command!r}\no.".encode()  # OBJ
    yield f"ctorch._utils\n_rebuild_parameter.__globals__\n(S{command!r}\ntR.".encode()
    dotted = b"_rebuild_parameter.__globals__.__getitem__"
    yield b"\x80\x04\x8c\x0ctorch._utils\x8c" + bytes([len(dotted)]) + dotted + b"\x93."


def test_pickles_that_would_act_are_refused_and_do_nothing(tmp_path):
    marker = tmp_path / "ran"
    count = 0
    for content in malicious(marker):
        (tmp_path / "bad.bin").write_bytes(pytorch(None, {}, raw_pickle=content))
        with pytest.raises(TensorFileError) as caught:
            read_tensors(tmp_path / "bad.bin")
        assert "refused" in str(caught.value) and "\n" not in str(caught.value), content
        assert not marker.exists()
        count += 1
    assert count == 13
    # The same bytes do act where nothing refuses them.
    pickle.loads(next(malicious(marker)))
    assert marker.exists()


def test_truncated_and_odd_pytorch_files(tmp_path):
    file = tmp_path / "model.bin"
    good = pytorch(state_dict(), STORAGES)
    for length in range(2, len(good) - 1, 7):
        file.write_bytes(good[:length])
        with pytest.raises(TensorFileError) as caught:
            read_tensors(file)
        assert "\n" not in str(caught.value)
    file.write_bytes(pytorch(state_dict(), STORAGES, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(TensorFileError, match="is compressed or too large"):
        read_tensors(file)
    file.write_bytes(pytorch(state_dict(), STORAGES, byteorder="big"))
    with pytest.raises(TensorFileError, match="byte order 'big'"):
        read_tensors(file)
    # An index that would make the unpickler in C allocate 34 GB.
    file.write_bytes(pytorch(None, {}, raw_pickle=b"}r\xff\xff\xff\xff."))
    with pytest.raises(TensorFileError, match="holds no dictionary of tensors"):
        read_tensors(file)
