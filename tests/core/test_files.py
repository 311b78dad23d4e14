"""Files are whole or absent; so are several of them together."""

import os

import pytest

from core.errors import WriteError
from core.files import write_atomically, write_files


@pytest.mark.parametrize("call", ["os.replace", "os.fsync", "builtins.open"])
def test_several_files_are_all_old_or_all_new(call, tmp_path, monkeypatch):
    paths = [tmp_path / "a" / "1", tmp_path / "2"]
    write_files({path: b"old" for path in paths})

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(call, full)
        with pytest.raises(
            WriteError, match=r"/a/1: could not be written \(No space left"
        ) as error:
            write_files({path: b"new" for path in paths})
    assert "checkpoint" not in str(error.value) and "--resume" not in str(error.value)
    assert [path.read_bytes() for path in paths] == [b"old", b"old"]
    assert sorted(os.listdir(tmp_path)) == ["2", "a"]
    write_files({path: b"new" for path in paths})
    assert [path.read_bytes() for path in paths] == [b"new", b"new"]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "x").write_text("")
    with pytest.raises(WriteError, match=r"x/result\.json: could not be written"):
        write_atomically(b"", tmp_path / "x" / "result.json")
