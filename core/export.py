"""A checkpoint of ours -> weights and a config for plain mmseg, in which nothing of ours is left.

    python -m core.export work_dirs/x/iter_40000.pth pspnet.pth

writes ``pspnet.pth`` (without the HL branch and the training state, every weight bit by bit; mmseg
loads it with ``strict=True``) and ``pspnet.py``, the whole config. ``init_model``,
``inference_model``, ``MMSegInferencer`` and mmseg's own tools take the two.

A model that holds networks under ``teacher.`` and ``student.`` and their config under
``model.segmentor`` gives its teacher; its student where it has no teacher.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from core.configs import imports_of, walk
from core.engine.cli import add_trust_flag, main_line, note, script_parser
from core.errors import CheckpointError
from core.files import write_files

# The packages of this project: nothing that a plain config names may come from them.
OURS = ("core", "data", "fully_supervised", "semi_supervised", "domain_gen")
# Of a run, not of a model.
_OF_A_RUN = ("changed_by_engine", "launcher", "load_from", "resume", "title", "verbose",
             "work_dir")  # fmt: skip
_TRAINING = ("train_dataloader", "train_cfg", "optim_wrapper", "param_scheduler")
_FIRST = "# Written by core.export: the config"
_TRANSFORMS = {"LoadHardness": None, "PackWithHardness": "PackSegInputs"}


def plain_config(cfg: Config) -> Config:
    """The config without HL and all else that is ours: what plain mmseg goes on with.

    A data set of ours is told in mmseg's own terms, by its class's ``plain``; where there is none
    its loader keeps its name, which a note says. Losses of ours become the cross-entropy that they
    weighted.
    """
    # mmseg takes seconds, which --help need not.
    from core.convert import COLLECTED, SEGMENTORS
    from core.pretrained import SCHEME

    cfg = copy.deepcopy(cfg)
    names = imports_of(cfg)
    ours = [name for name in names if name.partition(".")[0] in OURS]
    if "segmentor" in cfg.model:  # trained on pairs of images, which mmseg has not
        cfg.model = cfg.model.segmentor
        for key in _TRAINING:
            cfg.pop(key, None)
    plain = {ours: name for kinds in (SEGMENTORS, COLLECTED) for name, ours in kinds.items()}
    cfg.model.type = plain.get(cfg.model.type, cfg.model.type)
    cfg.model.pop("hl", None)
    for key in _OF_A_RUN:
        cfg.pop(key, None)
    walk(cfg.model, _plain_loss)
    walk(cfg.model, lambda node: _drop_weights(node, SCHEME))
    for name in ("train", "val", "test"):
        if cfg.get(f"{name}_dataloader"):
            ignored = _plain_loader(cfg[f"{name}_dataloader"])
            if ignored is not None and cfg.get(f"{name}_evaluator"):
                walk(cfg[f"{name}_evaluator"], lambda node, i=ignored: _set_ignored(node, i))
    pipeline = (cfg.get("test_dataloader") or {}).get("dataset", {}).get("pipeline")
    if pipeline:
        cfg.test_pipeline = pipeline  # where inference_model looks
    # MMSegInferencer needs one.
    cfg.setdefault("visualizer", dict(type="SegLocalVisualizer", name="visualizer",
                                      vis_backends=[dict(type="LocalVisBackend")]))  # fmt: skip
    cfg.custom_hooks = [h for h in cfg.get("custom_hooks") or [] if not _is_ours("hook", h)]
    for key, left in (("custom_imports", [name for name in names if name not in ours]),
                      ("custom_hooks", cfg.custom_hooks)):  # fmt: skip
        if not left:
            cfg.pop(key, None)
        elif key == "custom_imports":
            cfg.custom_imports = dict(cfg.custom_imports, imports=left)
    return cfg


def _is_ours(registry: str, node: dict) -> Any:
    """The class that a config names, if it is ours."""
    from mmseg import registry as registries

    kinds = dict(hook=registries.HOOKS, dataset=registries.DATASETS, model=registries.MODELS,
                 transform=registries.TRANSFORMS)  # fmt: skip
    cls = kinds[registry].get(node.get("type") or "")
    return cls if cls is not None and cls.__module__.partition(".")[0] in OURS else None


def _plain_loss(node: dict) -> None:
    loss = node.get("loss_decode")
    if isinstance(loss, dict) and _is_ours("model", loss):
        node["loss_decode"] = dict(
            type="CrossEntropyLoss", use_sigmoid=False, loss_weight=loss.get("loss_weight", 1.0)
        )


def _drop_weights(node: dict, scheme: str) -> None:
    """In place: without features to begin with that plain mmseg cannot find."""
    given = node.get("init_cfg")
    if isinstance(given, dict) and str(given.get("checkpoint")).startswith(scheme):
        node["init_cfg"] = None


def _plain_loader(loader: dict) -> int | None:
    """In place; the label that the evaluation has to ignore, if it is not mmseg's."""
    ignored = None

    def change(node: dict) -> None:
        nonlocal ignored
        steps = [dict(s, type=_TRANSFORMS.get(s["type"], s["type"]))
                 for s in node.get("pipeline") or []]  # fmt: skip
        if steps:
            node["pipeline"] = [step for step in steps if step["type"]]
        inner = node.get("dataset")
        if isinstance(inner, dict) and (cls := _is_ours("dataset", inner)):
            if hasattr(cls, "plain"):
                node["dataset"] = ConfigDict(cls.plain(inner))
                ignored = node["dataset"].get("ignore_index")
            else:
                note(f"{cls.__name__} is a data set of this project: to test in plain mmseg, give "
                     "the config one of mmseg's")  # fmt: skip

    walk(loader, change)
    return ignored


