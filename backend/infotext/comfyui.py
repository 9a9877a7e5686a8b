"""ComfyUI's graph, followed from the picture back to its words as far as it is an ordinary one.

The graph that was run is the PNG text ``prompt``: nodes by number, each with the name of its class and inputs that are
values or the number of another node and which of its outputs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backend.infotext.foreign import (
    COMFYUI_SAMPLERS,
    COMFYUI_SCHEDULES,
    Read,
    Size,
    model_file,
    said,
    sampler_name,
    size_said,
)
from backend.infotext.values import Infotext

DEEPEST = 200  # links that are followed from one node
SAMPLERS = ("KSampler", "KSamplerAdvanced")
OUTPUTS = ("SaveImage", "PreviewImage")
TEXT_INPUTS = ("text", "string", "value", "text_g", "prompt", "positive", "text1", "string_a")
NUMBER_INPUTS = ("value", "seed", "noise_seed", "number", "int", "float", "Number")
CHECKPOINT_LOADERS = (
    "CheckpointLoaderSimple",
    "CheckpointLoader",
    "unCLIPCheckpointLoader",
    "CheckpointLoader|pysssss",
)
LORA_LOADERS = ("LoraLoader", "LoraLoaderModelOnly", "LoraLoader|pysssss")
LATENT_SOURCES = ("EmptyLatentImage", "EmptySD3LatentImage", "EmptyLatentImageAdvanced")


def read_comfyui(values: Mapping[str, Any], size: Size) -> Read:
    """The values of the sampler that the picture comes from; other samplers, and nodes in between, are named."""
    graph = _Graph(nodes={key: node for key, node in values.items() if isinstance(node, dict)})
    sampler = graph.sampler()
    if sampler is None:
        return Infotext(), ["The graph has no sampler that is known, so nothing of it was read."]
    return graph.infotext(sampler, size), list(dict.fromkeys(graph.problems))


@dataclass(kw_only=True)
class _Graph:
    nodes: Mapping[str, Mapping[str, Any]]
    problems: list[str] = field(default_factory=list)

    def sampler(self) -> str | None:
        """The sampler nearest to the words: of several in a row the first, which made the picture's shape."""
        samplers = [key for key in self.nodes if self._kind(key) in SAMPLERS]
        saved = [key for key in self.nodes if self._kind(key) in OUTPUTS]
        behind = [key for key in self._upstream(saved) if key in samplers] if saved else samplers
        chain = behind or samplers
        if not chain:
            return None
        if len(chain) > 1:
            self.problems.append(f"The graph has {len(chain)} samplers in a row; only the first was read.")
        return chain[-1]

    def infotext(self, sampler: str, size: Size) -> Infotext:
        inputs = self._inputs(sampler)
        name = self._value(inputs.get("sampler_name"))
        schedule = self._value(inputs.get("scheduler"))
        strength = inputs.get("denoise")
        prompt = self._words(inputs.get("positive"))
        model = inputs.get("model")
        upstream = list(self._upstream([sampler]))
        prompt += "".join(self._loras(upstream))
        made = Infotext(prompt=prompt, negative_prompt=self._words(inputs.get("negative"))).with_pairs(
            {
                "Steps": said(self._value(inputs.get("steps"))),
                "Sampler": sampler_name(name, COMFYUI_SAMPLERS, self.problems),
                "Schedule type": self._schedule(schedule),
                "CFG scale": said(self._value(inputs.get("cfg"))),
                "Seed": said(self._value(inputs.get("seed", inputs.get("noise_seed")))),
                "Size": self._size(inputs.get("latent_image"), size),
                "Model": self._checkpoint(model, upstream),
                "VAE": self._vae(upstream),
                "Denoising strength": said(strength)
                if isinstance(strength, int | float) and 0 < strength < 1
                else None,
                "Clip skip": self._clip_skip(upstream),
                "RNG": "CPU",  # where ComfyUI draws all noise
                "Version": "ComfyUI",
            }
        )
        self._name_the_rest(upstream)
        return made

    def _kind(self, key: str) -> str:
        return str(self.nodes[key].get("class_type", ""))

    def _inputs(self, key: str) -> Mapping[str, Any]:
        inputs = self.nodes[key].get("inputs")
        return inputs if isinstance(inputs, dict) else {}

    def _linked(self, value: Any) -> str | None:
        """The node that an input comes from, if it is linked to one that is there."""
        if isinstance(value, list) and len(value) == 2 and str(value[0]) in self.nodes:
            return str(value[0])
        return None

    def _upstream(self, starts: Sequence[str]) -> Iterator[str]:
        """Every node that these depend on, nearest first, themselves included."""
        seen = set(starts)
        line = list(starts)
        while line:
            key = line.pop(0)
            yield key
            for value in self._inputs(key).values():
                before = self._linked(value)
                if before is not None and before not in seen:
                    seen.add(before)
                    line.append(before)

    def _value(self, value: Any, names: Sequence[str] = (*NUMBER_INPUTS, *TEXT_INPUTS)) -> Any:
        """What an input is, also where a node of its own says it."""
        for _ in range(DEEPEST):
            key = self._linked(value)
            if key is None:
                return None if isinstance(value, list | dict) else value
            inputs = self._inputs(key)
            value = next((inputs[name] for name in names if name in inputs), None)
        return None

    def _words(self, value: Any) -> str:
        """The text of the nearest node upstream of a conditioning that encodes one."""
        for _ in range(DEEPEST):
            key = self._linked(value)
            if key is None:
                return ""
            inputs = self._inputs(key)
            if self._kind(key).startswith("CLIPTextEncode"):
                texts = [
                    self._value(inputs[name], TEXT_INPUTS) for name in ("text", "text_g", "text_l") if name in inputs
                ]
                return ", ".join(dict.fromkeys(text for text in texts if isinstance(text, str)))
            if self._kind(key) != "Reroute":
                self.problems.append(f"The node {self._kind(key)} between the words and the sampler was passed over.")
            names = ("conditioning", "positive", "conditioning_1", "conditioning_to", *inputs)
            value = next((inputs[name] for name in names if self._linked(inputs.get(name)) is not None), None)
        return ""

    def _schedule(self, name: Any) -> str | None:
        if isinstance(name, str) and name not in COMFYUI_SCHEDULES:
            self.problems.append(f"The scheduler {name!r} has no counterpart in A1111's words.")
        return COMFYUI_SCHEDULES.get(name) if isinstance(name, str) else None

    def _size(self, latents: Any, size: Size) -> str | None:
        for key in self._upstream([found] if (found := self._linked(latents)) else []):
            if self._kind(key) in LATENT_SOURCES:
                inputs = self._inputs(key)
                return size_said(self._value(inputs.get("width")), self._value(inputs.get("height")))
        return size_said(*size)

    def _checkpoint(self, model: Any, upstream: Sequence[str]) -> str | None:
        nearest = list(self._upstream([found])) if (found := self._linked(model)) else upstream
        for key in nearest:
            name = self._value(self._inputs(key).get("ckpt_name"))
            if self._kind(key) in CHECKPOINT_LOADERS and isinstance(name, str):
                return model_file(name)
        return None

    def _vae(self, upstream: Sequence[str]) -> str | None:
        """Of the whole graph, as the decoder comes behind the sampler."""
        decoders = [key for key in self.nodes if self._kind(key).startswith("VAEDecode")]
        for key in self._upstream(decoders or list(upstream)):
            name = self._value(self._inputs(key).get("vae_name"))
            if self._kind(key) == "VAELoader" and isinstance(name, str):
                return name
        return None

    def _loras(self, upstream: Sequence[str]) -> Iterator[str]:
        """As tokens, the one nearest to the checkpoint first."""
        for key in reversed(upstream):
            inputs = self._inputs(key)
            name = self._value(inputs.get("lora_name"))
            if self._kind(key) not in LORA_LOADERS or not isinstance(name, str):
                continue
            unet = said(self._value(inputs.get("strength_model"))) or "1"
            clip = said(self._value(inputs.get("strength_clip"))) or ("0" if "ModelOnly" in self._kind(key) else unet)
            both = unet if clip == unet else f"{clip}:{unet}"
            yield f" <lora:{model_file(name)}:{both}>"

    def _clip_skip(self, upstream: Sequence[str]) -> int | None:
        for key in upstream:
            layer = self._value(self._inputs(key).get("stop_at_clip_layer"))
            if self._kind(key) == "CLIPSetLastLayer" and isinstance(layer, int) and layer < -1:
                return -layer
        return None

    def _name_the_rest(self, upstream: Sequence[str]) -> None:
        """Nodes that change the picture and were not read."""
        read = (
            *SAMPLERS,
            *OUTPUTS,
            *CHECKPOINT_LOADERS,
            *LORA_LOADERS,
            *LATENT_SOURCES,
            "VAELoader",
            "CLIPSetLastLayer",
        )
        for key in upstream:
            kind = self._kind(key)
            harmless = kind.startswith(("CLIPTextEncode", "Primitive", "Reroute", "String", "Int", "Float"))
            if kind not in read and not harmless:
                self.problems.append(f"The node {kind} was not read.")
        if any("(" in text for text in (self._words(self._inputs(key).get("positive")) for key in upstream[:1])):
            self.problems.append("ComfyUI weighs (words) a little otherwise than A1111.")
