import errno
import json
import os
import zlib

import jax.numpy as jnp
import numpy as np
import pytest

from imbal_jax.artifacts import json_files
from imbal_jax.errors import UserError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "deep" / "rows.jsonl"


def _no_space(_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def line(row):
    """A line as the format has it: zlib's CRC-32 of the sorted, unspaced JSON of the row, as its last field."""
    crc = zlib.crc32(json.dumps(row, sort_keys=True, separators=(",", ":")).encode())
    return (json.dumps({**row, "crc": f"{crc:08x}"}, ensure_ascii=False) + "\n").encode()


def test_rows_come_back_in_order(path):
    assert json_files.read(path) == []
    json_files.append(path, [{"seed": 0}, {"seed": 1, "name": "Größe"}])
    json_files.append(path, [])
    json_files.append(path, [{"seed": 2}])
    assert json_files.read(path) == [{"seed": 0}, {"seed": 1, "name": "Größe"}, {"seed": 2}]


def test_appending_nothing_makes_no_file(path):
    json_files.append(path, [])
    assert not path.exists()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), None),
        (float("-inf"), None),
        (np.float32("inf"), None),
        (jnp.float32(float("nan")), None),
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (jnp.bfloat16(1.5), 1.5),
        (jnp.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
        (np.array([1.0, np.nan]), [1.0, None]),
        ((1, [True, None]), [1, [True, None]]),
        ({6: {"a": np.float64(2)}}, {"6": {"a": 2.0}}),
        (np.str_("x"), "x"),
    ],
)
def test_values_become_strict_json(path, value, expected):
    json_files.append(path, [{"x": value}])
    text = path.read_text()
    assert "NaN" not in text and "Infinity" not in text
    (row,) = json_files.read(path)
    assert row == {"x": expected} and type(row["x"]) is type(expected)


def test_a_value_without_json_form_is_refused_before_anything_is_written(path):
    with pytest.raises(TypeError, match="object"):
        json_files.append(path, [{"a": 1}, {"b": object()}])
    assert not path.exists()


@pytest.mark.parametrize("tail", [b'{"seed": 2, "acc', b'{"seed": 2}}\n', b"\0\0\0\0", b"7\n", b'{"name": "Gr\xc3', b"\n"])
def test_a_damaged_last_line_is_dropped_and_then_cut_off(path, tail, caplog):
    json_files.append(path, [{"seed": 0}, {"seed": 1}])
    whole = path.read_bytes()
    path.write_bytes(whole + tail)
    assert json_files.read(path) == [{"seed": 0}, {"seed": 1}]
    assert "damaged" in caplog.text and str(path) in caplog.text
    json_files.append(path, [{"seed": 3}])
    assert path.read_bytes() == whole + line({"seed": 3})


def test_a_whole_last_line_without_its_newline_is_kept(path):
    json_files.append(path, [{"seed": 0}, {"seed": 1}])
    path.write_bytes(path.read_bytes()[:-1])
    assert len(json_files.read(path)) == 2
    json_files.append(path, [{"seed": 2}])
    assert [row["seed"] for row in json_files.read(path)] == [0, 1, 2]


@pytest.mark.parametrize("size", [10, 4090, 4096, 5000, 70_000])
def test_the_last_line_is_found_whatever_its_length(path, size):
    json_files.append(path, [{"a": 1}, {"x": "y" * size}])
    path.write_bytes(path.read_bytes()[:-3])
    json_files.append(path, [{"b": 2}])
    assert json_files.read(path) == [{"a": 1}, {"b": 2}]


def test_a_file_of_one_damaged_line(path):
    path.parent.mkdir()
    path.write_bytes(b'{"se')
    assert json_files.read(path) == []
    json_files.append(path, [{"seed": 0}])
    assert json_files.read(path) == [{"seed": 0}]


def test_damage_in_the_middle_names_file_and_line(path):
    path.parent.mkdir()
    path.write_text('{"a": 1}\n{"b": \n{"c": 3}\n')
    with pytest.raises(UserError, match=r"rows\.jsonl: line 2 is damaged"):
        json_files.read(path)


@pytest.mark.parametrize("ending", [b"\n", b"", b'\n{"torn'])
def test_rows_come_back_from_the_last_one(path, ending):
    """Lines shorter and longer than what is read at once."""
    rows = [{"epoch": n, "text": "é" * size} for n, size in enumerate((1, 70_000, 3, 40_000, 200_000, 5))]
    json_files.append(path, rows)
    path.write_bytes(path.read_bytes().rstrip(b"\n") + ending)
    assert list(json_files.newest_first(path)) == rows[::-1]


