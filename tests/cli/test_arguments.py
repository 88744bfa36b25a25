"""Arguments that several commands take."""

import argparse
from pathlib import Path

import pytest

from keras_compress_cli.arguments import add_exports, count, number, require_data, require_file, require_new
from keras_compress_cli.command import UsageError


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("1/4", 0.25), ("-1e-3", -0.001), ("3", 3.0)])
def test_numbers(text, value):
    assert number(text) == value


@pytest.mark.parametrize("text", ["", "1/0", "a", "nan", "inf", "1/x"])
def test_what_is_no_number(text):
    with pytest.raises(argparse.ArgumentTypeError, match="is no number"):
        number(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "x"])
def test_what_is_no_count(text):
    assert count("12") == 12
    with pytest.raises(argparse.ArgumentTypeError, match="no whole number above 0"):
        count(text)


def test_options_of_formats_are_json_or_text():
    parser = argparse.ArgumentParser()
    add_exports(parser)
    words = ["m.onnx", "--option", "opset=21", "--option", "io_type=int8", "--option", 'input_names=["a=b"]']
    assert parser.parse_args(words).options == [("opset", 21), ("io_type", "int8"), ("input_names", ["a=b"])]


def test_only_new_files_are_written_unless_asked(tmp_path, capsys):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("")
    require_new([new, None], overwrite=False)
    with pytest.raises(UsageError, match="old' exists"):
        require_new([new, old], overwrite=False)
    require_new([new, old], overwrite=True)
    assert "old' exists and will be replaced" in capsys.readouterr().err
    with pytest.raises(UsageError, match="written twice"):
        require_new([new, Path(new)], overwrite=True)


def test_files_have_to_be_there_and_functions_do_not(tmp_path):
    require_file(None, "file")
    with pytest.raises(UsageError, match="There is no file"):
        require_file(tmp_path / "none", "file")
    require_data(argparse.Namespace(data="module:function", model=None), "data", "model")
    with pytest.raises(UsageError, match="There is no validation data 'none'"):
        require_data(argparse.Namespace(validation_data="none"), "validation_data")
