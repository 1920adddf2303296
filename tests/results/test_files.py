import errno
import os

import pytest

from lvm_mtc.results.files import (
    UNFINISHED,
    OutputError,
    atomic_directory,
    atomic_file,
    check_output_directory,
    remove_unfinished,
    scratch_directory,
)
from lvm_mtc.results.table import read_csv, write_csv


def test_a_file_appears_when_it_is_complete(tmp_path):
    target = tmp_path / "a.txt"
    with atomic_file(target) as temporary:
        temporary.write_text("new")
        assert not target.exists()
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(RuntimeError), atomic_file(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_files_get_the_umasks_permissions(tmp_path):
    with atomic_file(tmp_path / "a.txt"):
        pass
    plain = tmp_path / "b.txt"
    plain.touch()
    assert (tmp_path / "a.txt").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("before", ["missing", "empty", "earlier"])
def test_a_folder_appears_when_it_is_complete(tmp_path, before):
    target = tmp_path / "out"
    if before != "missing":
        target.mkdir()
    if before == "earlier":
        (target / "lvm-mtc-result.json").touch()
        (target / "stale.png").touch()
    with atomic_directory(target, overwrite=True) as temporary:
        (temporary / "lvm-mtc-result.json").write_text("{}")
    assert os.listdir(target) == ["lvm-mtc-result.json"]
    assert os.listdir(tmp_path) == ["out"]


def test_a_link_to_a_folder_stays(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with atomic_directory(tmp_path / "out") as temporary:
        (temporary / "lvm-mtc-result.json").write_text("{}")
    assert (tmp_path / "out").is_symlink() and os.listdir(tmp_path / "disk") == ["lvm-mtc-result.json"]
    assert sorted(os.listdir(tmp_path)) == ["disk", "out"]


def test_the_current_folder_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="current folder"):
        check_output_directory(".")


def test_an_error_leaves_no_folder(tmp_path):
    with pytest.raises(KeyboardInterrupt), atomic_directory(tmp_path / "out") as temporary:
        (temporary / "half").touch()
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("make", "overwrite", "words"),
    [
        (lambda p: p.write_text("x"), True, "is not a folder"),
        (lambda p: (p.mkdir(), (p / "thesis.tex").touch()), True, "something else"),
        (lambda p: (p.mkdir(), (p / "lvm-mtc-result.json").touch()), False, "--overwrite"),
        (lambda p: p.symlink_to("nowhere"), True, "is not a folder"),
    ],
)
def test_what_stands_there_is_not_lost(tmp_path, make, overwrite, words):
    target = tmp_path / "out"
    make(target)
    with pytest.raises(OutputError, match=words):
        check_output_directory(target, overwrite=overwrite)


def test_a_missing_parent_is_named(tmp_path):
    with pytest.raises(OutputError, match="nowhere does not exist"):
        check_output_directory(tmp_path / "nowhere" / "out")
    with pytest.raises(OutputError, match="nowhere"), atomic_file(tmp_path / "nowhere" / "a.csv"):
        pass


def test_csv_round_trip(tmp_path):
    rows = [
        {"scheme": "a, b", "snr_db": 10.0, "psnr_db": 23.4567891, "realised": None},
        {"scheme": "c", "snr_db": -5.0, "psnr_db": float("nan"), "realised": 1e-7},
    ]
    write_csv(tmp_path / "t.csv", rows)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines == ["scheme,snr_db,psnr_db,realised", '"a, b",10,23.4568,', "c,-5,nan,1e-07"]
    back = read_csv(tmp_path / "t.csv")
    assert back[0] == {"scheme": "a, b", "snr_db": 10.0, "psnr_db": 23.4568, "realised": None}


def test_csv_refuses_ragged_and_empty(tmp_path):
    with pytest.raises(ValueError, match="row 1 has columns"):
        write_csv(tmp_path / "t.csv", [{"a": 1}, {"b": 2}])
    with pytest.raises(ValueError, match="no rows"):
        write_csv(tmp_path / "t.csv", [])
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("before", "overwrite"),
    [("missing", False), ("empty", False), ("missing", True), ("empty", True), ("earlier", True)],
)
def test_of_two_runs_into_one_folder_the_first_stays(tmp_path, before, overwrite):
    target = tmp_path / "out"
    if before != "missing":
        target.mkdir()
    if before == "earlier":
        (target / "lvm-mtc-result.json").touch()
    with pytest.raises(OutputError, match="out: another run has written it meanwhile"):  # noqa: SIM117
        with atomic_directory(target, overwrite=overwrite) as late:
            with atomic_directory(target, overwrite=overwrite) as early:
                (early / "lvm-mtc-result.json").write_text("early")
            (late / "lvm-mtc-result.json").write_text("late")
    assert (target / "lvm-mtc-result.json").read_text() == "early"
    assert os.listdir(tmp_path) == ["out"] and not UNFINISHED


def test_a_scratch_folder_is_forgotten():
    before = set(UNFINISHED)
    with scratch_directory() as folder:
        assert folder.is_dir() and UNFINISHED == before | {folder}
    assert not folder.exists() and UNFINISHED == before


def test_a_process_that_ends_at_once_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_directory(tmp_path / "out"):  # noqa: SIM117
        with atomic_file(tmp_path / "a.txt"):
            remove_unfinished()
            assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("write", [atomic_file, atomic_directory])
@pytest.mark.parametrize("named", [False, True])
def test_a_full_disk_names_the_result(tmp_path, write, named):
    """Whether the system's error names nothing, or a file within what is being written."""
    with (
        pytest.raises(OutputError, match=f"^{tmp_path}/out: cannot be written .No space left"),
        write(tmp_path / "out") as temporary,
    ):
        of = (str(temporary / "a.png" if temporary.is_dir() else temporary),) if named else ()
        raise OSError(errno.ENOSPC, "No space left on device", *of)
    assert os.listdir(tmp_path) == []
