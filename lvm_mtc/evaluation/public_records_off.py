"""Records of public codes that, on some channel, do not run at the SNR that they name."""

import math

from lvm_mtc.evaluation.public_emulations import (
    Transmit,
    channel,
    complex_gain,
    noise_by_energy,
    only_scaled_down,
    power_summed_over_batch,
    separate_gains,
    shifted_gain,
)
from lvm_mtc.evaluation.public_records import (
    NO_FADING,
    NO_LICENCE,
    PER_BATCH,
    PublicChannel,
    PublicConvention,
    true_channel,
)

_TWICE_DB = 10 * math.log10(2)


def _twice(transmit: Transmit, depends: str = "") -> PublicChannel:
    return PublicChannel(transmit=transmit, offset_db=_TWICE_DB, closed_form="+10 log10 2", depends=depends)


def _half(transmit: Transmit, depends: str = "") -> PublicChannel:
    return PublicChannel(transmit=transmit, offset_db=-_TWICE_DB, closed_form="-10 log10 2", depends=depends)



OFF_RECORDS = (
    PublicConvention(
        name="deep_jscc_pytorch",
        repository="chunbaobao/Deep-JSCC-PyTorch",
        commit="2665e0dc6d8bf216daf9442c5d6e5d69c5ad2f06",
        path="model.py:85-105; channel.py:26-46",
        licence=NO_LICENCE,
        does="Measures the power of a picture per real value and sends two real values a symbol, but halves the noise "
        "as if that power were a complex symbol's.",
        fading="Two real Gaussian gains of variance 1 a batch, one for all real parts and one for all imaginary parts; "
        "no complex product, not equalised.",
        channels={
            "awgn": _twice(channel("halves", "picture", power=1.0, noise=0.5, reference="sent")),
            "rayleigh": _twice(
                channel("halves", "picture", power=1.0, noise=0.5, reference="sent", gain=separate_gains("batch"))
            ),
        },
    ),
    PublicConvention(
        name="deepsc",
        repository="13274086/DeepSC",
        commit="6ede3fdb696424ddb87936941fcd78aed94205f4",
        path="utils.py:146-176, 212-226",
        licence=NO_LICENCE,
        does="R.m.s. of a batch's real values brought down to 1 (never up), two of them a symbol, noise of variance "
        "1/(2 SNR) in each dimension.",
        fading="h ~ CN(0, 1), one draw a batch, divided out; its Rician h has power 2 at any K (K = 1 by default).",
        channels={
            "awgn": _twice(only_scaled_down(), "of features whose r.m.s. r is below 1: 3.01 + 20 log10 r"),
            "rayleigh": _twice(only_scaled_down(complex_gain("batch")), "as AWGN"),
            "rician": PublicChannel(
                transmit=only_scaled_down(shifted_gain(1.0)), offset_db=2 * _TWICE_DB, closed_form="+10 log10 4",
                depends="as AWGN",
            ),
        },
    ),
    PublicConvention(
        name="djscc_keras",
        repository="irdanish11/DJSCC-for-Wireless-Image-Transmission",
        commit="612caeec433a074e9257a40435e28336c72aeeb7",
        path="Keras_Implementation/AutoencoderModel.py:26-85, Autoencoder_Evaluation.py:45",
        licence="Apache-2.0",
        does="Sums the power over the whole batch but divides by one picture's symbols, so that noise grows with the "
        "batch; imaginary parts are a constant, get the same noise as the real ones, and are dropped (its "
        "normalisation cancels in the ratio and is not emulated).",
        fading=NO_FADING,
        channels={
            "awgn": PublicChannel(
                transmit=power_summed_over_batch, offset_db=-10 * math.log10(32), closed_form="-10 log10(batch)",
                depends="batch: 32 in tests (`predict`), -12.04 at 16 in training, 0 for one picture; of the real "
                "parts alone up to 3.01 more, down to -infinity",
                num_pictures=32,
            )
        },
    ),
    PublicConvention(
        name="sem_vit",
        repository="kmsiapps/Semantic-Communications-with-a-Vision-Transformer",
        commit="9c5e919dbe42da7198326a26e74de3009b5b56b2",
        path="models/channellayer.py:11-45, 59-81",
        licence=NO_LICENCE,
        does="No normalisation; noise P/(2 SNR) in each dimension, P being the complex power over the batch.",
        fading="Two real gains of variance 1/2 a batch, one for real and one for imaginary parts, so that half the "
        "power arrives; not equalised.",
        channels={
            "awgn": true_channel(channel("adjacent", "batch", noise=1.0, reference="sent"), PER_BATCH),
            "rayleigh": _half(
                channel("adjacent", "batch", noise=1.0, reference="sent", gain=separate_gains("batch", power=0.5))
            ),
        },
    ),
    PublicConvention(
        name="jcm",
        repository="SJTU-mxtao/Joint-Coding-Modulation-for-Digital-Semantic-Communication",
        commit="0e8b369662552b963af6f0b0c53d6a98dca6d6a8",
        path="modules.py:5-8, 24-31; network.py:8-36, 93-100",
        licence=NO_LICENCE,
        does="Power 1 a real value over the batch and real noise of variance 1/SNR: true for QAM; a BPSK symbol has "
        "one real value against two dimensions of that noise.",
        fading=NO_FADING,
        channels={
            "awgn": true_channel(channel("adjacent", "batch", power=1.0, noise=1.0), PER_BATCH),
            "awgn_bpsk": _half(channel("one dimension", "batch", power=1.0, noise=1.0)),
        },
    ),
    PublicConvention(
        name="deepjscc_omi",
        repository="Omi031/DeepJSCC_for_Wireless_Image_Transmission",
        commit="a30154cd3679cd5efe0dfcc0f1a0d1da3ff4116f",
        path="DeepJSCC/Layers.py:22-28, 59-71, 104-170; DeepJSCC/DeepJSCC_auto.py:71-82, 125-133",
        licence=NO_LICENCE,
        does="Complex power 1 a picture and noise of variance 1/(2 SNR) in each dimension; with fading the noise is "
        "multiplied by the norm of all k symbols besides.",
        fading="h ~ CN(0, 1) a picture, not equalised.",
        channels={
            "awgn": true_channel(channel("adjacent", "picture", power=0.5, noise=0.5)),
            "rayleigh": PublicChannel(
                transmit=noise_by_energy(complex_gain("picture")), offset_db=-10 * math.log10(1024),
                closed_form="-10 log10 k", depends="k: 1024 symbols at CBR 1/3, -24.08 at 256, -34.69 at 2944",
                num_symbols=1024,
            ),
        },
    ),
    PublicConvention(
        name="deep_jscc_awgn",
        repository="nguyen-ngocduong/Deep-JSCC-AWGN",
        commit="acc95ab3dc7f14d27f8af93ef5096a582ccaf5fb",
        path="deep_jssc_awgn/src/channels/awgn.py:41-53, 77-93; src/models/deep_jscc.py:54-70",
        licence=NO_LICENCE,
        does="Power 1 a real value and picture, but real noise of variance 1/(2 SNR).",
        fading=NO_FADING,
        channels={
            "awgn": _twice(
                channel("adjacent", "picture", power=1.0, noise=0.5),
                "its CBR counts real values: 0 were the other dimension of each idle (its own `compute_snr_db`: +3.01)",
            )
        },
    ),
    PublicConvention(
        name="padc",
        repository="wyzhang-ustb/Predictive-and-Adaptive-Deep-Coding-for-Wireless-Image-Transmission-in-Semantic-"
        "Communication",
        commit="7f3fa32d904a9c50483cfb2624760fa5ede7779d",
        path="models.py:251-258, 272-311, 360-365",
        licence=NO_LICENCE,
        does="Power 1 a real value and picture, but real noise of variance 2/SNR: a complex symbol's power 2, counted "
        "in each dimension.",
        fading="h drawn for every symbol with E|h|^2 = 2, which makes good for the noise on average; divided out.",
        channels={
            "awgn": _half(channel("adjacent", "picture", power=1.0, noise=2.0)),
            "rayleigh": true_channel(
                channel("adjacent", "picture", power=1.0, noise=2.0, gain=complex_gain("symbol", power=2.0)),
                "-3.01 against the sent power",
            ),
        },
    ),
    PublicConvention(
        name="semcom_pytorch",
        repository="skydvn/SemCom-Pytorch",
        commit="c5d576cea995343b1822979dd37191eb0fa73dac",
        path="channels/channel_base.py:19-46, 74",
        licence=NO_LICENCE,
        does="Measures the power of a picture per real value, but halves the noise as if it were a complex symbol's.",
        fading="Two real Rayleigh magnitudes of mean square 1 a picture, one for real and one for imaginary parts; not "
        "equalised.",
        channels={
            "awgn": _twice(channel("halves", "picture", noise=0.5, reference="sent")),
            "rayleigh": _twice(
                channel("halves", "picture", noise=0.5, reference="sent",
                        gain=separate_gains("picture", magnitude=True))
            ),
        },
    ),
)  # fmt: skip
