"""The home folder in paths; files written whole or not at all: what a failure leaves and says."""

from __future__ import annotations

import errno
import os
import pwd
import stat
import subprocess
from pathlib import Path

import numpy as np
import pytest

from asym_keras import files
from asym_keras.files import atomic_path, user_path, write_text


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("no small file system: there is no command mount")
    if done.returncode:
        pytest.skip(f"no small file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_write_text_replaces_the_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "history.csv"
    write_text(path, "step\n")
    write_text(str(path), "λ ≤ 1\n")
    assert path.read_bytes() == "λ ≤ 1\n".encode()
    assert names(tmp_path) == ["history.csv"]


def write_half(path, error):
    with atomic_path(path) as temporary:
        temporary.write_text("half of the n")
        raise error


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(5, "I/O error")])
def test_block_that_raises_leaves_the_old_file_and_no_temporary(tmp_path, error):
    path = tmp_path / "state.npz"
    path.write_text("old")
    with pytest.raises(type(error)):
        write_half(path, error)
    assert path.read_text() == "old"
    assert names(tmp_path) == ["state.npz"]


def test_file_is_unchanged_until_the_block_ends(tmp_path):
    path = tmp_path / "state.npz"
    path.write_text("old")
    with atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("name", ["model.keras", "state.npz", "a.b.png", "plain"])
def test_temporary_lies_beside_the_file_and_keeps_its_suffix(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == (tmp_path / name).suffix or name == "plain"
        assert temporary.name.startswith(".")
    assert names(tmp_path) == [name]


def test_numpy_writes_to_the_temporary_itself(tmp_path):
    with atomic_path(tmp_path / "a.npz") as temporary:
        np.savez(temporary, a=np.arange(3))  # would add the suffix if it were missing
    np.testing.assert_array_equal(np.load(tmp_path / "a.npz")["a"], [0, 1, 2])
    assert names(tmp_path) == ["a.npz"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_permissions_are_those_of_any_new_file(tmp_path, mask, mode, monkeypatch):
    before = os.umask(mask)
    try:
        with monkeypatch.context() as patch:
            # The umask is one for all threads: a moment at 0 opens the files of the others.
            patch.setattr(os, "umask", None)
            write_text(tmp_path / "a.csv", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.csv").stat().st_mode) == mode


def test_a_link_is_followed_to_the_file_that_it_names(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link.json").symlink_to("there/real.json")
    (tmp_path / "second.json").symlink_to("link.json")
    for link, text in (("link.json", "new"), ("second.json", "newer")):
        write_text(tmp_path / link, text)
        assert (tmp_path / link).is_symlink()
        assert (tmp_path / "there" / "real.json").read_text() == text
    assert names(tmp_path / "there") == ["real.json"]
    (tmp_path / "dangling.json").symlink_to("nowhere/real.json")
    with pytest.raises(FileNotFoundError, match=r"could not write real\.json"):
        write_text(tmp_path / "dangling.json", "a")


def test_a_pipe_is_not_replaced_by_a_file(tmp_path):
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(ValueError, match=r"received .*a\.json, which is a device or a pipe"):
        write_text(tmp_path / "a.json", "a")
    assert stat.S_ISFIFO((tmp_path / "a.json").stat().st_mode)


def test_permissions_that_are_asked_for(tmp_path):
    before = os.umask(0o077)
    try:
        write_text(tmp_path / "a.config", "a", mode=0o644)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.config").stat().st_mode) == 0o644


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_is_replaced_or_stays(there, tmp_path, monkeypatch):
    made, folder = tmp_path / "made", tmp_path / "folder"
    made.mkdir()
    (made / "new").touch()
    if there:
        folder.mkdir()
        (folder / "old").touch()
    rename = os.replace

    def fails(source, target):
        if (Path(source), Path(target)) == (made, folder):
            raise OSError(errno.EIO, "broken")
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fails)
        with pytest.raises(OSError, match="broken"):
            files.replace_folder(made, folder)
    assert {path.name for path in tmp_path.glob("*/*")} == {"new", *["old"] * there}
    assert (folder / "old").exists() is there
    files.replace_folder(made, folder)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.glob("*/*")] == ["folder/new"]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"could not write a\.csv \(No such file") as caught:
        write_text(tmp_path / "missing" / "a.csv", "a")
    assert caught.value.filename == str(tmp_path / "missing")
    assert "choose a folder that can be written" in str(caught.value)


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"could not write a\.csv \(Not a directory"):
        write_text(tmp_path / "file" / "a.csv", "a")


def test_full_disk_leaves_the_old_file_and_says_so(small_disk):
    path = small_disk / "history.csv"
    write_text(path, "old")
    with pytest.raises(OSError, match=r"could not write history\.csv \(No space left") as caught:
        write_text(path, "x" * 200_000)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(small_disk)
    assert "what was there before is unchanged. Make room" in str(caught.value)
    assert path.read_text() == "old"
    assert names(small_disk) == ["history.csv"]
    write_text(path, "x" * 20_000)  # the room is free again


def test_full_disk_under_numpy_leaves_the_old_file(small_disk):
    path = small_disk / "state.npz"
    np.savez(path, a=np.ones(3))
    with (
        pytest.raises(OSError, match=r"could not write state\.npz"),
        atomic_path(path) as temporary,
    ):
        np.savez(temporary, a=np.zeros(50_000))
    np.testing.assert_array_equal(np.load(path)["a"], np.ones(3))
    assert names(small_disk) == ["state.npz"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_disk_that_fills_up_at_the_end_is_told_too(tmp_path, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "a.csv"
    path.write_text("old")
    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(OSError, match=r"could not write a\.csv \(No space left on device\)"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.csv"]


def test_home_folder_in_paths(tmp_path, monkeypatch):
    user = pwd.getpwuid(os.getuid())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert user_path("~") == tmp_path
    assert user_path(Path("~/a/~b")) == tmp_path / "a" / "~b"
    assert user_path(f"~{user.pw_name}/a") == Path(user.pw_dir, "a")
    assert user_path("a/~") == Path("a/~")
    write_text("~/a.txt", "a")
    assert Path("a.txt").read_text() == "a"


def test_home_of_nobody_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"received '~no-one/a': ~no-one is nobody's home folder"):
        user_path("~no-one/a")
    Path("~no-one").mkdir()
    assert user_path("~no-one") == Path("~no-one")
