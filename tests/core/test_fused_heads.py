"""The losses of mmseg's heads, fused, against mmseg's own."""

import copy

import pytest
import torch
from mmengine.structures import PixelData
from mmseg.models.decode_heads import FCNHead
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from core.fused_heads import can_fuse, set_impl
from core.hardness import HardnessLoss


def head(sampler=None, **loss):
    loss = dict(dict(type="CrossEntropyLoss"), **loss)
    return FCNHead(
        num_convs=0, in_channels=5, channels=5, num_classes=5, concat_input=False,
        loss_decode=loss, sampler=sampler, dropout_ratio=0, align_corners=False)  # fmt: skip


def batch(ignored=0.2):
    g = torch.Generator().manual_seed(0)
    logits = (torch.randn(2, 5, 9, 7, generator=g) * 3).requires_grad_()
    label = torch.randint(0, 5, (2, 1, 70, 53), generator=g)
    label[torch.rand(label.shape, generator=g) < ignored] = 255
    return logits, [SegDataSample(gt_sem_seg=PixelData(data=x)) for x in label]


OHEM = dict(type="OHEMPixelSampler")


@pytest.mark.parametrize("ignored", [0.2, 1.0])
@pytest.mark.parametrize(
    ("sampler", "loss"),
    [
        (None, {}),
        (None, dict(loss_weight=0.4, loss_name="loss_aux")),
        (None, dict(avg_non_ignore=True)),
        (None, dict(class_weight=[1.0, 0.5, 2.0, 0.1, 3.0])),
        (dict(OHEM, thresh=0.7, min_kept=100), {}),
        (dict(OHEM, thresh=0.01, min_kept=900), {}),
        (dict(OHEM, thresh=0.7, min_kept=10**6), {}),
        (dict(OHEM, min_kept=500), {}),
        (dict(OHEM, thresh=0.7, min_kept=100), dict(class_weight=[1.0, 0.5, 2.0, 0.1, 3.0])),
    ],
)
def test_losses_gradients_and_accuracy_are_mmsegs(sampler, loss, ignored):
    found = []
    for impl in ("eager", "fused"):
        one = head(sampler, **loss)
        assert set_impl(one, impl) == (impl == "fused")
        logits, samples = batch(ignored)
        out = one.loss_by_feat(logits, samples)
        name = one.loss_decode.loss_name
        out[name].backward()
        found.append((list(out), out[name].detach(), out["acc_seg"], logits.grad))
    assert found[0][0] == found[1][0]
    for mmseg, ours in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(ours, mmseg, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize(
    "loss",
    [
        dict(use_sigmoid=True),
        dict(reduction="sum"),
        dict(type="DiceLoss"),
        dict(class_weight=[1.0] * 5, avg_non_ignore=True),
    ],
)
def test_other_losses_stay(loss):
    one = head(**loss)
    assert not can_fuse(one) and set_impl(one) == 0
    assert "loss_by_feat" not in vars(one)


def test_heads_with_several_losses_or_their_own_stay():
    two = head()
    two.loss_decode = torch.nn.ModuleList([two.loss_decode, two.loss_decode])
    assert not can_fuse(two)

    class Own(FCNHead):
        def loss_by_feat(self, seg_logits, batch_data_samples):
            return {}

    assert not can_fuse(Own(num_convs=0, in_channels=5, channels=5, num_classes=5,
                            concat_input=False))  # fmt: skip


def model():
    decode = dict(type="FCNHead", in_channels=8, channels=8, num_classes=5, num_convs=1,
                  loss_decode=dict(type="CrossEntropyLoss"))  # fmt: skip
    stem = dict(type="mmseg.UNet", in_channels=3, base_channels=8, num_stages=2,
                strides=(1, 1), enc_num_convs=(1, 1), dec_num_convs=(1,), downsamples=(True,),
                enc_dilations=(1, 1), dec_dilations=(1,))  # fmt: skip
    return MODELS.build(dict(type="EncoderDecoder", backbone=stem,
                             decode_head=dict(decode, in_index=1),
                             auxiliary_head=dict(decode, in_channels=16, in_index=0)))  # fmt: skip


def test_every_head_of_a_model_is_fused_and_its_copies_are_their_own():
    first = model()
    assert set_impl(first) == 2
    second = copy.deepcopy(first)
    assert second.decode_head.loss_by_feat.args[0] is second.decode_head
    assert set_impl(second, "eager") == 0
    assert "loss_by_feat" in vars(first.decode_head)
    assert not {"loss_by_feat"} & vars(second.decode_head).keys()


def test_hardness_losses_follow():
    box = torch.nn.ModuleList([HardnessLoss()])
    assert set_impl(box, "eager") == 0 and box[0].impl == "eager"
    assert set_impl(box) == 1 and box[0].impl == "fused"
    with pytest.raises(ValueError, match="loss_impl must be one of fused, eager; got 'fast'"):
        set_impl(box, "fast")
