"""Everything but Stable Diffusion's checkpoints: one reader per kind, each of which says what a file is, or nothing."""

import re

from backend.model_manager.identity import VAE_FAMILY, Identity, Kind
from backend.model_manager.recognition.evidence import Evidence
from backend.model_manager.recognition.unet_identity import VAE, unet_family
from backend.model_manager.recognition.unet_outline import read_outline
from backend.model_manager.recognition.wording import FAMILY_TITLES, KIND_TITLES, described, said_distilled, said_family

LARGEST_EMBEDDING = 1024  # vectors
EMBEDDING_FAMILIES = {768: "sd1", 1024: "sd2", 1280: "sdxl-refiner"}
IMAGE_WIDTHS = {768: "sd1", 1024: "sd2", 2048: "sdxl"}
FLOWS = frozenset({"flux1", "flux2", "flux3", "sd3", "chroma", "qwen-image", "z-image"})
TAESD = (
    {"decoder.layers.0.weight", "encoder.layers.0.weight"},
    {"taesd_decoder.1.weight"},
    {"1.weight", "3.conv.0.weight", "3.conv.2.weight"},
)


def read_control(evidence: Evidence) -> Identity | None:
    """A network beside a checkpoint: ControlNet, T2I-Adapter, IP-Adapter."""
    row = evidence.structure.beside
    if row is None:
        return None
    family, title = row.family, row.title
    if not family:
        match row.kind:
            case Kind.IP_ADAPTER:
                family = IMAGE_WIDTHS.get(sum(evidence.header.shape("ip_adapter.1.to_k_ip.weight")[-1:]), "")
            case Kind.T2I_ADAPTER:
                family = _adapter_family(evidence)
            case _:
                family = _control_family(evidence)
        title = f"{KIND_TITLES[row.kind]} for {FAMILY_TITLES.get(family, 'an unknown base')}"
    return described(evidence.file_name, Identity(kind=row.kind, title=title, family=family, variant=row.variant))


def _control_family(evidence: Evidence) -> str:
    for prefix in ("control_model.", ""):
        if outline := read_outline(evidence.tensors, prefix):
            return unet_family(outline)
    # SDXL's smaller ControlNets and Control-LoRAs have no whole attention to go by.
    pooled = {"add_embedding.linear_1.weight", "label_emb.0.0.weight", "label_emb.0.0.down"}
    deep = "input_blocks.4.1.transformer_blocks.0.attn2.to_k.down"
    return "sdxl" if {*pooled, deep} & evidence.tensors.keys() else ""


def _adapter_family(evidence: Evidence) -> str:
    """T2I-Adapters get the picture folded 8 times to a side for SD 1.x, 16 times for SDXL: of one channel or three."""
    keys = ("adapter.conv_in.weight", "conv_in.weight", "adapter.body.0.in_conv.weight", "body.0.in_conv.weight")
    shape = next((evidence.header.shape(key) for key in keys if key in evidence.tensors), ())
    return {64: "sd1", 192: "sd1", 256: "sdxl", 768: "sdxl"}.get(shape[1], "") if len(shape) == 4 else ""


def read_transformer(evidence: Evidence) -> Identity | None:
    """A transformer in place of a U-Net: known by name."""
    row = evidence.structure.transformer
    if row is None:
        return None
    distilled, named = said_distilled(evidence.header.metadata, evidence.file_name)
    identity = Identity(
        kind=row.kind,
        title=row.title,
        family=row.family,
        variant=row.variant,
        prediction="flow" if row.family in FLOWS else "",
        distilled=distilled,
        suggested=("distilled",) if named else (),
    )
    return described(evidence.file_name, identity)


def read_adapter(evidence: Evidence) -> Identity | None:
    """A LoRA or one of its kin."""
    if family := evidence.structure.lllite_family:
        identity = Identity(kind=Kind.CONTROLNET, title="", family=family, variant="lllite")
        return described(evidence.file_name, identity)
    outline = evidence.structure.lora
    if outline is None:
        return None
    family = outline.family or said_family(evidence.header.metadata)
    distilled, named = said_distilled(evidence.header.metadata, evidence.file_name)
    identity = Identity(
        kind=Kind.LORA,
        title="",
        family=family,
        variant=outline.algorithm,
        context_widths=outline.context_widths(family),
        distilled=distilled,
        suggested=("distilled",) if named else (),
    )
    return described(evidence.file_name, identity)


