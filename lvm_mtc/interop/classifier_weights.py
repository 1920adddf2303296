"""Weights of picture classifiers under PyTorch's names, with batch normalisation folded into the convolutions."""

from collections.abc import Iterator
from typing import Any

from lvm_mtc.interop.rules import Rule, as_kernel, converted, folded_layer, layer
from lvm_mtc.interop.tensor_files import Source, open_tensors
from lvm_mtc.models import cifar_resnet, image_classifier
from lvm_mtc.models.cifar_resnet import STAGE_CHANNELS, resnet_blocks
from lvm_mtc.models.image_classifier import HEAD_CHANNELS, STEM_CHANNELS, lite0_blocks


def load_classifier(source: Source) -> dict[str, Any]:
    """Parameters of ``models.image_classifier.EfficientNetLite0``; source and errors: ``tensor_files.open_tensors``.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors, or all that are not of finite numbers.
    """
    tensors, name = open_tensors(source, ("_conv_stem.weight",), kind="the classifier's tensors")
    return converted(tensors, _lite0_rules(), name=name)


def load_cifar_resnet(source: Source, depth: int = 20) -> dict[str, Any]:
    """Parameters of ``models.cifar_resnet.CifarResNet``; source and errors: ``tensor_files.open_tensors``.

    Args:
        source: With the names of akamaster's ``pytorch_resnet_cifar10``.
        depth: Layers with weights, 20 or 56 say.

    Raises:
        WeightsError: listing all missing, superfluous and misshapen tensors, or all that are not of finite numbers.
        ValueError: if ``depth`` is none of such a network.
    """
    tensors, name = open_tensors(source, ("layer1.0.conv1.weight",), kind="the classifier's tensors")
    return converted(tensors, _resnet_rules(depth), name=name)


def _resnet_rules(depth: int) -> Iterator[Rule]:
    def folded(target, source, number, outputs, inputs):
        shape = (outputs, inputs, 3, 3)
        yield from folded_layer(target, f"{source}conv{number}", f"{source}bn{number}", shape, 1e-5)

    yield from folded("stem", "", 1, STAGE_CHANNELS[0], 3)
    for stage, place, inputs, outputs in resnet_blocks(depth):
        target, source = f"stage{stage}_block{place}", f"layer{stage + 1}.{place}."
        yield from folded(f"{target}/conv1", source, 1, outputs, inputs)
        yield from folded(f"{target}/conv2", source, 2, outputs, outputs)
    yield from layer("classifier", ("linear",), (cifar_resnet.NUM_CLASSES, STAGE_CHANNELS[-1]))


def _lite0_rules() -> Iterator[Rule]:
    def folded(target, convolution, norm, outputs, inputs, place=lambda kernel: as_kernel(kernel)[0, 0], side=1):
        yield from folded_layer(target, convolution, norm, (outputs, inputs, side, side), 1e-3, place)

    yield from folded("stem", "_conv_stem", "_bn0", STEM_CHANNELS, 3, as_kernel, 3)
    for i, (inputs, stage) in enumerate(lite0_blocks()):
        target, source, inner = f"block{i}", f"_blocks.{i}.", inputs * stage.expansion
        if stage.expansion > 1:
            yield from folded(f"{target}/expand", f"{source}_expand_conv", f"{source}_bn0", inner, inputs)
        yield from folded(f"{target}/depthwise", f"{source}_depthwise_conv", f"{source}_bn1", inner, 1,
                          lambda kernel: as_kernel(kernel)[:, :, 0], stage.kernel)  # fmt: skip
        yield from folded(f"{target}/project", f"{source}_project_conv", f"{source}_bn2", stage.channels, inner)
    yield from folded("head", "_conv_head", "_bn1", HEAD_CHANNELS, stage.channels)
    yield from layer("classifier", ("_fc",), (image_classifier.NUM_CLASSES, HEAD_CHANNELS))
