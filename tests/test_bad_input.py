"""Bad input, a case a test, through the command line: one clear line that names file, row and
remedy, and nothing is lost.
"""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tamis import TextClassifier
from tests import runs
from tests.rows import messages
from tests.runs import tamis

ROWS = messages()


def trained(path: Path, run: Path, *more: str | Path) -> runs.Said:
    return tamis("train", path, *runs.TINY, *runs.EPOCH, *more, "-o", run)


def refused(path: Path, run: Path, *more: str | Path) -> str:
    """The error of a training that was refused before it made anything."""
    error = trained(path, run, *more).error
    assert not run.exists()
    return error


def written(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    data = written(tmp_path / "d.csv", "body,kind\n" + "hello,ham\nWIN now,spam\n" * 9)
    error = refused(data, tmp_path / "run", "--text", "boddy")
    assert (
        f"{data}: there is no column 'boddy'; the columns are 'body', 'kind'; did you mean "
        "--text 'body'?" in error
    )
    assert "there is no column 'label'" in refused(data, tmp_path / "run", "--label", "label")


def test_a_table_without_a_label_column_says_how_to_name_one(tmp_path: Path) -> None:
    data = written(tmp_path / "d.csv", "text\n" + "hello\nWIN now\n" * 9)
    error = refused(data, tmp_path / "run")
    assert (
        f"{data}: expected a table (CSV, TSV, Excel, JSONL or Parquet), found text without "
        "columns; separate label and text with a tab" in error
    )
    data = written(
        tmp_path / "d.csv",
        "subject,body,name\n" + "".join(f"topic {i},text of {i},person {i}\n" for i in range(20)),
    )
    assert "choose one with --label COLUMN" in refused(
        data, tmp_path / "run"
    ) or "--text COLUMN" in refused(data, tmp_path / "run")


def test_a_row_with_too_many_fields_is_named(tmp_path: Path) -> None:
    data = written(tmp_path / "d.csv", "label,text\nham,hello\nspam,WIN,now\nham,bye\nspam,free\n")
    error = refused(data, tmp_path / "run")
    assert f"{data} line 3: expected 2 fields separated by" in error and "found 3" in error


def test_an_empty_file_and_a_lone_header_say_so(tmp_path: Path) -> None:
    assert "found an empty file" in refused(written(tmp_path / "d.csv", ""), tmp_path / "run")
    assert "has no rows, only the names of its columns ('label', 'text')" in refused(
        written(tmp_path / "d.csv", "label,text\n"), tmp_path / "run"
    )


def test_a_label_of_the_test_file_that_training_does_not_know_is_named(tmp_path: Path) -> None:
    test = runs.write_table(
        tmp_path / "t.tsv",
        [("ham", "hi there"), ("spam", "WIN now"), ("ham", "well"), ("spma", "FREE stuff")],
    )
    error = refused(runs.table(), tmp_path / "run", "--test", test)
    assert (
        f"{test} line 4: label 'spma' is not one of the 2 labels" in error
        and "did you mean 'spam'?" in error
    )


def test_a_missing_label_is_named(tmp_path: Path) -> None:
    data = runs.write_table(tmp_path / "d.tsv", [*ROWS[:40], ("", "no label"), *ROWS[40:]])
    assert f"{data} line 41: expected a label in column" in refused(data, tmp_path / "run")


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_text_to_train_on_is_named(text: str, tmp_path: Path) -> None:
    data = runs.write_table(tmp_path / "d.tsv", [*ROWS[:40], ("ham", text), *ROWS[40:]])
    assert f"{data} line 41: expected a text to train on, found an empty one" in refused(
        data, tmp_path / "run"
    )


def test_an_empty_text_to_judge_is_a_text() -> None:
    assert tamis("predict", runs.finished_run(), "").code == 0


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    good = "".join(f"{label}\t{text}\n" for label, text in ROWS).encode()
    data = written(tmp_path / "d.tsv", good + b"ham\tbroken \x81 here\n")
    error = refused(data, tmp_path / "run")
    assert f"{data} line 125" in error and "0x81" in error and "save the file as UTF-8" in error


def test_text_in_windows_encoding_is_read_with_a_note(tmp_path: Path) -> None:
    rows = [(label, text) for label, text in ROWS if text.isascii()] + [("ham", "café à côté")]
    data = written(
        tmp_path / "d.tsv", "".join(f"{label}\t{text}\n" for label, text in rows).encode("cp1252")
    )
    said = trained(data, tmp_path / "run", "--tune", "head")
    assert said.code == 0 and "cp1252" in said.err
    assert "cp1252" in " ".join(
        json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))["notes"]
    )


