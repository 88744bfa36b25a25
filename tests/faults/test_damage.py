"""Damaged files and hostile values: each ends in an error of this package that says what is wrong, or in a sound result."""

import copy
import json
import random
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import keras_compress as kc
from keras_compress.errors import CompressionError, StateError
from tests import zoo
from tests.levels import levels

CONFIG = {
    "compression": [
        {
            "algorithm": "magnitude_sparsity",
            "target_scopes": ["hidden"],
            "params": {"sparsity_target": 0.5, "sparsity_target_epoch": 2, "schedule": "polynomial", "power": 0.9},
        },
        {
            "algorithm": "rb_sparsity",
            "target_scopes": ["out"],
            "params": {
                "schedule": "multistep",
                "multistep_steps": [2, 4],
                "multistep_sparsity_levels": [0.1, 0.2, 0.3],
            },
        },
        {
            "algorithm": "quantization",
            "ignored_scopes": [],
            "weights": {"bits": 8, "mode": "symmetric"},
            "scope_overrides": {"weights": {"out": {"bits": 4}}},
            "initializer": {"range": {"type": "percentile", "num_init_samples": 8, "params": {"max_percentile": 99.9}}},
        },
        {
            "algorithm": "binarization",
            "layer_types": "Conv2D",
            "params": {"base_lr": 0.1, "lr_poly_drop_start_epoch": 3},
        },
    ],
    "target_device": "CPU",
}


def nested(depth):
    value: object = 0
    for _ in range(depth):
        value = [value]
    return value


def hostile(choose):
    """Return something nobody expects; a new one each time."""
    return choose.choice(
        [
            *(
                10**400,
                -(10**400),
                2**63,
                -1,
                0,
                1e308,
                float("nan"),
                float("inf"),
                -float("inf"),
                True,
                None,
                1 + 1e-12,
            ),
            *("", "../../../etc/passwd", "/dev/null", "{re}(", "{re}" + "a?" * 30, "\x00", "\ud800", "x" * 100_000),
            *([], {}, [[]], [None], {"": {}}, {"algorithm": "quantization"}, {"__class__": "os.system"}),
            *(
                nested(500),
                nested(20_000),
                {"module": "os", "class_name": "system", "config": "true", "registered_name": None},
            ),
        ]
    )


def mutated(value, choose, times=1):
    """Return a copy of a nested value with some things in it replaced, removed or added."""
    value = copy.deepcopy(value)
    for _ in range(times):
        mutate(value, choose)
    return value


def mutate(holder, choose):
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = choose.choice(keys) if keys else None
        inner = holder[key] if keys else None
        if isinstance(inner, (dict, list)) and inner and choose.random() < 0.75:
            holder = inner
            continue
        action = choose.choice(["replace", "replace", "replace", "remove", "add"])
        if action == "add" or not keys:
            if isinstance(holder, dict):
                holder[choose.choice(["bits", "compresion", "params", "\u202e"])] = hostile(choose)
            else:
                holder.append(hostile(choose))
        elif action == "remove":
            del holder[key]
        else:
            holder[key] = hostile(choose)
        return


@pytest.fixture(scope="module")
def model():
    return zoo.dense()


@pytest.fixture(scope="module")
def trained(model, tmp_path_factory):
    """A compressed model with a checkpoint; return its controller and the folder."""
    folder = tmp_path_factory.mktemp("trained")
    config = kc.register_default_init_args(CONFIG, zoo.samples(model))
    controller, compressed = kc.create_compressed_model(model, config)
    controller.scheduler.epoch_step()
    checkpoint = tf.train.Checkpoint(model=compressed, compression_state=kc.TFCompressionState(controller))
    tf.train.CheckpointManager(checkpoint, str(folder), max_to_keep=2).save()
    return controller, folder


def survives(attempt):
    """Run something hostile; return whether it succeeded. Any error must be one of this package, with words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            attempt()
        except CompressionError as error:
            words = len(str(error))
        else:
            return True
    assert 20 < words < 400_000
    return False


@pytest.mark.parametrize("seed", levels(range(6), first=[0]))
def test_hostile_configurations(model, seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    choose = random.Random(seed)
    refused = 0
    for _ in range(100):
        values = mutated(CONFIG, choose, times=choose.randint(1, 3))
        refused += not survives(lambda values=values: kc.coverage(model, values))
    assert refused > 30
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", range(2))
def test_configuration_files_of_damaged_json(seed, tmp_path):
    choose = random.Random(seed)
    text = json.dumps(CONFIG)
    path = tmp_path / "config.json"
    for _ in range(100):
        damaged = bytearray(text.encode())
        for _ in range(choose.randint(1, 4)):
            damaged[choose.randrange(len(damaged))] = choose.randrange(256)
        path.write_bytes(bytes(damaged[: choose.choice([len(damaged), choose.randrange(len(damaged))])]))
        survives(lambda: kc.CompressionConfig.from_json(path))
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("seed", levels(range(4), first=[0]))
def test_hostile_states(model, trained, seed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    controller, _ = trained
    state = controller.get_compression_state()
    choose = random.Random(seed)
    refused = 0
    for _ in range(50):
        damaged = mutated(state, choose)
        refused += not survives(lambda damaged=damaged: kc.create_compressed_model(model, controller.config, damaged))
    assert refused > 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("seed", levels(range(4), first=[0]))
def test_damaged_checkpoints(model, trained, seed, tmp_path):
    controller, folder = trained
    choose = random.Random(seed)
    originals = {path.name: path.read_bytes() for path in folder.iterdir()}
    expected = [variable.numpy() for variable in controller.model.variables]
    for _ in range(40):
        files = dict(originals)
        name = choose.choice(sorted(files))
        content = bytearray(files[name])
        action = choose.choice(["cut", "flip", "fill", "delete", "empty"])
        if action == "cut":
            files[name] = bytes(content[: choose.randrange(len(content))])
        elif action == "flip":
            content[choose.randrange(len(content))] ^= 1 << choose.randrange(8)
            files[name] = bytes(content)
        elif action == "fill":
            files[name] = bytes(choose.randrange(256) for _ in content)
        elif action == "delete":
            del files[name]
        else:
            files[name] = b""
        target = tmp_path / "copy"
        target.mkdir(exist_ok=True)
        for path in target.iterdir():
            path.unlink()
        for file, data in files.items():
            (target / file).write_bytes(data)
        restored = []
        if survives(lambda target=target, restored=restored: restored.extend(kc.restore(model, target))):
            for variable, value in zip(restored[1].variables, expected, strict=True):
                np.testing.assert_array_equal(variable.numpy(), value)
        assert {path.name for path in target.iterdir()} == set(files)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_a_state_cannot_make_a_module_be_imported(model, trained, tmp_path, monkeypatch):
    controller, _ = trained
    (tmp_path / "evil_module.py").write_text("from pathlib import Path\nPath(__file__).with_name('ran').touch()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    state = controller.get_compression_state()
    for part in state["edits"]:
        for edit in part:
            operation = edit.get("op") or edit.get("layer")
            operation.update(module="evil_module", class_name="Evil", registered_name="evil_module>Evil")
    with pytest.raises(StateError, match="no registered operation"):
        kc.create_compressed_model(model, controller.config, state)
    assert not Path(tmp_path / "ran").exists()
