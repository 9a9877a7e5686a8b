"""Previews: a linear map fitted to the VAE at hand. How like the pictures they are: `tests/test_meaning_seeds.py`."""

import numpy as np
import torch

from backend.imaging.preview import Previewer
from tests.checkpoints import tiny_networks


def test_one_pixel_a_latent_and_pictures_side_by_side() -> None:
    _, vae, _ = tiny_networks()
    image = Previewer(vae.eval(), 0.18215).image(torch.randn(3, 4, 8, 16))
    assert image.size == (48, 8)
    assert len(np.unique(np.asarray(image))) > 1


def test_a_vae_that_overflows_gives_grey_and_no_error() -> None:
    _, vae, _ = tiny_networks()
    torch.nn.init.constant_(vae.get_submodule("quant_conv").get_parameter("weight"), torch.nan)
    image = Previewer(vae.eval(), 0.18215).image(torch.randn(1, 4, 8, 8))
    assert (np.asarray(image) == 128).all()
