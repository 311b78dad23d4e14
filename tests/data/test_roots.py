"""``--data-root [NAME=]DIR``, one form in every script."""

import argparse

import pytest

from data.errors import DataError
from data.roots import Roots, add_root_flag


def test_names_come_before_the_bare_folder():
    roots = Roots.parse(["/data/rest", "gtav=/a=b", "camvid=c"])
    assert [roots.of(name) for name in ("gtav", "camvid", "cityscapes")] == [
        "/a=b", "c", "/data/rest"]  # fmt: skip
    assert Roots.parse(roots.flags()[1:]) == roots
    assert Roots().of("gtav") is None and Roots().flags() == []
    assert Roots.parse(["/odd=name/x"]).of("camvid") == "/odd=name/x"
    assert Roots.parse(["/a", "/a"]).of("camvid") == "/a"


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["cityscape=/a"], "did you mean cityscapes"),
        (["camvid="], "give DIR, or NAME=DIR"),
        (["=/a"], "give DIR, or NAME=DIR"),
        (["camvid=/a", "camvid=/b"], "--data-root camvid=/b: is /a already"),
        (["/a", "/b"], "--data-root /b: is /a already"),
    ],
)
def test_what_is_no_root_is_refused(texts, words):
    with pytest.raises(DataError, match=words):
        Roots.parse(texts)


def test_the_flag_may_be_given_several_times():
    parser = argparse.ArgumentParser()
    add_root_flag(parser)
    args = parser.parse_args(["--data-root", "a", "camvid=b", "--data-root", "gtav=c"])
    assert args.data_root == ["a", "camvid=b", "gtav=c"]
