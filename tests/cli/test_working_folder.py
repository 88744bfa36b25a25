"""What lies in the working directory under the name of an installed package is not imported, and what only lies there is found."""

import os
import subprocess
import sys

import pytest

from keras_compress._working_folder import was_started_by_name
from tests.cli.command_line import environment

NAMES = ("numpy", "argparse", "json", "tqdm", "pydantic", "h5py")
CONSOLE = "import sys; from keras_compress_cli.main import main; sys.exit(main(sys.argv[1:]))"


@pytest.fixture
def trap(tmp_path):
    for name in NAMES:
        (tmp_path / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n")
    (tmp_path / "only_here.py").write_text("def model():\n    raise SystemExit('found')\n")
    return tmp_path


@pytest.mark.parametrize("start", [["-m", "keras_compress"], ["-m", "keras_compress_cli"], ["start.py"]])
def test_local_modules_come_last(start, trap):
    script = trap.parent / "bin" / "start.py"  # as an installed command stands in a folder of its own
    script.parent.mkdir(exist_ok=True)
    script.write_text(CONSOLE)
    begin = [str(script)] if start == ["start.py"] else start
    command = [sys.executable, *begin, "inspect", "only_here:model"]
    variables = {name: value for name, value in environment().items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(command, cwd=trap, env=variables, capture_output=True, text=True, timeout=300)
    assert not (trap / "ran").exists()
    assert "found" in done.stderr
    assert os.listdir(trap).count("ran") == 0


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["python", "-m", "keras_compress", "inspect"], True),
        (["python", "-mkeras_compress"], True),
        (["python", "-X", "dev", "-m", "keras_compress.__main__"], True),
        (["python", "-m", "pytest", "keras_compress"], False),
        (["python", "script.py", "-m"], False),
        (["python"], False),
    ],
)
def test_only_a_process_that_runs_the_package_is_changed(arguments, expected):
    assert was_started_by_name(arguments) is expected
