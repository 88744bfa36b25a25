"""What is changed while a command runs is put back, and what is written reaches the right place."""

import logging
import os
import subprocess
import sys
import warnings

from keras_compress_cli.terminal import CHATTY, messages_on_stderr
from tests.cli.command_line import environment


def test_everything_is_put_back(capfd):
    before = [logging.getLogger(name).level for name in CHATTY], list(sys.path), sys.stdout, warnings.showwarning
    filters = list(warnings.filters)
    with messages_on_stderr():
        print("said")
        warnings.warn("beware", UserWarning, stacklevel=1)
        warnings.warn("for programmers", DeprecationWarning, stacklevel=1)
        assert sys.path[-1] == os.getcwd()
        assert sys.path.count(os.getcwd()) == 1
        assert logging.getLogger("tensorflow").level == logging.ERROR
    after = [logging.getLogger(name).level for name in CHATTY], list(sys.path), sys.stdout, warnings.showwarning
    assert after == before
    assert warnings.filters == filters
    written = capfd.readouterr()
    assert written.out == ""
    assert written.err == "said\nwarning: beware\n"


def in_process(body):
    program = "import os, sys\nfrom keras_compress_cli.terminal import quiet_import\n" + body
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), timeout=60
    )


def test_what_libraries_write_while_they_are_imported_is_kept_back():
    done = in_process("with quiet_import():\n    os.write(2, b'noise')\nos.write(2, b'message')")
    assert (done.returncode, done.stderr) == (0, "message")


def test_it_is_shown_if_the_import_fails():
    done = in_process("with quiet_import():\n    os.write(2, b'the reason\\n')\n    raise ImportError('no')")
    assert done.returncode == 1
    assert done.stderr.startswith("the reason\n")
    assert done.stderr.endswith("ImportError: no\n")


def test_a_character_that_the_console_does_not_have_is_written_as_an_escape(tmp_path):
    program = (
        "import sys\nfrom keras_compress_cli.terminal import printable_streams\n"
        "with printable_streams():\n    print('gr\\u00f6\\u00dfe \\u2192 \\u2026')\n"
        "assert sys.stdout.errors == 'strict', sys.stdout.errors"
    )
    environ = {**environment(), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environ, timeout=60)
    assert (done.returncode, done.stdout) == (0, "gr\\xf6\\xdfe \\u2192 \\u2026\n"), done.stderr


def test_help_and_results_are_printed_on_a_console_of_ascii():
    environ = {**environment(), "PYTHONIOENCODING": "ascii"}
    for arguments in (
        ["--help"],
        ["benchmark", "--help"],
        ["inspect", "--help"],
        ["config", "schema"],
        ["benchmark", "größe.onnx"],
    ):
        command = [sys.executable, "-m", "keras_compress_cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, encoding="ascii")
        assert "UnicodeEncodeError" not in done.stderr
        assert done.returncode == (2 if arguments[-1].endswith(".onnx") else 0), done.stderr