def test_rows_from_the_last_one_are_read_as_far_as_asked_for(path):
    assert list(json_files.newest_first(path)) == []
    json_files.append(path, [{"epoch": n} for n in range(3)])
    path.write_bytes(b'{"torn\n' + path.read_bytes())
    rows = json_files.newest_first(path)
    assert [next(rows)["epoch"] for _ in range(3)] == [2, 1, 0]
    with pytest.raises(UserError, match="line 1 is damaged"):
        next(rows)


def test_keep_leaves_the_rows_asked_for(path):
    json_files.append(path, [{"epoch": n} for n in range(5)])
    assert json_files.filter_rows(path, lambda row: row["epoch"] < 3) == 2
    assert json_files.read(path) == [{"epoch": n} for n in range(3)]
    assert json_files.filter_rows(path, lambda row: True) == 0
    assert os.listdir(path.parent) == ["rows.jsonl"]
    assert json_files.filter_rows(path.with_name("absent.jsonl"), lambda row: False) == 0


def test_json_round_trip(tmp_path):
    path = tmp_path / "a" / "results.json"
    json_files.write_json(path, {"x": np.float32(0.5), "n": [float("nan")], "who": "Größe"})
    json_files.write_json(path, {"x": np.float32(0.25), "n": [float("nan")], "who": "Größe"})
    assert json_files.read_json(path) == {"x": 0.25, "n": [None], "who": "Größe"}
    assert os.listdir(path.parent) == ["results.json"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    json_files.write_json(tmp_path / "link.json", [1])
    assert (tmp_path / "link.json").is_symlink() and json.loads((tmp_path / "real.json").read_text()) == [1]


def test_whole_numbers_are_of_64_bits(tmp_path):
    path = tmp_path / "a.json"
    for text, fits in ((str(2**64 - 1), True), (str(-(2**63)), True), (str(2**64), False), ("9" * 5000, False)):
        path.write_text(text)
        if fits:
            assert json_files.read_json(path) == int(text)
            continue
        with pytest.raises(UserError, match="too large a number") as error:
            json_files.read_json(path)
        assert len(str(error.value)) < 500


def test_what_a_message_quotes_stays_one_line():
    message = str(UserError("a\nb\x1b[2J\u2028" + "x" * 10_000 + " the end"))
    assert message.startswith("a b\\x1b[2J xxx") and message.endswith("x the end") and len(message) < 2100


def test_a_damaged_or_missing_json_file_is_named(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(UserError, match=r"config\.json: cannot read the file \(No such file"):
        json_files.read_json(path)
    path.write_text('{"a": ')
    with pytest.raises(UserError, match=r"config\.json is damaged .*delete it"):
        json_files.read_json(path)


def test_no_space_left_loses_nothing(path, monkeypatch):
    json_files.append(path, [{"seed": 0}])
    target = path.with_name("results.json")
    json_files.write_json(target, [1])
    before = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _no_space)
        with pytest.raises(UserError, match=r"rows\.jsonl: no space left \(.* MB free\).*same command again"):
            json_files.append(path, [{"seed": 1}])
        with pytest.raises(UserError, match=r"results\.json: no space left"):
            json_files.write_json(target, [2])
        with pytest.raises(UserError, match="no space left"):
            json_files.filter_rows(path, lambda row: False)
    assert path.read_bytes() == before and json_files.read_json(target) == [1]
    assert sorted(os.listdir(path.parent)) == ["results.json", "rows.jsonl"]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_place_that_cannot_be_written_is_one_clear_line(path, monkeypatch, number):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(type(path), "mkdir", refuse)
    for attempt in (lambda: json_files.append(path, [{}]), lambda: json_files.write_json(path, 1)):
        with pytest.raises(UserError, match=rf"cannot write the file \({os.strerror(number)}\): .*another workdir") as caught:
            attempt()
        assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_the_file(path):
    path.mkdir(parents=True)
    with pytest.raises(UserError, match="Is a directory"):
        json_files.append(path, [{"a": 1}])


def test_a_folder_is_held_by_one_at_a_time(tmp_path):
    with (
        json_files.lock_folder(tmp_path),
        pytest.raises(UserError, match="another process is using"),
        json_files.lock_folder(tmp_path),
    ):
        pass
    with json_files.lock_folder(tmp_path):
        pass


# --- damage and alterations -------------------------------------------------------------------------------------------


def test_each_line_carries_the_digest_of_its_row(path):
    row = {"seed": 0, "accuracy": 0.8531000018119812, "name": "Größe", "confusion": [[1, 2], [3, 4]], "none": None}
    json_files.append(path, [row])
    assert path.read_bytes() == line(row) and json_files.read(path) == [row]


@pytest.mark.parametrize(
    "change", [(b"0.853", b"0.863"), (b"[1, 2]", b"[1, 3]"), (b'"seed": 0', b'"seed": 1'), (b"acc", b"bcc")]
)
@pytest.mark.parametrize("place", [0, -1])
def test_a_changed_digit_is_noticed(path, change, place):
    rows = [{"seed": 0, "accuracy": 0.853, "confusion": [[1, 2]]}] * 2
    json_files.append(path, rows)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[place] = lines[place].replace(*change)
    path.write_bytes(b"".join(lines))
    number = 1 if place == 0 else 2
    for read in (json_files.read, lambda path: list(json_files.newest_first(path))):
        with pytest.raises(UserError, match=rf"rows\.jsonl: line {number} was changed after it was written"):
            read(path)


def test_every_flipped_bit_of_a_line_is_noticed(path):
    """Whatever it makes of the line: other JSON, no JSON, or another name of the digest's field."""
    json_files.append(path, [{"seed": 0, "accuracy": 0.5}, {"seed": 1, "accuracy": 0.25}])
    whole = path.read_bytes()
    begin = whole.index(b"\n") + 1
    for bit in range(8 * begin, 8 * (len(whole) - 1)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            assert json_files.read(path) == [{"seed": 0, "accuracy": 0.5}], bit  # dropped as a torn last line
        except UserError as error:
            assert "line 2" in str(error) or "line 3" in str(error)


def test_another_order_and_spacing_of_the_fields_is_the_same_row(path):
    json_files.append(path, [{"b": 1, "a": 0.1}])
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True, separators=(",", ":")))
    assert json_files.read(path) == [{"a": 0.1, "b": 1}]


