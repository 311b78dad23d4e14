"""Extra cost of HL in a training step, and the check that inference costs none: ``hardness.py
cost`` of models of the paper, its tables alone.

    python benchmarks/hl_cost.py                              # three models of the paper
    python benchmarks/hl_cost.py --models pspnet_r101 --steps 30     # on a GPU, as published
"""

import argparse
from pathlib import Path

from core.engine.cli import main_line
from fully_supervised.seeing import cost

MODELS = {
    "pspnet_r18": "mmseg::pspnet/pspnet_r18-d8_4xb2-80k_cityscapes-769x769.py",
    "upernet_r18": "mmseg::upernet/upernet_r18_4xb2-40k_cityscapes-512x1024.py",
    "ocrnet_hr18s": "mmseg::ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py",
    "pspnet_r101": "mmseg::pspnet/pspnet_r101-d8_4xb2-40k_cityscapes-769x769.py",
    "deeplabv3plus_r101": "mmseg::deeplabv3plus/deeplabv3plus_r101-d8_4xb2-40k_cityscapes-769x769.py",  # noqa: E501
    "upernet_r101": "mmseg::upernet/upernet_r101_4xb2-40k_cityscapes-769x769.py",
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS)[:3])
    cost.add_size_flags(parser)
    args = parser.parse_args()
    args.configs, args.arms = [MODELS[name] for name in args.models], cost.ARMS
    from core.report.sections import tell

    tell(cost.run(args, Path()), Path())


if __name__ == "__main__":
    main_line(main)
