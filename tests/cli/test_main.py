"""The command line as such: help, exit codes, where output goes, and that nothing slow is imported without need."""

import json
import subprocess
import sys

import pytest

from keras_compress_cli import main as module
from keras_compress_cli.command import Command, Output, UsageError, commands
from keras_compress_cli.main import main
from tests.cli.command_line import ROOT, call, call_in_process, environment

COMMANDS = [" ".join(command.words) for command in commands()]


def with_command(monkeypatch, run):
    """Make a command ``work`` the only one."""
    command = Command(("work",), "do it", "Does it.", lambda parser: None, run)
    monkeypatch.setattr(module, "commands", lambda: [command])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_every_command_teaches(name, capfd):
    called = call(capfd, *name.split(), "--help")
    assert called.code == 0
    assert called.err == ""
    assert f"keras-compress {name}" in called.out.split("\n\n", 1)[1]  # an example, behind the usage
    assert len(called.out.splitlines()) > 5


def test_every_command_is_listed(capfd):
    shown = call(capfd, "--help").out + call(capfd, "config", "--help").out
    for command in commands():
        assert command.words[-1] in shown
        assert command.summary in " ".join(shown.split())


def test_help_and_wrong_usage_need_no_tensorflow():
    program = (
        "import sys; from keras_compress_cli.main import main\n"
        "code = main(['quantize', '--help']) + main(['--help']) + main(['quantize', 'none', 'x.pb', '--data', 'none'])\n"
        "print(code, sorted({'tensorflow', 'tf_keras', 'numpy', 'keras_compress'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "2 []"


def test_the_script_that_is_installed_is_this_one():
    scripts = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.scripts]")[2]
    assert scripts.startswith(f'\nkeras-compress = "{main.__module__}:{main.__name__}"\n')


def test_what_a_command_finds_goes_to_standard_output_and_all_else_to_standard_error(monkeypatch, capfd):
    def run(arguments):
        print("on the way")
        return Output("found", {"found": [1, float("inf")]})

    with_command(monkeypatch, run)
    called = call(capfd, "work")
    assert (called.code, called.out, called.err) == (0, "found\n", "on the way\n")
    called = call(capfd, "work", "--json")
    assert json.loads(called.out) == {"found": [1, None]}


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (UsageError("no such thing"), 2, "error: no such thing\n'keras-compress work --help'"),
        (ValueError("a number"), 1, "error: ValueError: a number\n--traceback"),
        (ZeroDivisionError(), 1, "error: ZeroDivisionError. --traceback"),
        (KeyboardInterrupt(), 130, "error: interrupted"),
    ],
)
def test_errors_become_a_message_and_an_exit_code(error, code, message, monkeypatch, capfd):
    def run(arguments):
        raise error

    with_command(monkeypatch, run)
    called = call(capfd, "work")
    assert called.code == code
    assert called.out == ""
    assert called.err.startswith(message)
    assert "Traceback" not in called.err
    assert "Traceback" in call(capfd, "work", "--traceback").err


def test_a_result_that_is_not_what_was_asked_for_is_an_exit_code(monkeypatch, capfd):
    with_command(monkeypatch, lambda arguments: Output("bad", succeeded=False))
    assert call(capfd, "work").code == 1


@pytest.mark.parametrize(
    "arguments", [[], ["quantise"], ["config"], ["quantize"], ["export", "a", "b", "--option", "x"], ["--qwerty"]]
)
def test_wrong_usage_is_told_without_loading_anything(arguments, capfd):
    called = call(capfd, *arguments)
    assert called.code == 2
    assert "usage: keras-compress" in called.err
    assert called.out == ""


@pytest.mark.extended
def test_another_process_shows_no_traceback_and_no_noise(folder):
    good = call_in_process("inspect", "compressed.keras", "--json", cwd=folder)
    assert good.code == 0, good.err
    assert good.values["compressed"] is True
    assert good.err == ""
    bad = call_in_process("inspect", "training.py:none", cwd=folder)
    assert (bad.code, bad.out) == (2, "")
    assert "Traceback" not in bad.err


@pytest.mark.extended
def test_the_package_can_be_run_too(folder):
    called = call_in_process("config", "check", "int8.json", module="keras_compress", cwd=folder)
    assert (called.code, called.out) == (0, "'int8.json' is a valid configuration of quantization\n")


@pytest.mark.extended
def test_a_reader_that_leaves_early_is_no_error(folder):
    command = f"{sys.executable} -m keras_compress_cli config example quantization | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=environment(), timeout=120)
    assert done.stdout == "{\n"
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
