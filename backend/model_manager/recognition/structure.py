"""What the tensors of a file tell by their names and shapes alone, whatever else it says and whatever it is called.

Thousands of LoRAs in a folder have the same tensors, so this part of the answer is worked out once for all of them.
Nothing in it may depend on a file's name, its metadata or its values: those are other files' too.
"""

import re
from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from weakref import WeakKeyDictionary, WeakValueDictionary

from backend.model_manager.header import Header, Table, TensorInfo
from backend.model_manager.recognition.lora_outline import LoraOutline, read_lora
from backend.model_manager.recognition.names import Names
from backend.model_manager.recognition.signatures import BESIDE, SMALL, TRANSFORMERS, UPSCALERS, Signature, first_match
from backend.model_manager.recognition.unet_outline import UNetOutline, find_unet

QUANTISED = (
    (".quant_state.bitsandbytes__", "bitsandbytes 4-bit"),
    (".scale_weight\n", "scaled fp8"),
    ("scaled_fp8\n", "scaled fp8"),
    (".weight_scale\n", "scaled 8-bit"),
    (".wscales\n", "SVDQuant 4-bit"),
    (".qweight\n", "4-bit"),
)
LLLITE = "\nlllite_"
LLLITE_SDXL = re.compile(r"(put_blocks_\d|transformer_blocks_[1-9])")


class Structure:
    """What some tensors tell; each answer is found when it is first asked for."""

    def __init__(self, tensors: Mapping[str, TensorInfo], names: Names):
        self._tensors = tensors
        self._names = names

    @cached_property
    def precision(self) -> str:
        """The type of most bytes."""
        infos = self._tensors.values()
        # A header has one object for all of its tensors of one type and shape, so few are left to be added up.
        numbers, different = Counter(map(id, infos)), dict(zip(map(id, infos), infos, strict=True))
        bytes_of: Counter[str] = Counter()
        for key, info in different.items():
            bytes_of[info.dtype] += numbers[key] * info.size
        return max(bytes_of, key=lambda dtype: bytes_of[dtype], default="")

    @cached_property
    def quantised(self) -> str:
        """How it is quantised, empty if it is not."""
        return next((words for mark, words in QUANTISED if self._names.holds(mark)), "")

    @cached_property
    def unet(self) -> tuple[str, UNetOutline] | None:
        """The prefix of a checkpoint's U-Net, and its outline."""
        return find_unet(self._tensors)

    @cached_property
    def beside(self) -> Signature | None:
        """The network beside a checkpoint that it is."""
        return first_match(BESIDE, self._tensors, ("",))

    @cached_property
    def transformer(self) -> Signature | None:
        """The checkpoint without a U-Net that it is."""
        return first_match(TRANSFORMERS, self._tensors)

    @cached_property
    def small(self) -> Signature | None:
        """The text encoder, or other network, that it is."""
        return first_match(SMALL, self._tensors, ("", "model.", "text_model.", "encoder."))

    @cached_property
    def upscaler(self) -> Signature | None:
        """The network for enlarging that it is."""
        return first_match(UPSCALERS, self._tensors, ("", "params_ema.", "params."))

    @cached_property
    def lllite_family(self) -> str:
        """The family of a ControlNet-LLLite, empty if it is none."""
        if not self._names.holds(LLLITE):
            return ""
        return "sdxl" if self._names.first(LLLITE_SDXL) else "sd1"

    @cached_property
    def lora(self) -> LoraOutline | None:
        """The outline of the LoRA that it is."""
        return read_lora(self._tensors, self._names)


class Structures:
    """The structures of tables, each for as long as somebody keeps its table, and their names. To be used while many
    files are read."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[Table, Structure] = WeakKeyDictionary()
        self._names: WeakValueDictionary[str, Names] = WeakValueDictionary()

    def of(self, header: Header) -> Structure:
        """The structure of a header's tensors; one for all headers that share a table."""
        table = header.table
        known = self._known.get(table) if table else None
        if known:
            return known
        text = "\n".join(("", *header.tensors, ""))
        structure = Structure(header.tensors, self._names.setdefault(text, Names(text)))
        if table:
            self._known[table] = structure
        return structure
