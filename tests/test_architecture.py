"""What holds for the package as a whole: a quiet import, no forbidden constructs, tests where they belong."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import keras_compress
import keras_compress_cli

ROOT = Path(keras_compress.__file__).parent
COMMAND_LINE = Path(keras_compress_cli.__file__).parent
MODULES = sorted([*ROOT.rglob("*.py"), *COMMAND_LINE.rglob("*.py")])
#: What an import may load, beside TensorFlow, Keras and what they load.
IMPORTED = {"annotated_types", "jinja2", "markupsafe", "pydantic", "pydantic_core", "tqdm", "typing_inspection"}
OPTIONAL = {"openvino", "onnx", "onnxruntime", "tf2onnx", "matplotlib", "sklearn"}

PROBE = """
import io, json, os, sys, threading, warnings
import tensorflow
import tf_keras
modules = set(sys.modules)
environment, threads = dict(os.environ), {thread.name for thread in threading.enumerate()}
native = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0
real = sys.stdout, sys.stderr
sys.stdout, sys.stderr = io.StringIO(), io.StringIO()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import keras_compress
printed = sys.stdout.getvalue() + sys.stderr.getvalue()
sys.stdout, sys.stderr = real
print(json.dumps({
    "environment": dict(os.environ) == environment,
    "threads": sorted({thread.name for thread in threading.enumerate()} - threads),
    "native_threads": (len(os.listdir("/proc/self/task")) if native else 0) - native,
    "printed": printed,
    "warnings": [str(warning.message) for warning in caught if "keras_compress" in str(warning.filename)],
    "modules": sorted(set(sys.modules) - modules),
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


@pytest.mark.extended
def test_importing_changes_no_environment_variable(fresh_import):
    assert fresh_import["environment"]


@pytest.mark.first
def test_importing_starts_no_thread(fresh_import):
    assert fresh_import["threads"] == []
    assert fresh_import["native_threads"] == 0


def test_importing_prints_and_warns_nothing(fresh_import):
    assert fresh_import["printed"] == ""
    assert fresh_import["warnings"] == []


def test_importing_loads_few_modules_beside_tensorflow(fresh_import):
    others = {name.partition(".")[0] for name in fresh_import["modules"]} - {"keras_compress"} - sys.stdlib_module_names
    assert others <= IMPORTED, "importing takes longer with every package that is loaded"
    assert sum(not name.startswith("keras_compress") for name in fresh_import["modules"]) < 250


def test_importing_loads_no_optional_package_and_changes_no_setting(fresh_import):
    assert not OPTIONAL & set(fresh_import["modules"])
    assert fresh_import["policy"] == "float32"
    assert fresh_import["eager"]


@pytest.fixture(scope="module")
def trees():
    """The syntax tree of every module of the packages, by its path."""
    return {path.relative_to(ROOT.parent): ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}


def test_every_module_opens_with_a_sentence(trees):
    opening = {path: (ast.get_docstring(tree) or "").partition("\n\n")[0] for path, tree in trees.items()}
    assert [path for path, text in opening.items() if not text.rstrip("`").endswith((".", ":", "…"))] == []


def test_no_module_has_an_assert(trees):
    assert [path for path, tree in trees.items() if any(isinstance(node, ast.Assert) for node in ast.walk(tree))] == []


#: What changes files, and the modules that call it for a file that is not yet in its place, or for none at all.
WRITES = {
    "mkdir",
    "move",
    "rename",
    "rmtree",
    "savefig",
    "unlink",
    "write_bytes",
    "write_text",
    "mkdtemp",
    "symlink_to",
    "copytree",
}
NOT_IN_PLACE = {
    "keras_compress/callbacks/checkpoint_folder.py": {"rmtree", "unlink"},  # what a failed save left
    "keras_compress/callbacks/checkpoint_manager_callback.py": {"mkdtemp"},
    "keras_compress/callbacks/save_best_compressed.py": {"unlink"},
    "keras_compress/export/keras_file.py": {"rename", "write_bytes"},
    "keras_compress/export/onnx_reproducible.py": {"rename"},  # of names in a graph
    "keras_compress/export/openvino.py": {"rename", "write_bytes"},
    "keras_compress/export/runtimes/openvino_pair.py": {"write_bytes"},
    "keras_compress/plots.py": {"savefig"},
}


def test_only_the_door_puts_files_into_their_places(trees):
    found = {}
    for path, tree in trees.items():
        calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
        names = {call.attr for call in calls if isinstance(call, ast.Attribute)} & WRITES
        opened = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _opens_to_write(node)]
        names |= {"open"} if opened else set()
        names |= {f"os.{call.attr}" for call in calls if isinstance(call, ast.Attribute) and _is_of_os(call)}
        if names and path.parts[1] != "files":
            found[path.as_posix()] = names
    assert found == NOT_IN_PLACE


def _opens_to_write(call):
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    modes = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    return name == "open" and any(isinstance(mode, str) and set(mode) & set("wax+") and len(mode) < 4 for mode in modes)


def _is_of_os(call):
    return (
        isinstance(call.value, ast.Name)
        and call.value.id == "os"
        and call.attr in ("replace", "link", "remove", "makedirs")
    )


def test_no_module_is_called_by_a_name_that_says_nothing(trees):
    nothing = {"utils", "util", "common", "helpers", "helper", "misc"}
    assert [path for path in trees if nothing & {*path.parts, path.stem}] == []


def test_keras_is_decided_in_one_place(trees):
    assert [path for path, tree in trees.items() if {"keras", "tf_keras"} & _imported(tree)] == [
        Path("keras_compress/_keras.py")
    ]


def test_public_names_are_in_all_in_order(trees):
    wrong = []
    for path, tree in trees.items():
        names = [ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign) and _is_all(node)]
        public = any(
            isinstance(node, (ast.ClassDef, ast.FunctionDef)) and not node.name.startswith("_") for node in tree.body
        )
        in_order = names and names[0] == sorted(set(names[0]), key=lambda name: (not name.isupper(), name))
        if (public or names) and not in_order:
            wrong.append(path)
    assert wrong == []


def _imported(tree):
    """Return the packages that a module imports, wherever it does."""
    nodes = list(ast.walk(tree))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in names}


