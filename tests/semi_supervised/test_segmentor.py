"""One step of U²PL: what each loss is made of, whom it teaches, and how the teacher follows."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from core.hardness import HardnessLoss
from core.hl_head import classifier_input
from semi_supervised.u2pl.head import U2PLHead, representation_head
from semi_supervised.u2pl.losses import ohem_cross_entropy


@pytest.fixture
def make(u2pl_config, build, tmp_path):
    """``make(...)``: a model, initialised from seed 0, in training at its first step."""

    def model(**settings):
        built = build(u2pl_config(tmp_path, **settings))
        built.set_progress(0, 12)
        return built.train()

    return model


@pytest.fixture
def pair(tiny_batch):
    """Two labeled and two unlabeled images; the unlabeled ones are padded on the right."""
    images, samples = tiny_batch()
    unlabeled = copy.deepcopy(samples)
    for sample in unlabeled:
        sample.gt_sem_seg.data = torch.zeros_like(sample.gt_sem_seg.data)
        sample.gt_sem_seg.data[..., -8:] = 255
    return dict(
        labeled=dict(inputs=images, data_samples=samples),
        unlabeled=dict(inputs=images.flip(3), data_samples=unlabeled),
    )


def gradients(model, loss):
    model.zero_grad()
    loss.backward(retain_graph=True)
    return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.any()}


def parts(names):
    """The modules that parameters belong to, student.backbone and the like."""
    return {".".join(name.split(".")[:2]) for name in names}


def test_each_loss_teaches_what_it_should(make, pair):
    """The HL branch learns from its own loss alone; the teacher from none."""
    model = make(contrastive=dict(current_class_threshold=0.0))  # an untrained net is never sure
    losses = model(**pair, mode="loss")
    backbone, head, aux = (f"student.{x}" for x in ("backbone", "decode_head", "auxiliary_head"))
    assert parts(gradients(model, losses["loss_sup"])) == {backbone, head}
    assert parts(gradients(model, losses["loss_hl"])) == {"student.hl_head"}
    assert parts(gradients(model, losses["loss_aux_0"])) == {backbone, aux}
    assert parts(gradients(model, losses["loss_unsup"])) == {backbone, head}
    model(**pair, mode="loss")  # the bank holds keys now
    contrastive = model(**pair, mode="loss")["loss_contrastive"]
    assert contrastive > 0
    assert parts(gradients(model, contrastive)) == {backbone, head, "representation.student"}
    assert all(p.grad is None for n, p in model.named_parameters() if "teacher" in n)


def test_labeled_loss_is_hardness_weighted_through_core(make, pair):
    """Eq. 4 and 5 on the labeled half of the batch, computed here from what the heads gave."""
    model = make()
    seen, hl = [], []
    model.student.decode_head.forward = _recorded(model.student.decode_head.forward, seen)
    model.student.hl_head.forward = _recorded(model.student.hl_head.forward, hl)
    losses = model(**pair, mode="loss")
    (features, seg_logits), (hl_features, hl_logits) = seen[0], hl[0]
    assert all(
        torch.equal(mine, whole[:2]) for mine, whole in zip(hl_features, features, strict=True)
    )
    label = torch.cat([s.gt_sem_seg.data for s in pair["labeled"]["data_samples"]])
    out = HardnessLoss()(seg_logits[:2], hl_logits, label)
    assert torch.equal(losses["loss_sup"], out.loss_seg)
    assert torch.equal(losses["loss_hl"], out.loss_hl)


def _recorded(function, seen):
    def call(features):
        seen.append((features, function(features)))
        return seen[-1][1]

    return call


def test_without_hl_the_labeled_loss_is_ohem(make, pair):
    model = make(hl=False)
    seen = []
    model.student.decode_head.forward = _recorded(model.student.decode_head.forward, seen)
    losses = model(**pair, mode="loss")
    label = torch.cat([s.gt_sem_seg.data for s in pair["labeled"]["data_samples"]])
    logits = F.interpolate(seen[0][1][:2], size=(32, 48), mode="bilinear", align_corners=False)
    assert torch.allclose(losses["loss_sup"], ohem_cross_entropy(logits, label, min_kept=500))
    assert "loss_hl" not in losses and not hasattr(model, "predict_scores")


@pytest.mark.parametrize("images", [1, 2, 4])
def test_ohem_keeps_the_same_share_of_any_batch(images, make, pair):
    """500 pixels of two images are 250 of one and 1,000 of four."""
    model = make(hl=False).double()
    label = torch.cat([s.gt_sem_seg.data for s in pair["labeled"]["data_samples"]] * 2)[:images]
    torch.manual_seed(0)
    logits = 5 * torch.randn(images, 5, *label.shape[1:], dtype=torch.float64)
    loss = model._criterion(model.student.decode_head, logits, label)
    want = ohem_cross_entropy(logits, label, thresh=0.7, min_kept=250 * images)
    assert torch.equal(loss, want)


def test_sup_only_is_the_student_alone(make, pair):
    model = make(hl=False, sup_only=True)
    assert model.teacher is None and set(model.loss(pair["labeled"])) == {"loss_sup", "loss_aux_0"}
    assert model.deployed is model.student
    assert not any(n.startswith("representation") for n, _ in model.named_parameters())


def test_a_network_without_auxiliary_heads_trains(u2pl_config, build, pair, tmp_path):
    cfg = u2pl_config(tmp_path)
    cfg.model.segmentor.pop("auxiliary_head")
    model = build(cfg).train()
    model.set_progress(0, 12)
    losses = model(**pair, mode="loss")
    assert not any("aux" in name for name in losses) and losses["loss_sup"] > 0


def test_arms_start_from_the_same_weights(make):
    """A seed gives SupOnly, U²PL and U²PL + HL the same student."""
    models = [make(), make(hl=False), make(hl=False, sup_only=True)]
    students = [model.student.state_dict() for model in models]
    for key, value in students[2].items():
        assert all(torch.equal(student[key], value) for student in students), key
    first, second = (model.representation.state_dict() for model in models[:2])
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_pseudo_labels_are_the_teachers_and_not_on_padding(make, pair):
    model = make(unsupervised=dict(aug_prob=0.0))
    unlabeled = pair["unlabeled"]
    images, pseudo = model._pseudo_label(unlabeled)
    teacher = copy.deepcopy(model.teacher).eval()
    with torch.no_grad():
        logits = teacher.encode_decode(
            unlabeled["inputs"], [s.metainfo for s in unlabeled["data_samples"]]
        )
    assert images is unlabeled["inputs"]
    assert torch.equal(pseudo[..., :-8], logits.argmax(dim=1)[..., :-8])
    assert (pseudo[..., -8:] == 255).all()
    assert model.teacher.training
    released = make(as_released=dict(pseudo_labels_on_padding=True))
    assert (released._pseudo_label(unlabeled)[1] != 255).all()


def test_images_are_mixed_half_of_the_time(make, pair):
    model, images = make(), pair["unlabeled"]["inputs"]
    torch.manual_seed(0)
    mixed = sum(model._pseudo_label(pair["unlabeled"])[0] is not images for _ in range(6))
    assert 0 < mixed < 6


def test_teacher_is_the_moving_average(make):
    """Against the recursion in float64: decay min(1 - 1 / (t + 1), 0.99)."""
    model = make()
    name = "decode_head.conv_seg.weight"
    student, teacher = dict(model.student.named_parameters())[name], None
    for step in range(6):
        model.set_progress(step, 12)
        with torch.no_grad():
            student.add_(torch.randn_like(student))
        before = model.teacher.decode_head.conv_seg.weight.double() if teacher is None else teacher
        decay = min(1 - 1 / (step + 1), 0.99)
        teacher = decay * before + (1 - decay) * student.double()
        model.update_teacher()
        assert torch.allclose(
            model.teacher.decode_head.conv_seg.weight.double(), teacher, atol=1e-6
        )
    assert not torch.equal(model.teacher.decode_head.conv_seg.weight, student)


def test_released_teacher_is_the_student_in_the_first_epoch(make):
    model = make(as_released=dict(teacher_is_student_first_epoch=True))
    student, teacher = model.student.decode_head.conv_seg, model.teacher.decode_head.conv_seg
    for step in range(12):
        model.set_progress(step, 12)  # 3 steps an epoch
        with torch.no_grad():
            student.weight.add_(1)
        model.update_teacher()
        assert torch.equal(student.weight, teacher.weight) == (step < 3)


def test_supervised_epochs_come_first(make, pair):
    """Until then the teacher, which predicts and is exported, is the student, BatchNorm statistics
    and all; and every parameter is in the graph that DDP waits for."""
    model = make(sup_only_epoch=1)

    def differing():
        student, teacher = model.student.state_dict(), model.teacher.state_dict()
        return {name for name, value in teacher.items() if not torch.equal(student[name], value)}

    for step in range(3):  # 3 steps an epoch
        model.set_progress(step, 12)
        losses = model(**pair, mode="loss")
        assert "loss_unsup" not in losses and model.deployed is model.teacher
        sum(v for k, v in losses.items() if "loss" in k).backward()
        assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
        assert "decode_head.convs.0.bn.running_mean" in differing()
        with torch.no_grad():
            for parameter in model.student.parameters():
                parameter.add_(1)
        model.update_teacher()
        assert not differing()

    model.set_progress(3, 12)
    assert "loss_unsup" in model(**pair, mode="loss")
    model.update_teacher()
    model.set_progress(4, 12)
    with torch.no_grad():
        model.student.decode_head.conv_seg.weight.add_(1)
    model.update_teacher()
    assert "decode_head.conv_seg.weight" in differing()


def test_course_of_the_training_goes_by_epochs(make, pair, monkeypatch):
    """drop_percent rises from 80, low_entropy_threshold falls from 20, both by whole epochs."""
    import semi_supervised.u2pl.segmentor as module

    seen = []
    split = module.split_by_entropy

    def spy(*args, **kwargs):
        seen.append((kwargs["kept"], kwargs["reliable"]))
        return split(*args, **kwargs)

    monkeypatch.setattr(module, "split_by_entropy", spy)
    model = make()
    for step in (0, 2, 3, 11):
        model.set_progress(step, 12)
        model(**pair, mode="loss")
    assert seen == [(80, 20), (80, 20), (85, 15), (95, 5)]


def test_published_decoder():
    """Shapes and weights of the decoder: 256 planes, a classifier of three convolutions that reads
    low-level and ASPP features side by side; the representation head reads the same."""
    cfg = dict(
        type="U2PLHead", in_channels=64, in_index=3, channels=16, dilations=(1, 12, 24, 36),
        c1_in_channels=8, c1_channels=16, dropout_ratio=0.1, num_classes=5, align_corners=True,
        norm_cfg=dict(type="BN"),
        loss_decode=dict(type="CrossEntropyLoss", avg_non_ignore=True))  # fmt: skip
    head = MODELS.build(cfg)
    head.init_weights()
    assert isinstance(head, U2PLHead)
    convs = [m for m in head.conv_seg.modules() if isinstance(m, torch.nn.Conv2d)]
    kernels = [tuple(m.weight.shape) for m in convs]
    assert kernels == [(16, 32, 3, 3), (16, 16, 3, 3), (5, 16, 1, 1)]
    bn = [m for m in head.conv_seg.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all((m.weight == 1).all() for m in bn)
    features = [torch.randn(2, c, s, s) for c, s in ((8, 12), (16, 6), (32, 3), (64, 3))]
    with classifier_input(head) as seen:
        logits = head.forward(features)
    (fused,) = seen
    rep = representation_head(head, 10)(fused)
    assert logits.shape == (2, 5, 12, 12) and rep.shape == (2, 10, 12, 12)
    assert fused.shape == (2, 32, 12, 12) and not head.conv_seg._forward_pre_hooks
