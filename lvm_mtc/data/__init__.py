"""Pictures, boxes and UAV views. NumPy and Pillow only, no JAX.

Pictures are uint8 RGB ``[H, W, 3]``; boxes are ``(x, y, w, h)``, centre first, in pixels.
"""

from lvm_mtc.data.annotations import AnnotationError
from lvm_mtc.data.boxes import center_prior, center_to_corners, corners_to_center
from lvm_mtc.data.cifar10 import (
    CIFAR10_CLASSES,
    Cifar10Error,
    LabelledPictures,
    load_cifar10_binary,
    load_cifar10_sheets,
    load_class_folders,
    read_cifar10_bin,
)
from lvm_mtc.data.demo_pictures import DEMO_PICTURES, DemoViews, demo_views
from lvm_mtc.data.frames import FramesError, UavFrames, load_frames
from lvm_mtc.data.images import ImageError, list_images, load_image
from lvm_mtc.data.packing import PackedPictures, load_packed, pack_pictures, save_packed, training_sources
from lvm_mtc.data.resizing import center_crop, fit_image, resize_image
from lvm_mtc.data.views import DEFAULT_OVERLAP, UavViews, uav_views
from lvm_mtc.data.voc import VOC_CLASSES, VocAnnotation, VocExample, load_voc, read_voc_annotation

__all__ = [
    "AnnotationError",
    "CIFAR10_CLASSES",
    "Cifar10Error",
    "DEFAULT_OVERLAP",
    "DEMO_PICTURES",
    "DemoViews",
    "FramesError",
    "ImageError",
    "LabelledPictures",
    "PackedPictures",
    "UavFrames",
    "UavViews",
    "VOC_CLASSES",
    "VocAnnotation",
    "VocExample",
    "center_crop",
    "center_prior",
    "center_to_corners",
    "corners_to_center",
    "demo_views",
    "fit_image",
    "list_images",
    "load_cifar10_binary",
    "load_cifar10_sheets",
    "load_class_folders",
    "load_frames",
    "load_image",
    "load_packed",
    "load_voc",
    "pack_pictures",
    "read_cifar10_bin",
    "read_voc_annotation",
    "resize_image",
    "save_packed",
    "training_sources",
    "uav_views",
]
