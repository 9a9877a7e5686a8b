"""Words to conditioning: chunks of 75 tokens through the text encoder, side by side."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from backend.errors import InvalidRequest

CHUNK = 75  # tokens between start and end of text


def chunks(tokenizer: CLIPTokenizer, text: str) -> list[list[int]]:
    """The text's tokens in chunks of 77: start, up to 75 tokens, then end of text to the end. At least one chunk."""
    tokens: list[int] = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids
    # Typed for any special token of any tokenizer; these two are always there, and numbers.
    start, end = cast("int", tokenizer.bos_token_id), cast("int", tokenizer.eos_token_id)
    parts = [tokens[at : at + CHUNK] for at in range(0, max(1, len(tokens)), CHUNK)]
    return [[start, *part, *[end] * (CHUNK - len(part)), end] for part in parts]


def encode(
    tokenizer: CLIPTokenizer, text_encoder: CLIPTextModel, texts: Sequence[str], clip_skip: int = 1
) -> list[Tensor]:
    """The conditioning of each text, (77 x its chunks, width), all through the text encoder in one call.

    `clip_skip` counts layers from the end as A1111 does: 1 is the last layer; the final layer norm is always applied.
    Raises `InvalidRequest` if the text encoder has fewer layers.
    """
    core = getattr(text_encoder, "text_model", text_encoder)  # transformers 5 flattened the projection-less model
    layers = text_encoder.config.num_hidden_layers
    if clip_skip > layers:
        raise InvalidRequest(f"Clip skip must be from 1 to {layers} for this checkpoint, not {clip_skip}.")
    parts = [chunks(tokenizer, text) for text in texts]
    ids = torch.tensor([chunk for part in parts for chunk in part], device=text_encoder.device)
    output = text_encoder(ids, output_hidden_states=clip_skip > 1)
    # hidden_states[-1] is the last layer before the final norm, last_hidden_state the same after it.
    hidden = output.last_hidden_state if clip_skip == 1 else core.final_layer_norm(output.hidden_states[-clip_skip])
    counts = [len(part) for part in parts]
    return [text.flatten(0, 1) for text in hidden.split(counts)]
