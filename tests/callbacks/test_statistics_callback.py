"""Numbers of compression reach the logs, the screen and a TensorBoard file that is read back here."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from keras_compress import create_compressed_model, create_compression_callbacks
from keras_compress._keras import keras
from keras_compress.callbacks import FiniteLossCallback, SchedulerCallback, StatisticsCallback
from keras_compress.errors import ConfigError
from tests import zoo


def fit(controller, callbacks, epochs=2):
    model = controller.model
    model.compile("sgd", "mse")
    return model.fit(
        zoo.samples(model), np.zeros((8, 3), np.float32), epochs=epochs, callbacks=callbacks, verbose=0
    ).history


def events(folder, plugin):
    """Return {tag: {step: array}} of what all event files in a folder hold for one plugin of TensorBoard."""
    found = {}
    for path in sorted(folder.glob("events.*")):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            for value in event.summary.value:
                assert value.metadata.plugin_data.plugin_name in ("scalars", "histograms")
                if value.metadata.plugin_data.plugin_name == plugin:
                    found.setdefault(value.tag, {})[event.step] = tf.make_ndarray(value.tensor)
    return found


def scalars(folder):
    """Return {tag: {step: value}} of all event files in a folder."""
    return {
        tag: {step: float(array) for step, array in steps.items()} for tag, steps in events(folder, "scalars").items()
    }


@pytest.fixture
def controller():
    return zoo.compress(zoo.dense())[0]


def numbers(controller):
    """Return what the controller reports now, named as in the logs."""
    reported = controller.algorithm_statistics()
    named = {f"{name}/{key}": value for name, part in reported.items() for key, value in part.items()}
    return {"compression_stage": float(controller.compression_stage()), **named}


def test_logs_hold_the_numbers_of_each_epoch(controller):
    history = fit(controller, create_compression_callbacks(controller))
    assert set(numbers(controller)) == set(history) - {"loss"}
    for key, value in numbers(controller).items():
        assert history[key][-1] == pytest.approx(value)
    assert history["compression_stage"] == [2.0, 2.0]
    assert len(numbers(controller)) > 1


def test_callbacks_behind_it_see_the_numbers(controller, tmp_path):
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    fit(controller, [*create_compression_callbacks(controller), logger])
    header = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
    assert set(numbers(controller)) < set(header)


def test_tensorboard_files_hold_the_numbers_of_every_epoch(controller, tmp_path):
    history = fit(controller, create_compression_callbacks(controller, tmp_path / "logs"))
    found = scalars(tmp_path / "logs" / "compression")
    assert {tag.removeprefix("2.compression/statistics/") for tag in found} == set(numbers(controller))
    for key in numbers(controller):
        assert found[f"2.compression/statistics/{key}"] == pytest.approx(dict(enumerate(history[key])))


def test_a_second_fit_writes_the_epochs_that_follow(controller, tmp_path):
    callbacks = create_compression_callbacks(controller, tmp_path)
    fit(controller, callbacks)
    fit(controller, callbacks, epochs=1)
    assert set(scalars(tmp_path / "compression")["2.compression/statistics/compression_stage"]) == {0, 1, 2}


def test_the_folder_of_the_configuration_is_the_default(tmp_path):
    model = zoo.dense()
    config = zoo.config(model).model_copy(update={"log_dir": str(tmp_path / "from_config")})
    controller, _ = create_compressed_model(model, config)
    fit(controller, create_compression_callbacks(controller), epochs=1)
    assert scalars(tmp_path / "from_config" / "compression")


def test_tensorboard_can_be_switched_off(controller, tmp_path):
    fit(controller, create_compression_callbacks(controller, log_tensorboard=False, log_dir=tmp_path), epochs=1)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_printed_unless_asked_for(controller, capsys):
    fit(controller, create_compression_callbacks(controller), epochs=1)
    assert capsys.readouterr().out == ""


def test_text_shows_the_table_and_the_numbers(controller, capsys):
    fit(controller, create_compression_callbacks(controller, log_text=True), epochs=1)
    out = capsys.readouterr().out
    assert "hidden_quantizer" in out
    assert "epoch 1: compression_stage 2" in out


def test_the_callbacks_are_a_scheduler_statistics_and_a_check_of_the_loss(controller):
    kinds = [type(callback) for callback in create_compression_callbacks(controller)]
    assert kinds == [SchedulerCallback, StatisticsCallback, FiniteLossCallback]


DETAILS = "3.compression_details"


@pytest.fixture
def sparse():
    """The controller of a dense model that loses a quarter, then half of its weights."""
    params = {"sparsity_target": 0.5, "sparsity_target_epoch": 1, "power": 1.0}
    config = {"compression": {"algorithm": "magnitude_sparsity", "sparsity_init": 0.25, "params": params}}
    return create_compressed_model(zoo.dense(), config)[0]


def zero_shares(controller):
    return {
        f"{layer}/{weight}": float(np.mean(seen == 0))
        for (layer, weight), (_, seen, _) in zoo.masked_weights(controller.model).items()
    }


def test_logs_hold_the_levels_asked_for_and_reached(sparse):
    history = fit(sparse, create_compression_callbacks(sparse))
    assert history["magnitude_sparsity/sparsity_level"] == [0.25, 0.5]
    assert history["magnitude_sparsity/target_sparsity_level"] == [0.25, 0.5]
    assert history["compression_stage"] == [1.0, 2.0]


def test_tensorboard_files_hold_the_level_of_every_weight(sparse, tmp_path):
    fit(sparse, create_compression_callbacks(sparse, tmp_path))
    found = scalars(tmp_path / "compression")
    details = {tag: steps for tag, steps in found.items() if tag.startswith(DETAILS)}
    last = {f"{DETAILS}/statistics/{weight}/sparsity_level": share for weight, share in zero_shares(sparse).items()}
    assert set(details) == set(last)
    assert len(details) == 2
    for tag, share in last.items():
        assert set(details[tag]) == {0, 1}
        assert details[tag][1] == pytest.approx(share)
    assert 32 * details[f"{DETAILS}/statistics/hidden/kernel/sparsity_level"][0] + 24 * details[
        f"{DETAILS}/statistics/out/kernel/sparsity_level"
    ][0] == pytest.approx(14, abs=1e-4)


@pytest.mark.parametrize("kind", ["sparse", "quantized"])
def test_tensorboard_files_hold_histograms_of_the_weights_as_inference_sees_them(kind, request, tmp_path):
    controller = request.getfixturevalue("sparse" if kind == "sparse" else "controller")
    fit(controller, create_compression_callbacks(controller, tmp_path))
    found = events(tmp_path / "compression", "histograms")
    assert set(found) == {f"{DETAILS}/weights/hidden/kernel", f"{DETAILS}/weights/out/kernel"}
    for tag, steps in found.items():
        assert set(steps) == {0, 1}
        layer = tag.split("/")[-2]
        values = controller.model.get_layer(layer).compressed_weight("kernel").numpy().ravel()
        rows = steps[1]
        assert rows.shape[1] == 3
        np.testing.assert_allclose(rows[1:, 0], rows[:-1, 1])
        np.testing.assert_allclose([rows[0, 0], rows[-1, 1]], [values.min(), values.max()], rtol=1e-5)
        assert rows[:, 2].sum() == values.size
        for left, right, count in rows:
            assert np.sum((values > left + 1e-6) & (values < right - 1e-6)) <= count
            assert count <= np.sum((values > left - 1e-6) & (values < right + 1e-6))


def test_text_shows_a_table_of_the_levels_after_every_epoch(sparse, capsys):
    fit(sparse, create_compression_callbacks(sparse, log_text=True))
    out = capsys.readouterr().out
    assert "epoch 1: " in out
    assert "epoch 2: " in out
    assert "magnitude_sparsity/sparsity_level 0.5" in out
    assert out.count("(together)") == 3
    shares = zero_shares(sparse)
    last = out.rpartition("epoch 2: ")[2]
    for layer, size in (("hidden", 32), ("out", 24)):
        (line,) = [line for line in last.splitlines() if line.startswith(layer)]
        share = shares[f"{layer}/kernel"]
        assert line.split()[1:] == ["kernel", str(size), str(round(size * (1 - share))), f"{share:.2%}"]
    assert any(line.split()[-3:] == ["56", "28", "50.00%"] for line in last.splitlines())


def test_arguments_by_position_are_in_the_order_of_nncf(controller, tmp_path, capsys):
    fit(controller, create_compression_callbacks(controller, True, True, tmp_path), epochs=1)
    assert list((tmp_path / "compression").iterdir())
    assert "quantizer" in capsys.readouterr().out


def folder_of(callbacks):
    [found] = [callback for callback in callbacks if isinstance(callback, StatisticsCallback)]
    return None if found._log_dir is None else str(found._log_dir)


@pytest.mark.parametrize(
    ("arguments", "options", "expected"),
    [
        ((), {}, None), ((True,), {}, None), ((None,), {}, None), ((False,), {}, None), (("logs",), {}, "logs"),
        ((Path("logs"),), {}, "logs"), ((), {"log_dir": "logs"}, "logs"), ((True, False, "logs"), {}, "logs"),
        ((None, False, Path("logs")), {}, "logs"), ((False, True, "logs"), {}, None), (("logs", True), {}, "logs"),
    ],
)  # fmt: skip
def test_the_folder_is_given_by_its_name_or_in_the_first_place(controller, arguments, options, expected):
    assert folder_of(create_compression_callbacks(controller, *arguments, **options)) == expected


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("one", False, "other"), {}, r"Two folders.*log_tensorboard='one' and log_dir='other'"),
        ((Path("one"),), {"log_dir": "one"}, r"Two folders.*log_dir='one'"),
        (("one",), {"log_dir": Path("other")}, r"Two folders.*log_dir='other'"),
        ((1,), {}, r"'log_tensorboard'.*Received: 1\."),
        ((0,), {}, r"'log_tensorboard'.*Received: 0\."),
        ((["logs"],), {}, r"'log_tensorboard'.*\['logs'\]"),
        ((True, "logs"), {}, r"'log_text'.*True or False.*'logs'"),
        ((True, False, 3), {}, r"'log_dir'.*a path.*Received: 3"),
        ((), {"log_dir": True}, r"'log_dir'.*a path.*Received: True"),
    ],
)  # fmt: skip
def test_arguments_that_say_nothing_clear_are_an_error(controller, arguments, options, message):
    with pytest.raises(ConfigError, match=message):
        create_compression_callbacks(controller, *arguments, **options)
