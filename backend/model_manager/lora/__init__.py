"""LoRA and kin: read, matched to layers, computed."""
