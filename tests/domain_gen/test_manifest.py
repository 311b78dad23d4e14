"""Networks and batches by source, and what a dry run says of them."""

import pytest

from core.configs import load_config
from data import domains
from domain_gen import manifest

OTHER = "mmseg::pspnet/pspnet_r50-d8_4xb2-40k_cityscapes-769x769.py"


@pytest.mark.parametrize(
    ("source", "config", "gpus"),
    [
        ("gtav", None, 4),
        ("gtav:train", "deeplabv3plus_r50", 4),  # ours, of the same batch
        ("gtav", OTHER, None),
        ("streets:game", None, None),
        ("camvid:day", "deeplabv3plus_r101", None),
    ],
)
def test_only_the_published_batch_is_fitted_to_the_gpus(source, config, gpus):
    assert manifest.settings_of(source, config)["gpus"] == gpus


@pytest.mark.parametrize(
    ("gpus", "words"),
    [
        ("4", "40,000 iterations, batch 8, lr 6e-05; authors' hours: n/a"),
        ("8", "40,000 iterations, batch 8, lr 6e-05; authors' hours: n/a"),
        ("1", "160,000 iterations, batch 2, lr 3e-05 (published: 40,000 of 8, lr 6e-05; "
         "square-root scaling, Malladi et al. 2022); authors' hours: n/a"),
    ],
)  # fmt: skip
def test_a_dry_run_says_what_is_trained(gpus, words, monkeypatch):
    monkeypatch.setenv("GPUS", gpus)
    assert manifest.note(manifest.settings_of("gtav"), "pytorch", None) == words
    cut = manifest.note(manifest.settings_of("gtav"), "pytorch", 7)
    assert cut == f"cut to 7 iterations; whole: {words}"
    small = manifest.note(manifest.settings_of("streets:game"), "pytorch", 400)
    assert small == "400 iterations; batch and learning rate as config and data set have them"


def test_network_and_gtav_have_the_same_number_of_images():
    """A dry run reads the network's, a training the data set's."""
    each = {
        load_config(name).train_dataloader.batch_size
        for name in (manifest.config_path("deeplabv3plus_r101"), domains.parse("gtav").entry.config)
    }
    assert each == {2}
