"""From the values of an infotext to the fields of a request: whose version means what, and which models are here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backend.errors import InvalidRequest
from backend.imaging.upscale import ENLARGERS
from backend.infotext.extended import ExtensionHere
from backend.infotext.fields import HIRES, IMAGE, PLAIN, REFINER, VARIATION, Row, box, checked_value, flag, size
from backend.infotext.keys import DESCRIPTIVE_KEYS
from backend.infotext.known_models import Models, Search, named_hashes
from backend.infotext.proposal import NotApplied, Proposal, usual
from backend.infotext.sampling_names import SAME, Chosen, chosen, chosen_again
from backend.infotext.values import Infotext, objects
from backend.infotext.versions import (
    EXACT_NOISE_TABLE,
    NEW_PROMPT_EDITING,
    REFINER_BY_TIMESTEP,
    Version,
    is_ours,
    version_of,
)
from backend.infotext.write import UNWRITTEN_SOURCE
from backend.init_image import LATENT_UPSCALERS, SoftInpainting
from backend.model_manager.identity import Kind
from backend.request import OWN_VAE, GenerationRequest

HIRES_KEYS = ("Hires upscale", "Hires upscaler", "Hires resize", "First pass size")
MASK_KEYS = (
    "Mask blur",
    "Mask mode",
    "Masked content",
    "Inpaint area",
    "Masked area padding",
    "Conditional mask weight",
)
OLD_PIXELS = 512 * 512  # of the first pass of the first hires fix
OLD_STEP = 64
# A1111's names of upscalers by the files that it downloads for them.
UPSCALER_FILES = {
    "R-ESRGAN 4x+": "RealESRGAN_x4plus",
    "R-ESRGAN 4x+ Anime6B": "RealESRGAN_x4plus_anime_6B",
    "R-ESRGAN 2x+": "RealESRGAN_x2plus",
    "R-ESRGAN General 4xV3": "realesr-general-x4v3",
    "R-ESRGAN General WDN 4xV3": "realesr-general-wdn-x4v3",
    "R-ESRGAN AnimeVideo": "realesr-animevideov3",
    "ESRGAN_4x": "ESRGAN",
    "SwinIR 4x": "SwinIR_4x",
    "SwinIR_4x": "SwinIR_4x",
}
INTERPOLATED = ("None", "Lanczos", "Nearest")
UNKNOWN = "Atelier has no field for it."
REASONS = {
    "Hypernet": "Hypernetworks are not supported.",
    "Distilled CFG Scale": "It is for families that Atelier does not run.",
    "Face restoration": "There is no face restoration.",
    "Pad conds v0": "Prompts are made equally long in A1111's newer way only.",
    "Script": "The picture was made by a script; its own values were read.",
}


def propose(infotext: Infotext, models: Models, extensions: Sequence[ExtensionHere] = ()) -> Proposal:
    """What an infotext would change in a form. A mere prompt changes the prompts only; parameters also set what they do
    not name to what that means: A1111's defaults, with the exceptions that a version has. `extensions` are those that
    are on: one that is not named does not take part."""
    reading = _Reading(infotext=infotext, search=Search(models))
    reading.prompts()
    if infotext.pairs:
        reading.parameters()
        for extension in extensions:
            reading.extension(extension)
    return reading.proposal()


@dataclass(kw_only=True)
class _Reading:
    infotext: Infotext
    search: Search
    fields: dict[str, object] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    refused: list[NotApplied] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def proposal(self) -> Proposal:
        left = [(key, value) for key, value in self.infotext.pairs if key not in self.used | DESCRIPTIVE_KEYS]
        unknown = [NotApplied(key=key, value=value, reason=REASONS.get(key, UNKNOWN)) for key, value in left]
        return Proposal(
            fields=self.fields,
            not_applied=(*self.refused, *unknown),
            missing=tuple(dict.fromkeys(self.search.missing)),
            remarks=(*self.search.remarks, *self.remarks),
        )

    def prompts(self) -> None:
        hashes = named_hashes(self.infotext, "Lora hashes", "lora:")
        self.fields["prompt"] = self.search.with_loras(self.infotext.prompt, hashes)
        self.fields["negative_prompt"] = self.infotext.negative_prompt
        for name, sha256 in named_hashes(self.infotext, "TI hashes", "embed:").items():
            self._find(Kind.EMBEDDING, name, sha256)

    def parameters(self) -> None:
        version = version_of(self.infotext)
        self.fields |= usual()
        self._rows(PLAIN)
        self._checkpoint()
        self._noise()
        first = self._sampler(version)
        self._sizes()
        if any(self.infotext.get(key) is not None for key in HIRES_KEYS):
            self._second_pass(first, version)
        elif self.infotext.get("Denoising strength") is not None:
            self._picture()
        else:
            self.fields |= {"hires": None, "init": None}
        self.used |= {key for row in VARIATION for key in row.keys}
        if self._number("Variation seed strength") > 0:
            self.fields.pop("variation")
            self._rows(VARIATION)
        self._refiner(version)
        self._old_rules(version)
        self._civitai_resources()

    def extension(self, extension: ExtensionHere) -> None:
        """The values of an extension's parameters; those that are not named are as usual."""
        named = [row for row in extension.rows if self.infotext.get(row.key) is not None]
        marked = bool(extension.marker) and self.infotext.get(extension.marker) is not None
        if not extension.rows and not marked:
            return
        if not named and not marked:
            self.fields[extension.place] = None
            return
        self.used |= {row.key for row in named} | {extension.marker}
        values: dict[str, object] = {}
        for row in named:
            text = self.infotext.get(row.key) or ""
            try:
                values |= {row.name: extension.checked({row.name: row.read(text)})[row.name]}
            except InvalidRequest as error:
                self._refuse(row.key, text, str(error))
            except ValueError as error:
                self._refuse(row.key, text, f"{row.key} cannot be read: {error}.")
        for name, value in extension.checked(values).items():
            self.fields[f"{extension.place}.{name}"] = value

    def _number(self, key: str) -> float:
        """A number that decides something, 0 where it is none."""
        try:
            return float(self.infotext.get(key) or 0)
        except ValueError:
            return 0.0

    def _rows(self, rows: Iterable[Row]) -> None:
        for row in rows:
            for key in row.keys:
                text = self.infotext.get(key)
                if text is not None:
                    self._put(key, row.field, text, row)

    def _put(self, key: str, place: str, text: str, row: Row) -> None:
        self.used.add(key)
        try:
            self.fields[place] = checked_value(place, row.read(text.strip() if row.read is not str else text))
        except InvalidRequest as error:
            self._refuse(key, text, str(error))
        except ValueError as error:
            self._refuse(key, text, f"{key} cannot be read: {error}.")

    def _set(self, key: str, place: str, value: object) -> None:
        self.used.add(key)
        try:
            self.fields[place] = checked_value(place, value)
        except InvalidRequest as error:
            self._refuse(key, self.infotext.get(key) or str(value), str(error))

    def _refuse(self, key: str, text: str, reason: str) -> None:
        self.refused.append(NotApplied(key=key, value=text, reason=reason))

    def _find(self, kind: Kind, name: str, sha256: str = "") -> str | None:
        """The name a model has here; one that is not here is noted."""
        return self.search.find(kind, name, sha256)

    def _checkpoint(self) -> None:
        hashes = self.infotext.json("Hashes")
        sha256 = self.infotext.get("Model hash") or str(hashes.get("model", ""))
        name = self.infotext.get("Model") or ""
        self.used.add("Model")
        if name or sha256:
            found = self._find(Kind.CHECKPOINT, name, sha256)
            if found is not None:
                self.fields["checkpoint"] = found
        vae, sha256 = self.infotext.get("VAE"), self.infotext.get("VAE hash") or str(hashes.get("vae", ""))
        self.used.add("VAE")
        if vae in ("Automatic", "None"):
            self.fields["vae"] = vae
        elif vae or sha256:
            found = self._find(Kind.VAE, vae or "", sha256)
            if found is not None:
                self.fields["vae"] = found
        else:  # what lies beside a checkpoint is there for others too; ours are resolved
            self.fields["vae"] = OWN_VAE if is_ours(self.infotext) else GenerationRequest.vae

    def _noise(self) -> None:
        """Where no source is named it was the GPU, whose noise the source NV makes on every device."""
        if self.infotext.get("RNG") is None:
            ours = is_ours(self.infotext)
            self.fields["noise_source"] = UNWRITTEN_SOURCE if ours else GenerationRequest.noise_source

    def _sampler(self, version: Version | None) -> Chosen:
        name = self.infotext.get("Sampler")
        schedule = self.infotext.get("Schedule type", "Scheduler")
        self.used |= {"Sampler", "Schedule type", "Scheduler"}
        if name is None:
            return Chosen(sampler="", schedule="")
        try:
            found = chosen(name, schedule, version)
        except InvalidRequest as error:
            self._refuse("Sampler", ", ".join(filter(None, (name, schedule))), str(error))
            return Chosen(sampler="", schedule="")
        self.fields |= {"sampler": found.sampler, "schedule": found.schedule}
        if found.remark:
            self.remarks.append(found.remark)
        return found

    def _size(self, key: str) -> tuple[int, int] | None:
        text = self.infotext.get(key)
        self.used.add(key)
        if text is None:
            return None
        try:
            return size(text)
        except ValueError as error:
            self._refuse(key, text, f"{key} cannot be read: {error}.")
            return None

    def _sizes(self) -> None:
        whole, first = self._size("Size"), self._size("First pass size")
        if whole is not None and first is not None:
            self._set("First pass size", "hires.width", whole[0])
            self._set("First pass size", "hires.height", whole[1])
            whole = first if all(first) else first_pass_size(*whole)
        if whole is not None:
            self._set("Size", "width", whole[0])
            self._set("Size", "height", whole[1])

    def _second_pass(self, first: Chosen, version: Version | None) -> None:
        self.fields["init"] = None
        self._rows(HIRES)
        resized = self._size("Hires resize")
        if resized is not None:
            self._set("Hires resize", "hires.width", resized[0])
            self._set("Hires resize", "hires.height", resized[1])
        self._upscaler("Hires upscaler", "hires.upscaler")
        checkpoint = self.infotext.get("Hires checkpoint")
        self.used |= {"Hires checkpoint", "Hires sampler", "Hires schedule type"}
        if checkpoint and checkpoint != "Use same checkpoint":
            found = self._find(Kind.CHECKPOINT, checkpoint)
            if found is not None:
                self.fields["hires.checkpoint"] = found
        sampler, schedule = self.infotext.get("Hires sampler"), self.infotext.get("Hires schedule type")
        try:
            second = chosen_again(first, sampler, schedule, self.infotext.get("Schedule type", "Scheduler"), version)
        except InvalidRequest as error:
            self._refuse("Hires sampler", ", ".join(each for each in (sampler, schedule) if each), str(error))
            return
        self.fields |= {"hires.sampler": second.sampler, "hires.schedule": second.schedule}

    def _upscaler(self, key: str, place: str) -> None:
        name = self.infotext.get(key)
        self.used.add(key)
        if name is None:
            return
        if name in LATENT_UPSCALERS or name in INTERPOLATED or name in ENLARGERS:
            self.fields[place] = name
            return
        file = UPSCALER_FILES.get(name, name)
        found = self._find(Kind.UPSCALER, file if self.search.knows(Kind.UPSCALER, file) else name)
        if found is not None:
            self.fields[place] = found

    def _picture(self) -> None:
        """Img2img: the picture it began with is not in the text."""
        self.fields["hires"] = None
        self._rows(IMAGE)
        self._upscaler("SD upscale upscaler", "init.upscale.upscaler")
        self._soft_inpainting()
        text = self.infotext.get("Canvas box")
        if text is not None:
            self.used.add("Canvas box")
            try:
                values = zip(("left", "top", "width", "height"), box(text), strict=True)
            except ValueError as error:
                self._refuse("Canvas box", text, f"Canvas box cannot be read: {error}.")
            else:
                for name, value in values:
                    self._set("Canvas box", f"init.box.{name}", value)
        masked = any(self.infotext.get(key) is not None for key in MASK_KEYS)
        pictures = "another one and a mask, which are" if masked else "another one, which is"
        self.remarks.append(f"This picture was made from {pictures} not in the text: put it in.")

    def _soft_inpainting(self) -> None:
        """That it is on is a value of its own; the others may be left out."""
        key, place = "Soft inpainting enabled", "init.inpainting.soft.schedule_bias"
        self.used.add(key)
        try:
            enabled = flag(self.infotext.get(key) or "False")
        except ValueError as error:
            self._refuse(key, self.infotext.get(key) or "", f"{key} cannot be read: {error}.")
            return
        if enabled:
            self.fields.setdefault(place, SoftInpainting.schedule_bias)

    def _refiner(self, version: Version | None) -> None:
        name = self.infotext.get("Refiner")
        self.used |= {"Refiner", "Refiner switch at", "Refiner switch by sampling steps"}
        found = self._find(Kind.CHECKPOINT, name) if name and name not in ("None", *SAME) else None
        if found is None:
            return
        self.fields.pop("refiner", None)
        self.fields["refiner.checkpoint"] = found
        if version and version < REFINER_BY_TIMESTEP:
            self.fields["refiner.by_sampling_steps"] = True
        self._rows(REFINER)

    def _old_rules(self, version: Version | None) -> None:
        """What A1111 does otherwise since a version, and cannot be told from the values."""
        if version is None:
            return
        if version < NEW_PROMPT_EDITING and "[" in self.infotext.prompt:
            self.fields["old_prompt_editing"] = True
        if version < NEW_PROMPT_EDITING and self.fields.get("sampler") in ("DDIM", "PLMS"):
            self._refuse("Pad conds v0", "True", REASONS["Pad conds v0"])
        if version < EXACT_NOISE_TABLE and self.infotext.get("Downcast alphas_cumprod") is None:
            self.remarks.append(
                "Before 1.7.0-225 A1111 rounded its table of noise levels to half precision, which is not done here: "
                "the picture will differ a little."
            )

    def _civitai_resources(self) -> None:
        """LoRAs that Civitai's generator used without a word in the prompt."""
        text = self.infotext.get("Civitai resources")
        for resource in objects(text or ""):
            if str(resource.get("type", "")).casefold() not in ("lora", "lycoris", "dora"):
                continue
            name = str(resource.get("modelName") or resource.get("modelVersionId") or "?")
            weight = resource.get("weight", 1)
            if not self.infotext.get("Lora hashes") and "<lora:" not in self.infotext.prompt:
                reason = f"The LoRA {name} was put on with a weight of {weight}: put it into the prompt."
                self._refuse("Civitai resources", name, reason)


def first_pass_size(width: int, height: int) -> tuple[int, int]:
    """What the first hires fix made of ``First pass size: 0x0``: about 512 x 512 pixels in the ratio of the result, in
    multiples of 64."""
    scale = math.sqrt(OLD_PIXELS / max(1, width * height))
    return math.ceil(scale * width / OLD_STEP) * OLD_STEP, math.ceil(scale * height / OLD_STEP) * OLD_STEP
