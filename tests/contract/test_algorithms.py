"""What every algorithm must keep to. A new file in keras_compress/algorithms is checked here without any change."""

import copy
import functools
import itertools
import json
from dataclasses import dataclass

import numpy as np
import pydantic
import pytest
import tensorflow as tf

from keras_compress import create_compressed_model, create_compression_callbacks
from keras_compress._keras import OPERATOR_LAYERS, keras
from keras_compress.algorithms import (
    CompressionStage,
    Plan,
    PlanContext,
    Position,
    ScheduledAlgorithm,
    registered_algorithms,
)
from keras_compress.controller import CompressionController
from keras_compress.errors import ConfigError
from keras_compress.graph import ModelGraph, WrapWeight, apply_edits, build, edit_from_dict, edit_to_dict, take
from keras_compress.graph.variables import leaf_layers
from keras_compress.layers.weight_op import Stage
from keras_compress.settings import validated
from tests import zoo
from tests.levels import levels

ALGORITHMS = registered_algorithms()
KINDS = ["convolution", "residual", "shared_layer", "dicts", "nested", "transfer"]

every_algorithm = pytest.mark.parametrize("name", sorted(ALGORITHMS))
every_model = pytest.mark.parametrize("kind", levels(KINDS, first=["convolution", "shared_layer", "nested"]))
every_pair = pytest.mark.parametrize(("first", "second"), list(itertools.combinations(sorted(ALGORITHMS), 2)))
with_a_level = pytest.mark.parametrize(
    "name", sorted(name for name in ALGORITHMS if issubclass(ALGORITHMS[name], ScheduledAlgorithm))
)


@dataclass(frozen=True)
class Compressed:
    """A model, what it was before it was compressed, and what came of it. No test changes it."""

    model: keras.Model
    config: dict
    weights: list
    controller: CompressionController

    @property
    def compressed(self):
        return self.controller.model


@functools.cache
def compressed_once(name, kind):
    """Return a model compressed by one algorithm; the tests that change nothing share it."""
    model = zoo.MODELS[kind]()
    config, weights = copy.deepcopy(model.get_config()), model.get_weights()
    return Compressed(model, config, weights, zoo.compress(model, name)[0])


@functools.cache
def rebuilt_snapshot(kind):
    return take(build(zoo.snapshot(kind)))


def plan(name, graph, context=None, **settings) -> Plan:
    return ALGORITHMS[name](**settings).plan(graph, context or PlanContext())


def as_dicts(plan):
    return [edit_to_dict(edit) for edit in plan.edits]


@every_algorithm
def test_the_registered_name_is_the_name_in_the_configuration(name):
    assert ALGORITHMS[name].name == name
    assert ALGORITHMS[name]().to_dict() == {"algorithm": name}
    assert ALGORITHMS[name].__doc__


@every_algorithm
def test_configuration_round_trip(name):
    algorithm = ALGORITHMS[name](ignored_scopes="conv", target_scopes=["{re}.*"], validate_scopes=False)
    again = validated(ALGORITHMS[name], json.loads(json.dumps(algorithm.to_dict())))
    assert again == algorithm
    assert again.ignored_scopes == ("conv",)


@every_algorithm
def test_an_unknown_key_is_an_error(name):
    with pytest.raises(ConfigError, match=r"ignored_scope'.*Did you mean 'ignored_scopes'"):
        validated(ALGORITHMS[name], {"algorithm": name, "ignored_scope": []})


@every_algorithm
def test_settings_are_frozen(name):
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        ALGORITHMS[name]().ignored_scopes = ("conv",)


@every_model
@every_algorithm
def test_planning_is_pure(name, kind):
    snapshot = zoo.snapshot(kind)
    config, arrays = copy.deepcopy(snapshot.config), copy.deepcopy(dict(snapshot.weights))
    graph = ModelGraph(snapshot)
    first, second = plan(name, graph), plan(name, graph)
    third = plan(name, ModelGraph(rebuilt_snapshot(kind)))
    assert first == second == third
    convolves = any(node.class_name == "Conv2D" for _, node in graph.layers())
    assert first.edits or (not convolves and first.skipped and all(weight.reason for weight in first.skipped))
    assert snapshot.config == config
    for path, layer in arrays.items():
        for variable, array in layer.items():
            np.testing.assert_array_equal(snapshot.weights[path][variable], array)


@every_model
@every_algorithm
def test_a_plan_survives_json(name, kind):
    graph = ModelGraph(zoo.snapshot(kind))
    edits = plan(name, graph).edits
    written = json.loads(json.dumps(as_dicts(Plan(edits))))
    again = [edit_from_dict(values) for values in written]
    assert json.loads(json.dumps([edit_to_dict(edit) for edit in again])) == written
    rebuilt = build(apply_edits(graph.snapshot, again))
    assert [v.shape for v in rebuilt.variables] == [
        v.shape for v in build(apply_edits(graph.snapshot, edits)).variables
    ]


