import dataclasses
import json
import typing

import ml_collections
import pytest

from lvm_mtc.config import ConfigError, from_dict, replace_dotted, to_dict


@dataclasses.dataclass(frozen=True, kw_only=True)
class Codec:
    width: int = 64
    rate: float | None = None
    layers: tuple[int, ...] = (1, 2)
    norm: typing.Literal["pre", "post"] = "pre"

    def __post_init__(self):
        if self.width < 1:
            raise ValueError(f"Codec.width must be >= 1, got {self.width!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    name: str
    codec: Codec = Codec()
    codecs: tuple[Codec, ...] = ()
    pair: tuple[float, str] = (0.0, "")
    table: dict[str, float] = dataclasses.field(default_factory=dict)
    resume: bool = False


FULL = Run(
    name="a",
    codec=Codec(width=8, rate=0.5, layers=(3,), norm="post"),
    codecs=(Codec(), Codec(width=2)),
    pair=(1.0, "x"),
    table={"k": 2.0},
    resume=True,
)


@pytest.mark.parametrize("through", [lambda d: d, lambda d: json.loads(json.dumps(d)), ml_collections.ConfigDict])
def test_round_trip(through):
    assert from_dict(Run, through(to_dict(FULL))) == FULL


def test_conversions():
    run = from_dict(Run, {"name": "a", "codec": {"rate": 1, "layers": [4, 5]}, "pair": [2, "y"]})
    assert run.codec.rate == 1.0 and isinstance(run.codec.rate, float)
    assert run.codec.layers == (4, 5) and run.pair == (2.0, "y")
    assert from_dict(Run, {"name": "a", "codec": Codec(width=3)}).codec.width == 3


@pytest.mark.parametrize(
    ("mapping", "words"),
    [
        ({"name": "a", "codec": {"widht": 3}}, r"Run\.codec\.widht is not known \(did you mean 'width'\?\); known: la"),
        ({"name": "a", "zzz": 3}, r"Run\.zzz is not known; known: codec"),
        ({}, r"Run lacks Run\.name"),
        ({"name": 3}, r"Run\.name must be a string, got 3 \(int\)"),
        ({"name": "a", "resume": 1}, r"Run\.resume must be true or false, got 1 \(int\)"),
        ({"name": "a", "codec": {"width": True}}, r"Run\.codec\.width must be an integer, got True"),
        ({"name": "a", "codec": {"width": 3.0}}, r"Run\.codec\.width must be an integer, got 3.0"),
        ({"name": "a", "codec": {"rate": "fast"}}, r"Run\.codec\.rate must be a number, got 'fast'"),
        ({"name": "a", "codec": {"norm": "mid"}}, r"Run\.codec\.norm must be one of 'pre', 'post', got 'mid'"),
        ({"name": "a", "codec": {"layers": [1, "2"]}}, r"Run\.codec\.layers\[1\] must be an integer, got '2'"),
        ({"name": "a", "codec": {"layers": "12"}}, r"Run\.codec\.layers must be a list, got '12'"),
        ({"name": "a", "codec": 7}, r"Run\.codec must be a mapping of field names to values, got 7"),
        ({"name": "a", "codecs": [{}, {"width": 0}]}, r"Run\.codecs\[1\]: Codec\.width must be >= 1, got 0"),
        ({"name": "a", "codec": {"width": 0}}, r"Run\.codec: Codec\.width must be >= 1, got 0"),
        ({"name": "a", "pair": [1.0]}, r"Run\.pair must have 2 entries, got 1"),
        ({"name": "a", "table": {"k": "v"}}, r"Run\.table\.k must be a number, got 'v'"),
        ([("name", "a")], r"Run must be a mapping"),
        ({"name": "a", "codec": {"rate": float("nan")}}, r"Run\.codec\.rate must be a finite number .*, got nan"),
        ({"name": "a", "pair": [float("inf"), "x"]}, r"Run\.pair\[0\] must be a finite number"),
        ({"name": "a", "table": {"k": 1e39}}, r"Run\.table\.k must be a finite number of single precision, got 1e\+39"),
        ({"name": "a", "table": {"k": 10**400}}, r"Run\.table\.k must be a finite number"),
        ({"name": "a", "codec": {"width": 10**30}}, r"Run\.codec\.width must be an integer of 64 bits"),
    ],
)
def test_messages(mapping, words):
    with pytest.raises(ConfigError, match=words):
        from_dict(Run, mapping)


def test_programming_errors_are_type_errors():
    with pytest.raises(TypeError, match="not a dataclass"):
        from_dict(dict, {})
    with pytest.raises(TypeError, match="not an instance"):
        to_dict(Run)
    with pytest.raises(TypeError, match=r"Run\.table\.f"):
        to_dict(Run(name="a", table={"f": print}))


def test_overrides():
    config = {"a": {"b": 1}, "c": 2}
    assert replace_dotted(config, "a.b", 5) == {"a": {"b": 5}, "c": 2}
    assert replace_dotted(config, "d.e.f", 5)["d"] == {"e": {"f": 5}}
    assert config == {"a": {"b": 1}, "c": 2}
    for dotted, words in (("c.x", "'c' is 2"), ("", "not a dotted"), ("a.", "not a dotted"), (".a", "not a dotted")):
        with pytest.raises(ConfigError, match=words):
            replace_dotted(config, dotted, 1)
