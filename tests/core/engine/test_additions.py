"""What a run has beyond its config: merged with the config's own, or refused by name."""

import pytest
from mmengine.config import ConfigDict
from mmengine.hooks import Hook
from mmseg.registry import HOOKS

import core.engine.run  # noqa: F401  (registers hooks and metrics)
from core.engine import additions
from core.engine.prepare import prepare
from core.engine.runner import HLRunner
from core.errors import ConfigError


def types(nodes):
    return [node["type"] for node in nodes]


def test_backends_and_hooks_stand_beside_the_users_own():
    mine = dict(type="WandbVisBackend", init_kwargs=dict(project="mine"))
    made = additions.visualizer(dict(type="V", alpha=0.3, vis_backends=[mine]), None)
    assert made["alpha"] == 0.3 and made["vis_backends"][0] == mine
    assert types(made["vis_backends"])[1:] == ["LocalVisBackend", "TensorboardVisBackend"]
    # mmseg's own visualizer does not see what a config sets as vis_backends alone
    made = additions.visualizer(dict(type="V", vis_backends=[dict(type="LocalVisBackend")]), [mine])
    assert types(made["vis_backends"]) == [
        "LocalVisBackend", "WandbVisBackend", "TensorboardVisBackend"]  # fmt: skip
    hooks = additions.custom_hooks([dict(type="EMAHook")], title="t", max_iters=30, panels=True)
    assert types(hooks) == ["EMAHook", "FiniteLossHook", "CostHook", "ProgressHook", "StopHook",
                            "PanelHook", "StrengthHook"]  # fmt: skip
    assert hooks[3]["title"] == "t" and hooks[5]["interval"] == 10


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (dict(type="IoUMetric", iou_metrics=["mDice"], ignore_index=9),
         dict(type="ClassIoUMetric", iou_metrics=["mDice", "mIoU"], ignore_index=9)),
        (dict(type="IoUMetric"), dict(type="ClassIoUMetric", iou_metrics=["mIoU"])),
        ([dict(type="CityscapesMetric")],
         [dict(type="CityscapesMetric"), dict(type="ClassIoUMetric", iou_metrics=["mIoU"])]),
        (dict(metrics=[dict(type="IoUMetric", iou_metrics="mFscore")]),
         dict(metrics=[dict(type="ClassIoUMetric", iou_metrics=["mFscore", "mIoU"])])),
        (dict(metrics=dict(type="CityscapesMetric")),
         dict(metrics=[dict(type="CityscapesMetric"),
                       dict(type="ClassIoUMetric", iou_metrics=["mIoU"])])),
        (dict(type="IoUMetric", prefix="x"),
         [dict(type="ClassIoUMetric", iou_metrics=["mIoU"], prefix="x"),
          dict(type="ClassIoUMetric", iou_metrics=["mIoU"])]),
    ],
)  # fmt: skip
def test_metrics_stay_and_miou_is_among_them(given, expected):
    given = ConfigDict(dict(e=given)).e
    assert additions.evaluator(given) == expected


def test_depth_is_refused():
    with pytest.raises(ConfigError, match="DepthMetric: this is for segmentation"):
        additions.evaluator(dict(type="DepthMetric"))


def test_checkpoints_are_written_by_ours_in_the_users_intervals():
    hooks = additions.default_hooks(
        dict(checkpoint=dict(type="CheckpointHook", by_epoch=True, interval=3, save_best="mIoU"),
             timer=dict(type="IterTimerHook")))  # fmt: skip
    assert hooks["checkpoint"] == dict(
        type="ResumableCheckpointHook", by_epoch=True, interval=3, save_best="mIoU")  # fmt: skip
    assert hooks["timer"] == dict(type="IterTimerHook")
    hooks = additions.default_hooks(None)
    assert hooks["checkpoint"] == dict(type="ResumableCheckpointHook")


