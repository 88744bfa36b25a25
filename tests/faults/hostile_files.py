"""A process that takes damaged and hostile files, configurations and states, one after the other, and says what came of each.

``python -m tests.faults.hostile_files FOLDER SEED FIRST COUNT`` prints a line of JSON before and after each attempt, so that whoever
started it knows which one killed it or never ended.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import shutil
import sys
import warnings
import zipfile
from pathlib import Path

from tests.faults.damage import cut_or_flip, spoil_graph, spoil_onnx, spoil_saved_model, spoil_text

#: Formats of exported files, by what stands behind the name.
EXPORTS = {".pb": "graph", "": "saved", ".onnx": "onnx", ".xml": "openvino", ".tflite": "tflite"}


def main(folder, seed, first, count):
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    folder = Path(folder)
    answers, sys.stdout = sys.stdout, io.StringIO()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        attempts = Attempts(folder)
        for number in range(first, first + count):
            what, run = attempts.prepared(random.Random(seed * 1_000_003 + number))
            print(json.dumps({"number": number, "begins": what}), file=answers, flush=True)
            before = attempts.outside()
            result = tried(run)
            touched = sorted(set(attempts.outside().items()) ^ set(before.items()))
            print(
                json.dumps({"number": number, "touched": [name for name, _ in touched], **result}),
                file=answers,
                flush=True,
            )


def tried(run):
    """Run an attempt; return how it ended, with the error if it is none of the package's."""
    from keras_compress.errors import CompressionError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run()
        except CompressionError as error:
            return {"result": "refused" if len(str(error)) > 20 else "no words", "error": str(error)[:300]}
        except BaseException as error:  # whatever else it is, it is what this looks for
            import traceback

            return {
                "result": "raw",
                "error": f"{type(error).__name__}: {error}"[:500],
                "where": traceback.format_exc()[-1500:],
            }
    return {"result": "done"}


