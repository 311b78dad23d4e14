"""Evaluate trained networks on domains that they never saw: Cityscapes, at the published size and
at its full one, and any other target. One table, per class and mean.

python domain_gen/eval_cityscapes.py CHECKPOINT
python domain_gen/eval_cityscapes.py work_dirs/domain_gen/streets-game/*/*      # side by side
python domain_gen/eval_cityscapes.py CHECKPOINT --target cityscapes@full --data-root cityscapes=DIR
"""

import argparse
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

try:
    from mmengine.dist import is_main_process

    from core.engine.cli import main_line
    from core.engine.configs import ConfigError, prepare
    from core.engine.run import evaluate, read_result
    from core.report import Report, write_report
    from data import domains
    from data.domains import Domain
    from data.errors import DataError
    from domain_gen.build import (
        Trained,
        find_targets,
        manifest,
        parse_roots,
        read_trained,
        slug,
        target_config,
    )
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error

PUBLISHED = ["cityscapes@1024x512"]  # what Table 11 reports


def main() -> None:
    args = parse_args()
    nets = [read_trained(path, args.config) for path in args.checkpoint]
    if len({net.path.parent for net in nets}) < len(nets):
        raise ConfigError("results lie beside a checkpoint: give one checkpoint of a folder")
    names = args.target or manifest()["sources"].get(nets[0].source, {}).get("targets", PUBLISHED)
    found, missing = find_targets(names, parse_roots(args.data_root))
    for target, reason in missing.items():
        print(f"missing: {target.title}: {reason}", file=sys.stderr)
    if not found:
        raise DataError(f"none of the targets is there ({', '.join(names)}), see above")

    for net in nets:
        for target, root in found.items():
            evaluate_on(net, target, root, args)
    if not is_main_process():
        return
    command = shlex.join(["python", "domain_gen/eval_cityscapes.py", *sys.argv[1:]])
    out = args.out or (nets[0].path.parent if len(nets) == 1 else Path("work_dirs/domain_gen/eval"))
    report = write_table(out, [net.path.parent for net in nets], list(found), missing, command)
    print(report.markdown)
    print(f"page: {report.paths['html']}")


def evaluate_on(net: Trained, target: Domain, root: Path, args: argparse.Namespace) -> None:
    """Leave ``targets/NAME/result.json`` and pictures beside the checkpoint."""
    cfg = prepare(
        target_config(net, target, root),
        work_dir=target_dir(net.path.parent, target),
        title=f"{net.name} on {target.name}",
        launcher=args.launcher,
        verbose=args.verbose,
    )
    result = evaluate(
        cfg, net.path, track="domain_gen", source=net.source, weights=net.path.name,
        iteration=net.iteration, model=target.name, title=target.title, arm=net.arm,
        seed=net.seed, network=net.model)  # fmt: skip
    if result:
        print(f"{net.name} on {target.title}: mIoU {100 * result['mIoU']:.2f} %", file=sys.stderr)


def target_dir(work_dir: Path, target: Domain) -> Path:
    """Where the evaluation of a run on a target lies."""
    return work_dir / "targets" / slug(target.name)


def write_table(
    out: Path,
    work_dirs: Sequence[Path],
    targets: Sequence[Domain],
    missing: Mapping[Domain, str],
    command: str,
    failed: Sequence[dict] = (),
) -> Report:
    """Table and page of runs: on their source, where they left a result, and on the targets."""
    rows = [row for folder in work_dirs for row in read_rows(folder, targets)]
    if not rows:
        raise ConfigError(f"no run to show among {', '.join(map(str, work_dirs))}")
    rows.sort(key=lambda row: row[0]["model"] != row[0]["source"])  # the source first
    # Networks or sources that are compared stand in the name of a row.
    told = [key for key in ("source", "network") if len({row[key] for row, _ in rows}) > 1]
    published: dict[str, dict] = {}
    results = []
    for row, _ in rows:
        model = ", ".join([row["model"], *(row[key] for key in told)])
        title = ", ".join([row["title"], *(row[key] for key in told)])
        results.append(dict(row, model=model, title=title))
        if row["source"] == "gtav":
            known = manifest()["published"].get(row["network"], {})
            published[model] = known.get(row["model"], {})
    sources = [
        domains.DOMAINS[name].title if name in domains.DOMAINS else name
        for name in dict.fromkeys(row["source"] for row, _ in rows)
    ]
    try:
        return write_report(
            out,
            [*results, *failed],
            [*(place for _, place in rows), *(None for _ in failed)],
            title=f"Trained on {', '.join(sources)}, evaluated elsewhere",
            notes=[f"{t.title}: not evaluated: {reason}" for t, reason in missing.items()],
            command=command,
            published=published,
            group="Domain",
        )
    except ValueError as error:
        raise ConfigError(f"{error}: give one run of a network, arm and seed") from error


def read_rows(work_dir: Path, targets: Sequence[Domain]) -> list[tuple[dict, Path]]:
    """Results of a run and their folders; ``network`` is what was trained, ``model`` the domain."""
    rows = [
        (result, place)
        for place in (target_dir(work_dir, target) for target in targets)
        if (result := read_result(place))
    ]
    own = read_result(work_dir) or {}
    # What a training says is of its last checkpoint alone.
    last = all(row["iteration"] == own.get("max_iters") for row, _ in rows)
    if own.get("track") == "domain_gen" and last:
        title = f"{own['data']} (its own validation images)"
        # Pictures are of the targets; the source's stay in its folder.
        changes = dict(network=own["model"], model=own["source"], title=title, pictures=[])
        rows.insert(0, (own | changes, work_dir))
    return rows


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint", nargs="+", type=Path,
        help="file of train_gtav.py or core.export; of a work_dir its last one")  # fmt: skip
    parser.add_argument("--target", nargs="+", metavar="NAME[:PART][@WxH|@full]",
                        help=f"some of: {', '.join(domains.DOMAINS)} "
                        "[as experiments.yaml has it for the source]")  # fmt: skip
    parser.add_argument("--data-root", nargs="+", action="extend", default=[], metavar="NAME=DIR",
                        help="where data sets lie [data/raw/NAME]")  # fmt: skip
    parser.add_argument("--config", help="of the network, for a checkpoint that carries none")
    parser.add_argument("--out", type=Path, help="folder of the table [the checkpoint's]")
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm", "mpi"], default="none",
                        help="how several processes were started (torchrun: pytorch)")  # fmt: skip
    parser.add_argument("--verbose", action="store_true", help="the whole log on the terminal")
    return parser.parse_args()


if __name__ == "__main__":
    main_line(main, DataError)