@pytest.mark.parametrize("key", ["ignored_scopes", "target_scopes"])
@pytest.mark.parametrize("at_the_root", [False, True])
@every_algorithm
def test_a_scope_that_matches_nothing_raises_with_the_nearest_names(name, at_the_root, key):
    graph = ModelGraph(zoo.snapshot("residual"))
    settings, context = {key: ("stem_nrom",)}, PlanContext()
    if at_the_root:
        settings, context = {}, PlanContext(**settings)
    with pytest.raises(ConfigError, match=rf"'{key}'.*Received: {key}='stem_nrom'.*Nearest:.*stem_norm"):
        plan(name, graph, context, **settings)
    plan(name, graph, context, **settings, validate_scopes=False)


@pytest.mark.parametrize("pattern", ["{re}*conv", "{re}(", "{re}[a-"])
@every_algorithm
def test_a_broken_regular_expression_is_a_configuration_error(name, pattern):
    with pytest.raises(ConfigError, match="ignored_scopes"):
        plan(name, ModelGraph(zoo.snapshot("residual")), ignored_scopes=(pattern,))


@every_algorithm
def test_with_everything_ignored_nothing_is_done(name):
    model = zoo.concatenation()
    controller, compressed = zoo.compress(model, name, ignored_scopes=["{re}.*"])
    zoo.assert_same_predictions(compressed, model, zoo.samples(model))
    assert controller.algorithm_statistics()[name] is not None
    assert len(compressed.variables) == len(model.variables)


@every_algorithm
def test_target_scopes_limit_the_weights_that_are_touched(name):
    _, compressed = zoo.compress(zoo.residual(), name, target_scopes=["body"])
    assert type(compressed.get_layer("stem")) is keras.layers.Conv2D
    assert type(compressed.get_layer("out")) is keras.layers.Dense


@every_model
@every_algorithm
def test_the_model_given_is_not_changed(name, kind):
    done = compressed_once(name, kind)
    assert done.model.get_config() == done.config
    for before, now in zip(done.weights, done.model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, before)
    assert not {id(v) for v in done.model.variables} & {id(v) for v in done.compressed.variables}


@every_model
@every_algorithm
def test_a_state_and_the_weights_give_the_same_model_again(name, kind):
    model = zoo.MODELS[kind]()
    controller, compressed = zoo.compress(model, name)
    controller.scheduler.epoch_step()
    controller.scheduler.step()
    state = json.loads(json.dumps(controller.get_compression_state()))
    again, restored = create_compressed_model(zoo.MODELS[kind](), controller.config, state)
    restored.set_weights(compressed.get_weights())
    zoo.assert_same_predictions(restored, compressed, zoo.samples(model))
    assert again.get_compression_state() == state
    assert again.scheduler.position == Position(epoch=0, step=0)


@every_model
@every_algorithm
def test_a_saved_model_gives_the_same_bits_when_loaded(name, kind, tmp_path):
    done = compressed_once(name, kind)
    model, compressed = done.model, done.compressed
    compressed.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    zoo.assert_same_predictions(loaded, compressed, zoo.samples(model))
    assert [v.trainable for v in loaded.variables] == [v.trainable for v in compressed.variables]


@every_model
@every_algorithm
def test_stripping_leaves_stock_layers_only(name, kind):
    model, controller = compressed_once(name, kind).model, compressed_once(name, kind).controller
    stripped = controller.strip()
    assert [path for path, _ in leaf_layers(stripped)] == [path for path, _ in leaf_layers(model)]
    for (_, layer), (_, before) in zip(leaf_layers(stripped), leaf_layers(model), strict=True):
        assert type(layer) is type(before) or isinstance(layer, OPERATOR_LAYERS)
        assert [w.shape for w in layer.weights] == [w.shape for w in before.weights]
    assert stripped.input_names == model.input_names
    assert stripped.output_names == model.output_names


@every_algorithm
def test_a_step_of_training_moves_weights_and_keeps_predictions_finite(name):
    model = zoo.convolution()
    controller, compressed = zoo.compress(model, name)
    before = compressed.get_layer("out").kernel.numpy()
    compressed.compile("sgd", "mse")
    controller.scheduler.epoch_step()
    controller.scheduler.step()
    compressed.train_on_batch(zoo.samples(model), np.ones((8, 3), np.float32))
    assert np.abs(compressed.get_layer("out").kernel.numpy() - before).max() > 0
    assert np.isfinite(zoo.predict(compressed, zoo.samples(model))[0]).all()


@every_algorithm
def test_what_it_reports_has_the_right_types(name):
    controller = compressed_once(name, "convolution").controller
    loss = controller.loss()
    assert loss.dtype == tf.float32
    assert loss.shape == ()
    assert all(isinstance(value, (int, float)) for value in controller.algorithm_statistics()[name].values())
    assert isinstance(controller.compression_stage(), CompressionStage)
    assert controller.compression_rate is None or 0.0 <= controller.compression_rate <= 1.0
    assert all(isinstance(remark, str) for remark in ALGORITHMS[name]().configuration_warnings())


