"""The maker of the starter's LoRA: what it trains beside the UNet is what the product puts into it."""

import copy
from pathlib import Path

import numpy as np
import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor

from backend.model_manager.identify import identify_file
from backend.model_manager.lora.lora_file import read_lora
from backend.model_manager.patches import LoraUse, Patcher, match
from starter.lora import ALPHA, RANK, attach, cameo, is_cameo, kohya_file
from starter.scenes import SUBJECTS, Scene, draw
from starter.train import networks


@torch.no_grad()
def guess(unet: UNet2DConditionModel) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn(1, 4, 16, 16, generator=generator)
    context = torch.randn(1, 77, unet.config["cross_attention_dim"], generator=generator)
    return unet(latents, torch.tensor(500), context).sample


def test_the_product_computes_what_was_trained(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trained = networks()[0].eval()
    clean = copy.deepcopy(trained)
    added = attach(trained)
    assert torch.equal(guess(trained), guess(clean))  # at first it changes nothing
    for parameter in added.parameters():
        parameter.data = (parameter.data + torch.randn_like(parameter) / 20).half().float()
    path = tmp_path / "cameo.safetensors"
    path.write_bytes(kohya_file(added))

    found = identify_file(path)
    assert (found.family, found.variant, found.runs) == ("sd1", "locon", True)
    lora = read_lora(path)
    assert match(lora, {"unet": clean}).left_out == ()
    assert len(lora.layers) == len(added)
    before = guess(clean)
    weights = {"unet": {name: tensor.clone() for name, tensor in clean.state_dict().items()}}
    Patcher().apply({"unet": clean}, weights, [LoraUse(lora=lora, unet=RANK / ALPHA, text_encoder=1.0)])
    after, wanted = guess(clean), guess(trained)
    assert (wanted - before).abs().max() > 0.1
    torch.testing.assert_close(after, wanted, atol=2e-3, rtol=1e-3)


def test_a_cameo_is_told_from_what_lies_behind_it() -> None:
    for number, subject in enumerate(SUBJECTS):
        scene = Scene(subject=subject, colour="red", background="blue")
        assert is_cameo(cameo(scene, np.random.default_rng(number)))
        assert not is_cameo(draw(scene, np.random.default_rng(number), 128))