def _is_all(assignment):
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in assignment.targets)


def test_every_public_name_exists_and_is_documented():
    for name in keras_compress.__all__:
        assert getattr(keras_compress, name).__doc__


def test_the_types_are_announced():
    assert (ROOT / "py.typed").is_file()


def test_every_folder_of_the_packages_has_its_folder_of_tests():
    without = []
    for folder in sorted({path.parent.relative_to(ROOT.parent) for path in MODULES if path.parent != ROOT}):
        package, *below = folder.parts
        tests = Path(__file__).parent / ("cli" if package == "keras_compress_cli" else "")
        if not list(tests.joinpath(*below).glob("test_*.py")):
            without.append(folder)
    assert without == []


def test_every_module_of_tests_is_called_after_a_module():
    """As ``test_view.py`` or, for one aspect, ``test_view_traversal.py``."""
    wrong = []
    for folder in {path.parent.relative_to(ROOT) for path in MODULES if ROOT in path.parents and path.parent != ROOT}:
        modules = {path.stem for path in (ROOT / folder).glob("*.py")}
        for test in (Path(__file__).parent / folder).glob("test_*.py"):
            words = test.stem.removeprefix("test_").split("_")
            if not any("_".join(words[: number + 1]) in modules for number in range(len(words))):
                wrong.append(str(test))
    assert wrong == []


def test_modules_are_of_a_readable_size():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {path: count for path, count in lines.items() if count > 350} == {}


def test_the_controller_depends_on_few_modules(trees):
    nodes = [node for node in trees[Path("keras_compress/controller.py")].body if isinstance(node, ast.ImportFrom)]
    own = {node.module for node in nodes if node.module.startswith("keras_compress")}
    assert len(own) <= 12, sorted(own)


#: Words that a reader of technical English stumbles over.
RIDDLES = r"\b(whoever|nobody|somebody|lest|anew|makes? of|comes to the same|stands? for|as far as|ways? back)\b"


def test_docstrings_are_plain_technical_english(trees):
    found = {}
    for path, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node) or ""
                if match := re.search(RIDDLES, text):
                    found[f"{path}:{getattr(node, 'name', '')}"] = match.group()
    assert found == {}
