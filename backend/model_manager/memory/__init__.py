"""What is in RAM and VRAM, and what happens when it runs short."""
