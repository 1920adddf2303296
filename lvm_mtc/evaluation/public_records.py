"""What a record of a public code is, and the records of those that run at the SNR that they name.

The others are in ``public_records_off``.
"""

import dataclasses
from collections.abc import Mapping

from lvm_mtc.evaluation.public_emulations import (
    Transmit,
    channel,
    complex_gain,
    magnitude_gain,
    multipath_gain,
    superposed,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublicChannel:
    """One channel of a public code.

    Attributes:
        transmit: Its emulation.
        offset_db: True less named SNR at the sizes below, dB.
        closed_form: The same as a formula, in dB.
        depends: What else the offset depends on, with its range; empty where it depends on nothing.
        num_pictures: Of a batch, where the offset depends on it; an even number.
        num_symbols: Complex symbols of a picture, likewise.
    """

    transmit: Transmit
    offset_db: float
    closed_form: str
    depends: str = ""
    num_pictures: int = 4
    num_symbols: int = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class PublicConvention:
    """How a public code means its SNR.

    Attributes:
        name: Of the preset.
        repository: Owner and name on GitHub.
        commit: What was read, 40 hex digits.
        path: Files and lines.
        licence: As the repository states it.
        does: What the code does, one sentence.
        fading: Its fading, or that it has none.
        channels: ``"awgn"``, ``"rayleigh"`` and, where they differ in the offset, others.
    """

    name: str
    repository: str
    commit: str
    path: str
    licence: str
    does: str
    fading: str
    channels: Mapping[str, PublicChannel]


NO_LICENCE = "none stated"
NO_FADING = "None."


def true_channel(transmit: Transmit, depends: str = "") -> PublicChannel:
    """A channel whose named SNR is the true one."""
    return PublicChannel(transmit=transmit, offset_db=0.0, closed_form="0", depends=depends)


PER_BATCH = "a picture of a batch of n: -infinity to +10 log10 n"
_WITT = {
    "awgn": true_channel(channel("halves of batch", "batch", power=0.5, noise=0.5), PER_BATCH),
    "rayleigh": true_channel(
        channel("halves of batch", "batch", power=0.5, noise=0.5, gain=magnitude_gain("symbol")), PER_BATCH
    ),
}
_WITT_FADING = "A real magnitude of mean square 1, drawn for every symbol; the phase is gone and nothing is equalised."

TRUE_RECORDS = (
    PublicConvention(
        name="witt",
        repository="KeYang8/WITT",
        commit="2460db52264ad35d0d7521c9f505fc318134c086",
        path="net/channel.py:25-48, 50-95; data/datasets.py:138-146",
        licence=NO_LICENCE,
        does="Complex power 1 over the batch (in tests 1024 pictures of CIFAR-10, or one large picture), noise of "
        "variance 1/(2 SNR) in each dimension; real parts are the first half of the flattened batch.",
        fading=_WITT_FADING,
        channels=_WITT,
    ),
    PublicConvention(
        name="swin_jscc",
        repository="semcomm/SwinJSCC",
        commit="a6d0e6da53548976acbe9317839a077ef31f190f",
        path="net/channel.py (as WITT's); net/network.py:73-81",
        licence=NO_LICENCE,
        does="WITT's channel; where the rate adapts, power 1 over the symbols that the mask keeps.",
        fading=_WITT_FADING,
        channels=_WITT,
    ),
    PublicConvention(
        name="ntscc",
        repository="wsxtyrdd/NTSCC_JSAC22",
        commit="dd3c745374023af6d01f465c379122be785d936f",
        path="channel/channel.py:18-51; net/NTSCC_Hyperior.py:126-131",
        licence=NO_LICENCE,
        does="Complex power 1 over the sent symbols of a batch, noise of variance 1/(2 SNR) in each dimension.",
        fading=NO_FADING,
        channels={"awgn": true_channel(channel("adjacent", "batch", power=0.5, noise=0.5), PER_BATCH)},
    ),
    PublicConvention(
        name="ntscc_plus",
        repository="wsxtyrdd/NTSCC_plus",
        commit="765c6f6c11cf3bbe249a26b624dbaf47a4f0676d",
        path="channel/channel.py:25-77; net/ntscc.py:412-428",
        licence=NO_LICENCE,
        does="As NTSCC, the power being that of the symbols that the mask keeps; the SNR may differ by picture.",
        fading=NO_FADING,
        channels={"awgn": true_channel(channel("adjacent", "batch", power=0.5, noise=0.5), PER_BATCH)},
    ),
    PublicConvention(
        name="deepjscc_feedback",
        repository="kurka/deepJSCC-feedback",
        commit="61a853baf019d589a7be09dc443c72985b891a74",
        path="jscc.py:282-344, 353-397, 749-754",
        licence="GPL-3.0",
        does="Power 1 a real value and real noise of variance 1/SNR over AWGN; complex power 1 and noise 1/SNR with "
        "fading; per picture.",
        fading="h ~ CN(0, 1) a picture, not equalised (or its magnitude alone, by name).",
        channels={
            "awgn": true_channel(
                channel("halves", "picture", power=1.0, noise=1.0),
                "its k/n counts real values: -3.01 were the other dimension of each idle",
            ),
            "rayleigh": true_channel(channel("halves", "picture", power=0.5, noise=0.5, gain=complex_gain("picture"))),
        },
    ),
    PublicConvention(
        name="jscc_ofdm",
        repository="mingyuyng/Deep-JSCC-for-images-with-OFDM",
        commit="0bf042b4fddca49e8fb3c4304792db8ee87574a5",
        path="models/channel.py:23-32, 129-138; models/JSCCOFDM_model.py:113-117",
        licence=NO_LICENCE,
        does="Sets the noise by the power that a picture's own channel lets arrive, so that every picture has the "
        "named SNR at the receiver (pilots and prefix are not emulated).",
        fading="8 taps, exp(-tap/4), one draw a picture; estimated from pilots and equalised by option. No picture is "
        "in a fade: against a fixed noise variance, a picture's SNR is off by 10 log10 of its channel's power gain.",
        channels={
            "rayleigh": true_channel(
                channel("adjacent", "picture", power=0.5, noise=1.0, reference="arrived", gain=multipath_gain()),
                "0 at every picture's receiver; against the sent power -10 log10 |h|^2, any value",
            )
        },
    ),
    PublicConvention(
        name="adjscc",
        repository="alexxu1988/ADJSCC",
        commit="e5332e95faf592aab9f440992de96029162dc7dd",
        path="util_channel.py:13-30, 51-82; dataset/dataset_cifar10.py:18-27",
        licence="MIT",
        does="Complex power 1 a picture, complex noise of variance 1/SNR.",
        fading="h ~ CN(0, 1) a picture, with or without division by h.",
        channels={
            "awgn": true_channel(channel("halves", "picture", power=0.5, noise=0.5)),
            "rayleigh": true_channel(channel("halves", "picture", power=0.5, noise=0.5, gain=complex_gain("picture"))),
        },
    ),
    PublicConvention(
        name="cddm",
        repository="Wireless3C-SJTU/CDDM-channel-denoising-diffusion-model-for-semantic-communication",
        commit="1d12e485e1062982fd87595fcf3f729f6d22b11e",
        path="CDDM/Autoencoder/net/channel.py:21-45, 62-110; CDDM/Diffusion/Train.py:160-165",
        licence=NO_LICENCE,
        does="Complex power 1 over the batch, noise of variance 1/(2 SNR) in each dimension.",
        fading="h ~ CN(0, 1) drawn for every symbol, known to the receiver, MMSE.",
        channels={
            "awgn": true_channel(channel("halves", "batch", power=0.5, noise=0.5), PER_BATCH),
            "rayleigh": true_channel(
                channel("halves", "batch", power=0.5, noise=0.5, gain=complex_gain("symbol")), PER_BATCH
            ),
        },
    ),
    PublicConvention(
        name="fajscc",
        repository="hansung-choi/FAJSCCv2",
        commit="7da1b1876d826d7379c0a0ea432ad714d9165db4",
        path="model/common_component.py:234-298",
        licence="MIT",
        does="Complex power 1 a picture, noise of variance 1/(2 SNR) in each dimension.",
        fading=_WITT_FADING,
        channels={
            "awgn": true_channel(channel("halves of batch", "picture", power=0.5, noise=0.5)),
            "rayleigh": true_channel(
                channel("halves of batch", "picture", power=0.5, noise=0.5, gain=magnitude_gain("symbol"))
            ),
        },
    ),
    PublicConvention(
        name="deepjscc_stream",
        repository="r0ymanesco/deepjscc_stream",
        commit="da863de5e3acb4fbb307c0cf8dfe830303e99aa7",
        path="modules/channel.py:47-59; modules/modem.py:95-104; modules/vct_encoding_bandwidth.py:201-212",
        licence=NO_LICENCE,
        does="Complex power 1 a picture; complex noise of variance P/SNR, with P measured over the batch.",
        fading=NO_FADING,
        channels={
            "awgn": true_channel(
                channel("adjacent", "picture", power=0.5, noise=1.0, reference="sent"),
                "unsent symbols are zeros that count in P where the bandwidth adapts: up to 10 log10(all / sent) more",
            )
        },
    ),
    PublicConvention(
        name="deepjscc_noma",
        repository="ipc-lab/deepjscc-noma",
        commit="d59e70142ec20bbd53b76cf7478ab2722089f069",
        path="src/models/components/power_constraints.py:40-59, channels.py:24-42; configs/model/deepjscc.yaml",
        licence=NO_LICENCE,
        does="Two devices of power 1/2 each a picture, added on the air, and complex noise of variance 1/SNR.",
        fading=NO_FADING,
        channels={
            "awgn": true_channel(superposed(2), "correlated devices: -infinity to +3.01; of one device alone -3.01")
        },
    ),
    PublicConvention(
        name="deepjscc_lplusplus",
        repository="aprilbian/deepjscc-lplusplus",
        commit="758f2f2f1396592f78d78d3cf871071e6b66fbe9",
        path="swin_module_bw.py:671-681, 706-722",
        licence=NO_LICENCE,
        does="Complex power 1 a picture over the symbols that the bandwidth keeps, complex noise of variance 1/SNR.",
        fading=NO_FADING,
        channels={"awgn": true_channel(channel("adjacent", "picture", power=0.5, noise=0.5))},
    ),
    PublicConvention(
        name="semantic_systems",
        repository="SJTU-mxtao/Semantic-Communication-Systems",
        commit="09cf1edafe9177fa61b1c1abad1208f902acb756",
        path="semantic_extraction/CIFAR.py:293-304",
        licence="MIT",
        does="No normalisation; real noise of variance P/SNR, with P the power of a real value over the batch.",
        fading=NO_FADING,
        channels={"awgn": true_channel(channel("adjacent", "batch", noise=1.0, reference="sent"), PER_BATCH)},
    ),
    PublicConvention(
        name="jscc_fis",
        repository="khainq12/JSCC_FIS",
        commit="813fe26edc0372bde3904c5c5b6a7226d127a916",
        path="Deep-JSCC-PyTorch/channel.py:46-79",
        licence=NO_LICENCE,
        does="Real noise of variance P/SNR, with P the power of a real value of the picture, after the fading if any.",
        fading="h ~ CN(0, 1) a picture, not equalised; the noise follows the picture's own |h|^2, so that no picture "
        "is in a fade.",
        channels={
            "awgn": true_channel(channel("halves", "picture", noise=1.0, reference="sent")),
            "rayleigh": true_channel(
                channel("halves", "picture", noise=1.0, reference="arrived", gain=complex_gain("picture")),
                "0 at every picture's receiver; against the sent power -10 log10 |h|^2, any value",
            ),
        },
    ),
    PublicConvention(
        name="semantic_tasks",
        repository="ant-uni-bremen/Semantic-Communication-for-Task-Execution-and-Data-Reconstruction",
        commit="cf774b8ca5c29be84d66fb58ad6217dd1b7d322a",
        path="channel.py:10-19, 45-65; utils.py:15-29",
        licence=NO_LICENCE,
        does="Power 1 a real value and picture, real noise of the measured power over the SNR.",
        fading="h ~ CN(0, 1) drawn for every real value s, which is sent as the symbol (1 + j) s; not equalised.",
        channels={
            "awgn": true_channel(channel("adjacent", "picture", power=1.0, noise=1.0, reference="sent")),
            "rayleigh": true_channel(
                channel("twice", "picture", power=1.0, noise=1.0, reference="sent", gain=complex_gain("symbol"))
            ),
        },
    ),
)  # fmt: skip
