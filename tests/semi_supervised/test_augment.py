"""CutMix, ClassMix and CutOut, pixel by pixel."""

import numpy as np
import pytest
import torch

from semi_supervised.u2pl.augment import augment, box_mask, class_mask


def made(n=3, height=24, width=40):
    g = torch.Generator().manual_seed(1)
    images = torch.rand(n, 3, height, width, generator=g)
    return images, torch.randint(0, 5, (n, height, width), generator=g)


def test_box_is_the_published_one():
    """Drawn again by the published steps from the same state of NumPy's generator."""
    for seed in range(50):
        np.random.seed(seed)
        mask = box_mask(24, 40)
        np.random.seed(seed)
        area = 24 * 40 / 2
        w = np.random.randint(40 / 2 + 1, 40)
        h = np.round(area / w)
        x = np.random.randint(0, 40 - w + 1)
        y = np.random.randint(0, 24 - h + 1)
        expected = torch.ones(24, 40, dtype=torch.bool)
        expected[int(y) : int(y + h), int(x) : int(x + w)] = False
        assert torch.equal(mask, expected)
        assert abs(int((~mask).sum()) - area) <= w / 2


def test_cutmix_takes_image_and_label_of_the_next_where_the_box_is():
    images, label = made()
    np.random.seed(3)
    mixed, mixed_label = augment(images, label, "cutmix")
    np.random.seed(3)
    for i in range(3):
        keep = box_mask(24, 40)
        for y, x in np.ndindex(24, 40):
            source = i if keep[y, x] else (i + 1) % 3
            assert torch.equal(mixed[i, :, y, x], images[source, :, y, x])
            assert mixed_label[i, y, x] == label[source, y, x]


def test_cutout_fills_the_box_with_zeros_and_drops_its_label():
    images, label = made()
    np.random.seed(4)
    mixed, mixed_label = augment(images, label, "cutout")
    np.random.seed(4)
    for i in range(3):
        keep = box_mask(24, 40)
        assert torch.equal(mixed[i], images[i] * keep)
        assert torch.equal(mixed_label[i] == 255, ~keep)
        assert torch.equal(mixed_label[i][keep], label[i][keep])


def test_classmix_keeps_half_of_the_classes():
    images, label = made()
    for one in label:
        kept = torch.unique(one[class_mask(one)])
        assert len(kept) == len(torch.unique(one)) // 2
        assert torch.equal(class_mask(torch.zeros(2, 2)), torch.zeros(2, 2, dtype=torch.bool))
    torch.manual_seed(5)
    mixed, mixed_label = augment(images, label, "classmix")
    torch.manual_seed(5)
    for i in range(3):
        keep = class_mask(label[i])
        assert torch.equal(mixed[i], torch.where(keep, images[i], images[(i + 1) % 3]))
        assert torch.equal(mixed_label[i], torch.where(keep, label[i], label[(i + 1) % 3]))


def test_classmix_draws_among_classes_alone():
    """Two classes and padding: always one of the two, never the padding."""
    label = torch.tensor([[0, 1, 255]]).expand(4, 3)
    for seed in range(8):
        torch.manual_seed(seed)
        assert torch.unique(label[class_mask(label)]).tolist() in ([0], [1])
    assert torch.unique(label[class_mask(label, ignore_index=1)]).tolist() in ([0], [255])


def test_inputs_are_left_alone_and_unknown_modes_refused():
    images, label = made()
    before = images.clone(), label.clone()
    for mode in ("cutmix", "cutout", "classmix"):
        augment(images, label, mode)
    assert torch.equal(images, before[0]) and torch.equal(label, before[1])
    with pytest.raises(ValueError, match="cutmix, classmix, cutout; got 'mixup'"):
        augment(images, label, "mixup")