def test_a_nul_byte_is_named(tmp_path: Path) -> None:
    data = runs.write_table(tmp_path / "d.tsv", [*ROWS[:40], ("ham", "a\0b"), *ROWS[40:]])
    error = refused(data, tmp_path / "run")
    assert f"{data} line 41" in error and "NUL" in error


def test_a_nul_in_json_is_named(tmp_path: Path) -> None:
    lines = [json.dumps({"label": label, "text": text}) for label, text in ROWS] + [
        '{"label": "ham", "text": "a\\u0000b"}'
    ]
    error = refused(written(tmp_path / "d.jsonl", "\n".join(lines)), tmp_path / "run")
    assert "line 125" in error and "NUL" in error


def test_a_row_of_one_megabyte_is_trained_and_judged_like_any_other(tmp_path: Path) -> None:
    long = "lorem ipsum dolor " * 58_000
    assert len(long) > 1_000_000
    data = runs.write_table(tmp_path / "d.tsv", [*ROWS, ("ham", long)])
    said = trained(data, tmp_path / "run", "--tune", "head", "--split", "none")
    assert said.code == 0, said.err
    answers = tamis(
        "predict",
        tmp_path / "run",
        "--json",
        "--file",
        written(tmp_path / "in.txt", f"hi\n{long}\n"),
    )
    assert answers.code == 0 and json.loads(answers.out.splitlines()[1])["text"] == long


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    data = runs.write_table(tmp_path / "d.tsv", [row for row in ROWS if row[0] == "ham"])
    error = refused(data, tmp_path / "run")
    assert str(data) in error and "expected at least two classes" in error and "only 'ham'" in error


def test_fewer_rows_than_classes_need_is_refused(tmp_path: Path) -> None:
    data = written(
        tmp_path / "d.csv", "label,text\n" + "".join(f"kind{i},text {i}\n" for i in range(7))
    )
    error = refused(data, tmp_path / "run", "--text", "text", "--label", "label")
    assert "expected at least two rows for each class, found 7 rows for 7 classes" in error


def test_a_class_that_a_split_leaves_without_training_rows_is_named(tmp_path: Path) -> None:
    data = runs.write_table(
        tmp_path / "d.tsv",
        [*[row for row in ROWS if row[0] == "ham"], *[row for row in ROWS if row[0] == "spam"]],
    )
    said = trained(data, tmp_path / "run", "--split", "almeida")
    assert said.code in (0, 1)
    if said.code:
        assert "leaves no training row of class 'spam'" in said.error


def test_labels_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    data = runs.write_table(tmp_path / "d.tsv", [*ROWS[:40], ("Spam", "CAPS"), *ROWS[40:]])
    error = refused(data, tmp_path / "run")
    assert (
        f"{data} line 41: the labels 'Spam', 'spam' differ only in case or white space; write "
        "them the same way" in error
    )


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_weights_cut_short_or_with_a_flipped_bit_are_refused(command: str, tmp_path: Path) -> None:
    rest = "hi" if command == "predict" else runs.table()
    weights = Path("model", "model.safetensors")
    whole = (runs.finished_run() / weights).read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for number, content in enumerate((whole[: len(whole) // 2], bytes(flipped), b"")):
        run = runs.copy_of(runs.finished_run(), tmp_path / str(number))
        (run / weights).write_bytes(content)
        error = tamis(command, run, rest).error
        assert (
            f"{run / weights} was truncated or altered after it was saved" in error
            and "copy it again" in error
        )


def test_a_backbone_cut_short_is_refused(tmp_path: Path) -> None:
    folder = runs.copy_of(runs.pretrained(), tmp_path / "backbone")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    error = tamis("train", runs.table(), "--backbone", folder, "-o", tmp_path / "run").error
    assert f"{weights} is truncated, altered or not safetensors" in error


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"n_layer": 2}, "unexpected h.2."),
        ({"n_positions": 64}, "wpe.weight: expected (64, 24), got (96, 24)"),
    ],
)
def test_a_backbone_of_another_shape_lists_what_does_not_fit(
    change: dict[str, int], words: str, tmp_path: Path
) -> None:
    folder = runs.copy_of(runs.pretrained(), tmp_path / "backbone")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | change), encoding="utf-8")
    for command in (("train", str(runs.table()), "--backbone"), ("inspect",)):
        error = tamis(*command, folder).error
        assert f"{folder}: the weights do not match the configuration" in error and words in error