def _set_ignored(node: dict, ignored: int) -> None:
    if node.get("type") == "IoUMetric":
        node["ignore_index"] = ignored


def export_checkpoint(source: str | Path, target: str | Path, trust: Sequence[str] = ()) -> int:
    """Write the network that predicts, without an HL branch, from ``source`` to ``target``; beside
    it, with the ending ``.py``, the plain config, where ``source`` carries one.

    Args:
        trust: see :func:`core.trust.config_of`.

    Returns:
        The number of tensors that were left out.

    Raises:
        CheckpointError: ``source`` is missing, damaged or plain already; or ``target`` would take
            the place of a file that is there.
        ConfigError: its config cannot be trusted.
        WriteError: the two cannot be written; then neither is.
    """
    from core.engine.checkpoint import load_checkpoint, to_bytes
    from core.segmentors import HL_HEAD
    from core.trust import config_of

    checkpoint = load_checkpoint(source)
    state_dict = checkpoint["state_dict"]
    network = _network(state_dict)
    plain = {k: v for k, v in network.items() if not k.startswith(f"{HL_HEAD}.")}
    if plain.keys() == state_dict.keys() and "optimizer" not in checkpoint:
        raise CheckpointError(f"{source}: is plain already: neither HL branch nor training state")
    target = Path(target)
    config = target.with_suffix(".py")
    if target.suffix == ".py":
        raise CheckpointError(f"{target}: the weights' name ends in .pth; .py is the config's")
    if config.is_file() and not config.read_text().startswith(_FIRST):
        raise CheckpointError(f"{config}: is there and no export of ours; name another")
    meta = checkpoint["meta"]
    kept = {k: meta[k] for k in ("dataset_meta", "iter", "epoch", "seed") if k in meta}
    if cfg := config_of(meta, source, trust):
        kept["cfg"] = plain_config(cfg).pretty_text
    files = {target: to_bytes(dict(meta=kept, state_dict=plain))}
    if "cfg" in kept:
        files[config] = f"{_FIRST} of {target.name}, for plain mmseg.\n{kept['cfg']}".encode()
    write_files(files)
    return len(state_dict) - len(plain)


def _network(state_dict: dict) -> dict:
    """The teacher's weights, or the student's, or all."""
    for prefix in ("teacher.", "student."):
        part = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
        if part:
            return part
    return state_dict


def main(argv: Sequence[str] | None = None) -> None:
    parser = script_parser(__doc__)
    parser.add_argument("checkpoint", help="checkpoint written by a training of ours")
    parser.add_argument("out", help="file to write")
    add_trust_flag(parser)
    args = parser.parse_args(argv)
    dropped = export_checkpoint(args.checkpoint, args.out, args.trust_imports)
    config = Path(args.out).with_suffix(".py")
    beside = f"; its config: {config}" if config.is_file() else ""
    print(f"{args.out}: {dropped} tensors left out{beside}")


if __name__ == "__main__":
    main_line(main)