@pytest.mark.parametrize(
    ("checkpoint", "words"),
    [
        (None, "checkpoint=None: a run saves"),
        (dict(type="MyHook"), "type=MyHook: a run saves with a hook of its own"),
        (dict(filename_tmpl="a_{}.pth"), r"checkpoint\.filename_tmpl: a run writes iter_N"),
        (dict(intervall=3), r"checkpoint\.intervall: no setting of CheckpointHook"),
        (dict(out_dir="elsewhere"), r"checkpoint\.out_dir: a run writes"),
    ],
)
def test_what_a_resume_would_not_find_is_refused(checkpoint, words):
    with pytest.raises(ConfigError, match=words):
        additions.default_hooks(dict(checkpoint=checkpoint))


@pytest.fixture
def runner(tiny_config, tiny_data, tmp_path, fresh_mmengine):
    def make(**options):
        cfg = tiny_config()
        cfg.merge_from_dict(tiny_data)
        cfg.train_cfg.max_iters = 3
        cfg.merge_from_dict(options)
        return HLRunner.from_cfg(prepare(cfg, work_dir=tmp_path, title="t", seed=0))

    return make


@HOOKS.register_module()
class FailingHook(Hook):
    def after_train_iter(self, runner, *_, **__) -> None:
        raise TypeError("no ink")


def test_a_hook_that_only_shows_cannot_end_a_run(runner, monkeypatch, capsys):
    run = runner()
    shown = next(h for h in run.hooks if type(h).__name__ == "ProgressHook")
    monkeypatch.setattr(shown, "after_train_iter", lambda *_, **__: 1 / 0)
    run.train()
    assert run.iter == 3 and shown not in run.hooks
    told = [line for line in capsys.readouterr().err.splitlines() if "is left out" in line]
    assert told == ["ProgressHook is left out from here on, the run goes on: ZeroDivisionError: "
                    "division by zero"]  # fmt: skip


def test_a_hook_of_the_user_that_fails_ends_it(runner):
    with pytest.raises(TypeError, match="no ink"):
        runner(custom_hooks=[dict(type="FailingHook")]).train()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"model.decode_head.chanels": 3}, "model cannot be built: .*'chanels'"),
        ({"model.backbone.type": "ResNet1c"}, "model cannot be built: .*ResNet1c"),
        ({"optim_wrapper.optimizer.lrr": 1}, "optim_wrapper cannot be built: .*'lrr'"),
        ({"param_scheduler": [dict(type="Poly")]}, "param_scheduler cannot be built: .*Poly"),
        ({"train_dataloader.dataset.type": "X"}, "train_dataloader cannot be built: .*X"),
        ({"train_cfg.val_intervall": 3}, "train_cfg cannot be built: .*'val_intervall'"),
        ({"custom_hooks": [dict(type="NoHook")]}, "custom_hooks cannot be built: .*NoHook"),
        ({"visualizer": dict(type="V")}, "visualizer cannot be built: .*V"),
        ({"val_evaluator": None}, "settings cannot be built: val_dataloader, val_cfg, and val_e"),
        ({"train_cfg": dict(by_epoch=True, max_epochs=1)}, "InfiniteSampler never ends one"),
    ],
)
def test_what_cannot_be_built_is_told_by_its_part(options, words, runner):
    with pytest.raises(ConfigError, match=words):
        runner(**options).train()


@pytest.mark.slow
def test_epochs_are_saved_and_resumed_exactly(tiny_config, tiny_data, tmp_path, fresh_mmengine,
                                              killed):  # fmt: skip
    """8 images, 4 steps an epoch, 2 epochs: cut in the middle of either, the weights are those of
    the undisturbed run; checkpoints come where an epoch ends."""
    import torch

    from core.engine.checkpoint import checkpoints_in, load_checkpoint

    def run(name, stop=None, **more):
        fresh_mmengine()
        cfg = tiny_config()
        cfg.merge_from_dict(tiny_data)
        cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2, val_interval=2)
        cfg.train_dataloader.sampler = dict(type="DefaultSampler", shuffle=True)
        cfg.default_hooks.checkpoint = dict(
            type="CheckpointHook", interval=1, by_epoch=True, **more
        )
        if stop:
            cfg.custom_hooks = [dict(type="KillHook", step=stop)]
        made = HLRunner.from_cfg(prepare(cfg, work_dir=tmp_path / name, resume=True, seed=0))
        made.train()
        return made

    run("whole")
    assert [p.name for p in checkpoints_in(tmp_path / "whole")] == ["iter_8.pth", "iter_4.pth"]
    for stop in (3, 6):
        with pytest.raises(killed):
            run("cut", stop, save_begin=0)
    hook = next(h for h in run("cut").hooks if type(h).__name__ == "ResumableCheckpointHook")
    assert hook.interval == 4
    for name in ("iter_4.pth", "iter_8.pth"):
        a, b = (load_checkpoint(tmp_path / w / name)["state_dict"] for w in ("whole", "cut"))
        assert all(torch.equal(a[key], b[key]) for key in a), name


