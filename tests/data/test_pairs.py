"""Which pairs can be trained on, and what is said of the others."""

import os

import cv2
import numpy as np
import pytest
from PIL import Image

from data.pairs import Rule, problems_of, stored_ids

IDS = Rule({0, 1, 2, 255})


@pytest.fixture
def pair(tmp_path):
    """A good image and its label, 8 wide and 6 high, ids 0-2."""
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, (6, 8)).astype(np.uint8)
    Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).save(tmp_path / "a.jpg")
    Image.fromarray(label).save(tmp_path / "a.png")
    return tmp_path / "a.jpg", tmp_path / "a.png"


def lines(pair, rule=IDS, **more):
    return [str(problem) for problem in problems_of(*pair, rule, **more)]


def tagged(path, orientation, size=(8, 6)):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", size).save(path, exif=exif)


def test_a_good_pair_has_no_problem(pair):
    assert lines(pair) == lines(pair, pixels=True) == []
    assert lines((pair[0], None)) == lines((None, pair[1]), pixels=True) == []


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_rule_for_orientation_is_that_of_the_loader(suffix, orientation, tmp_path):
    """Refused unless the decoder gives the label's size, and by a turn that shows in the size."""
    image, label = tmp_path / f"a.{suffix}", tmp_path / "l.png"
    for stored in ((8, 6), (6, 8), (6, 6)):
        tagged(image, orientation, stored)
        content = np.frombuffer(image.read_bytes(), np.uint8)
        height, width = cv2.imdecode(content, cv2.IMREAD_COLOR).shape[:2]
        Image.new("L", (width, height)).save(label)
        good = orientation == 1 or (orientation >= 5 and width != height)
        assert (lines((image, label)) == []) == good, (stored, lines((image, label)))
        Image.new("L", (height, width)).save(label)
        if width != height:
            assert len(lines((image, label))) == 1


def test_a_turned_image_is_refused_with_its_remedy(pair):
    tagged(pair[0], 6)
    (line,) = lines(pair)
    assert line == (
        f"{pair[0]}: EXIF orientation 6 has the loader turn it, but not its label (8x6, stored "
        "image 8x6); store the pixels as they belong to the label and remove the tag"
    )
    # A loader that does not turn reads the pair as it is stored.
    assert lines(pair, Rule({0, 1, 2}, turned=False)) == []


@pytest.mark.parametrize("size", [(4, 3), (16, 12), (6, 8), (1, 1)])
def test_an_image_of_another_size_than_its_label(size, pair):
    Image.new("RGB", size).save(pair[0])
    found = lines(pair)
    assert f"{pair[1]}: is 8x6, its image {size[0]}x{size[1]}" in found[-1]
    assert ("is 1x1; copy the real image" in found[0]) == (size == (1, 1))


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("RGB", "(RGB, 3 channels); its three are equal: store one of them"),
        ("RGBA", "(RGBA, 4 channels); its three are equal: store one of them"),
        ("LA", "(LA, 2 channels); store the ids as one channel of 8 bits"),
    ],
)
def test_labels_of_several_channels(mode, words, pair):
    Image.open(pair[1]).convert(mode).save(pair[1])
    (line,) = lines(pair)
    assert words in line
    Image.fromarray(np.arange(144, dtype=np.uint8).reshape(6, 8, 3)).save(pair[1])
    assert "make ids of its colours" in lines(pair)[0]


def test_palette_and_1_bit_labels_depend_on_who_decodes_them(pair):
    ids = np.asarray(Image.open(pair[1]))
    image = Image.fromarray(ids)
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 0, 255])
    for label in (image, Image.fromarray(ids == 1)):
        label.save(pair[1])
        assert lines(pair, pixels=True) == []
        assert "the config's imdecode_backend='cv2' reads colours" in lines(
            pair, Rule({0, 1, 2}, indices=False)
        )[0]  # fmt: skip


def test_16_bits_are_taken_while_the_ids_fit_in_8(pair):
    ids = np.asarray(Image.open(pair[1])).astype(np.uint16)
    Image.fromarray(ids).save(pair[1])
    assert lines(pair, pixels=True) == []
    ids[0, 0] = 258
    Image.fromarray(ids).save(pair[1])
    (line,) = lines(pair)  # by the header: the loader would read 2
    assert "label id 258 is no whole number of 0 to 255, the loader would wrap it" in line


def test_ids_are_those_of_the_data_set(pair):
    ids = np.asarray(Image.open(pair[1])).copy()
    ids[:2, :3] = 250
    Image.fromarray(ids).save(pair[1])
    (line,) = lines(pair, pixels=True)
    assert "label id 250 (6 pixels) is out of range; there are 0-2, 255; mend" in line
    assert lines(pair, Rule(stored_ids(3, 250)), pixels=True) == []
    Image.fromarray(np.where(ids == 250, 255, 0).astype(np.uint8)).save(pair[1])
    assert "a mask of 0 and 255?" in lines(pair, Rule({0, 1}), pixels=True)[0]


def test_stored_ids_are_what_mmseg_makes_classes_of(tmp_path):
    from mmseg.datasets.transforms import LoadAnnotations

    Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / "l.png")
    for zero in (False, True):
        for label_map in (None, {0: 1, 1: 255, 2: 0, 7: 2}):
            info = dict(seg_map_path=tmp_path / "l.png", seg_fields=[], label_map=label_map,
                        reduce_zero_label=zero)  # fmt: skip
            read = LoadAnnotations()(info)["gt_seg_map"].ravel()
            wanted = {i for i, value in enumerate(read) if value < 3 or value == 255}
            assert stored_ids(3, 255, zero, label_map) == wanted


def test_what_is_no_file_is_named_and_not_waited_for(pair):
    pair[0].unlink()
    os.mkfifo(pair[0])
    assert lines(pair) == [f"{pair[0]}: is a pipe, not a file; replace the file"]
    pair[0].unlink()
    pair[0].mkdir()
    assert lines(pair) == [f"{pair[0]}: is a folder, not a file; replace the file"]
    pair[0].rmdir()
    assert lines(pair) == [f"{pair[0]}: cannot be found; copy it, or remove the pair"]


def test_a_decompression_bomb_is_a_line(pair, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    found = lines(pair)
    assert len(found) == 2 and "too large (Image size (48 pixels) exceeds" in found[0]


def test_damage_inside_is_found_by_the_pixels_alone(pair):
    content = bytearray(pair[1].read_bytes())
    place = content.index(b"IDAT") + 6
    content[place : place + 8] = bytes(8)
    pair[1].write_bytes(content)
    assert lines(pair) == []
    assert "damaged or truncated" in lines(pair, pixels=True)[0]


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_that_ends_early_with_its_mark_is_named(progressive, pair):
    """Decoders make up what it lacks; a whole one, plain or with bytes after its end, is taken."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (48, 64, 3), np.uint8))
    Image.new("L", (64, 48)).save(pair[1])
    noise.save(pair[0], progressive=progressive)
    whole = pair[0].read_bytes()
    for share in (0.5, 0.8, 0.97):
        pair[0].write_bytes(whole[: int(len(whole) * share)] + b"\xff\xd9")
        (line,) = lines(pair, pixels=True)
        assert line.startswith(f"{pair[0]}: damaged or truncated"), (share, line)
    for flat in (noise, Image.new("RGB", (64, 48), (9, 9, 9))):
        for more in (b"", b"\0\0\0"):
            flat.save(pair[0], progressive=progressive)
            pair[0].write_bytes(pair[0].read_bytes() + more)
            assert lines(pair, pixels=True) == []
