"""AUTOMATIC1111's axes in its order, which its clients count."""

# All of them, and those that one of its two tabs has not.
AXES = (
    *("Nothing", "Seed", "Var. seed", "Var. strength", "Steps", "Hires steps", "CFG Scale", "Image CFG Scale"),
    *("Prompt S/R", "Prompt order", "Sampler", "Hires sampler", "Checkpoint name", "Negative Guidance minimum sigma"),
    *("Sigma Churn", "Sigma min", "Sigma max", "Sigma noise", "Schedule type", "Schedule min sigma"),
    *("Schedule max sigma", "Schedule rho", "Beta schedule alpha", "Beta schedule beta", "Eta", "Clip skip"),
    *("Denoising", "Initial noise multiplier", "Extra noise", "Hires upscaler", "Cond. Image Mask Weight", "VAE"),
    *("Styles", "UniPC Order", "Face restore", "Token merging ratio", "Token merging ratio high-res"),
    *("Always discard next-to-last sigma", "SGM noise multiplier", "Refiner checkpoint", "Refiner switch at"),
    *("RNG source", "FP8 mode", "Size"),
)
NOT_OF_PICTURES = ("Hires steps", "Hires sampler", "Hires upscaler")
NOT_OF_WORDS = ("Image CFG Scale", "Cond. Image Mask Weight")


def axes(*, img2img: bool) -> tuple[str, ...]:
    """The axes that a client may count."""
    missing = NOT_OF_PICTURES if img2img else NOT_OF_WORDS
    return tuple(name for name in AXES if name not in missing)
