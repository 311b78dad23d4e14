"""Run by torchrun from test_distributed.py: two steps of every config that is named on every
batch, one image a process; DDP refuses the second of a model that left a parameter without a
gradient.

Prints, from the first process, how many parameters have a gradient that both processes share.
"""

import itertools
import sys

import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.model import MMDistributedDataParallel
from mmseg.registry import MODELS
from mmseg.utils import register_all_modules

import core.rivals.balanced
import core.rivals.focal
import core.segmentors  # noqa: F401  (these register)

register_all_modules()
dist.init_process_group("gloo")
rank = dist.get_rank()
batches = torch.load(sys.argv[1], weights_only=False)  # written by the test
for path, (images, samples) in itertools.product(sys.argv[2:], batches):
    torch.manual_seed(0)
    model = MODELS.build(Config.fromfile(path).model)
    model.init_weights()
    model = MMDistributedDataParallel(model.train(), device_ids=None, broadcast_buffers=False)
    for _ in range(2):
        model.zero_grad()
        losses = model(images[rank : rank + 1], samples[rank : rank + 1], mode="loss")
        sum(value for key, value in losses.items() if "loss" in key).backward()
    shared = 0
    for parameter in model.parameters():
        grads = [torch.zeros_like(parameter) for _ in range(2)]
        dist.all_gather(grads, parameter.grad)
        shared += torch.equal(*grads) and bool(torch.isfinite(grads[0]).all())
    if rank == 0:
        print(f"{path}: {shared} of {len(list(model.parameters()))}", flush=True)
del model  # what DDP holds of the group, before that goes
dist.barrier()
dist.destroy_process_group()
