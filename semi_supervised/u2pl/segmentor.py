"""Student and teacher: one training step of U²PL, with or without hardness weights.

    supervised      the student on the labeled images: OHEM cross-entropy, or weighted by hardness
    pseudo labels   the teacher on the unlabeled images, which are then mixed
    unsupervised    the student on the mixed images, where the teacher is sure
    contrastive     representations of both, where the teacher is not

During ``sup_only_epoch`` epochs on labeled images alone the teacher is a copy of the student, after
every step; then it is the student's moving average. Its BatchNorm statistics, which begin as the
student's, are from then on its own, of its second pass, in which it also drops features, both as in
the released code; which resets the teacher's weights to the student's at every step of the first
semi-supervised epoch (``as_released.teacher_is_student_first_epoch``), so that averaging starts one
epoch later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.models import BaseSegmentor
from mmseg.registry import HOOKS, MODELS
from torch import Tensor, nn

from core import fused
from core.convert import to_hl
from core.engine.resuming import unwrapped
from core.hl_head import classifier_input
from core.segmentors import stack_labels
from semi_supervised.u2pl.augment import augment
from semi_supervised.u2pl.contrastive import ContrastiveLoss, Pixels
from semi_supervised.u2pl.head import representation_head
from semi_supervised.u2pl.losses import (
    ema_decay,
    kept_percent,
    ohem_cross_entropy,
    split_by_entropy,
    unsupervised_loss,
)
from semi_supervised.u2pl.settings import Settings, from_dict


class Outputs(NamedTuple):
    """``features`` of the backbone, ``seg_logits`` (N, C, h, w), ``seen``, what the classifier
    read, (N, K, h, w), and ``rep`` (N, D, h, w)."""

    features: list[Tensor]
    seg_logits: Tensor
    seen: Tensor
    rep: Tensor | None


@MODELS.register_module()
class U2PL(BaseSegmentor):
    """A student and, unless ``sup_only``, its teacher, which predicts.

    Args:
        segmentor: config of the network, an ``EncoderDecoder`` with one decode head.
        settings: :class:`~semi_supervised.u2pl.settings.Settings` as nested dicts.
        student: config of the network whose main head's loss on the labeled images is weighted as
            :func:`core.weighting.with_weighting` writes it; None: by the settings' criterion.
        sup_only: the student on the labeled images alone.
        hl: what configs of version 0.4 have in the place of ``student``: HL by the settings.

    Attributes:
        goes_by_length: epochs are shares of ``max_iters``, so a step depends on it.
        student: the network, with an HL branch if ``hl``.
        teacher: the network; None if ``sup_only``.
    """

    goes_by_length = True

    def __init__(
        self,
        segmentor: dict,
        settings: dict,
        student: dict | None = None,
        sup_only: bool = False,
        hl: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor=data_preprocessor, init_cfg=init_cfg)
        self.settings = from_dict(Settings, _plain(settings))
        s = self.settings
        config = ConfigDict(segmentor)
        if hl is True:
            student = to_hl(Config(dict(model=config)), **vars(s.hl)).model
        self.student = MODELS.build(student or config)
        self.has_own_loss = student is not None
        self.num_classes = self.student.num_classes
        self.ignore_index = self.student.decode_head.ignore_index
        self.teacher = self.contrastive = None
        if not sup_only:
            # The generator is put back: a seed gives the student of SupOnly and of U²PL the same
            # weights.
            with torch.random.fork_rng(devices=[]):
                self._add_teacher(config)
        if hasattr(self.student, "hl_head"):
            self.predict_scores = self.student.predict_scores
        self.epoch, self.progress, self.semi_step = 0, 0.0, 0  # see set_progress

    def _add_teacher(self, config: ConfigDict) -> None:
        head, s = self.student.decode_head, self.settings
        planes = s.net.rep_planes
        self.representation = nn.ModuleDict(
            {name: representation_head(head, planes) for name in ("student", "teacher")}
        )
        self.contrastive = ContrastiveLoss(
            s.trainer.contrastive, self.num_classes, planes, s.as_released
        )
        self.teacher = MODELS.build(config)
        for module in (self.teacher, self.representation["teacher"]):
            module.requires_grad_(False)

    def init_weights(self) -> None:
        super().init_weights()
        if self.teacher is not None:
            self._copy_student(buffers=True)

    def set_progress(self, iteration: int, max_iters: int) -> None:
        """Where the training stands; called before each step.

        Epochs are equal shares of ``max_iters``, however short the training is made; all that is
        relaxed in its course goes by whole epochs, as published.
        """
        trainer = self.settings.trainer
        self.epoch = iteration * trainer.epochs // max_iters
        self.progress = self.epoch / trainer.epochs
        first = -(-trainer.sup_only_epoch * max_iters // trainer.epochs)
        self.semi_step = iteration - first  # 0 at the first step with unlabeled images

    def update_teacher(self) -> None:
        """After a step of the optimizer: ``teacher = decay * teacher + (1 - decay) * student``."""
        if self.teacher is None:
            return
        if self.semi_step < 0:
            self._copy_student(buffers=True)
            return
        first_epoch = self.epoch == self.settings.trainer.sup_only_epoch
        if self.settings.as_released.teacher_is_student_first_epoch and first_epoch:
            self._copy_student()
            return
        decay = ema_decay(self.semi_step, self.settings.net.ema_decay)
        with torch.no_grad():
            for mine, theirs in self._pairs("parameters"):
                mine.lerp_(theirs, 1 - decay)

    @torch.no_grad()
    def _copy_student(self, buffers: bool = False) -> None:
        for mine, theirs in self._pairs("parameters"):
            mine.copy_(theirs)
        for mine, theirs in self._pairs("buffers") if buffers else ():
            mine.copy_(theirs)

    def _pairs(self, kind: str) -> list[tuple[Tensor, Tensor]]:
        """(teacher's, student's) parameters or buffers; an HL branch has no match."""
        out, rep = [], self.representation
        for mine, theirs in ((self.teacher, self.student), (rep["teacher"], rep["student"])):
            named = dict(getattr(theirs, f"named_{kind}")())
            out += [(x, named[name]) for name, x in getattr(mine, f"named_{kind}")()]
        return out

    # One step -----------------------------------------------------------------------------------

    def loss(self, labeled: dict, unlabeled: dict | None = None) -> dict[str, Tensor]:
        """Losses of a batch, by name; their sum is minimised.

        Args:
            labeled: ``inputs`` (N, 3, H, W) and ``data_samples`` with labels.
            unlabeled: the same, labels 0 or, where padded, ``ignore_index``.
        """
        images, samples = labeled["inputs"], labeled["data_samples"]
        label = stack_labels(samples)
        if self.teacher is None:
            return self._supervised(self._run("student", images), label, samples)
        if self.semi_step < 0:
            student = self._run("student", images)
            nothing = student.rep.sum() * 0  # DDP waits for every parameter
            return self._supervised(student, label, samples) | dict(loss_contrastive=nothing)

        mixed, pseudo_label = self._pseudo_label(unlabeled)
        images = torch.cat([images, mixed])
        student = self._run("student", images)
        with torch.no_grad():
            teacher = self._run("teacher", images)
        losses = self._supervised(student, label, samples)
        return losses | self._unlabeled(student, teacher, label, pseudo_label)

    def _run(self, name: str, images: Tensor) -> Outputs:
        network = getattr(self, name)
        features = network.extract_feat(images)
        with classifier_input(network.decode_head) as seen:
            seg_logits = network.decode_head.forward(features)
        rep = None if self.teacher is None else self.representation[name](seen[-1])
        return Outputs(features, seg_logits, seen[-1], rep)

    def _supervised(self, of: Outputs, label: Tensor, samples: list) -> dict[str, Tensor]:
        """Losses of the labeled images, the first of the batch: main head, HL and auxiliary."""
        n, student, features = len(label), self.student, of.features
        losses = self._main_head(of, label, samples)
        heads = student.auxiliary_head if student.with_auxiliary_head else nn.ModuleList()
        for i, aux in enumerate(heads if isinstance(heads, nn.ModuleList) else [heads]):
            loss = self._criterion(aux, aux.forward(features)[:n], label)
            losses[f"loss_aux_{i}"] = loss * self.settings.net.aux_loss.loss_weight
        return losses

    def _main_head(self, of: Outputs, label: Tensor, samples: list) -> dict[str, Tensor]:
        """The weighted loss of the main head on the labeled images."""
        student, head, n = self.student, self.student.decode_head, len(label)
        seg_logits = of.seg_logits[:n]
        if hasattr(student, "hl_head"):
            few = [feature[:n] for feature in of.features]
            hl_logits = student.step_logits(few, [of.seen[:n]], label.shape[1:])
            out = student.hl_loss(seg_logits, hl_logits, label)
            weight = head.loss_decode.loss_weight
            return dict(loss_sup=out.loss_seg * weight, loss_hl=out.loss_hl, ce=out.ce)
        if hasattr(student, "hl_loss"):  # maps that another model wrote
            hl_map = student.collected_map(samples, label)
            loss, _ = student.hl_loss.with_map(seg_logits, hl_map, label)
        elif self.has_own_loss:
            logits = _enlarge(head, seg_logits, label)
            return dict(loss_sup=head.loss_decode(logits, label, ignore_index=self.ignore_index))
        else:
            loss = self._criterion(head, seg_logits, label)
        return dict(loss_sup=loss * head.loss_decode.loss_weight)

    def _criterion(self, head: nn.Module, seg_logits: Tensor, label: Tensor) -> Tensor:
        criterion = self.settings.criterion
        min_kept = criterion.kept(len(label)) if criterion.type == "ohem" else 0
        return ohem_cross_entropy(
            seg_logits, label, thresh=criterion.kwargs.thresh, min_kept=min_kept,
            ignore_index=self.ignore_index, align_corners=head.align_corners)  # fmt: skip

    @torch.no_grad()
    def _pseudo_label(self, unlabeled: dict) -> tuple[Tensor, Tensor]:
        """Images, mixed or not, and the teacher's labels for them, (N, H, W)."""
        images, valid = (
            unlabeled["inputs"],
            stack_labels(unlabeled["data_samples"]) != self.ignore_index,
        )
        self.teacher.eval()
        head = self.teacher.decode_head
        seg_logits = head.forward(self.teacher.extract_feat(images))
        self.teacher.train()
        pseudo_label = _enlarge(head, seg_logits, images).argmax(dim=1)
        if not self.settings.as_released.pseudo_labels_on_padding:
            pseudo_label = pseudo_label.masked_fill(~valid, self.ignore_index)
        unsupervised = self.settings.trainer.unsupervised
        if unsupervised.apply_aug == "none" or torch.rand(()) >= unsupervised.aug_prob:
            return images, pseudo_label
        return augment(images, pseudo_label, unsupervised.apply_aug, self.ignore_index)

    def _unlabeled(
        self, student: Outputs, teacher: Outputs, label: Tensor, pseudo_label: Tensor
    ) -> dict[str, Tensor]:
        """Unsupervised and contrastive loss."""
        n, trainer = len(label), self.settings.trainer
        contrastive = trainer.contrastive
        with torch.no_grad():
            align_corners = self.teacher.decode_head.align_corners
            split = split_by_entropy(
                fused.entropy(teacher.seg_logits[n:], label.shape[1:], align_corners=align_corners),
                pseudo_label,
                kept=kept_percent(trainer.unsupervised.drop_percent, self.progress),
                reliable=contrastive.low_entropy_threshold * (1 - self.progress),
                ignore_index=self.ignore_index,
            )
            valid = pseudo_label != self.ignore_index
            pixels = Pixels.at_size_of(
                student.rep,
                teacher.rep,
                teacher.seg_logits.float().softmax(dim=1),
                torch.cat([label, pseudo_label]),
                low=split.low,
                high=split.high if contrastive.negative_high_entropy else valid,
                ignore_index=self.ignore_index,
            )
        loss = unsupervised_loss(
            student.seg_logits[n:], pseudo_label, split.kept, self.ignore_index, align_corners
        )
        return dict(
            loss_unsup=loss * trainer.unsupervised.loss_weight,
            loss_contrastive=self.contrastive(pixels) * contrastive.loss_weight,
            kept_share=split.kept.float().mean(),
        )

    # What mmseg asks of a segmentor -------------------------------------------------------------

    @property
    def deployed(self) -> BaseSegmentor:
        """The network that predicts: the teacher, if there is one."""
        return self.student if self.teacher is None else self.teacher

    def forward(
        self,
        inputs: Tensor | None = None,
        data_samples: list | None = None,
        mode: str = "tensor",
        labeled: dict | None = None,
        unlabeled: dict | None = None,
    ) -> Any:
        if mode == "loss":
            # Without unlabeled images a batch is mmseg's own.
            return self.loss(labeled or dict(inputs=inputs, data_samples=data_samples), unlabeled)
        return super().forward(inputs, data_samples, mode)

    @property
    def hl_loss(self) -> nn.Module:
        """That of a student with an HL branch, for whoever reads c and alpha."""
        return self.student.hl_loss

    def predict(self, inputs: Tensor, data_samples: list | None = None) -> list:
        return self.deployed.predict(inputs, data_samples)

    def extract_feat(self, inputs: Tensor) -> Any:
        return self.deployed.extract_feat(inputs)

    def encode_decode(self, inputs: Tensor, batch_img_metas: list) -> Tensor:
        return self.deployed.encode_decode(inputs, batch_img_metas)

    def _forward(self, inputs: Tensor, data_samples: list | None = None) -> Any:
        return self.deployed._forward(inputs, data_samples)


@HOOKS.register_module()
class TeacherHook(Hook):
    """Tells :class:`U2PL` where the training stands, and has the teacher follow."""

    def before_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        unwrapped(runner.model).set_progress(runner.iter, runner.max_iters)

    def after_train_iter(self, runner: Runner, *_: Any, **__: Any) -> None:
        unwrapped(runner.model).update_teacher()


def _enlarge(head: nn.Module, logits: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(
        logits, size=like.shape[-2:], mode="bilinear", align_corners=head.align_corners
    )


def _plain(value: Any) -> Any:
    """mmengine's ConfigDicts as dicts."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
