from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from backend.model_manager.catalog import Catalog
from backend.prompt.loras import unknown_loras


def test_names_that_are_not_there_are_told_where_they_stand(tmp_path: Path) -> None:
    shapes = {"alpha": (), "lora_down.weight": (4, 768), "lora_up.weight": (320, 4)}
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file(
        {f"{layer}.{end}": np.zeros(shape, np.float16) for end, shape in shapes.items()}, tmp_path / "ink.safetensors"
    )
    catalog = Catalog((tmp_path,))
    assert unknown_loras("a <lora:ink:0.5> boat # <lora:pen:1>", catalog) == ()
    prompt = "a <lora:inc:0.5> boat <lora:ink:1> <lora:brush:much> <lora:pen>"
    found = unknown_loras(prompt, catalog)
    assert [prompt[problem.start : problem.end] for problem in found] == ["<lora:inc:0.5>", "<lora:pen>"]
    assert all(name in problem.message for name, problem in zip(("inc", "pen"), found, strict=True))
    assert all(problem.message.endswith((".", "?")) for problem in found)
