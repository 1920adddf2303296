"""Every number of every configuration class is finite in the type it is used in, or refused in one line by its name."""

import dataclasses
import importlib
import inspect
import math
import types
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import lvm_mtc
from lvm_mtc.data.word_pieces import WordPieces
from lvm_mtc.link import LinkConfig
from lvm_mtc.models.blip import BlipVariant
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.sweep.contender import Contender
from lvm_mtc.sweep.plan import picture_source
from lvm_mtc.training.config import TrainConfig

SCHEME = LvmMtc(LvmMtcConfig(variant="linear", image_size=16, patch_size=8, num_symbols=4))
SOURCE = picture_source(np.full((1, 1, 16, 16, 3), 0.5, np.float32), np.full((1, 1, 4), 8, np.float32))
SWEEP = dict(
    schemes=(Contender(name="a", scheme=SCHEME, params={}),), sources={1: SOURCE}, links=(LinkConfig(),), snr_db=(0.0,)
)
# What a class needs besides its defaults.
NEEDED = {
    "Superposition": dict(
        gain=(1.0, 1.0), similarity=np.eye(2), leak=(0.0,) * 4, distortion=np.add, samples=1.0, power=1.0,
        bandwidth=1.0, noise_density=1.0, max_latency=1.0, max_energy=1.0, max_distortion=1.0,
    ),
    "TokenUplink": dict(
        gain=(1.0,), token_bits=1.0, lengths=(1.0, 2.0), validation_loss=((1.0, 0.5),), bandwidth=1.0, power=1.0,
        noise_density=1.0,
    ),
    "Groups": dict(importance=(1.0,), gain=(1.0,), bits=8, power=1.0, uses=8),
    "StereoPairs": dict(pictures=np.zeros((1, 2, 16, 16, 3), np.uint8)),
    "KnowledgeBase": dict(detect=None, params=None),
    "ClassifierWordsFilter": dict(words=None, class_words=None, params=None),
    "BlipCaptioner": dict(sizes=BlipVariant(vocab_size=4), params=None, words=WordPieces(("[UNK]", "[SEP]"))),
    "FlowGenerator": dict(config=None, params=None),
    "RecordedChannel": dict(gains=np.ones((2, 1, 1, 1), complex), delays=np.zeros(1), interval=1e-3),
    "Scene": dict(positions=((100.0, 0.0, 50.0),), bs_position=(0.0, 0.0, 25.0), velocity=((1.0, 0.0, 0.0),)),
    "StoppingRule": dict(target_half_width=0.1, max_units=64),
    "NamedSweep": SWEEP | dict(name="a"),
    "SweepSpec": SWEEP,
    "TrainConfig": dict(batch_size=1, total_steps=2),
    "DetectorPhase": dict(size=32, train=TrainConfig(batch_size=1, total_steps=2)),
    "FederatedConfig": dict(rounds=1),
    "AdaptiveLink": dict(link=LinkConfig(fading="awgn"), num_slots=64),
    "SeparationScheme": dict(name="a", codec="webp", num_slots=64),
    "OptimizerConfig": dict(clip_norm=1.0),
    "SingleCarrier": dict(block_length=4, block_doppler=0.1),
}  # fmt: skip
# Double precision, on the host.
DOUBLE = ("Superposition", "TokenUplink", "Groups", "RecordedChannel", "StoppingRule")
# Parts of networks that a configuration makes, tables, and what is checked where it is used.
OTHERS = (
    "FlashSAMVariant", "Snr", "Point", "NoiseAttention", "Layers", "Perceptron", "Backbone", "Block", "Conv", "C3k2",
    "Bottleneck", "CloudBits", "ClassifierWordsFilter",
)  # fmt: skip


def number_places(hint):
    """Whether a field of this type is a number, None, or holds how many numbers; 1 if any count."""
    if hint is float:
        return 0
    parts = [part for part in typing.get_args(hint) if part is not type(None) and part is not ...]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return next((found for part in parts if (found := number_places(part)) is not None), None)
    return len(parts) if typing.get_origin(hint) is tuple and parts[0] is float else None


def fields():
    """(class, field, how many numbers it holds or 0) of all dataclasses of the package with numbers."""
    root = Path(lvm_mtc.__file__).parent
    for path in sorted(root.rglob("*.py")):
        if "dataclass" not in path.read_text() or "sionna" in path.parts:
            continue
        module = importlib.import_module(".".join(("lvm_mtc", *path.relative_to(root).with_suffix("").parts)))
        for kind in vars(module).values():
            if inspect.isclass(kind) and dataclasses.is_dataclass(kind) and kind.__module__ == module.__name__:
                if kind.__name__ in OTHERS:
                    continue
                hints = typing.get_type_hints(kind)
                places = {field.name: number_places(hints[field.name]) for field in dataclasses.fields(kind)}
                yield from ((kind, name, count) for name, count in places.items() if count is not None)


FIELDS = list(fields())


def make(kind, **values):
    """The object; of a carrier's the link, which checks it."""
    made = kind(**NEEDED.get(kind.__name__, {}) | values)
    return LinkConfig(fading="rayleigh", carrier=made) if hasattr(made, "check") else made


def test_what_each_class_needs_makes_it():
    assert len({kind for kind, _, _ in FIELDS}) > 20
    for kind in {kind for kind, _, _ in FIELDS}:
        make(kind)


@pytest.mark.parametrize(("kind", "field", "count"), FIELDS, ids=lambda part: getattr(part, "__name__", str(part)))
@given(value=st.floats() | st.floats(-2, 2))
@example(math.nan)
@example(math.inf)
@example(-math.inf)
@example(1e39)
@example(-1e39)
@settings(deadline=None, derandomize=True, database=None, max_examples=5)
def test_it_is_finite_or_refused_in_one_line(kind, field, count, value):
    usual = NEEDED.get(kind.__name__, {}).get(field, getattr(kind, field, None))
    given_value = (value, *(usual or ())[1:]) if count else value
    try:
        make(kind, **{field: given_value})
    except ValueError as error:
        assert field.removesuffix("s") in str(error) and "\n" not in str(error)
    else:
        with np.errstate(over="ignore"):
            single = np.float32(value)
        assert math.isfinite(value) and (kind.__name__ in DOUBLE or np.isfinite(single))