@pytest.mark.slow
def test_a_stop_within_an_epoch_goes_on_there(tiny_config, tiny_data, tmp_path, fresh_mmengine):
    import torch

    from core.engine.checkpoint import load_checkpoint

    def run(name, saved=None):
        fresh_mmengine()
        cfg = tiny_config()
        cfg.merge_from_dict(tiny_data)
        cfg.train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=2, val_interval=2)
        cfg.train_dataloader.sampler = dict(type="DefaultSampler", shuffle=True)
        cfg.default_hooks.checkpoint = dict(type="CheckpointHook", interval=1)
        made = HLRunner.from_cfg(prepare(cfg, work_dir=tmp_path / name, resume=True, seed=0))
        hook = next(h for h in made.hooks if type(h).__name__ == "ResumableCheckpointHook")
        after = hook.after_train_iter

        def stop(runner, *args, **kwargs):
            after(runner, *args, **kwargs)
            if runner.iter + 1 == saved:
                hook.save_now(runner, saved)
                raise KeyboardInterrupt

        hook.after_train_iter = stop
        made.train()

    run("whole")
    for step in (3, 6):
        with pytest.raises(KeyboardInterrupt):
            run("cut", step)
    run("cut")
    a, b = (load_checkpoint(tmp_path / w / "iter_8.pth")["state_dict"] for w in ("whole", "cut"))
    assert all(torch.equal(a[key], b[key]) for key in a)


def test_load_from_is_told_or_refused(runner, tmp_path, capsys):
    """A file that fits nothing is another network's; of one that fits in part, what does."""
    import torch

    torch.save(dict(state_dict={"x.weight": torch.zeros(3)}), tmp_path / "x.pth")
    with pytest.raises(ConfigError, match=r"x\.pth: is of another network: 0 of \d+ tensors fit"):
        runner(load_from=str(tmp_path / "x.pth")).train()
    own = runner().model.state_dict()
    part = {f"module.{k}": v + 1 for k, v in own.items() if k.startswith("backbone.")}
    part["module.decode_head.conv_seg.weight"] = torch.zeros(2, 2)
    torch.save(part, tmp_path / "part.pth")
    made = runner(load_from=str(tmp_path / "part.pth"))
    made.load_or_resume()
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith("load_from")]
    assert "1 of the file fit nowhere, e.g. decode_head.conv_seg.weight" in line
    assert "of the network begin at random, e.g. " in line
    key = "backbone.stem.0.weight"
    assert torch.equal(made.model.state_dict()[key], part[f"module.{key}"])


@pytest.mark.slow
def test_a_resume_goes_on_from_its_own_checkpoint(runner, tmp_path):
    """Whatever load_from says: it is where the run began."""
    import torch

    torch.save(runner().model.state_dict(), tmp_path / "begin.pth")
    options = {"load_from": str(tmp_path / "begin.pth"), "resume": True}
    runner(**options).train()
    again = runner(**options, **{"train_cfg.max_iters": 5})
    assert again.train_loop.max_iters == 5 and again.val_loop
    again.optim_wrapper = again.build_optim_wrapper(again.optim_wrapper)
    again.param_schedulers = again.build_param_scheduler(again.param_schedulers)
    again.load_or_resume()
    assert again.iter == 3


