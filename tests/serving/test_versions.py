"""Version folders: numbers that grow, nothing overwritten, nothing half written ever visible."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from serving.versions import check_name, check_version, find_versions, new_version

ROOT = Path(__file__).resolve().parents[2]


def write(folder, text="whole", version=None):
    with new_version(folder, version) as new:
        (new.temporary / "variables").mkdir()
        (new.temporary / "variables" / "data").write_text(text)
    return new.path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["m", "mnist_gamma0.5_k100", "_x", "9-a.b", "A" * 200])
def test_names_of_models_pass(name):
    assert check_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-rf", "a/b", "../a", "/a", "a\\b", "a b", "é", "a\n", "a\0", "$(a)",
     None, 7],
)  # fmt: skip
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match=r"expected the name of a model .* Choose another --name"):
        check_name(name)


@pytest.mark.parametrize("version", [0, -1, 2**63, 1.0, "1", True, None])
def test_numbers_that_are_no_versions_are_refused(version):
    with pytest.raises(ValueError, match="--version: expected an integer from 1 to"):
        check_version(version)


def test_find_versions_reads_folders_as_the_model_server_does(tmp_path):
    for name in ("2", "10", "007", ".export-1", "1.5", "-3", "v4", "٣", "²", str(2**63)):
        (tmp_path / name).mkdir()
    (tmp_path / "11").touch()
    found = find_versions(tmp_path)
    assert [(number, path.name) for number, path in found.items()] == [
        (2, "2"),
        (7, "007"),
        (10, "10"),
    ]
    assert find_versions(tmp_path / "missing") == {}


def test_versions_grow_and_hold_what_was_written(tmp_path):
    folder = tmp_path / "models" / "m"
    assert [write(folder, text) for text in "abc"] == [folder / str(n) for n in (1, 2, 3)]
    assert write(folder, "x", 10) == folder / "10"
    assert write(folder, "y") == folder / "11"
    assert (folder / "2" / "variables" / "data").read_text() == "b"
    (folder / "12").touch()  # no version, but the name is taken
    assert write(folder, "z") == folder / "13"
    assert names(folder) == ["1", "10", "11", "12", "13", "2", "3"]


@pytest.mark.parametrize("there", ["3", "003"])
def test_a_version_is_never_overwritten(there, tmp_path):
    (tmp_path / there).mkdir()
    (tmp_path / there / "saved_model.pb").write_text("old")
    with pytest.raises(FileExistsError, match=r"received 3, which exists: .* never overwritten"):
        write(tmp_path, version=3)
    assert (tmp_path / there / "saved_model.pb").read_text() == "old"
    assert names(tmp_path) == [there]


def test_a_version_that_another_makes_meanwhile_is_not_overwritten(tmp_path):
    def write_two():
        with new_version(tmp_path, 1) as new:
            (new.temporary / "a").touch()
            assert write(tmp_path, "other", 1) == tmp_path / "1"

    with pytest.raises(FileExistsError, match="received 1, which exists"):
        write_two()
    assert names(tmp_path) == ["1"]
    assert (tmp_path / "1" / "variables" / "data").read_text() == "other"


def test_the_number_is_taken_at_the_end(tmp_path):
    with new_version(tmp_path) as new:
        (new.temporary / "a").touch()
        assert find_versions(tmp_path) == {}
        assert write(tmp_path) == tmp_path / "1"
    assert new.path == tmp_path / "2"


def test_a_race_for_the_same_number_is_won_by_one(tmp_path, monkeypatch):
    """The other takes the number between the look and the rename."""
    rename = os.rename

    def late(source, target):
        monkeypatch.setattr("serving.versions.os.rename", rename)
        assert write(tmp_path, "first") == Path(target)
        rename(source, target)

    monkeypatch.setattr("serving.versions.os.rename", late)
    assert write(tmp_path, "second") == tmp_path / "2"
    assert (tmp_path / "1" / "variables" / "data").read_text() == "first"
    assert names(tmp_path) == ["1", "2"]


def write_half(folder, error):
    with new_version(folder) as new:
        (new.temporary / "half").touch()
        raise error


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), OSError(5, "I/O error")])
def test_block_that_raises_leaves_nothing(error, tmp_path):
    write(tmp_path)
    with pytest.raises(type(error)):
        write_half(tmp_path, error)
    assert names(tmp_path) == ["1"]


@pytest.mark.parametrize("step", ["fsync", "rename", "mkdir"])
def test_full_disk_is_told_and_leaves_nothing(step, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    write(tmp_path)
    monkeypatch.setattr(f"serving.versions.os.{step}", full)
    with pytest.raises(OSError, match=r"could not write a version of .* \(No space left on"):
        write(tmp_path)
    assert names(tmp_path) == ["1"]


@pytest.mark.parametrize("what", ["a file", "a link to nothing"])
@pytest.mark.parametrize("version", [None, 3])
def test_what_is_in_the_way_of_a_folder_is_told(what, version, tmp_path):
    """It is no FileExistsError, which says that the version exists."""
    path = tmp_path / "m"
    path.touch() if what == "a file" else path.symlink_to(tmp_path / "none")
    told = f"expected a folder, or nothing yet, received {what}.* --name or --to: '{path}'"
    with pytest.raises(NotADirectoryError, match=told):
        write(path, version=version)
    assert names(tmp_path) == ["m"]


def test_a_folder_of_models_that_is_a_file_is_told(tmp_path):
    (tmp_path / "models").touch()
    told = "could not write a version of m .*choose another --to"
    with pytest.raises(NotADirectoryError, match=told):
        write(tmp_path / "models" / "m")


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o077, 0o700)])
def test_permissions_are_those_of_any_new_folder(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        path = write(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_hidden_folder_is_no_version_and_stays_while_its_exporter_lives(tmp_path):
    with new_version(tmp_path) as new:
        (new.temporary / "a").touch()
        assert new.temporary.name.startswith(".")
        assert new.temporary.parent == tmp_path
        write(tmp_path)
        assert (new.temporary / "a").exists()


WRITER = """
import sys
from serving.versions import new_version

