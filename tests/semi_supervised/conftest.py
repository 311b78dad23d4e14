"""The transcription of the released algorithm, made-up batches, and runs of U²PL on a tiny set."""

import copy
import importlib.util
import types
from pathlib import Path

import pytest

import core.engine.run  # noqa: F401  (registers what prepare() names)
from core.engine.prepare import prepare
from semi_supervised.u2pl.build import IMPORTS

HERE = Path(__file__).resolve().parent


def load(name: str) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def published():
    """``published_u2pl.py``."""
    return load("published_u2pl")


@pytest.fixture
def batch():
    """``batch(seed, classes, absent)``: 2 + 2 images in float64, representations 9 x 9 of 6 values,
    labels 33 x 33; some pixels ignored, the classes ``absent`` nowhere in a label."""
    return load("published_u2pl").made_up_batch


@pytest.fixture
def tiny_settings():
    """``tiny_settings(**trainer)``: the settings of a run on ``tiny_data``, as nested dicts."""

    def make(**trainer):
        return dict(
            dataset=dict(
                type="streets", train=dict(crop=dict(size=(32, 48)), rand_resize=(1.0, 1.5))
            ),
            net=dict(config="none", rep_planes=8),
            trainer=dict(
                dict(epochs=4, contrastive=dict(
                    num_queries=16, num_negatives=5, memory_size=50, memory_size_first=70)),
                **trainer),
            criterion=dict(kwargs=dict(min_kept=500)),
        )  # fmt: skip

    return make


@pytest.fixture
def u2pl_config(tiny_config, tiny_data, tiny_settings, fresh_mmengine):
    """``u2pl_config(work_dir, hl, sup_only, ...)``: a prepared run of 12 iterations on
    ``tiny_data``, whose images are at once the labeled and the unlabeled ones."""

    def make(work_dir, hl=True, sup_only=False, resume=False, as_released=None, **trainer):
        fresh_mmengine()
        cfg = tiny_config()
        cfg.merge_from_dict(tiny_data)
        cfg.custom_imports = dict(imports=list(IMPORTS), allow_failed_imports=False)
        settings = dict(tiny_settings(**trainer), as_released=as_released or {})
        segmentor = cfg.model
        cfg.model = dict(
            type="U2PL", segmentor=segmentor, settings=settings, hl=hl, sup_only=sup_only,
            data_preprocessor=dict(segmentor.data_preprocessor, type="PairPreProcessor"),
        )  # fmt: skip
        if not sup_only:
            labeled = cfg.train_dataloader.dataset
            unlabeled = copy.deepcopy(labeled)
            unlabeled.pipeline[1] = dict(type="NoAnnotations")
            cfg.train_dataloader.dataset = dict(
                type="PairDataset", labeled=labeled, unlabeled=unlabeled
            )
            cfg.train_dataloader.sampler.type = "PairSampler"
            cfg.custom_hooks = [dict(type="TeacherHook")]
        return prepare(cfg, work_dir=work_dir, title="tiny", seed=0, resume=resume)

    return make
