"""Evaluate trained networks on domains that they never saw: Cityscapes, at the published size and
at its full one, and any other target. One table, per class and mean.

python domain_gen/eval_cityscapes.py CHECKPOINT
python domain_gen/eval_cityscapes.py work_dirs/domain_gen/streets-game/*/*      # side by side
python domain_gen/eval_cityscapes.py CHECKPOINT --target cityscapes@full --data-root cityscapes=DIR
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

try:
    from core.engine import cli
    from core.errors import ConfigError
    from core.result import Result
    from data import domains
    from data.errors import DataError
    from data.roots import Roots, add_root_flag
    from domain_gen import manifest
    from domain_gen.table import table
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error

PUBLISHED = ["cityscapes@1024x512"]  # what Table 11 reports


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    roots = Roots.parse(args.data_root)
    named = [domains.parse(name) for name in args.target or []]
    from mmengine.dist import is_main_process

    from core.dose import given
    from core.engine.prepare import prepare
    from core.engine.run import evaluate
    from data.checked import with_checked_samples
    from domain_gen.build import target_config
    from domain_gen.trained import read_trained

    nets = [read_trained(path, args.config, args.trust_imports) for path in args.checkpoint]
    if len({net.path.parent for net in nets}) < len(nets):
        raise ConfigError("results lie beside a checkpoint: give one checkpoint of a folder")
    known = manifest.read()["sources"].get(nets[0].source, {}).get("targets", PUBLISHED)
    targets = named or [domains.parse(name) for name in known]
    for net in nets:  # before scenes are drawn
        for target in targets:
            domains.prediction_map(net.classes, target.entry.classes)
    found, missing = manifest.find_targets(targets, roots)
    for target, reason in missing.items():
        print(f"missing: {target.title}: {reason}", file=sys.stderr)
    if not found:
        names = ", ".join(target.name for target in targets)
        raise DataError(f"none of the targets is there ({names}), see above")

    command = cli.command_of(__file__, argv)
    for net in nets:
        strength = given(net.cfg)  # of the training, whatever it is evaluated on
        for target, root in found.items():
            cfg = prepare(
                target_config(net, target, root),
                work_dir=manifest.target_dir(net.path.parent, target),
                title=f"{net.name} on {target.name}",
                launcher=args.launcher,
                verbose=args.verbose,
            )
            run = Result("domain_gen", net.network, target.name, net.arm, net.seed,
                         title=target.title, facts=dict(source=net.source), strength=strength,
                         command=command)  # fmt: skip
            if run := evaluate(cfg, net.path, run, reading=with_checked_samples):
                miou = f"mIoU {100 * run.metrics.miou:.2f} %"
                print(f"{net.name} on {target.title}: {miou}", file=sys.stderr)
    if is_main_process():
        from core.report import write_report

        folders = [net.path.parent for net in nets]
        out = args.out or (folders[0] if len(nets) == 1 else manifest.RUNS / "eval")
        write_report(out, **table(folders, list(found), missing), command=command).tell()


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = cli.script_parser(__doc__)
    parser.add_argument(
        "checkpoint", nargs="+", type=Path,
        help="file of train_gtav.py or core.export; of a work_dir its last one")  # fmt: skip
    parser.add_argument("--target", nargs="+", metavar="NAME[:PART][@WxH|@full]",
                        help=f"some of: {', '.join(domains.DOMAINS)} "
                        "[as experiments.yaml has it for the source]")  # fmt: skip
    add_root_flag(parser)
    parser.add_argument("--config", help="of the network, for a checkpoint that carries none")
    parser.add_argument("--out", type=Path, help="folder of the table [the checkpoint's]")
    cli.add_trust_flag(parser)
    cli.add_launcher_flags(parser)
    return parser.parse_args(argv)


if __name__ == "__main__":
    cli.main_line(main, DataError)
