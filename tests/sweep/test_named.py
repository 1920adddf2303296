"""Schemes by name."""

import pytest

from lvm_mtc.cli import sending
from lvm_mtc.schemes.deepjscc.scheme import DeepJscc, DeepJsccConfig
from lvm_mtc.schemes.lvm_mtc.config import LvmMtcConfig
from lvm_mtc.schemes.lvm_mtc.scheme import LvmMtc
from lvm_mtc.schemes.scheme import Knob, Masking
from lvm_mtc.sweep.named import make_contenders


class Knobbed(DeepJscc):
    knobs = {"mask_prob": Knob(0.25, 0.0, 1.0)}


def test_a_knob_of_that_name_makes_no_token_system(monkeypatch):
    scheme = Knobbed(DeepJsccConfig())
    assert isinstance(LvmMtc(LvmMtcConfig()), Masking) and not isinstance(scheme, Masking)
    monkeypatch.setattr(sending, "load_picture_scheme", lambda weights: (scheme, {}))
    _, (contender,) = sending.load_contenders("w.npz", None, ("object",))
    assert contender.scheme is scheme and contender.knobs == {"mask_prob": 0.25}
    with pytest.raises(ValueError, match="'object' needs weights of a scheme that masks patches"):
        sending.load_contenders("w.npz", ("object",), ())


def test_object_first_schemes_take_the_schedule_and_the_others_do_not():
    config = LvmMtcConfig(variant="linear", image_size=32, patch_size=8, num_symbols=4, power_allocation=False)
    names = ("object", "uniform", "sharing", "all")
    constant = make_contenders(names, LvmMtc(config), {}, mask_prob=0.3)
    aware = make_contenders(names, LvmMtc(config), {}, mask_prob=0.3, scale_aware=True)
    assert not any(contender.scheme.scale_aware for contender in constant)
    assert [contender.scheme.scale_aware for contender in aware] == [True, False, True, False]
    assert [contender.scheme.config for contender in aware] == [contender.scheme.config for contender in constant]
    assert aware[0].described() != constant[0].described()
    with pytest.raises(ValueError, match=r"mask_prob must lie in \(0, 0.75\) with scale_aware.* got 0.8"):
        make_contenders(names, LvmMtc(config), {}, mask_prob=0.8, scale_aware=True)