class Attempts:
    """Sound files to start from, and attempts made of them."""

    def __init__(self, folder):
        import numpy as np

        import keras_compress as kc
        from keras_compress.export import format_of
        from tests import zoo
        from tests.faults import test_damage

        self.kc, self.damage = kc, test_damage
        self.folder, self.work = folder, folder / "here" / "work"
        (folder / "here").mkdir(parents=True, exist_ok=True)
        (folder / "outside").mkdir(exist_ok=True)
        (folder / "outside" / "precious.txt").write_text("precious")
        os.chdir(folder / "here")
        self.model = zoo.dense()
        self.inputs = zoo.samples(self.model)
        config = kc.register_default_init_args({"compression": {"algorithm": "quantization"}}, self.inputs)
        self.controller, self.compressed = kc.create_compressed_model(self.model, config)
        self.state = self.controller.get_compression_state()
        self.first = np.asarray(self.inputs)[:1] if not isinstance(self.inputs, (list, dict)) else self.inputs
        self.sound = folder / "sound"
        self.sound.mkdir(exist_ok=True)
        if not (self.sound / "made").exists():
            for suffix in EXPORTS:
                form = format_of(self.sound / f"model{suffix}")
                form.write(self.compressed, self.sound / f"model{suffix}", **_calibration(form, self.inputs))
            self.compressed.save(self.sound / "keras.keras")
            self.compressed.save(self.sound / "keras.h5")
            self.compressed.save(self.sound / "keras_folder")
            (self.sound / "made").touch()

    def outside(self):
        """Return what is where no attempt may write, by name: a hash of each file."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and self.work not in path.parents)
        return {str(path.relative_to(self.folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    def prepared(self, choose):
        """Return what an attempt is, and the function that makes it."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir()
        kinds = (
            [self._exported] * 6
            + [self._keras] * 6
            + [self._state] * 3
            + [self._configuration] * 2
            + [self._json] * 2
            + [self._options]
        )
        return choose.choice(kinds)(choose)

    # Files.

    def _exported(self, choose):
        suffix = choose.choice(list(EXPORTS))
        path = self.work / f"model{suffix}"
        (shutil.copytree if suffix == "" else shutil.copy)(self.sound / path.name, path)
        if suffix == ".xml":
            shutil.copy(self.sound / "model.bin", self.work / "model.bin")
        damage = choose.choice(
            [cut_or_flip, {".pb": spoil_graph, "": spoil_saved_model, ".onnx": spoil_onnx}.get(suffix, spoil_text)]
        )
        target = (
            choose.choice([file for file in self.work.rglob("*") if file.is_file()]) if damage is cut_or_flip else path
        )
        damage(target, choose)
        kc, compressed = self.kc, self.compressed
        uses = {
            "audit": lambda: kc.audit(compressed, path),
            "benchmark": lambda: kc.benchmark([path], self.first, rounds=1),
            "compare": lambda: kc.compare(compressed, path),
            "inspect": lambda: _inspect(path),
        }
        use = choose.choice(list(uses))
        return f"{use} of {path.name or 'folder'}, {damage.__name__}", uses[use]

    def _keras(self, choose):
        name = choose.choice([*["keras.keras"] * 4, *["keras.h5"] * 3, "keras_folder"])
        path = self.work / name
        (shutil.copytree if name == "keras_folder" else shutil.copy)(self.sound / name, path)
        if name == "keras.keras" and choose.random() < 0.7:
            damage = self._spoil_configuration
            damage(path, choose)
        elif name == "keras.h5" and choose.random() < 0.6:
            damage = self._spoil_h5_configuration
            damage(path, choose)
        else:
            damage = cut_or_flip
            damage(choose.choice([file for file in self.work.rglob("*") if file.is_file()]), choose)
        return f"load of {name}, {damage.__name__}", lambda: self.kc.load_model(path)

    def _spoil_configuration(self, path, choose):
        with zipfile.ZipFile(path) as old:
            members = {name: old.read(name) for name in old.namelist()}
        config = self.damage.mutated(json.loads(members["config.json"]), choose, choose.randint(1, 3))
        members["config.json"] = _text(config).encode("utf-8", "surrogatepass")
        with zipfile.ZipFile(path, "w") as new:
            for name, content in members.items():
                new.writestr(name, content)

    def _spoil_h5_configuration(self, path, choose):
        import h5py

        with h5py.File(path, "a") as file:
            config = self.damage.mutated(json.loads(file.attrs["model_config"]), choose, choose.randint(1, 3))
            text = _text(config).encode("utf-8", "surrogatepass")[:60_000]
            file.attrs["model_config"] = text.replace(b"\0", b"")

    # Values.

    def _state(self, choose):
        state = dict(self.state)
        if choose.random() < 0.7:
            state.pop("digest")
        state = self.damage.mutated(state, choose, choose.randint(1, 3))
        return "a state", lambda: self.kc.create_compressed_model(self.model, self.controller.config, state)

    def _configuration(self, choose):
        values = self.damage.mutated(self.damage.CONFIG, choose, choose.randint(1, 4))
        return "a configuration", lambda: self.kc.coverage(self.model, values)

    def _options(self, choose):
        name = choose.choice(["batch_size", "input_names", "output_names", "input_shapes", "save_format"])
        value = self.damage.hostile(choose)
        path = self.work / f"out{choose.choice(list(EXPORTS))}"
        return f"option {name} of {path.suffix}", lambda: self.kc.export_model(self.compressed, path, **{name: value})

    def _json(self, choose):
        from keras_compress.config.migration import migrate

        path = self.work / "config.json"
        path.write_text(json.dumps(self.damage.CONFIG))
        cut_or_flip(path, choose)
        if choose.random() < 0.5:
            return "a file of a configuration", lambda: self.kc.CompressionConfig.from_json(path)
        values = self.damage.mutated(self.damage.CONFIG, choose, choose.randint(1, 4))
        return "a migration", lambda: migrate(values)


def _calibration(form, inputs):
    import inspect

    return {"calibration_data": inputs} if "calibration_data" in inspect.signature(form.write).parameters else {}


def _inspect(path):
    from keras_compress.export import format_of
    from keras_compress.export.file_audit import stored_weights

    stored_weights(path, format_of(path))


def _text(value):
    try:
        return json.dumps(value)
    except (RecursionError, ValueError):
        return "[" * 100_000


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
