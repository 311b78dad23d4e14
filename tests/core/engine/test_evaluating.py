"""Labels without full-size scores are mmseg's, bit by bit."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.structures import SegDataSample
from torch.utils._python_dispatch import TorchDispatchMode

from core.engine.evaluating import labels_only


class Fixed(EncoderDecoder):
    """Whose logits are given."""

    def __init__(self, seg_logits, **kwargs):
        head = dict(type="FCNHead", in_channels=2, channels=2, num_convs=0, concat_input=False,
                    num_classes=max(2, seg_logits.shape[1]),
                    out_channels=seg_logits.shape[1] if seg_logits.shape[1] == 1 else None,
                    loss_decode=dict(type="CrossEntropyLoss",
                                     use_sigmoid=seg_logits.shape[1] == 1), **kwargs)  # fmt: skip
        super().__init__(
            backbone=dict(type="UNet", base_channels=2),
            decode_head=head,
            test_cfg=ConfigDict(mode="whole"),
        )
        self.decode_head.forward = lambda _: seg_logits

    def extract_feat(self, inputs):
        return [inputs]


def samples(count, meta):
    return [
        SegDataSample(gt_sem_seg=PixelData(data=torch.zeros(1, 2, 2)), metainfo=dict(meta))
        for _ in range(count)
    ]


META = dict(img_shape=(64, 96), pad_shape=(64, 96), ori_shape=(64, 96))
CASES = {
    "same size": (META, 19, {}),
    "smaller original": (dict(META, ori_shape=(31, 45)), 19, {}),
    "larger original": (dict(META, ori_shape=(128, 200)), 19, {}),
    "align_corners": (dict(META, ori_shape=(70, 99)), 19, dict(align_corners=True)),
    "padded": (dict(META, ori_shape=(60, 90), img_padding_size=[0, 6, 0, 4]), 19, {}),
    "padded on every side": (dict(META, padding_size=[1, 2, 3, 4]), 5, {}),
    "flipped": (dict(META, flip=True, flip_direction="horizontal"), 19, {}),
    "upside down": (dict(META, flip=True, flip_direction="vertical"), 7, {}),
    "two classes": (META, 2, {}),
    "five classes": (META, 5, {}),
    "many classes": (META, 150, {}),
    "one channel": (dict(META, ori_shape=(31, 45)), 1, dict(threshold=0.4)),
    "a size of torch's": (dict(META, img_shape=torch.Size((40, 40))), 9, {}),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("case", CASES)
def test_labels_are_mmsegs_bit_by_bit(case, dtype):
    meta, classes, head = CASES[case]
    g = torch.Generator().manual_seed(0)
    logits = torch.randn(2, classes, 8, 12, generator=g).to(dtype)
    model = Fixed(logits, **head).eval()
    images = torch.zeros(2, 3, 64, 96)
    want = model.predict(images, samples(2, meta))
    with labels_only(model) as does:
        got = model.predict(images, samples(2, meta))
    assert does and "predict" not in vars(model)
    for a, b in zip(want, got, strict=True):
        assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)
        assert a.pred_sem_seg.data.dtype == b.pred_sem_seg.data.dtype
        assert "seg_logits" in a and "seg_logits" not in b


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_logits_that_are_not_finite_and_ties(value):
    logits = torch.randn(2, 11, 8, 12).round()  # many ties: the first class wins
    logits[0, 3, 2, 2] = logits[0, 9, 2, 3] = logits[1, 0, 5, 5] = value
    model = Fixed(logits).eval()
    images = torch.zeros(2, 3, 64, 96)
    want = model.predict(images, samples(2, META))
    with labels_only(model):
        got = model.predict(images, samples(2, META))
    for a, b in zip(want, got, strict=True):
        assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)


class Largest(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if isinstance(out, torch.Tensor) and out.is_floating_point():
            self.elements = max(self.elements, out.numel())
        return out


def test_no_scores_of_the_images_size_exist():
    model = Fixed(torch.randn(1, 19, 16, 32)).eval()
    meta = dict(img_shape=(128, 256), pad_shape=(128, 256), ori_shape=(128, 256))
    images = torch.zeros(1, 3, 128, 256)
    with labels_only(model), Largest() as largest:
        model.predict(images, samples(1, meta))
    assert largest.elements <= 5 * 128 * 256


@pytest.mark.parametrize("kind", ["plain", "cascade"])
def test_real_models_and_those_that_deploy_another(kind, tiny_config, tiny_batch, build):
    model = build(tiny_config(kind)).eval()
    images, given = tiny_batch()
    want = model.predict(images, copy.deepcopy(given))

    class Deploys(torch.nn.Module):
        deployed = model

    for seen in (model, Deploys()):
        with labels_only(seen) as does, torch.no_grad():
            got = model.predict(images, copy.deepcopy(given))
        assert does
        for a, b in zip(want, got, strict=True):
            assert torch.equal(a.pred_sem_seg.data, b.pred_sem_seg.data)


def test_sliding_windows_and_ways_of_ones_own_stay(tiny_config, tiny_batch, build):
    cfg = tiny_config()
    cfg.model.test_cfg = ConfigDict(mode="slide", crop_size=(32, 32), stride=(16, 16))
    images, given = tiny_batch()
    model = build(cfg).eval()
    with labels_only(model) as does, torch.no_grad():
        assert not does and "seg_logits" in model.predict(images, given)[0]

    class Own(EncoderDecoder):
        def postprocess_result(self, *args):
            return []

    model = build(tiny_config())
    model.__class__ = Own
    with labels_only(model) as does:
        assert not does
    with labels_only(torch.nn.Linear(1, 1)) as does:
        assert not does
