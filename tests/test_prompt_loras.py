from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from backend.errors import ModelFileError
from backend.model_manager.catalog import Catalog
from backend.model_manager.identity import Kind
from backend.model_manager.inventory.trees import ModelFolder
from backend.prompt.loras import unknown_loras
from backend.prompt.problems import MOST_PROBLEMS


def write_lora(path: Path) -> None:
    shapes = {"alpha": (), "lora_down.weight": (4, 768), "lora_up.weight": (320, 4)}
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    save_file({f"{layer}.{end}": np.zeros(shape, np.float16) for end, shape in shapes.items()}, path)


def test_names_that_are_not_there_are_told_where_they_stand(tmp_path: Path) -> None:
    write_lora(tmp_path / "ink.safetensors")
    catalog = Catalog((tmp_path,))
    assert unknown_loras("a <lora:ink:0.5> boat # <lora:pen:1>", catalog) == ()
    prompt = "a <lora:inc:0.5> boat <lora:ink:1> <lora:brush:much> <lora:pen>"
    found = unknown_loras(prompt, catalog)
    assert [prompt[problem.start : problem.end] for problem in found] == ["<lora:inc:0.5>", "<lora:pen>"]
    assert all(name in problem.message for name, problem in zip(("inc", "pen"), found, strict=True))
    assert all(problem.message.endswith((".", "?")) for problem in found)


def test_a_name_that_stands_there_often_is_told_as_often_but_not_without_end(tmp_path: Path) -> None:
    catalog = Catalog((ModelFolder(path=tmp_path, kind=Kind.LORA),))
    assert [problem.start for problem in unknown_loras("<lora:a><lora:b><lora:a>", catalog)] == [0, 8, 16]
    assert len(unknown_loras("<lora:a>" * 1000, catalog)) == MOST_PROBLEMS


def test_names_are_held_against_what_is_known_without_a_look_at_the_disk(tmp_path: Path) -> None:
    catalog = Catalog((ModelFolder(path=tmp_path, kind=Kind.LORA),))
    assert [problem.start for problem in unknown_loras("a <lora:ink>", catalog)] == [2]
    write_lora(tmp_path / "ink.safetensors")
    assert [problem.start for problem in unknown_loras("a <lora:ink>", catalog)] == [2]
    assert catalog.looked_into == 0
    with pytest.raises(ModelFileError, match="ink"):
        catalog.find("ink", Kind.LORA, look=False)
    # What is used is looked for.
    assert catalog.find("ink", Kind.LORA).name == "ink"
    assert unknown_loras("a <lora:ink>", catalog) == ()
