"""What is known of a file when it is to be told what it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from backend.model_manager.header import Header, TensorInfo
from backend.model_manager.identity import Prediction
from backend.model_manager.recognition.structure import Structure

Values = Callable[[str], np.ndarray]


@dataclass(frozen=True)
class Evidence:
    """A header, the file's name, `values(key)`, which reads one small tensor, and what the tensors tell alone."""

    header: Header
    file_name: str
    values: Values | None
    structure: Structure

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        return self.header.tensors

    @property
    def prediction(self) -> Prediction:
        """What the metadata say of it, empty if nothing: ModelSpec's words, or kohya's switch."""
        metadata = self.header.metadata
        said = metadata.get("modelspec.prediction_type", "").lower()
        if said.startswith("v") or metadata.get("ss_v_parameterization") == "True":
            return "v"
        return "epsilon" if said.startswith("eps") else ""
