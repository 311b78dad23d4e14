"""mmengine's epoch loop, made to go on from any iteration."""

from __future__ import annotations

from mmengine.runner import EpochBasedTrainLoop
from mmseg.registry import LOOPS


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """``EpochBasedTrainLoop`` that goes on within an epoch, with the samples that are left of it.

    The sampler is an ``EpochPositionSampler``; with another one mmengine's own way is kept, the
    epoch begins anew.
    """

    def run_epoch(self) -> None:
        done = self._iter - self._epoch * len(self.dataloader)
        sampler = self.dataloader.sampler
        if done and hasattr(sampler, "start"):
            sampler.start = done * self.dataloader.batch_size
        elif done:
            self._iter -= done
        try:
            super().run_epoch()
        finally:
            sampler.start = 0
