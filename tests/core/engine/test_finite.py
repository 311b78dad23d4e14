"""What is not finite is not saved, and can be looked at again."""

import copy
import re

import pytest
import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

from core.engine import run
from core.engine.checkpoint import checkpoints_in, load_checkpoint
from core.engine.finite import not_finite_in, replay
from core.engine.prepare import prepare
from core.errors import ConfigError, NotFinite
from core.result import Result

RUN = Result("fully_supervised", "tiny", "tiny data", "baseline", 0)


@HOOKS.register_module()
class BreakHook(Hook):
    """Makes a weight that no loss reads infinite, after a step."""

    priority = "NORMAL"

    def __init__(self, step: int) -> None:
        self.step = step

    def after_train_iter(self, runner, *_, **__) -> None:
        if runner.iter + 1 == self.step:
            runner.model.decode_head.conv_seg.bias.data[0] = -float("inf")


@pytest.fixture
def config(tiny_config, tiny_data, fresh_mmengine):
    def make(work_dir, hooks=(), **options):
        fresh_mmengine()
        cfg = tiny_config()
        cfg.merge_from_dict({**copy.deepcopy(tiny_data), **options})
        cfg.custom_hooks = list(hooks)
        return prepare(cfg, work_dir=work_dir, title="tiny", seed=0)

    return make


def test_weights_that_are_not_finite_are_not_saved(config, tmp_path):
    """The loss of the step is finite, the weights after it are not: what is saved stays good."""
    cfg = config(tmp_path, [dict(type="BreakHook", step=6)])
    words = (
        r"^decode_head\.conv_seg\.bias is not finite at iteration 6; the last good .*iter_3\.pth"
    )
    with pytest.raises(NotFinite, match=words):
        run.train(cfg, RUN)
    assert [p.name for p in checkpoints_in(tmp_path)] == ["iter_3.pth"]


def test_a_rate_far_too_large_leaves_no_bad_checkpoint(config, tmp_path):
    cfg = config(tmp_path, **{"optim_wrapper.optimizer.lr": 1e30,
                              "default_hooks.checkpoint.interval": 1})  # fmt: skip
    with pytest.raises(NotFinite):
        run.train(cfg, RUN)
    for path in checkpoints_in(tmp_path):
        state = load_checkpoint(path)["state_dict"]
        assert all(torch.isfinite(x.float()).all() for x in state.values())


def test_the_batches_are_kept_and_give_the_loss_again(config, tmp_path):
    cfg = config(tmp_path, [dict(type="PoisonHook", step=5)])
    with pytest.raises(NotFinite) as error:
        run.train(cfg, RUN)
    assert "\n" not in str(error.value)
    path = re.search(r"the last batches are in (\S+);", str(error.value))[1]
    saved = torch.load(path, weights_only=True)
    assert (saved["iteration"], saved["seed"], saved["rank"]) == (5, 0, 0)
    assert [item["iteration"] for item in saved["batches"]] == [4, 5]
    sample = saved["batches"][1]["batch"]["data_samples"][0]
    assert sample["metainfo"]["img_path"].endswith(".png")

    runner = run.load_runner(config(tmp_path / "again"), tmp_path / "iter_3.pth")
    batch = replay(saved["batches"][1]["batch"])
    data = runner.model.data_preprocessor(batch, True)
    losses = runner.model(**data, mode="loss")
    assert torch.isfinite(losses["decode.loss_ce"]) and losses["decode.loss_ce"] > 0
    next(runner.model.parameters()).data.fill_(float("nan"))
    data = runner.model.data_preprocessor(replay(saved["batches"][1]["batch"]), True)
    assert torch.isnan(runner.model(**data, mode="loss")["decode.loss_ce"])


def test_large_weights_are_finite():
    """Whose squares are not."""
    model = torch.nn.Linear(3, 2)
    model.weight.data.fill_(1e30)
    assert not_finite_in(model) is None
    for value in (float("nan"), float("inf"), -float("inf")):
        model.bias.data[1] = value
        assert not_finite_in(model) == "bias"


def test_a_batch_of_one_is_told(config, tmp_path):
    pooled = dict(type="PSPHead", pool_scales=(1, 2), in_channels=64, in_index=3, channels=8,
                  num_classes=5, norm_cfg=dict(type="BN"), align_corners=False)  # fmt: skip
    cfg = config(tmp_path, **{"train_dataloader.batch_size": 1})
    cfg.model.decode_head = pooled
    with pytest.raises(ConfigError, match=r"train_dataloader\.batch_size to 2.*drop_last=True"):
        run.train(cfg, RUN)
