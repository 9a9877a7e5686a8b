"""The keys of infotexts: whose they are, and which say nothing that a form could take."""

# Third parties write JSON behind these without quotes.
JSON_KEYS = frozenset({"Hashes", "Civitai resources", "Civitai metadata"})

# They describe the picture or the program, or are read together with another key.
DESCRIPTIVE_KEYS = frozenset(
    {
        *(
            "Version",
            "User",
            "App",
            "Model hash",
            "VAE hash",
            "Lora hashes",
            "TI hashes",
            "Hashes",
            "Hypernet strength",
        ),
        *("Civitai resources", "Civitai metadata", "Created Date", "Parser", "Operations", "Pipeline", "Backend"),
        *("Batch", "Batch size", "Batch pos", "Init image hash", "Init image size", "Template", "Negative Template"),
        *("Wildcard prompt", "Wildcard negative prompt", "Wildcard seed", "Styles", "ADetailer version"),
    }
)

# What a request can hold, in the words of A1111 and its forks.
REQUEST_KEYS = frozenset(
    {
        *("Steps", "Sampler", "Schedule type", "Scheduler", "CFG scale", "Image CFG scale", "Seed", "Size", "Model"),
        *("VAE", "Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength"),
        *("Conditional mask weight", "Clip skip", "CLiP-skip", "ENSD", "RNG", "Tiling", "Emphasis"),
        *("Hires upscale", "Hires resize", "Hires steps", "Hires upscaler", "Hires sampler", "Hires schedule type"),
        *("Hires checkpoint", "Hires prompt", "Hires negative prompt", "Hires CFG Scale", "Hires CFG scale"),
        *("First pass size", "Refiner", "Refiner switch at", "Refiner switch by sampling steps"),
        *("Mask mode", "Mask blur", "Inpaint area", "Masked area padding", "Masked content", "Resize mode"),
        *("Soft inpainting enabled", "Soft inpainting schedule bias", "Soft inpainting preservation strength"),
        *("Soft inpainting transition contrast boost", "Soft inpainting mask influence"),
        *("Soft inpainting difference threshold", "Soft inpainting difference contrast"),
        *("SD upscale overlap", "SD upscale upscaler", "SD upscale by", "Canvas box"),
        *("Eta", "Eta DDIM", "Sigma churn", "Sigma tmin", "Sigma tmax", "Sigma noise", "Discard penultimate sigma"),
        *("Schedule min sigma", "Schedule max sigma", "Schedule rho", "Beta schedule alpha", "Beta schedule beta"),
        *("Beta scheduler alpha", "Beta scheduler beta", "SGM noise multiplier", "SGM noise multplier"),
        *("UniPC variant", "UniPC skip type", "UniPC order", "UniPC lower order final"),
        *("NGMS", "NGMS all steps", "Skip Early CFG", "CFG Rescale", "CFG rescale", "Pad conds"),
        *("Old prompt editing timelines", "Comma padding backtrack", "Noise multiplier", "Extra noise"),
    }
)

# Known, and nothing that is done here.
FOREIGN_KEYS = frozenset(
    {
        *("Distilled CFG Scale", "Hires Distilled CFG Scale", "Hires refiner", "Face restoration", "FP8 weight"),
        *("Cache FP16 weight for LoRA", "Token merging ratio", "Token merging ratio hr"),
        *("Downcast alphas_cumprod", "Noise Schedule", "Pad conds v0", "VAE Encoder", "VAE Decoder"),
        *("Hypernet", "Script", "X Type", "X Values", "Y Type", "Y Values", "Z Type", "Z Values"),
        *("Fixed X Values", "Fixed Y Values", "Fixed Z Values"),
        *("Postprocess upscale by", "Postprocess upscale to", "Postprocess upscaler", "Postprocess upscaler 2"),
        *("Postprocess upscaler 2 visibility", "Postprocess crop to", "Max side length", "GFPGAN visibility"),
        *("CodeFormer visibility", "CodeFormer weight", "Diffusion in Low Bits", "Color correction"),
    }
)

KNOWN_KEYS = DESCRIPTIVE_KEYS | REQUEST_KEYS | FOREIGN_KEYS
