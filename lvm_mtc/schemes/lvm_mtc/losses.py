"""What steps 2 to 4 of the paper's training minimise (Eq. 27-29); step 1 trains the detector."""

import jax

from lvm_mtc.phy.numerics import require_given
from lvm_mtc.schemes.losses import IMAGE_LOSSES, image_loss, masked_mse
from lvm_mtc.schemes.scheme import Stage
from lvm_mtc.schemes.simulate import Outcome, encode, forward


def token_loss(scheme, params, source, key, link, point, weights):
    """Step 2: image loss of the token codec, no channel (Eq. 27); a ``Stage.loss``."""
    encoded = encode(scheme, params, source, key, point.knobs)
    images = scheme.paint(params, encoded.tokens, encoded.kept)
    loss, psnr = image_loss(images, source.data, "mse")
    return loss, {"psnr": psnr}


def channel_loss(scheme, params, source, key, link, point, weights):
    """Step 3: MSE between received tokens and what was sent (Eq. 28); a ``Stage.loss``."""
    frozen = {k: jax.lax.stop_gradient(v) if k in ("encoder", "comparator") else v for k, v in params.items()}
    out = forward(scheme, frozen, source, key, link, point)
    tells = out.sent.tells
    loss = masked_mse(out.estimate.tells["tokens"], jax.lax.stop_gradient(tells["tokens_sent"]), tells["valid"])
    return loss, {"token_mse": loss, "shared": _shared(out)}


def system_loss(scheme, params, source, key, link, point, weights):
    """Step 4: image loss plus MSE to each UAV's own tokens (Eq. 29); a ``Stage.loss``.

    The sent tokens are a constant, else the encoder lowers the term by shrinking its last norm, which power
    normalisation hides. ``weights["rate_weight"]`` times the channel uses per source sample may be added, with the
    sharing decision's gradient.
    """
    out = forward(scheme, params, source, key, link, point)
    tells = out.sent.tells
    loss, psnr = image_loss(out.estimate.data, source.data, weights["image_loss"])
    own = jax.lax.stop_gradient(tells["tokens_own"])
    token_mse = masked_mse(out.estimate.tells["tokens"], own, tells["valid"])
    total = loss + weights["token_weight"] * token_mse
    if weights["rate_weight"]:
        total = total + weights["rate_weight"] * _soft_rate(out.sent, source.data.size)
    return total, {"psnr": psnr, "token_mse": token_mse, "shared": _shared(out)}


def _shared(out: Outcome) -> jax.Array:
    return require_given("Signal.public", out.sent.signal.public).sent.mean()


def _soft_rate(sent, source_samples: int) -> jax.Array:
    """Channel uses per source sample, with the comparator's gradient: m UAVs that share a slot save m - 1 tokens."""
    signal = sent.signal
    num_uavs, _, num_symbols = signal.private.symbols.shape[1:]
    if signal.audience is None:
        saved = signal.soft.sum() * (num_uavs - 1) * num_symbols
    else:
        saved = (signal.soft * (signal.audience.sum(axis=1) - 1)).sum() * num_symbols
    return (sent.tells["valid"].sum() * num_symbols - saved) / source_samples


def _learns(*roots: str):
    return lambda name: name.split("/")[0] in roots


STAGES = (
    Stage("token", token_loss, _learns("encoder", "decoder")),
    Stage("channel", channel_loss, _learns("channel_encoder", "channel_decoder", "public_encoder", "allocation")),
    Stage("system", system_loss, weights={"image_loss": IMAGE_LOSSES, "token_weight": 1.0, "rate_weight": 0.0}),
)
