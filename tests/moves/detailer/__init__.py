"""Finds the brightest region of each picture and paints it once more, larger."""

from dataclasses import replace

from backend.extension_api import (
    ExtensionApi,
    Field,
    Image,
    InitImage,
    Inpainting,
    Params,
    PictureTurn,
    hook,
)


class Detailer(Params):
    enabled: bool = Field(default=False, title="Detailer")
    prompt: str = Field(default="", title="Prompt", description="Of the region; empty is the picture's own.")
    strength: float = Field(default=0.5, ge=0, le=1, title="Denoising strength")


def region(image: Image.Image) -> tuple[int, int, int, int]:
    """The quarter of a picture, by its edges, that is the brightest."""
    width, height = image.width // 2, image.height // 2
    corners = [(x, y) for y in range(0, height + 1, height // 2) for x in range(0, width + 1, width // 2)]
    light = image.convert("L")

    def brightness(corner: tuple[int, int]) -> int:
        x, y = corner
        counts = light.crop((x, y, x + width, y + height)).histogram()
        return sum(level * count for level, count in enumerate(counts))

    x, y = max(corners, key=brightness)
    return x, y, x + width, y + height


@hook
def register(api: ExtensionApi) -> None:
    api.params(Detailer)


@hook
def on_image(image: Image.Image, turn: PictureTurn) -> Image.Image:
    params = turn.params(Detailer)
    box = region(image)
    mask = Image.new("L", image.size)
    mask.paste(255, box)
    inpainting = Inpainting(mask=turn.keep(mask), area="Only masked", padding=0, mask_blur=0)
    init = InitImage(picture=turn.keep(image), denoising_strength=params.strength, inpainting=inpainting)
    prompt = params.prompt or turn.request.prompt
    request = replace(turn.request, prompt=prompt, init=init, hires=None, batch_size=1, batch_count=1, seed=turn.seed)
    turn.note("Detailer region", "{} {} {} {}".format(*box))
    return turn.generate(request)[0]
