"""Eight infotexts as AUTOMATIC1111, its forks and its older versions write them."""

SAMPLES = {
    1: """a lighthouse at dusk, oil painting
Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 1234567890, Size: 512x512, Model hash: 6ce0161689, Model: v1-5-pruned-emaonly, Version: v1.10.1""",  # noqa: E501
    2: """(masterpiece:1.2), portrait of a ranger,
[forest:ruined city:0.4] background BREAK
soft rim light, <lora:ink_wash_v2:0.8> <lora:detail-tweaker:0.5:0.3>
Negative prompt: EasyNegative, blurry,
Negative prompt: low contrast
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 42, Size: 640x960, Model hash: 7f96a1a9ca, Model: anyModel_v5, VAE hash: 735e4c3a44, VAE: vae-ft-mse-840000.safetensors, Clip skip: 2, Lora hashes: "ink_wash_v2: 0c1f8a2b3c4d, detail-tweaker: 7c6bad76eb54", TI hashes: "EasyNegative: c74b4e810b03", Version: v1.10.1""",  # noqa: E501
    3: """castle on a cliff
Negative prompt: lowres
Steps: 30, Sampler: DPM++ SDE, Schedule type: Karras, CFG scale: 5, Seed: 987, Size: 512x768, Model hash: aabbccddee, Model: dreamy, Denoising strength: 0.45, RNG: CPU, Hires prompt: "castle on a cliff, \\"ultra\\" detail\\nsecond line", Hires CFG Scale: 6, Hires schedule type: Exponential, Hires upscale: 1.5, Hires steps: 15, Hires upscaler: R-ESRGAN 4x+, Version: v1.10.1""",  # noqa: E501
    4: """repaint the sky
Steps: 40, Sampler: DDIM, Schedule type: Automatic, CFG scale: 7.5, Seed: 5, Size: 768x512, Model hash: c6bbc15e32, Model: sd-v1-5-inpainting, Denoising strength: 0.85, Conditional mask weight: 1.0, Mask mode: Inpaint not masked, Mask blur: 8, Inpaint area: Only masked, Masked area padding: 48, Masked content: latent noise, Noise multiplier: 1.05, Soft inpainting enabled: True, Soft inpainting schedule bias: 1, Version: v1.10.1""",  # noqa: E501
    5: """red fox AND snow storm :0.6 AND studio light:-0.2
Steps: 25, Sampler: DPM2 a, Schedule type: Karras, CFG scale: 8, Seed: 3, Size: 1024x1024, Model hash: 31e35c80fc, Model: sd_xl_base_1.0, Variation seed: 77, Variation seed strength: 0.35, Seed resize from: 768x768, ENSD: 31337, RNG: NV, Refiner: sd_xl_refiner_1.0 [7440042bbd], Refiner switch at: 0.8, Discard penultimate sigma: True, Schedule max sigma: 12.5, Version: v1.9.4-12-gabc1234""",  # noqa: E501
    6: """cat, note: (this line has a colon, and commas)
Steps: 10, Seed: 1""",
    7: """a car
Negative prompt: bad
Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 7, Seed: 11, Size: 512x512, Model hash: 4199bcdd14, Model: old_model, Denoising strength: 0.7, First pass size: 0x0, Hypernet: anime_3, Hypernet strength: 0.6, Version: v1.5.2""",  # noqa: E501
    8: """street market at night
Negative prompt: worst quality
Steps: 22, Sampler: Euler, Schedule type: Simple, CFG scale: 1, Distilled CFG Scale: 3.5, Seed: 2222, Size: 896x1152, Model hash: bea01d51bd, Model: flux1-dev-bnb-nf4, ADetailer model: face_yolov8n.pt, ADetailer prompt: "smiling face, freckles", ADetailer confidence: 0.3, ADetailer version: 25.3.0, ControlNet 0: "Module: canny, Model: control_v11p_sd15_canny [d14c016b], Weight: 1.0, Resize Mode: Crop and Resize, Processor Res: 512, Threshold A: 100, Threshold B: 200, Guidance Start: 0.0, Guidance End: 0.8, Pixel Perfect: True, Control Mode: Balanced", Postprocess upscale by: 2, Postprocess upscaler: R-ESRGAN 4x+, Version: f2.0.1v1.10.1-previous-669-gdfdcbab6, User: "anna: studio, 2", Diffusion in Low Bits: bnb-nf4 (fp16 LoRA), Module 1: ae""",  # noqa: E501
}
