"""FlashSAM's graph in float64 NumPy, written from its published description, in the published layout.

Maps are ``[batch, channels, height, width]`` and kernels ``[out, in, height, width]``; every tensor has its published
name. Tensors are drawn when they are first asked for, so that a run also says which tensors there are.
"""

import math

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


class Tensors(dict):
    """A published state dict that grows as it is asked for tensors, with values at which every layer is alive."""

    def __init__(self, seed):
        super().__init__()
        self.rng = np.random.default_rng(seed)

    def ask(self, name, shape):
        if name not in self:
            kind = name.rsplit(".", 1)[1]
            if len(shape) == 4:
                value = self.rng.normal(size=shape) * math.sqrt(1.5 / np.prod(shape[1:]))
            elif kind == "running_var" or (kind == "weight" and ".bn." in name):
                value = self.rng.uniform(0.5, 1.5, shape)
            else:
                value = self.rng.normal(size=shape) * 0.2
            self[name] = value.astype(np.float32)
        assert self[name].shape == shape, name
        return self[name].astype(np.float64)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def conv2d(x, kernel, stride=1, groups=1):
    size = kernel.shape[-1]
    pad = (size - 1) // 2
    x = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    windows = sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride]
    parts = zip(np.split(windows, groups, 1), np.split(kernel, groups, 0), strict=True)
    return np.concatenate([np.einsum("bihwkl,oikl->bohw", w, k, optimize=True) for w, k in parts], axis=1)