def test_lines_of_older_files_are_read_and_counted(path):
    path.parent.mkdir()
    path.write_text('{"seed": 0}\n{"seed": 1}\n')
    json_files.append(path, [{"seed": 2}])
    assert json_files.read_with_digests(path) == ([{"seed": 0}, {"seed": 1}, {"seed": 2}], 2)
    with path.open("a") as file:
        file.write('{"seed": 3}\n')  # below one that has a digest: not written by this program
    with pytest.raises(UserError, match="line 4 was changed"):
        json_files.read(path)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' * 1000 + "1" + "}" * 1000, '{"a": NaN}', '{"a": 1e999}', "1" * 5000])
def test_json_that_no_run_writes_is_damage(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"config\.json is damaged") as caught:
        json_files.read_json(path)
    assert len(str(caught.value)) < 300
    path.write_text(text.replace("\n", "") + "\n{}\n")
    with pytest.raises(UserError, match="line 1 is damaged"):
        json_files.read(path)


@pytest.mark.parametrize("text", ["[]", "null", "3", '"x"'])
def test_a_file_that_holds_no_object(tmp_path, text):
    path = tmp_path / "environment.json"
    assert json_files.read_object(path) == {}
    path.write_text(text)
    with pytest.raises(UserError, match=r"environment\.json is damaged \(it holds \w+, not an object"):
        json_files.read_object(path)


def test_names_that_are_not_utf8_are_kept(path):
    name = os.fsdecode(b"Gr\xfc\xdfe")
    json_files.append(path, [{"name": name}])
    json_files.write_json(path.with_suffix(".json"), {"name": name})
    assert json_files.read(path) == [{"name": name}] == [json_files.read_json(path.with_suffix(".json"))]


def test_what_a_killed_writer_left_goes_with_the_next_start(tmp_path):
    (tmp_path / "plots").mkdir()
    dead = 2**22 + 1  # above the largest number of a process
    left = [tmp_path / f".config.json.{dead}.tmp", tmp_path / "plots" / "samples.png.part"]
    stay = [tmp_path / ".config.json.1.tmp", tmp_path / "rows.jsonl", tmp_path / "notes.tmp"]  # process 1 is alive
    for file in (*left, *stay):
        file.write_text("x")
    with json_files.lock_folder(tmp_path):
        assert not any(file.exists() for file in left) and all(file.exists() for file in stay)