folder, mode = sys.argv[1:]
while True:
    with new_version(folder) as new:
        for i in range(20):
            (new.temporary / f"{i}").write_text(str(i) * 5000)
        if mode == "half":
            print("half", flush=True)
            sys.stdin.read()
    print(new.path.name, flush=True)
    if mode == "three" and int(new.path.name) >= 24:
        break
"""


def writer(folder, mode):
    command = [sys.executable, "-c", WRITER, str(folder), mode]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes)


def test_abandoned_folder_of_a_killed_exporter_is_removed_by_the_next(tmp_path):
    with writer(tmp_path, "half") as process:
        assert process.stdout.readline() == "half\n"
        [hidden] = names(tmp_path)
        write(tmp_path)
        assert names(tmp_path) == [hidden, "1"]  # it lives
        process.kill()
    write(tmp_path)
    assert names(tmp_path) == ["1", "2"]


def assert_whole(folder):
    """Each version that is visible now is complete."""
    for path in find_versions(folder).values():
        found = {file.name: file.read_text() for file in path.iterdir()}
        assert found == {f"{i}": str(i) * 5000 for i in range(20)}


def test_two_exporters_at_once_never_collide(tmp_path):
    processes = [writer(tmp_path, "three") for _ in range(3)]
    numbers = [int(n) for p in processes for n in p.communicate(timeout=60)[0].split()]
    assert [p.returncode for p in processes] == [0, 0, 0]
    assert sorted(numbers) == list(find_versions(tmp_path)) == list(range(1, len(numbers) + 1))
    assert_whole(tmp_path)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_kill_at_any_moment_leaves_only_whole_versions(tmp_path):
    for round_ in range(12):
        with writer(tmp_path, "on") as process:
            assert process.stdout.readline()  # the first is written: it is at work
            time.sleep(0.0031 * round_)
            process.send_signal(signal.SIGKILL)
        assert_whole(tmp_path)
    found = list(find_versions(tmp_path))
    assert found == list(range(1, len(found) + 1))
    assert len(found) >= 12
    assert len(list(tmp_path.glob(".*"))) <= 1  # each removes what the one before left
