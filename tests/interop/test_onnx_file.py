"""Networks from ONNX files: every operation against ONNX Runtime, YOLOX-nano as it is, and files that are refused."""

import jax
import numpy as np
import pytest

from lvm_mtc.interop.onnx_file import OnnxFileError, read_onnx
from lvm_mtc.models.onnx_graph import evaluate, needed, reads

onnx = pytest.importorskip("onnx", reason="needs the extra detection")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra detection")
helper = onnx.helper


def write(path, nodes, arrays=(), outputs=("y",), inputs=("x",), shape=(1, 3, 12, 8)):
    """A file of these nodes."""
    graph = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in inputs],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [None] * 4) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in dict(arrays).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    onnx.save(model, str(path))
    return path


def agree(path, name, x, atol=1e-5):
    """The value of that name, last in the file, here and by ONNX Runtime."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (feed,) = session.get_inputs()
    (wanted,) = session.run([name], {feed.name: x.transpose(0, 3, 1, 2)})
    graph = read_onnx(path)
    found = jax.jit(lambda arrays, x: evaluate(graph, x, [name], arrays)[name])(graph.arrays, x)
    np.testing.assert_allclose(found, wanted.transpose(0, 2, 3, 1), atol=atol, rtol=1e-5)


def node(op, inputs, output="y", **attributes):
    return helper.make_node(op, list(inputs), [output], **attributes)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(1, 12, 8, 3)).astype(np.float32)


def draw(*shape):
    return RNG.normal(size=shape).astype(np.float32)


ONE_OPERATION = {
    "convolution": ([node("Conv", "xk", pads=[1] * 4)], {"k": draw(5, 3, 3, 3)}),
    "bias and stride": ([node("Conv", "xkb", strides=[2, 2], pads=[1] * 4)], {"k": draw(5, 3, 3, 3), "b": draw(5)}),
    "oblong kernel": ([node("Conv", "xk")], {"k": draw(2, 3, 3, 1)}),
    "depthwise": ([node("Conv", "xkb", group=3, pads=[2] * 4)], {"k": draw(3, 1, 5, 5), "b": draw(3)}),
    "depthwise, odd stride": ([node("Conv", "xk", group=3, strides=[3, 3], pads=[1] * 4)], {"k": draw(3, 1, 3, 3)}),
    "pool": ([node("MaxPool", "x", kernel_shape=[5, 5], strides=[1, 1], pads=[2] * 4)], {}),
    "pool with stride": ([node("MaxPool", "x", kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)], {}),
    "arithmetic": (
        [node("Sigmoid", "x", "s"), node("Relu", "x", "r"), node("Mul", "sx", "m"), node("Add", "mr")], {}
    ),
    "concatenation": ([node("Sigmoid", "x", "s"), node("Concat", "sxs", axis=1)], {}),
    "rows": (
        [node("Slice", ["x", "from", "to", "axis", "step"])],
        {"from": np.array([1]), "to": np.array([10]), "axis": np.array([2]), "step": np.array([2])},
    ),
    "columns to the end": (
        [node("Slice", ["x", "from", "to", "axis", "step"])],
        {"from": np.array([1]), "to": np.array([2**62]), "axis": np.array([3]), "step": np.array([3])},
    ),
    "enlargement": (
        [node("Resize", ["x", "roi", "scales"], mode="nearest", nearest_mode="floor",
              coordinate_transformation_mode="asymmetric")],
        {"roi": np.float32([]), "scales": np.float32([1, 1, 2, 2])},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ONE_OPERATION)
def test_operations_are_those_of_onnx(tmp_path, name):
    nodes, arrays = ONE_OPERATION[name]
    agree(write(tmp_path / "a.onnx", nodes, arrays), "y", X)


def test_only_what_is_wanted_is_evaluated(tmp_path):
    nodes = [
        node("Sigmoid", "x", "a"),
        node("Relu", "x", "b"),
        node("Softmax", "b", "c", axis=1),  # not known here, nor what reads it
        node("Add", "ac"),
    ]
    graph = read_onnx(write(tmp_path / "a.onnx", nodes))
    assert [n.output for n in graph.nodes] == ["a", "b"] and graph.image == "x"
    assert [n.output for n in needed(graph, ["b"])] == ["b"]
    np.testing.assert_allclose(evaluate(graph, X, ["b"])["b"], np.maximum(X, 0))
    with pytest.raises(ValueError, match="makes no value 'c', 'y'"):
        evaluate(graph, X, ["y", "c"])
    with pytest.raises(ValueError, match="no operation that reads 'k'"):
        reads(graph, "k")


REFUSED = {
    "groups": ([node("Conv", "xk", group=3)], {"k": draw(6, 1, 3, 3)[:, [0]]}, "6, 1, 3, 3"),
    "dilation": ([node("Conv", "xk", dilations=[2, 2])], {"k": draw(2, 3, 3, 3)}, "dilated"),
    "automatic padding": ([node("Conv", "xk", auto_pad="SAME_UPPER")], {"k": draw(2, 3, 3, 3)}, "SAME_UPPER"),
    "two paddings": ([node("Conv", "xk", pads=[0, 1, 0, 1])], {"k": draw(2, 3, 3, 3)}, "pads"),
    "two strides": ([node("Conv", "xk", strides=[1, 2])], {"k": draw(2, 3, 3, 3)}, "strides"),
    "computed kernel": ([node("Sigmoid", "x", "s"), node("Conv", "xs")], {}, "kernel"),
    "two slices": (
        [node("Slice", ["x", "a", "b", "c", "d"])],
        {"a": np.array([0, 0]), "b": np.array([2, 2]), "c": np.array([2, 3]), "d": np.array([1, 1])},
        "one axis",
    ),
    "linear enlargement": (
        [node("Resize", "xrs", mode="linear")],
        {"r": np.float32([]), "s": np.float32([1, 1, 2, 2])},
        "nearest",
    ),
    "broken factor": (
        [node("Resize", "xrs")],
        {"r": np.float32([]), "s": np.float32([1, 1, 1.5, 1.5])},
        "whole factor",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_forms_that_are_not_supported(tmp_path, name):
    nodes, arrays, words = REFUSED[name]
    with pytest.raises(OnnxFileError, match=words) as caught:
        read_onnx(write(tmp_path / "a.onnx", nodes, arrays))
    assert "a.onnx" in str(caught.value) and "\n" not in str(caught.value)


def test_files_that_are_none(tmp_path):
    whole = write(tmp_path / "a.onnx", [node("Conv", "xk")], {"k": draw(5, 3, 3, 3)}).read_bytes()
    for content in (b"", b"no network", whole[: len(whole) // 2]):
        (tmp_path / "b.onnx").write_bytes(content)
        with pytest.raises(OnnxFileError, match="b.onnx: is no whole ONNX file") as caught:
            read_onnx(tmp_path / "b.onnx")
        assert "\n" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="nothing.onnx"):
        read_onnx(tmp_path / "nothing.onnx")
    two = write(tmp_path / "two.onnx", [node("Add", ["x", "z"])], inputs=("x", "z"))
    with pytest.raises(OnnxFileError, match="has the inputs x, z; expected one"):
        read_onnx(two)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(OnnxFileError, match="install the extra: detection"):
        read_onnx(tmp_path / "a.onnx")


def test_yolox_is_what_onnx_runtime_says(shared_data):
    path = shared_data / "weights" / "yolox_nano.onnx"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    picture = 255 * np.random.default_rng(1).random((1, 416, 416, 3), np.float32)
    wanted = session.run(None, {"images": picture.transpose(0, 3, 1, 2)})[0]
    graph = read_onnx(path)
    # The file's output: boxes as they are, then sigmoids of objectness and classes, scale by scale.
    names = [reads(graph, f"head.{part}_preds.{i}.weight").output for i in range(3) for part in ("reg", "obj", "cls")]
    values = jax.jit(lambda arrays, x: evaluate(graph, x, names, arrays))(graph.arrays, picture)
    scales = [
        np.concatenate([values[a], jax.nn.sigmoid(values[b]), jax.nn.sigmoid(values[c])], axis=-1).reshape(1, -1, 85)
        for a, b, c in zip(names[::3], names[1::3], names[2::3], strict=True)
    ]
    np.testing.assert_allclose(np.concatenate(scales, axis=1), wanted, atol=1e-4, rtol=1e-4)


def test_an_axis_that_there_is_not_is_one_line(tmp_path):
    places = {name: np.array([value]) for name, value in zip("abcd", (0, 2, 9, 1), strict=True)}
    path = write(tmp_path / "a.onnx", [node("Slice", "xabcd")], places)
    with pytest.raises(OnnxFileError, match="a.onnx: is no whole ONNX file") as caught:
        read_onnx(path)
    assert "\n" not in str(caught.value)