def read_vae(evidence: Evidence) -> Identity | None:
    """A VAE alone, also one that kept the prefix of the checkpoint that it was cut from."""
    tensors = evidence.tensors
    if "quantize.embedding.weight" in tensors:
        return None  # a restorer of faces, or VQGAN
    for prefix in ("", VAE, "vae."):
        for key in (f"{prefix}decoder.conv_in.weight", f"{prefix}decoder.conv_in.conv.weight"):
            if key in tensors and len(tensors[key].shape) in (4, 5):
                return _described_vae(evidence, tensors[key].shape, flux2=f"{prefix}bn.running_mean" in tensors)
        if f"{prefix}decoder.middle.0.residual.0.gamma" in tensors:
            return _described_vae(evidence, (0,) * 5, flux2=False)
    if any(keys <= tensors.keys() for keys in TAESD):
        return described(evidence.file_name, Identity(kind=Kind.VAE, title="TAESD, a small VAE", variant="taesd"))
    return None


def _described_vae(evidence: Evidence, shape: tuple[int, ...], *, flux2: bool) -> Identity:
    family, title, suggested = "", "", ()
    if len(shape) == 5:
        title = "VAE for video, or of Qwen-Image"
    elif flux2 or shape[1] == 32:
        family = "flux2"
    elif shape[1] == 16:
        title = "VAE, 16 channels (FLUX.1 or SD 3)"
    elif shape[1] == 4:
        family = said_family(evidence.header.metadata)
        family = VAE_FAMILY.get(family, family)
        if not family:
            family = _vae_by_name(evidence.file_name)
            suggested = ("family",) if family else ()
    else:
        title = f"VAE, {shape[1]} channels"
    variant = "" if shape[1] == 4 and len(shape) == 4 else "other"
    identity = Identity(kind=Kind.VAE, title=title, family=family, variant=variant, suggested=suggested)
    return described(evidence.file_name, identity)


def _vae_by_name(file_name: str) -> str:
    name = file_name.lower()
    if "xl" in name:
        return "sdxl"
    return "sd1" if re.search(r"ft[-_]?(mse|ema)|840000|560000|kl[-_]?f8|sd[-_]?v?(1|2)", name) else ""


def read_small(evidence: Evidence) -> Identity | None:
    """Text encoders, and other networks that go beside a checkpoint."""
    row = evidence.structure.small
    return described(evidence.file_name, Identity(kind=row.kind, title=row.title)) if row else None


def read_upscaler(evidence: Evidence) -> Identity | None:
    """A network that enlarges pictures, or mends faces in them."""
    row = evidence.structure.upscaler
    return described(evidence.file_name, Identity(kind=row.kind, title=row.title)) if row else None


def read_embedding(evidence: Evidence) -> Identity | None:
    """Rows of token vectors: `emb_params`, one array per text encoder, or a single array under the token itself."""
    tensors = evidence.tensors
    keys = ("clip_l", "clip_g") if "clip_g" in tensors else ("emb_params",) if "emb_params" in tensors else ()
    if not keys and len(tensors) == 1 and next(iter(tensors.values())).shape[-1:] in ((768,), (1024,), (1280,)):
        keys = tuple(tensors)
    shapes = [tensors[key].shape for key in keys if key in tensors]
    if not shapes or any(len(shape) not in (1, 2) or shape[:-1] > (LARGEST_EMBEDDING,) for shape in shapes):
        return None
    widths = tuple(shape[-1] for shape in shapes)
    family = "sd3" if "t5xxl" in tensors else "sdxl" if len(widths) == 2 else EMBEDDING_FAMILIES.get(widths[0], "")
    return described(evidence.file_name, Identity(kind=Kind.EMBEDDING, title="", family=family, context_widths=widths))
