"""Stable Diffusion's checkpoints: which of them a U-Net makes, and what else it needs to run."""

import re
from collections.abc import Mapping
from dataclasses import replace

from backend.model_manager.header import VALUE_DTYPES, TensorInfo
from backend.model_manager.identity import Identity, Kind, Prediction
from backend.model_manager.recognition.evidence import Evidence
from backend.model_manager.recognition.unet_outline import UNET, UNetOutline
from backend.model_manager.recognition.wording import FAMILY_TITLES, USUAL_WIDTHS, described, said_distilled

VAE = "first_stage_model."
# A v-prediction model's first norm after the last upsampling has drifted further than an epsilon model's ever do; the
# threshold is ComfyUI's (supported_models.py, SD20.model_type).
V_PREDICTION_BIAS = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
V_PREDICTION_SPREAD = 0.09
CHANNELS = {4: "", 9: "inpainting", 8: "instruct-pix2pix", 5: "depth"}
# Transformer blocks of each level and of the middle -> who distilled SDXL to that.
PRUNED: Mapping[tuple[tuple[int, ...], int], str] = {((0, 2, 4), 0): "ssd-1b", ((0, 1, 2), 0): "vega"}
KOLORS_VECTOR = 5632  # ChatGLM's pooled width with SDXL's six numbers
TOKENS = ("text_model.embeddings.token_embedding.weight", "embeddings.token_embedding.weight", "token_embedding.weight")
# Family -> where its text encoders lie, in the order of its context.
TEXT_PLACES: Mapping[str, tuple[str, ...]] = {
    "sd1": ("cond_stage_model.transformer.",),
    "sd2": ("cond_stage_model.model.",),
    "sdxl": ("conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."),
    "sdxl-refiner": ("conditioner.embedders.0.model.",),
}
SD_TURBO_TEXT = "conditioner.embedders.0.model.token_embedding.weight"  # the one SD 2.x in sgm's layout


def read_unet(evidence: Evidence) -> Identity | None:
    """A checkpoint with a U-Net, whole or not, in CompVis' naming or in diffusers'."""
    if found := evidence.structure.unet:
        prefix, outline = found
        return _stable_diffusion(evidence, outline, whole=prefix == UNET)
    return None


def unet_family(outline: UNetOutline) -> str:
    """The structure's family: where attention begins, with what, and what joins the time embedding."""
    if outline.temporal:
        return "svd"
    if outline.vector and outline.depths[0] == 0:
        return "sdxl-refiner" if len(outline.depths) == 4 else "sdxl"
    return "sd2" if outline.linear else "sd1"


def _variant(outline: UNetOutline, family: str, tensors: Mapping[str, TensorInfo]) -> str:
    special = ""
    if family == "sdxl":
        special = PRUNED.get((outline.depths, outline.middle), "")
        if outline.layers == 1:
            special = "koala"
        elif outline.vector == KOLORS_VECTOR:
            special = "kolors"
        elif "edm_mean" in tensors:
            special = "playground-2.5"
        elif "edm_vpred.sigma_max" in tensors:
            special = "cosxl"
    elif outline.classes:
        special = "x4-upscaler"
    elif family == "sd2" and outline.vector:
        special = "unclip"
    elif family != "sdxl-refiner" and outline.layers == 1:
        special = "sdxs"
    return special or CHANNELS.get(outline.channels, f"{outline.channels}-channel")


def _stable_diffusion(evidence: Evidence, outline: UNetOutline, *, whole: bool) -> Identity:
    family, metadata = unet_family(outline), evidence.header.metadata
    variant = "" if family == "svd" else _variant(outline, family, evidence.tensors)
    texts = _text_widths(evidence.tensors, family)
    usual = USUAL_WIDTHS.get(family, ()) if variant != "kolors" else ()
    prediction, guessed = _prediction(evidence, family, variant)
    distilled, named = said_distilled(metadata, evidence.file_name)
    if family == "sd2" and SD_TURBO_TEXT in evidence.tensors and not distilled:
        distilled, named = "turbo", True
    identity = described(
        evidence.file_name,
        Identity(
            kind=Kind.CHECKPOINT,
            title="",
            family=family,
            variant=variant,
            context_widths=texts or (usual if sum(usual) == outline.context else (outline.context,)),
            prediction=prediction,
            zero_terminal_snr="ztsnr" in evidence.tensors or metadata.get("ss_zero_terminal_snr") == "True",
            distilled=distilled,
            suggested=tuple(name for name, guess in (("prediction", guessed), ("distilled", named)) if guess),
        ),
    )
    lacking = _lacking(evidence, family, outline, texts, whole=whole)
    if lacking and identity.runs:
        return replace(identity, runs=False, problem=f"{evidence.file_name} {lacking}.")
    return identity


def _lacking(evidence: Evidence, family: str, outline: UNetOutline, texts: tuple[int, ...], *, whole: bool) -> str:
    """Why a U-Net of a family that runs is not a checkpoint that does."""
    title = FAMILY_TITLES.get(family, family)
    has_vae = f"{VAE}decoder.conv_in.weight" in evidence.tensors
    if family == "sd2" and SD_TURBO_TEXT in evidence.tensors:
        return "keeps its text encoder in SDXL's layout, as SD-Turbo does; Atelier cannot run that yet"
    if not whole or not (texts or has_vae):
        return f"is a U-Net of {title} alone; a checkpoint brings its text encoder and its VAE too"
    if not texts:
        return f"has no text encoder of {title}"
    if not has_vae:
        return "has no VAE"
    if sum(texts) != outline.context:
        return f"does not fit together: its text encoders are {sum(texts)} wide, its U-Net wants {outline.context}"
    return ""


def _text_widths(tensors: Mapping[str, TensorInfo], family: str) -> tuple[int, ...]:
    """The widths of a checkpoint's text encoders, nothing if one is missing."""
    widths: list[int] = []
    for place in TEXT_PLACES.get(family, ()):
        info = next((tensors[place + token] for token in TOKENS if place + token in tensors), None)
        if info is None or len(info.shape) != 2:
            return ()
        widths.append(info.shape[1])
    return tuple(widths)


def _prediction(evidence: Evidence, family: str, variant: str) -> tuple[Prediction, bool]:
    """What the network predicts, and whether that is a guess."""
    if variant in ("playground-2.5", "cosxl") or family == "svd":
        return "edm", False
    if "v_pred" in evidence.tensors:
        return "v", False
    if evidence.prediction:
        return evidence.prediction, False
    if (family, variant) != ("sd2", ""):
        return ("v" if variant in ("unclip", "x4-upscaler") else "epsilon"), False
    witness = evidence.tensors.get(V_PREDICTION_BIAS)
    if evidence.values and witness and witness.dtype in VALUE_DTYPES:
        return ("v" if float(evidence.values(V_PREDICTION_BIAS).std()) > V_PREDICTION_SPREAD else "epsilon"), False
    named = re.search(r"768|v[-_]?pred|(?<![a-z])v(?![a-z0-9])", evidence.file_name.lower())
    return ("v" if named else "epsilon"), True