def cbs(t, name, x, features, size=1, stride=1, groups=1, act=True):
    kernel = t.ask(f"{name}.conv.weight", (features, x.shape[1] // groups, size, size))
    y = conv2d(x, kernel, stride, groups)
    mean, var, scale, shift = (
        t.ask(f"{name}.bn.{part}", (features,))[:, None, None]
        for part in ("running_mean", "running_var", "weight", "bias")
    )
    y = (y - mean) / np.sqrt(var + 1e-3) * scale + shift
    return y * sigmoid(y) if act else y


def bottleneck(t, name, x, middle):
    y = cbs(t, f"{name}.cv1", x, middle, 3)
    return x + cbs(t, f"{name}.cv2", y, x.shape[1], 3)


def c3k(t, name, x):
    half = x.shape[1] // 2
    y = cbs(t, f"{name}.cv1", x, half)
    for i in range(2):
        y = bottleneck(t, f"{name}.m.{i}", y, half)
    return cbs(t, f"{name}.cv3", np.concatenate([y, cbs(t, f"{name}.cv2", x, half)], axis=1), x.shape[1])


def c3k2(t, name, x, features, depth, nested, width=0.5):
    half = int(features * width)
    stages = np.split(cbs(t, f"{name}.cv1", x, 2 * half), 2, axis=1)
    for i in range(depth):
        last, inner = stages[-1], f"{name}.m.{i}"
        stages.append(c3k(t, inner, last) if nested else bottleneck(t, inner, last, half // 2))
    return cbs(t, f"{name}.cv2", np.concatenate(stages, axis=1), features)


def sppf(t, name, x):
    stages = [cbs(t, f"{name}.cv1", x, x.shape[1] // 2)]
    for _ in range(3):
        padded = np.pad(stages[-1], ((0, 0), (0, 0), (2, 2), (2, 2)), constant_values=-np.inf)
        stages.append(sliding_window_view(padded, (5, 5), axis=(2, 3)).max((-1, -2)))
    return cbs(t, f"{name}.cv2", np.concatenate(stages, axis=1), x.shape[1])


def attention(t, name, x):
    batch, features, height, width = x.shape
    heads = features // 64
    value_dim, key_dim = 64, 32
    qkv = cbs(t, f"{name}.qkv", x, features + 2 * heads * key_dim, act=False)
    qkv = qkv.reshape(batch, heads, 2 * key_dim + value_dim, height * width)
    query, key, value = qkv[:, :, :key_dim], qkv[:, :, key_dim : 2 * key_dim], qkv[:, :, 2 * key_dim :]
    scores = np.swapaxes(query, -1, -2) @ key / math.sqrt(key_dim)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights = weights / weights.sum(-1, keepdims=True)
    y = (value @ np.swapaxes(weights, -1, -2)).reshape(x.shape)
    y = y + cbs(t, f"{name}.pe", value.reshape(x.shape), features, 3, groups=features, act=False)
    return cbs(t, f"{name}.proj", y, features, act=False)


def c2psa(t, name, x, depth):
    half = x.shape[1] // 2
    bypass, y = np.split(cbs(t, f"{name}.cv1", x, 2 * half), 2, axis=1)
    for i in range(depth):
        y = y + attention(t, f"{name}.m.{i}.attn", y)
        inner = cbs(t, f"{name}.m.{i}.ffn.0", y, 2 * half)
        y = y + cbs(t, f"{name}.m.{i}.ffn.1", inner, half, act=False)
    return cbs(t, f"{name}.cv2", np.concatenate([bypass, y], axis=1), x.shape[1])


def head(t, name, scale, x, finest, num_classes):
    box_features, class_features = max(16, finest // 4, 64), max(finest, min(num_classes, 100))

    def last(branch, y, features):
        kernel = t.ask(f"{name}.{branch}.{scale}.2.weight", (features, y.shape[1], 1, 1))
        return conv2d(y, kernel) + t.ask(f"{name}.{branch}.{scale}.2.bias", (features,))[:, None, None]

    y = cbs(t, f"{name}.cv2.{scale}.1", cbs(t, f"{name}.cv2.{scale}.0", x, box_features, 3), box_features, 3)
    box = last("cv2", y, 64)
    y = cbs(t, f"{name}.cv3.{scale}.0.0", x, x.shape[1], 3, groups=x.shape[1])
    y = cbs(t, f"{name}.cv3.{scale}.0.1", y, class_features)
    y = cbs(t, f"{name}.cv3.{scale}.1.0", y, class_features, 3, groups=class_features)
    return box, last("cv3", cbs(t, f"{name}.cv3.{scale}.1.1", y, class_features), num_classes)


def upsample(x):
    return np.repeat(np.repeat(x, 2, axis=2), 2, axis=3)


# Depth factor, width factor, most channels, C3k everywhere.
SCALES = {
    "n": (0.5, 0.25, 1024, False),
    "s": (0.5, 0.5, 1024, False),
    "m": (0.5, 1.0, 512, True),
    "l": (1.0, 1.0, 512, True),
    "x": (1.0, 1.5, 512, True),
}


def network(t, x, variant, num_classes):
    """Maps ``x [B, 3, H, W]`` to box logits ``[B, A, 4, 16]`` and class logits ``[B, A, num_classes]``."""
    depth_factor, width_factor, most, everywhere = SCALES[variant]
    depth = max(1, round(2 * depth_factor))

    def ch(channels):
        return int(math.ceil(min(channels, most) * width_factor / 8) * 8)

    def layer(index):
        return f"model.{index}"

    x = cbs(t, layer(0), x, ch(64), 3, 2)
    x = cbs(t, layer(1), x, ch(128), 3, 2)
    x = c3k2(t, layer(2), x, ch(256), depth, everywhere, 0.25)
    x = cbs(t, layer(3), x, ch(256), 3, 2)
    p3 = c3k2(t, layer(4), x, ch(512), depth, everywhere, 0.25)
    x = cbs(t, layer(5), p3, ch(512), 3, 2)
    p4 = c3k2(t, layer(6), x, ch(512), depth, True)
    x = cbs(t, layer(7), p4, ch(1024), 3, 2)
    x = c3k2(t, layer(8), x, ch(1024), depth, True)
    p5 = c2psa(t, layer(10), sppf(t, layer(9), x), depth)

    n4 = c3k2(t, layer(13), np.concatenate([upsample(p5), p4], axis=1), ch(512), depth, everywhere)
    o3 = c3k2(t, layer(16), np.concatenate([upsample(n4), p3], axis=1), ch(256), depth, everywhere)
    x = np.concatenate([cbs(t, layer(17), o3, ch(256), 3, 2), n4], axis=1)
    o4 = c3k2(t, layer(19), x, ch(512), depth, everywhere)
    x = np.concatenate([cbs(t, layer(20), o4, ch(512), 3, 2), p5], axis=1)
    o5 = c3k2(t, layer(22), x, ch(1024), depth, True)

    boxes, classes = [], []
    for scale, feature in enumerate((o3, o4, o5)):
        box, score = head(t, layer(23), scale, feature, o3.shape[1], num_classes)
        batch, _, height, width = box.shape
        boxes.append(box.reshape(batch, 4, 16, height * width).transpose(0, 3, 1, 2))
        classes.append(score.reshape(batch, num_classes, height * width).transpose(0, 2, 1))
    return np.concatenate(boxes, axis=1), np.concatenate(classes, axis=1)


def decode(box_logits, height, width):
    """Boxes ``(x, y, w, h)`` in pixels, one anchor after the other."""
    boxes = np.empty((*box_logits.shape[:2], 4))
    anchor = 0
    for stride in (8, 16, 32):
        for row in range(height // stride):
            for column in range(width // stride):
                odds = np.exp(box_logits[:, anchor])
                distance = (odds / odds.sum(-1, keepdims=True)) @ np.arange(16.0) * stride
                left, top = (column + 0.5) * stride - distance[:, 0], (row + 0.5) * stride - distance[:, 1]
                right, bottom = (column + 0.5) * stride + distance[:, 2], (row + 0.5) * stride + distance[:, 3]
                boxes[:, anchor] = np.stack([(left + right) / 2, (top + bottom) / 2, right - left, bottom - top], -1)
                anchor += 1
    return boxes
