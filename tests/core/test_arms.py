"""Arms: one table for flags, folders, results and the report."""

import inspect

import pytest

from core.arms import KINDS, WEIGHTINGS, Arm, Asked, with_released
from core.errors import CannotConvert
from core.hardness import IGNORED, NORMALIZE, HardnessLoss
from core.hl_head import HEADS, Branch

TEXTS = ["baseline", "sup-only", "hl", "hl c=0.5 alpha=1", "hl alpha=0.001 normalize=batch",
         "hl alpha=auto", "ce-scaled alpha=auto@200", "hl c=0.5 alpha=auto@2.5",
         "ohem thresh=0.6 min_kept=100000", "focal gamma=1.5", "ce-scaled ignored=include",
         "collected c=0.2", "balanced", "balanced reduction=weights"]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_text_and_arm_are_inverse(text):
    arm = Arm.parse(text)
    assert str(arm) == text and Arm.parse(str(arm)) == arm
    assert arm.folder == text.replace(" ", "-")
    assert hash(arm) == hash(Arm.parse(text))


def test_an_arm_in_all_its_forms():
    arm = Arm.parse("hl c=0.50 alpha=1e0")
    assert str(arm) == "hl c=0.5 alpha=1"
    assert arm.weighting == "hl"
    assert arm.flags == ["--weighting", "hl", "--options", "c=0.5", "alpha=1"]
    given = dict(c=0.5, alpha=1.0, normalize="image", ignored="exclude", head="faithful", every=1.0)
    assert arm.settings == given
    assert arm.title() == "+HL, c=0.5 alpha=1"
    assert arm.title(dict(hl="U²PL + HL")) == "U²PL + HL, c=0.5 alpha=1"
    assert Arm.parse("ce") == Arm.parse("baseline")
    assert str(Arm.parse("hl alpha=1 c=0.5")) == "hl c=0.5 alpha=1"  # equal arms, one text
    assert Arm.parse("baseline").flags == ["--weighting", "ce"]
    assert Arm.parse("sup-only").flags == ["--sup-only"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "unknown arm ''"),
        ("hinge", "unknown arm 'hinge', there are: sup-only, baseline"),
        ("hll", "did you mean hl"),
        ("baseline c=0.1", "baseline has no option 'c'; it has none"),
        ("balanced reduction=mean", "reduction must be one of pixels, weights; got mean"),
        ("focal c=0.1", "no option 'c'; it has gamma"),
        ("focal gamma=-1", "gamma must be >= 0; got -1"),
        ("ohem thresh=7", "thresh must be a probability"),
        ("ohem min_kept=1", "min_kept must be a number of pixels"),
        ("hl c=0", "c must be > 0"),
        ("hl c=nan", "c must be > 0"),
        ("hl alpha=inf", "alpha must be >= 0"),
        ("hl alpha=auto@", "alpha must be >= 0, auto .the published dose. or auto@DOSE; got auto@"),
        ("hl alpha=auto@-1", "alpha must be >= 0"),
        ("hl alpha=Auto", "alpha must be >= 0"),
        ("hl c=many", "c must be > 0"),
        ("hl c=True", "c must be > 0"),
        ("collected c=inf", "c must be > 0"),
        ("ce-scaled alpha=nan", "alpha must be >= 0"),
        ("ohem thresh=2", "thresh must be a probability, 0 < thresh <= 1; got 2"),
        ("ohem min_kept=inf", "min_kept must be a number of pixels, >= 2; got inf"),
        ("ohem min_kept=x", "min_kept must be a number of pixels"),
        ("focal gamma=x", "gamma must be >= 0; got x"),
        ("focal gamma=nan", "gamma must be >= 0"),
        ("hl normalize=all", "normalize must be one of image, batch"),
        ("hl C=0.1", "hl has no option 'C'; it has c, alpha, normalize, ignored"),
        ("hl c", "'c': an option of hl is KEY=VALUE"),
        ("hl c=1 c=2", "c is given twice: 1 and 2"),
    ],
)
def test_what_is_no_arm_is_refused_in_one_line(text, words):
    with pytest.raises(CannotConvert, match=words) as error:
        Arm.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["hl", "ce-scaled", "collected"])
def test_options_and_defaults_are_those_of_the_loss(name):
    """The table is read without torch: it says again what the loss says, and must say the same."""
    defaults = {
        key: parameter.default
        for cls in (HardnessLoss, Branch)
        for key, parameter in inspect.signature(cls).parameters.items()
    }
    for key, option in KINDS[name].options.items():
        assert option.default == defaults[key]
    assert all(Arm.parse(f"hl normalize={word}") for word in NORMALIZE)
    assert all(Arm.parse(f"hl ignored={word}") for word in IGNORED)
    assert all(Arm.parse(f"hl head={word}") for word in HEADS)
    for text in ("hl c=0", "hl alpha=-1", "hl normalize=x"):
        key, _, value = text.split()[1].partition("=")
        with pytest.raises(ValueError, match=key):
            HardnessLoss(**{key: value if key == "normalize" else float(value)})


def test_every_weighting_is_an_arm():
    assert WEIGHTINGS == ("ce", "balanced", "ohem", "focal", "ce-scaled", "collected", "hl")
    assert {Arm.parse(name).weighting for name in WEIGHTINGS} == set(WEIGHTINGS)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("hl", "hl normalize=batch ignored=include"),
        ("hl alpha=1 normalize=batch", "hl alpha=1 normalize=batch ignored=include"),
        ("ce-scaled c=0.5", "ce-scaled c=0.5 normalize=batch ignored=include"),
        ("collected", "collected normalize=batch ignored=include"),
        ("balanced", "balanced"),  # its default is the released one
        ("balanced reduction=pixels", "balanced reduction=pixels"),
        ("ohem thresh=0.6", "ohem thresh=0.6"),
        ("baseline", "baseline"),
        ("sup-only", "sup-only"),
    ],
)
def test_as_released_is_told_by_the_options(text, want):
    arm = Arm.parse(text).as_released()
    assert str(arm) == want and arm.as_released() == arm == Arm.parse(want)
    name, *pairs = text.split()
    assert str(Asked(name, tuple(pairs), as_released=True).arm("focal")) == want


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hl normalize=image", "makes hl normalize=batch, but normalize=image is given: leave"),
        ("ce-scaled ignored=exclude", "makes ce-scaled ignored=include, but ignored=exclude"),
        ("balanced reduction=weights", "reduction=pixels, but reduction=weights is given"),
    ],
)
def test_options_that_contradict_as_released_are_refused(text, words):
    with pytest.raises(CannotConvert, match=words):
        Arm.parse(text).as_released()


def test_published_figures_stand_beside_the_released_definition_too():
    figures = with_released({"baseline": 1.0, "hl": 2.0, "hl c=0.5": 3.0})
    assert figures == {
        "baseline": 1.0,
        "hl": 2.0,
        "hl normalize=batch ignored=include": 2.0,
        "hl c=0.5": 3.0,
        "hl c=0.5 normalize=batch ignored=include": 3.0,
    }
