"""Peers: Python environments of other tools, made on first use in ``build/peers``, and work started in them.

TensorFlow Model Optimization runs on this project's TensorFlow; NNCF's TensorFlow backend and larq need TensorFlow 2.15 and
get an environment of their own.
"""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

FOLDER = Path("build/peers")
WORKER = Path(__file__).with_name("peer_worker.py")
TFMOT = ["tensorflow-model-optimization==0.8.1", "dm-tree"]
NNCF = ["tensorflow==2.15.1", "nncf==2.19.0", "larq==0.13.3", "pillow", "tqdm"]
#: The tools, and the name under which a table shows them.
TOOLS = {"keras_compress": "keras_compress", "tfmot": "TFMOT 0.8.1", "nncf": "NNCF 2.19", "larq": "larq 0.13.3"}


def interpreter(tool):
    """Return the Python program and the environment variables of a tool, after installing what it needs."""
    variables = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    if tool == "keras_compress":
        return sys.executable, variables
    if tool == "tfmot":
        target = FOLDER / "tfmot"
        if not (target / "installed").exists():
            pip(sys.executable, "--no-deps", "--target", str(target), *TFMOT)
            (target / "installed").touch()
        return sys.executable, {**variables, "PYTHONPATH": f"{target}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    target = FOLDER / "tensorflow-2.15"
    python = target / "bin" / "python"
    if not (target / "installed").exists():
        venv.create(target, with_pip=True)
        pip(str(python), *NNCF)
        (target / "installed").touch()
    return str(python), variables


def pip(python, *arguments):
    print("installing", *arguments, file=sys.stderr, flush=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments], check=True)


def ask(tool, *arguments):
    """Return the JSON that the worker prints last, in a process of its own."""
    with Worker(tool, *arguments) as worker:
        return worker.read()


class Worker:
    """A running worker: ``read()`` waits for a line of JSON, ``ask(line)`` sends a line and reads."""

    def __init__(self, tool, *arguments):
        python, variables = interpreter(tool)
        self.process = subprocess.Popen(
            [python, str(WORKER), tool, *map(str, arguments)],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self):
        """Return the next line of JSON; other lines are what libraries print.

        Raises:
            RuntimeError: the worker ended.
        """
        for line in self.process.stdout:
            if line.startswith("RESULT "):
                return json.loads(line.removeprefix("RESULT "))
        raise RuntimeError(f"{' '.join(self.process.args)} ended with code {self.process.wait()}.")

    def ask(self, line):
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return self.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
