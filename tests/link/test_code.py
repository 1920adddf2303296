"""What a sweep's key sees of code from outside the library: whatever would change its numbers, and refuses the rest."""

import dataclasses
import functools
import importlib
import json
import linecache
import sys

import numpy as np
import pytest

from lvm_mtc import phy
from lvm_mtc.link import LinkConfig, code_of, describe
from lvm_mtc.schemes.linear.scheme import Linear, LinearConfig
from lvm_mtc.sweep.contender import Contender


@dataclasses.dataclass(frozen=True)
class Soft:
    gain: float = 1.0


@dataclasses.dataclass(frozen=True)
class Hard:
    gain: float = 1.0


@dataclasses.dataclass(frozen=True)
class Codec(Linear):
    """A codec of one's own, of which a module of one's own is a part."""

    part: object = Soft()


def described(**fields):
    config = LinearConfig(image_size=16, patch_size=4, num_symbols=8)
    return Contender(name="own", scheme=Codec(config, **fields), params={}).described()


def test_two_codecs_with_equal_fields_and_different_modules_differ():
    assert described(part=Soft(2.0)) == described(part=Soft(2.0))
    different = [described(part=part) for part in (Soft(2.0), Hard(2.0), Soft(3.0))]
    assert len({json.dumps(one, sort_keys=True) for one in different}) == 3
    assert different[0]["part"]["code"] == f"{__name__}:Soft"


def faded(m):
    def fade(key, batch_shape, **antennas):
        return phy.nakagami(key, batch_shape, m=m, **antennas)

    return fade


def test_a_closure_is_known_by_what_it_closes_over():
    one, other, same = (LinkConfig(fading=faded(m)).described()["fading"] for m in (1.0, 2.0, 1.0))
    assert one == same and one["closure"] == {"m": 1.0} and other["closure"] == {"m": 2.0}
    arrays = [code_of(faded(np.array([value]))) for value in (1.0, 2.0)]
    assert arrays[0]["closure"] != arrays[1]["closure"]


@pytest.mark.parametrize(
    ("function", "words"),
    [(lambda *_: 1, "a lambda has no name of its own"), (faded(object()), "m is <object .* could not see")],
)
def test_what_cannot_be_told_apart_is_refused(function, words):
    with pytest.raises(ValueError, match=words):
        LinkConfig(fading=function).described()


def test_partial_functions_and_the_librarys_own():
    one = describe(functools.partial(faded, 2.0))
    assert one["args"] == [2.0] and one["function"]["code"] == f"{__name__}:faded"
    assert describe(phy.rayleigh) == "lvm_mtc.phy.fading:rayleigh" and describe(np.linalg.norm) == "numpy.linalg:norm"
    assert describe(LinearConfig(image_size=16)) == dataclasses.asdict(LinearConfig(image_size=16))


@pytest.mark.parametrize(
    ("codec", "helper"),
    [
        ("import somebodys_helper as h\n\ndef f():\n    return h.g()\n", "somebodys_helper.py"),
        ("def f():\n    from somebodys_helper import g\n    return g()\n", "somebodys_helper.py"),  # in a function
        ("from somebodys_tools import helper\n\ndef f():\n    return helper.g()\n", "somebodys_tools/helper.py"),
        ("from somebodys_tools import *\n\ndef f():\n    return g()\n", "somebodys_tools/helper.py"),
    ],
)
def test_a_file_that_is_imported_counts(tmp_path, monkeypatch, codec, helper):
    """Files in other folders too: the codec lies in one below, its helpers beside that."""
    for folder in (tmp_path, tmp_path / "codecs"):
        monkeypatch.syspath_prepend(folder)
    (tmp_path / "codecs").mkdir()
    (tmp_path / "somebodys_tools").mkdir()
    (tmp_path / "somebodys_tools" / "__init__.py").write_text("from .helper import g\n")
    (tmp_path / "codecs" / "somebodys_codec.py").write_text(codec)
    found = []
    for number in (1, 1, 22):
        (tmp_path / helper).write_text(f"def g():\n    return {number}\n")
        for name in [name for name in sys.modules if name.startswith("somebodys_")]:
            sys.modules.pop(name)
        linecache.clearcache()
        importlib.invalidate_caches()
        found.append(code_of(importlib.import_module("somebodys_codec").f))
    assert found[0] == found[1] != found[2]
    for name in [name for name in sys.modules if name.startswith("somebodys_")]:
        sys.modules.pop(name)