def test_a_backbone_that_is_no_gpt2_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bert").mkdir()
    written(tmp_path / "bert" / "config.json", '{"model_type": "bert"}')
    error = tamis(
        "train", runs.table(), "--backbone", tmp_path / "bert", "-o", tmp_path / "run"
    ).error
    assert "expected model_type 'gpt2', got 'bert'" in error


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing beyond `size` bytes fails as on a full disk (EFBIG for ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("tune", "size"), [("full", 50_000), ("head", 100), ("head", 9_000), ("head", 50_000)]
)
def test_a_full_disk_is_one_line_and_the_run_goes_on_when_there_is_room(
    tune: str, size: int, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with files_of_at_most(size):
        said = trained(runs.table(), run, "--tune", tune)
    assert said.code == 1 and said.out == "" and "Traceback" not in said.err
    error = said.err.splitlines()[-1]
    assert error.startswith("tamis: ") and "File too large" in error
    assert not (run / "report.json").exists() and not [
        name for name in runs.contents(tmp_path) if name.endswith(".part")
    ]
    assert trained(runs.table(), run, "--tune", tune).code == 0
    assert trained(runs.table(), tmp_path / "other", "--tune", tune).code == 0
    weights = "model/model.safetensors"
    assert (run / weights).read_bytes() == (tmp_path / "other" / weights).read_bytes()


def test_a_full_disk_while_predicting_leaves_no_half_file(tmp_path: Path) -> None:
    lines = written(tmp_path / "in.txt", "hello there\n" * 5000)
    with files_of_at_most(20_000):
        error = tamis(
            "predict", runs.finished_run(), "--file", lines, "--out", tmp_path / "out.csv"
        ).error
    assert "cannot be written (File too large)" in error
    assert [file.name for file in tmp_path.iterdir()] == ["in.txt"]


def test_a_place_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    written(tmp_path / "file", "x")
    error = tamis("train", runs.table(), *runs.TINY, "-o", tmp_path / "file" / "run").error
    assert "cannot be created (Not a directory); choose another folder (-o DIR;" in error


def test_a_text_that_spells_a_special_token_is_ordinary_text(tmp_path: Path) -> None:
    classifier = TextClassifier.load(runs.finished_run(), threads=1)
    spelled = classifier.predictor_.tokenizer.encode(["<|endoftext|>"])[0]
    assert len(spelled) > 2 and (spelled[1:] != classifier.predictor_.tokenizer.end_of_text).all()
    assert tamis("predict", runs.finished_run(), "<|endoftext|>").code == 0


def test_a_text_longer_than_the_context_is_scored_by_windows_to_its_very_end() -> None:
    classifier = TextClassifier.load(runs.finished_run(), threads=1)
    start = "see you at the bench " * 60
    ids = classifier.predictor_.tokenizer.encode([start])[0]
    assert len(ids) > 64
    windows = classifier.predictor_.encoder.windows(ids)
    assert len(windows) > 1 and windows[-1][-1] == ids[-1]
    spam = [text for label, text in messages() if label == "spam"][
        :3
    ]  # longer than a window: the last one holds nothing else
    plain, ended = classifier.predict_proba([start, start + " ".join(spam)])
    assert np.isfinite([plain, ended]).all() and ended[1] > plain[1]


def test_settings_that_exclude_each_other_are_refused(tmp_path: Path) -> None:
    error = refused(runs.table(), tmp_path / "run", "--tune", "blocks:9")
    assert "blocks:9" in error and "blocks" in error
    error = refused(runs.table(), tmp_path / "run", "--class-weight", "eggs=3")
    assert (
        "train.class_weight names 'eggs', which is not one of the labels ['ham', 'spam']" in error
    )
    error = refused(
        runs.table(),
        tmp_path / "run",
        "--set",
        "text.padding=fixed:500",
        "--set",
        "text.pooling=last_position",
    )
    assert "text.padding = fixed:500: expected at most 64 tokens" in error


def test_a_run_refused_for_a_setting_can_be_started_with_a_better_one(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()  # an empty folder of the user's stays
    assert trained(runs.table(), tmp_path / "run", "--class-weight", "eggs=3").code == 1
    assert list((tmp_path / "run").iterdir()) == []
    assert trained(runs.table(), tmp_path / "run", "--class-weight", "spam=3").code == 0