def trained(tiny_config, tiny_data, work_dir, **options):
    from core.engine import run
    from core.result import Result

    cfg = tiny_config()
    cfg.merge_from_dict(tiny_data)
    cfg.merge_from_dict(options)
    cfg = prepare(cfg, work_dir=work_dir, title="t", seed=0)
    return run.train(cfg, Result("fully_supervised", "n", "d", "baseline", 0), pictures=0)


def test_a_run_that_its_config_stops_early_says_so(tiny_config, tiny_data, tmp_path,
                                                   fresh_mmengine):  # fmt: skip
    """Its weights are saved, and it is finished, whatever number was asked for."""
    from core.engine.checkpoint import checkpoints_in
    from core.result import finished

    fresh_mmengine()
    stop = dict(type="EarlyStoppingHook", monitor="mIoU", patience=1, min_delta=1000)
    options = {"custom_hooks": [stop], "train_cfg.val_interval": 2,
               "default_hooks.checkpoint.interval": 100}  # fmt: skip
    result = trained(tiny_config, tiny_data, tmp_path, **options)
    assert 0 < result.iterations < 12 and result.facts["stopped_early"]
    assert result.weights.file == checkpoints_in(tmp_path)[0].name
    assert result.weights.file == f"iter_{result.iterations}.pth"
    assert finished(tmp_path, 12) == result


@pytest.mark.slow
def test_the_best_is_saved_before_any_other(tiny_config, tiny_data, tmp_path, fresh_mmengine):
    """It holds no state to go on from; metrics of the config stand in the result."""
    import torch

    fresh_mmengine()
    metric = dict(type="IoUMetric", iou_metrics=["mDice"])
    result = trained(tiny_config, tiny_data, tmp_path,
                     **{"train_cfg.val_interval": 2, "default_hooks.checkpoint.save_best": "mDice",
                        "val_evaluator": metric})  # fmt: skip
    (best,) = tmp_path.glob("best_mDice_iter_*.pth")
    assert "random_states" not in torch.load(best, weights_only=True)
    assert result.metrics.more.keys() == {"mDice"} and ", mDice " in result.outcome


def test_a_tracker_that_is_away_takes_nothing_with_it(runner, capsys):
    run = runner()
    backend = run.visualizer._vis_backends["TensorboardVisBackend"]
    assert not getattr(backend, "failed", False)
    backend._tensorboard = None  # every call fails from here on
    backend.env_initialized = True
    backend._env_initialized = True
    run.train()
    told = [line for line in capsys.readouterr().err.splitlines() if "is left out" in line]
    assert len(told) == 1 and told[0].startswith("TensorboardVisBackend is left out")
    assert list(run.visualizer._vis_backends["LocalVisBackend"]._config_save_file and [1])
    assert any(type(hook).__name__ == "LoggerHook" for hook in run.hooks)


@pytest.mark.slow
def test_the_config_of_a_checkpoint_is_not_run_on_resume(runner, tmp_path):
    """mmengine executes ``meta["config"]``."""
    import torch

    runner().train()
    (path,) = tmp_path.glob("iter_3.pth")
    checkpoint = torch.load(path, weights_only=True)
    spoiled = tmp_path / "was_run"
    checkpoint["meta"]["config"] = f"open({str(spoiled)!r}, 'w')"
    torch.save(checkpoint, path)
    runner(resume=True, **{"train_cfg.max_iters": 4}).train()
    assert (tmp_path / "iter_4.pth").is_file() and not spoiled.exists()


def test_a_checkpoint_comes_with_each_validation_and_every_thousand(runner):
    """Where no interval is set; one that is set is kept."""
    run = runner(**{"train_cfg.max_iters": 2001, "train_cfg.val_interval": 1500})
    run._train_loop = run.build_train_loop(run._train_loop)
    for interval, found in ({}, [1000, 1500, 2000]), (dict(interval=700), [700, 1400]):
        given = dict(type="CheckpointHook", by_epoch=False, **interval)
        hook = HOOKS.build(additions.default_hooks(dict(checkpoint=given))["checkpoint"])
        due = []
        for step in range(1, 2001):
            run._train_loop._iter = step - 1
            if hook.every_n_train_iters(run, hook.interval):
                due.append(step)
        assert due == found