@every_model
@with_a_level
def test_at_level_zero_predictions_stay_as_they_are(name, kind):
    model = zoo.MODELS[kind]()
    controller, compressed = zoo.compress(model, name)
    zoo.assert_same_predictions(compressed, model, zoo.samples(model))
    controller.set_sparsity_level(0.0)
    zoo.assert_same_predictions(compressed, model, zoo.samples(model))


@with_a_level
def test_a_level_is_planned_set_and_frozen(name):
    controller, _ = zoo.compress(zoo.convolution(), name)
    (algorithm,) = controller.config.compression
    levels = [algorithm.planned_level(epoch) for epoch in range(200)]
    assert levels == sorted(levels)
    assert all(0.0 <= level < 1.0 for level in levels)
    controller.set_sparsity_level(0.5)
    controller.freeze()
    before = [variable.numpy() for variable in controller.model.non_trainable_variables]
    for _ in range(3):
        controller.scheduler.epoch_step()
    for variable, value in zip(controller.model.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


def combine(model, first, second, first_settings=None, second_settings=None):
    """Return the controller and ``model`` compressed by two algorithms at once."""
    parts = [{"algorithm": first, **(first_settings or {})}, {"algorithm": second, **(second_settings or {})}]
    one = zoo.config(model)
    return create_compressed_model(model, type(one).from_dict({"compression": parts}).with_init_data(one.init_data))


def clashing(first, second, model):
    """Whether both work on one weight in one stage, or one wants zeros in a weight that the other makes binary."""
    graph = ModelGraph(take(model))
    stages = []
    for name in (first, second):
        edits = [edit for edit in plan(name, graph).edits if isinstance(edit, WrapWeight)]
        kinds = [keras.saving.get_registered_object(edit.op["registered_name"]) for edit in edits]
        stages.append({(edit.layer, edit.weight): kind.stage for edit, kind in zip(edits, kinds, strict=True)})
    shared = stages[0].keys() & stages[1].keys()
    pairs = [{stages[0][place], stages[1][place]} for place in shared]
    return any(len(pair) == 1 or pair == {Stage.MASK, Stage.BINARIZE} for pair in pairs)


def assert_works_together(controller, model, names, folder):
    """Check a step of fit with callbacks, the statistics of both, a saved copy and a stripped copy."""
    compressed = controller.model
    x, y = zoo.samples(model), np.ones((8, 3), np.float32)
    compressed.compile("sgd", "mse")
    callbacks = create_compression_callbacks(controller)
    before = compressed.get_layer("out").kernel.numpy()
    history = compressed.fit(x, y, batch_size=8, epochs=1, callbacks=callbacks, verbose=0).history
    assert controller.scheduler.position == Position(epoch=0, step=0)
    assert np.isfinite(history["loss"]).all()
    assert np.abs(compressed.get_layer("out").kernel.numpy() - before).max() > 0
    assert list(controller.algorithm_statistics()) == names
    reported = {f"{name}/{key}" for name, numbers in controller.algorithm_statistics().items() for key in numbers}
    assert all(any(key.startswith(f"{name}/") for key in reported) for name in names)
    assert reported < set(history)
    compressed.save(folder / "model.keras")
    zoo.assert_same_predictions(keras.models.load_model(folder / "model.keras"), compressed, x)
    stripped = controller.strip()
    assert [path for path, _ in leaf_layers(stripped)] == [path for path, _ in leaf_layers(model)]
    assert all(np.isfinite(array).all() for array in stripped.get_weights())


@pytest.mark.filterwarnings("ignore:Compression is complete:UserWarning")
@every_pair
def test_every_pair_works_together_or_is_refused_by_name(first, second, tmp_path):
    model = zoo.convolution()
    if not clashing(first, second, model):
        assert_works_together(combine(model, first, second)[0], model, [first, second], tmp_path)
        return
    for names in ((first, second), (second, first)):
        with pytest.raises(ConfigError, match="ignored_scopes") as refused:
            combine(model, *names)
        assert f"'{first}'" in str(refused.value)
        assert f"'{second}'" in str(refused.value)


@pytest.mark.extended
@pytest.mark.filterwarnings("ignore:Compression is complete:UserWarning")
@every_pair
def test_every_pair_works_together_on_different_layers(first, second, tmp_path):
    model = zoo.residual()
    controller, _ = combine(model, first, second, {"target_scopes": ["stem"]}, {"target_scopes": ["body"]})
    by = {row.layer: row.compressed_by for row in controller.statistics().coverage}
    assert first in by["stem"]
    assert second not in by["stem"]
    assert second in by["body"]
    assert first not in by["body"]
    assert by["out"] == ""
    assert_works_together(controller, model, [first, second], tmp_path)
