"""One resumable run of an optimiser, with a moving average of the weights."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Run:
    """What all stages of a training share: where it computes, what its randomness begins with, and the folder in which
    it keeps what it has so far."""

    device: torch.device
    seed: int
    work: Path


@dataclass
class Stage:
    """One resumable run of an optimiser: its state is saved every `save_every` steps and taken up again."""

    name: str
    run: Run
    modules: nn.ModuleDict
    steps: int
    learning_rate: float
    ema_decay: float = 0.999
    save_every: int = 250
    warmup: int = 100
    seconds: float = 0.0
    step: int = 0
    on_save: Callable[[nn.ModuleDict], None] | None = None
    average: nn.ModuleDict = field(init=False)

    def __post_init__(self) -> None:
        self.average = copy.deepcopy(self.modules).requires_grad_(False)
        self.optimizer = torch.optim.AdamW(self.modules.parameters(), lr=self.learning_rate, weight_decay=0.01)
        self.path = self.run.work / f"{self.name}.pt"
        if self.path.exists():
            saved = torch.load(self.path, weights_only=True, map_location=self.run.device)
            self.modules.load_state_dict(saved["modules"])
            self.average.load_state_dict(saved["average"])
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.seconds = saved["step"], saved["seconds"]

    def save(self) -> None:
        self.run.work.mkdir(parents=True, exist_ok=True)
        partial = self.path.with_suffix(".partial")
        state = {
            "modules": self.modules.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, partial)
        partial.replace(self.path)
        if self.on_save:
            self.on_save(self.average)

    def _rate(self) -> float:
        progress = min(1.0, self.step / self.steps)
        return (
            self.learning_rate
            * min(1.0, (self.step + 1) / self.warmup)
            * (0.02 + 0.49 * (1 + math.cos(math.pi * progress)))
        )

    @torch.no_grad()
    def _follow(self) -> None:
        decay = min(self.ema_decay, (1 + self.step) / (10 + self.step))
        for slow, fast in zip(self.average.parameters(), self.modules.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)

    def optimise(self, loss_of: Callable[[np.random.Generator], Tensor]) -> nn.ModuleDict:
        """Step until `steps`; `loss_of(rng)` draws a batch and returns its loss. Returns the averaged modules."""
        recent: list[float] = []
        started = time.monotonic() - self.seconds
        while self.step < self.steps:
            rng = np.random.default_rng((self.run.seed, self.step))
            torch.manual_seed(self.run.seed * 1_000_003 + self.step)
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate()
            loss = loss_of(rng)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
            self.optimizer.step()
            self._follow()
            self.step += 1
            recent.append(loss.item())
            self.seconds = time.monotonic() - started
            if self.step % 50 == 0 or self.step == self.steps:
                left = self.seconds / self.step * (self.steps - self.step)
                print(
                    f"{self.name} {self.step}/{self.steps} loss {np.mean(recent):.4f} "
                    f"{self.seconds / 60:.1f} min, {left / 60:.1f} left",
                    flush=True,
                )
                recent.clear()
            if self.step % self.save_every == 0 or self.step == self.steps:
                self.save()
        return self.average
