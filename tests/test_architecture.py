"""What holds for the package as a whole: a quiet import, no forbidden constructs, tests where they belong."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import keras_compress
import keras_compress_cli

ROOT = Path(keras_compress.__file__).parent
COMMAND_LINE = Path(keras_compress_cli.__file__).parent
MODULES = sorted([*ROOT.rglob("*.py"), *COMMAND_LINE.rglob("*.py")])

PROBE = """
import io, json, os, sys, threading, time, warnings
import tensorflow
import tf_keras
modules = set(sys.modules)
environment, threads = dict(os.environ), {thread.name for thread in threading.enumerate()}
native = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
real = sys.stdout, sys.stderr
sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
start = time.process_time()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import keras_compress
seconds = time.process_time() - start
printed = sys.stdout.getvalue() + sys.stderr.getvalue()
sys.stdout, sys.stderr = real
print(json.dumps({
    "environment": dict(os.environ) == environment,
    "threads": sorted({thread.name for thread in threading.enumerate()} - threads),
    "native_threads": (len(os.listdir("/proc/self/task")) if native else 0) - native,
    "printed": printed,
    "warnings": [str(warning.message) for warning in caught if "keras_compress" in str(warning.filename)],
    "seconds": seconds,
    "modules": sorted((set(sys.modules) - modules) & {"openvino", "onnx", "onnxruntime", "tf2onnx", "matplotlib", "sklearn"}),
    "policy": tf_keras.mixed_precision.global_policy().name,
    "eager": tensorflow.executing_eagerly(),
}))
"""


@pytest.fixture(scope="module")
def fresh_import():
    """What an import of the package did in a process of its own."""
    command = [sys.executable, "-c", PROBE]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT.parent, timeout=120)
    return json.loads(done.stdout.splitlines()[-1])


def test_importing_changes_no_environment_variable(fresh_import):
    assert fresh_import["environment"]


def test_importing_starts_no_thread(fresh_import):
    assert fresh_import["threads"] == []
    assert fresh_import["native_threads"] == 0


def test_importing_prints_and_warns_nothing(fresh_import):
    assert fresh_import["printed"] == ""
    assert fresh_import["warnings"] == []


def test_importing_takes_less_than_half_a_second_beside_tensorflow(fresh_import):
    assert fresh_import["seconds"] < 0.5


def test_importing_loads_no_optional_package_and_changes_no_setting(fresh_import):
    assert fresh_import["modules"] == []
    assert fresh_import["policy"] == "float32"
    assert fresh_import["eager"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT.parent)))
class TestModule:
    def test_it_opens_with_a_docstring(self, path):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert docstring
        assert docstring.splitlines()[0].endswith((".", ":", "``", "…")) or "\n" in docstring

    def test_it_has_no_assert(self, path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Assert)] == []

    def test_its_name_says_what_it_is_about(self, path):
        assert not {"utils", "util", "common", "helpers", "helper", "misc"} & set(path.relative_to(ROOT.parent).parts)
        assert path.stem not in {"utils", "util", "common", "helpers", "helper", "misc"}

    def test_keras_is_decided_in_one_place(self, path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name.split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
        imported |= {(n.module or "").split(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert path.name == "_keras.py" or not imported & {"keras", "tf_keras"}

    def test_it_is_a_public_name_in_all(self, path):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = [ast.literal_eval(n.value) for n in tree.body if isinstance(n, ast.Assign) and _is_all(n)]
        defined = [
            n for n in tree.body if isinstance(n, (ast.ClassDef, ast.FunctionDef)) and not n.name.startswith("_")
        ]
        assert not defined or names
        assert not names or names[0] == sorted(set(names[0]), key=lambda name: (not name.isupper(), name))


def _is_all(assignment):
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in assignment.targets)


def test_every_public_name_exists_and_is_documented():
    for name in keras_compress.__all__:
        assert getattr(keras_compress, name).__doc__


def test_the_types_are_announced():
    assert (ROOT / "py.typed").is_file()


@pytest.mark.parametrize(
    "folder",
    sorted({path.parent.relative_to(ROOT.parent) for path in MODULES if path.parent != ROOT}),
    ids=str,
)
def test_every_folder_of_the_packages_has_its_folder_of_tests(folder):
    package, *below = folder.parts
    tests = Path(__file__).parent / ("cli" if package == "keras_compress_cli" else "")
    assert list(tests.joinpath(*below).glob("test_*.py"))
