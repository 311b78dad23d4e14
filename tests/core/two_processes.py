"""Run by torchrun from test_distributed.py: each process has one image of a batch of two.

Prints, from the first process, how far its gradients are from those of one process with both.
"""

import sys

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

import core.segmentors  # noqa: F401  (registers the segmentors)


def gradients(model, images, samples):
    model.zero_grad()
    losses = model(images, samples, mode="loss")
    sum(value for key, value in losses.items() if "loss" in key).backward()
    inner = getattr(model, "module", model)
    return {name: p.grad.clone() for name, p in inner.named_parameters()}


register_all_modules()
dist.init_process_group("gloo")
rank = dist.get_rank()
for path in sys.argv[2:]:
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(path).model)
    model.init_weights()
    model.double().train()
    images, samples = torch.load(sys.argv[1], weights_only=False)  # written by the test
    images = images.double()
    together = gradients(model, images, samples)
    wrapped = MMDistributedDataParallel(model, device_ids=None, broadcast_buffers=False)
    apart = gradients(wrapped, images[rank : rank + 1], samples[rank : rank + 1])
    worst = max(
        ((apart[k] - g).abs().max() / g.abs().max().clamp_min(1e-12)).item()
        for k, g in together.items()
    )
    alone = gradients(model, images[:1], samples[:1])
    differs = max((alone[k] - g).abs().max().item() for k, g in together.items())
    if rank == 0:
        print(f"worst {worst:.3e}, one image alone {differs:.3e}", flush=True)
dist.destroy_process_group()
