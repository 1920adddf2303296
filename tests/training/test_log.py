"""The log: cut at the restored step, robust against a half-written line."""

import json

import pytest

from lvm_mtc.training import JsonLog, read_log


def write_lines(path, steps, tail=""):
    lines = [json.dumps({"step": step, "event": "train", "loss": 1 / (step + 1)}) + "\n" for step in steps]
    path.write_text("".join(lines) + tail)


def steps_of(path):
    return [record["step"] for record in read_log(path)]


def test_lines_are_on_disk_at_once(tmp_path):
    log = JsonLog(tmp_path / "new" / "log.jsonl")
    log.write(3, "train", loss=0.25)
    assert read_log(tmp_path / "new" / "log.jsonl") == [{"step": 3, "event": "train", "loss": 0.25}]
    log.close()


@pytest.mark.parametrize(
    ("restored", "kept"), [(0, [0]), (5, [0]), (10, [0, 10, 10]), (15, [0, 10, 10]), (99, [0, 10, 10, 20])]
)
def test_lines_after_the_restored_step_are_cut(tmp_path, restored, kept):
    path = tmp_path / "log.jsonl"
    write_lines(path, [0, 10, 10, 20])
    with JsonLog(path, step=restored) as log:
        assert log.records == len(kept)
        log.write(restored + 1, "train")
    assert steps_of(path) == [*kept, restored + 1]


@pytest.mark.parametrize(
    "tail", ['{"step": 30, "lo', '{"step": 30}', "\x00\x00\x00", '{"st\n', "17\n", "[]\n", '{"step": "x"}\n']
)
def test_a_half_written_or_foreign_last_line_is_cut(tmp_path, tail):
    path = tmp_path / "log.jsonl"
    write_lines(path, [0, 10, 20], tail)
    with JsonLog(path, step=40) as log:
        log.write(40, "train")
    assert steps_of(path) == [0, 10, 20, 40]


def test_reader_ignores_a_line_that_is_being_written(tmp_path):
    write_lines(tmp_path / "log.jsonl", [0, 10], '{"step": 20, "lo')
    assert steps_of(tmp_path / "log.jsonl") == [0, 10]


def test_an_undamaged_log_is_not_rewritten(tmp_path):
    path = tmp_path / "log.jsonl"
    write_lines(path, [0, 10])
    before = path.stat().st_mtime_ns
    JsonLog(path, step=10).close()
    assert path.stat().st_mtime_ns == before


def test_numbers_that_json_lacks_become_words_and_floats_keep_their_bits(tmp_path):
    with JsonLog(tmp_path / "log.jsonl") as log:
        log.write(1, "validation", psnr=float("inf"), loss=float("nan"), nested={"a": [float("-inf"), 0.1 + 0.2]})
    text = (tmp_path / "log.jsonl").read_text()
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert record["psnr"] == "inf" and record["loss"] == "nan"
    assert record["nested"] == {"a": ["-inf", 0.1 + 0.2]}


def test_wall_times_can_be_left_out(tmp_path):
    with JsonLog(tmp_path / "log.jsonl") as log:
        log.write(1, "train", loss=0.5, seconds=3.0, pictures_per_second=7.0)
    assert read_log(tmp_path / "log.jsonl", wall_times=False) == [{"step": 1, "event": "train", "loss": 0.5}]


def test_a_full_disk_is_one_line_with_the_files_name():
    log = JsonLog("/dev/full")
    with pytest.raises(OSError, match=r"cannot write the log at step 7 \(No space left on device\): '/dev/full'"):
        log.write(7, "train", loss=1.0)
    log.close()
