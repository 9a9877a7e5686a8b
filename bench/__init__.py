"""What Atelier promises about speed, each a command that prints its figures: see README.md beside this file."""

from pathlib import Path

from backend.paths import MODELS

STARTER = MODELS / "checkpoints" / "starter.safetensors"
WORK = Path(__file__).with_name("work")  # what a benchmark writes: not part of the project, may be deleted
