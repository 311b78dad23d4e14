"""mmengine's loops, made to go on from any iteration: with the samples that are left, and with the
validation that was due where the run was cut."""

from __future__ import annotations

import bisect

from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop
from mmseg.registry import LOOPS


@LOOPS.register_module()
class ResumableIterLoop(IterBasedTrainLoop):
    """``IterBasedTrainLoop`` that makes up the validation of the checkpoint it goes on from."""

    def validates_after(self, step: int) -> bool:
        """Whether a validation is due after so many iterations."""
        return _is_due(self, step, self._max_iters)

    def make_up(self) -> None:
        """Validate, if that was due at the checkpoint that the run goes on from.

        A checkpoint is written before the validation of its step and knows nothing of it: neither
        the best score, nor what early stopping has seen.
        """
        if self._iter and self.validates_after(self._iter):
            self.runner.val_loop.run()


@LOOPS.register_module()
class ResumableEpochLoop(EpochBasedTrainLoop):
    """``EpochBasedTrainLoop`` that goes on within an epoch, with the samples that are left of it,
    and makes up what was due between two epochs.

    The sampler is an ``EpochPositionSampler``; with another one mmengine's own way is kept, the
    epoch begins anew.
    """

    epoch_has_ended = False  # before the checkpoint that the run goes on from was written

    def validates_after(self, step: int) -> bool:
        """Whether a validation is due after so many iterations."""
        epochs, rest = divmod(step, len(self.dataloader))
        return not rest and _is_due(self, epochs, self._max_epochs)

    def make_up(self) -> None:
        """What followed the last step of an epoch, if the run goes on from there: its end, by which
        schedules in epochs step, and the validation."""
        if not self._iter or self._iter != self._epoch * len(self.dataloader):
            return
        if not self.epoch_has_ended:
            self._epoch -= 1
            self.runner.call_hook("after_train_epoch")
            self._epoch += 1
        if self.validates_after(self._iter):
            self.runner.val_loop.run()

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


def _is_due(loop: ResumableIterLoop | ResumableEpochLoop, count: int, last: int) -> bool:
    """mmengine's rule, at any count of iterations or epochs."""
    if loop.runner.val_loop is None or count < loop.val_begin:
        return False
    stage = bisect.bisect(loop.dynamic_milestones, count + 1) - 1
    return count == last or count % loop.dynamic_intervals[stage] == 0
