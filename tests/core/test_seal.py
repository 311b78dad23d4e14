"""A changed bit is found, wherever it lies; a sealed file stays torch's and zip's."""

import io
import random
import zipfile

import pytest
import torch

from core import seal


def saved() -> bytes:
    buffer = io.BytesIO()
    weights = {f"layer{i}.weight": torch.randn(40, 50) for i in range(10)}
    torch.save(dict(state_dict=weights, meta=dict(iter=3)), buffer)
    return buffer.getvalue()


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "a.pth"
    path.write_bytes(b"".join(seal.sealed(saved())))
    return path


def test_a_sealed_file_is_torchs_and_zips(sealed):
    assert seal.damage(sealed) is None
    for mapped in (False, True):
        content = torch.load(sealed, weights_only=True, mmap=mapped)
        assert content["meta"] == dict(iter=3)
    assert zipfile.ZipFile(sealed).testzip() is None


def test_every_flipped_bit_is_found(sealed, monkeypatch):
    monkeypatch.setattr(seal, "BLOCK", 10_000)  # several
    whole = b"".join(seal.sealed(saved()))
    rng = random.Random(0)
    places = {*range(200), *range(len(whole) - 300, len(whole)),
              *(rng.randrange(len(whole)) for _ in range(500))}  # fmt: skip
    for at in places:
        content = bytearray(whole)
        content[at] ^= 1 << rng.randrange(8)
        sealed.write_bytes(content)
        begins = at < 4  # no archive any more to us, and none to torch
        assert seal.damage(sealed) or begins, at
        if begins:
            with pytest.raises(Exception):  # noqa: B017
                torch.load(sealed, weights_only=True)


@pytest.mark.parametrize("at", [0.3, 0.5, 0.9])
def test_a_hole_of_zeros_is_found(at, sealed):
    content = bytearray(sealed.read_bytes())
    start = int(at * len(content))
    content[start : start + 4096] = bytes(4096)
    sealed.write_bytes(content)
    assert seal.damage(sealed)


@pytest.mark.parametrize("cut", [1, 10, 22, 100, 5000])
def test_a_cut_file_is_found(cut, sealed):
    sealed.write_bytes(sealed.read_bytes()[:-cut])
    assert seal.damage(sealed)


@pytest.mark.parametrize("offset", range(-3, 4))
def test_blocks_end_where_they_may(offset, sealed, monkeypatch):
    content = saved()
    for blocks in (1, 2):
        monkeypatch.setattr(seal, "BLOCK", (len(content) - 22) // blocks + offset)
        sealed.write_bytes(b"".join(seal.sealed(content)))
        assert seal.damage(sealed) is None


def test_a_foreign_archive_has_the_sums_of_its_writer(tmp_path):
    path, content = tmp_path / "foreign.pth", bytearray(saved())
    path.write_bytes(content)
    assert seal.damage(path) is None
    middle = len(content) // 2
    content[middle : middle + 4096] = bytes(4096)
    path.write_bytes(content)
    assert "does not have the sum that was written" in seal.damage(path)


def test_a_compressed_archive_is_not_unpacked(tmp_path):
    """A few kB of it could fill the memory."""
    path = tmp_path / "bomb.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(10**6))
    assert "compressed" in seal.damage(path)


def test_an_archive_with_words_of_others_is_no_damaged_one(tmp_path):
    path = tmp_path / "theirs.pth"
    path.write_bytes(saved())
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"from my lab"
    assert seal.damage(path) is None


def test_of_another_file_nothing_is_known(tmp_path):
    path = tmp_path / "old.pth"
    torch.save(dict(a=torch.ones(3)), path, _use_new_zipfile_serialization=False)
    assert seal.damage(path) is None
    assert [*seal.sealed(path.read_bytes())] == [path.read_bytes()]
