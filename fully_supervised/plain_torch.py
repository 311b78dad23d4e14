"""HL without mmseg: a torchvision model, a second head, one loss module.

    python fully_supervised/plain_torch.py [--iters 200]

What HL asks of a training loop is marked (1) to (4). Only core.hardness is used of this project;
the embedded street scenes stand for your data.
"""

import argparse

import numpy as np
import torch
from PIL import Image
from torchvision.models.segmentation import lraspp_mobilenet_v3_large
from torchvision.models.segmentation.lraspp import LRASPPHead

try:
    from core.hardness import HardnessLoss
    from data import registry
except ModuleNotFoundError as error:
    raise SystemExit(f"error: {error}; set up with: source setup.sh") from error


class Streets(torch.utils.data.Dataset):
    """Images (3, H, W) float, 0 to 1, and labels (H, W) int64, 0-18 and 255."""

    def __init__(self) -> None:
        root = registry.locate("streets")
        self.images = sorted(root.glob("leftImg8bit/train/*/*.png"))
        self.labels = sorted(root.glob("gtFine/train/*/*_labelTrainIds.png"))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = np.array(Image.open(self.images[index]), dtype=np.float32) / 255
        label = np.array(Image.open(self.labels[index]), dtype=np.int64)
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(label)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--iters", type=int, default=200)
    args = parser.parse_args()
    torch.manual_seed(0)

    model = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=19)
    # (1) The segmentation head once more, with one output channel.
    hl_head = LRASPPHead(low_channels=40, high_channels=960, num_classes=1, inter_channels=128)
    criterion = HardnessLoss(c=0.1, alpha=0.01)
    # (2) Its parameters are trained too.
    parameters = [*model.parameters(), *hl_head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.05, momentum=0.9, weight_decay=5e-4)
    loader = torch.utils.data.DataLoader(Streets(), batch_size=4, shuffle=True, drop_last=True)

    done = 0
    while done < args.iters:
        for image, label in loader:
            features = model.backbone(image)
            seg_logits = model.classifier(features)
            # (3) It reads detached features: the backbone does not feel it.
            hl_logits = hl_head({name: x.detach() for name, x in features.items()})
            # (4) Both losses; logits of any size are resized to the label's.
            losses = criterion(seg_logits, hl_logits, label)
            optimizer.zero_grad()
            losses.total.backward()
            optimizer.step()
            done += 1
            if done % 10 == 0 or done == args.iters:
                print(
                    f"{done}/{args.iters}: loss_seg {losses.loss_seg.item():.3f}, "
                    f"loss_hl {losses.loss_hl.item():.4f}, CE {losses.ce.item():.3f}, "
                    f"pixel accuracy {losses.acc.item():.1f} %"
                )
            if done == args.iters:
                return


if __name__ == "__main__":
    main()
