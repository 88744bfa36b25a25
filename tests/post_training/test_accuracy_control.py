"""Accuracy control: just the planted layers return, in few evaluations, and every way a search can end is reported."""

import json
import math

import numpy as np
import pytest

import keras_compress as kc
from keras_compress.post_training import DropType
from keras_compress.post_training.accuracy_search import Budget, Target
from tests import zoo
from tests.post_training import models

BAD = ["d2", "d5", "d7"]


def controlled(model, validate, **options):
    return kc.quantize_with_accuracy_control(model, zoo.samples(model, 32, seed=4), None, validate, **options)


def planted(bad=BAD, length=10):
    model = models.chain(bad, length)
    return model, *models.likeness(model, zoo.samples(model, 64))


@pytest.mark.first
def test_exactly_the_planted_layers_return_in_few_evaluations():
    model, validate, seen = planted()
    before = models.numbers(model)
    result = controlled(model, validate, max_drop=0.02)
    report = result.accuracy_report
    assert sorted(report.float_layers) == BAD
    assert set(models.wrapped(result)) == {layer.name for layer in model.layers[1:]} - set(BAD)
    assert report.met
    assert report.reason == "it is met with 3 of 11 layers in floating point."
    assert report.quantized < -0.1
    assert 0 < report.drop < 0.02
    assert report.final == pytest.approx(validate(result, None), rel=1e-4)
    assert report.drop == pytest.approx(report.original - report.final)
    assert {row.layer for row in report.layers[:3]} == set(BAD)
    assert [row.cost for row in report.layers] == sorted((row.cost for row in report.layers), reverse=True)
    assert {row.layer: row.saved_bytes for row in report.layers}["out"] == 8 * 3 * 3
    # the original and everything quantized, doubling and halving, and each of those found once again
    assert len(report.evaluations) == len(seen) - 1 <= 2 + 2 * math.log2(11) + 3
    assert len({evaluation.float_layers for evaluation in report.evaluations}) == len(report.evaluations)
    assert seen[0] is model
    models.assert_equal_numbers(models.numbers(model), before)
    printed = str(report)
    assert all(row.layer in printed for row in report.layers)


def test_nothing_returns_where_the_target_is_met():
    model, validate, seen = planted(bad=[], length=3)
    report = controlled(model, validate, max_drop=0.02).accuracy_report
    assert report.reason == "it is met with all layers quantized."
    assert (report.float_layers, len(seen)) == ((), 2)
    assert all(math.isnan(row.cost) for row in report.layers)


def test_a_model_with_nothing_to_quantize_meets_every_target():
    model, validate, seen = planted(bad=[], length=2)
    report = controlled(model, validate, max_drop=0, ignored_scope=["{re}.*"]).accuracy_report
    assert (report.met, report.layers, len(seen)) == (True, (), 2)
    with pytest.raises(kc.AccuracyTargetNotMet, match="not met while any layer is quantized"):
        controlled(model, validate, max_drop=-1, ignored_scope=["{re}.*"])


@pytest.mark.extended
def test_layers_that_returned_without_need_are_quantized_again():
    """The metric falls for two layers only, that which the ranking holds for the worst, and that for the best."""
    model, likeness, _ = planted(bad=["d3", "d1"], length=4)
    costs = controlled(model, likeness, max_drop=-1, on_failure="return_best").accuracy_report.layers
    worst, last = costs[0].layer, costs[-1].layer

    def validate(candidate, data):
        return 1.0 - 0.1 * len({worst, last} & set(models.wrapped(candidate)))

    report = controlled(model, validate, max_drop=0.05).accuracy_report
    assert set(report.float_layers) == {worst, last}
    assert report.reason == "it is met with 2 of 5 layers in floating point."


def test_a_target_that_cannot_be_met_is_an_error_with_the_best_model_and_the_report():
    model, validate, _ = planted(bad=["d2"], length=3)
    with pytest.raises(kc.AccuracyTargetNotMet) as caught:
        controlled(model, validate, max_drop=0)
    report, best = caught.value.report, caught.value.model
    message = str(caught.value)
    assert "not met while any layer is quantized" in message
    assert "Expected: a drop of at most 0. Received: " in message
    assert "on_failure='return_best'" in message
    assert not report.met
    assert (
        report.drop
        == min(evaluation.drop for evaluation in report.evaluations if evaluation.float_layers is not None)
        > 0
    )
    assert "d2" in report.float_layers
    assert set(models.wrapped(best)) == {row.layer for row in report.layers if not row.in_float}
    assert -validate(best, None) == pytest.approx(report.drop, rel=1e-3)


def test_the_best_is_returned_where_that_is_wanted():
    model, validate, _ = planted(bad=["d2"], length=3)
    result = controlled(model, validate, max_drop=0, on_failure="return_best")
    assert not result.accuracy_report.met
    assert models.wrapped(result)


@pytest.mark.extended
@pytest.mark.parametrize("most", [2, 3, 4])
def test_no_more_evaluations_are_made_than_allowed(most):
    model, validate, seen = planted(["d1", "d2", "d3"], 4)
    options = (
        {"max_evaluations": most} if most != 3 else {"advanced_accuracy_restorer_parameters": {"max_num_iterations": 3}}
    )
    with pytest.raises(kc.AccuracyTargetNotMet, match="the budget of evaluations or seconds is used up") as caught:
        controlled(model, validate, max_drop=0.02, **options)
    assert len(seen) == most == len(caught.value.report.evaluations)


@pytest.mark.extended
def test_a_model_that_meets_the_target_before_the_budget_ends_is_returned():
    model, validate, seen = planted()
    result = controlled(model, validate, max_drop=0.02, max_evaluations=5)
    assert len(seen) == 5
    report = result.accuracy_report
    assert report.met
    assert set(report.float_layers) > set(BAD)
    assert "budget" in report.reason


def test_no_evaluation_begins_after_the_time(monkeypatch):
    model, validate, seen = planted(bad=["d2"], length=3)
    clock = iter(np.arange(0.0, 1000.0, 1.0))
    monkeypatch.setattr("keras_compress.post_training.accuracy_search.time.perf_counter", lambda: next(clock))
    with pytest.raises(kc.AccuracyTargetNotMet, match="budget") as caught:
        controlled(model, validate, max_drop=0, max_seconds=2.5)
    assert len(seen) == 1
    report = caught.value.report
    assert "Received: no evaluation of a quantized model" in str(caught.value)
    assert (report.met, math.isnan(report.drop)) == (False, True)
    assert len(report.float_layers) == len(report.layers) > 0
    assert caught.value.model is not model
    zoo.assert_same_predictions(caught.value.model, model, zoo.samples(model))
    assert "accuracy_report" not in vars(model)


@pytest.mark.extended
def test_a_relative_drop_is_a_share_of_the_original_metric():
    model, _, _ = planted(bad=[], length=2)

    def validate(candidate, data):
        return 200.0 - 3.0 * len(models.wrapped(candidate))

    report = controlled(model, validate, max_drop=0.05, drop_type="relative").accuracy_report
    assert report.drop == pytest.approx(9 / 200)
    assert report.float_layers == ()
    assert (
        len(controlled(model, validate, max_drop=0.04, drop_type=DropType.RELATIVE).accuracy_report.float_layers) == 1
    )
    assert len(controlled(model, validate, max_drop=6.0).accuracy_report.float_layers) == 1


def test_a_metric_that_is_better_when_it_is_lower():
    model, validate, _ = planted(bad=["d2"], length=3)

    def error(candidate, data):
        return -validate(candidate, data), [0.0]

    report = controlled(model, error, max_drop=0.02, higher_is_better=False).accuracy_report
    assert report.float_layers == ("d2",)
    assert 0 < report.final < 0.02


class TestTarget:
    def test_a_drop_is_counted_from_the_original(self):
        assert Target(0.1, DropType.ABSOLUTE, True).drop(0.9, 0.7) == pytest.approx(0.2)
        assert Target(0.1, DropType.ABSOLUTE, False).drop(0.9, 0.7) == pytest.approx(-0.2)
        assert Target(0.1, DropType.RELATIVE, True).drop(0.8, 0.6) == pytest.approx(0.25)
        assert Target(0.1, DropType.RELATIVE, True).drop(-0.8, -1.0) == pytest.approx(0.25)
        assert Target(0.1, DropType.RELATIVE, False).drop(0.8, 1.0) == pytest.approx(0.25)

    def test_a_relative_drop_from_zero_is_without_end(self):
        assert Target(0.1, DropType.RELATIVE, True).drop(0.0, -0.1) == math.inf
        assert Target(0.1, DropType.RELATIVE, True).drop(0.0, 0.1) == -math.inf
        assert Target(0.1, DropType.RELATIVE, True).drop(0.0, 0.0) == 0

    def test_it_is_met_by_the_greatest_drop_itself_and_never_by_no_number(self):
        target = Target(0.1, DropType.ABSOLUTE, True)
        assert target.is_met(0.1)
        assert not target.is_met(0.1000001)
        assert not target.is_met(math.nan)


def test_a_budget_without_limits_allows_everything():
    assert Budget(None, None).allows(10**9)
    assert Budget(3, None).allows(2)
    assert not Budget(3, None).allows(3)
    assert not Budget(None, 1e-9).allows(0)


class Interrupted(Exception):  # noqa: N818  not an error
    pass


def interrupting(validate, after):
    """Return ``validate`` that is interrupted in a later call, and its calls."""
    calls = []

    def interrupted(candidate, data):
        calls.append(candidate)
        if len(calls) > after:
            raise Interrupted
        return validate(candidate, data)

    return interrupted, calls


@pytest.mark.extended
def test_an_interrupted_run_goes_on_without_repeating_an_evaluation(tmp_path):
    model, validate, seen = planted(bad=["d1", "d3"], length=4)
    record = tmp_path / "new" / "record.json"
    uninterrupted = controlled(model, validate, max_drop=0.02).accuracy_report
    calls = len(seen)
    validation, _ = interrupting(validate, after=4)
    with pytest.raises(Interrupted):
        controlled(model, validation, max_drop=0.02, record=record)
    seen.clear()
    report = controlled(model, validate, max_drop=0.02, record=str(record)).accuracy_report
    assert len(seen) == calls - 4
    assert [e.float_layers for e in report.evaluations] == [e.float_layers for e in uninterrupted.evaluations]
    assert [e.seconds == 0 for e in report.evaluations] == [True] * 4 + [False] * (calls - 4)
    assert report.float_layers == uninterrupted.float_layers
    seen.clear()
    again = controlled(model, validate, max_drop=0.02, record=record).accuracy_report
    assert (seen, again.final) == ([], report.final)


@pytest.fixture
def record(tmp_path):
    """A record of a small model."""
    model, validate, _ = planted(bad=[], length=2)
    controlled(model, validate, max_drop=1, record=tmp_path / "record.json")
    return tmp_path / "record.json"


def test_a_record_of_other_numbers_or_settings_is_refused(record):
    model, validate, _ = planted(bad=[], length=2)
    content = record.read_text()
    for options in ({"preset": "mixed"}, {"subset_size": 8}, {"validate_with": "openvino"}):
        with pytest.raises(
            kc.StateError, match=r"'.*record\.json' is the record of another model.*Expected: .*Received: .*Remove it"
        ):
            controlled(model, validate, max_drop=1, record=record, **options)
    model.get_layer("d1").bias.assign_add(np.full(8, 0.01))
    with pytest.raises(kc.StateError, match="another model"):
        controlled(model, validate, max_drop=1, record=record)
    assert record.read_text() == content


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: "{}",
        lambda text: json.dumps({**json.loads(text), "metrics": {"null": None}}),
        lambda text: json.dumps({**json.loads(text), "metrics": {"null": math.nan}}),
        lambda text: json.dumps({**json.loads(text), "metrics": ["null"]}),
    ],
    ids=["half", "empty", "list", "no keys", "no number", "NaN", "no dict"],
)
def test_a_broken_record_is_refused(record, damage):
    model, validate, seen = planted(bad=[], length=2)
    record.write_text(damage(record.read_text()))
    with pytest.raises(
        kc.StateError, match=r"'.*record\.json' cannot be read as the record.*Expected: .*Received: .*Remove it"
    ):
        controlled(model, validate, max_drop=1, record=record)
    assert seen == []


def test_a_folder_or_a_binary_file_is_no_record(tmp_path):
    model, validate, _ = planted(bad=[], length=2)
    (tmp_path / "binary").write_bytes(bytes(range(128, 256)))
    for path in (tmp_path, tmp_path / "binary"):
        with pytest.raises(kc.StateError, match="cannot be read as the record"):
            controlled(model, validate, max_drop=1, record=path)


def test_a_metric_that_is_no_number_ends_the_search_with_what_it_was():
    model = planted(bad=["d2"], length=3)[0]
    for returned in (math.nan, None):
        answers = iter([1.0, returned])
        with pytest.raises(kc.CompressionError, match=rf"no metric.*Received: {returned}"):
            controlled(model, lambda candidate, data, answers=answers: next(answers))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": math.nan}, r"'max_drop'\. Expected: a finite number\. Received: nan"),
        ({"max_drop": "1%"}, r"'max_drop'.*'1%'"),
        ({"max_drop": None}, r"'max_drop'.*None"),
        ({"drop_type": "percent"}, r"'drop_type'\. Expected: 'absolute' or 'relative'\. Received: 'percent'"),
        ({"max_evaluations": 1}, r"'max_evaluations'\. Expected: a whole number, 2 or more\. Received: 1"),
        ({"max_evaluations": 2.5}, r"'max_evaluations'.*2\.5"),
        ({"max_seconds": 0}, r"'max_seconds'\. Expected: seconds above 0\. Received: 0"),
        ({"max_seconds": "1h"}, r"'max_seconds'.*'1h'"),
        ({"on_failure": "ignore"}, r"'on_failure'\. Expected: 'raise' or 'return_best'\. Received: 'ignore'"),
        ({"validate_with": "tensorrt"}, r"'validate_with'\. Expected: one of .*'tensorrt'"),
        ({"advanced_accuracy_restorer_parameters": {"max_num_iterations": 0}}, r"max_num_iterations'.*2 or more"),
        (
            {"advanced_accuracy_restorer_parameters": {"tune_hyperparams": True}},
            r"\.tune_hyperparams' cannot be honoured",
        ),
        ({"advanced_accuracy_restorer_parameters": {"restore_mode": "only"}}, r"\.restore_mode' cannot be honoured"),
        ({"advanced_accuracy_restorer_parameters": 3}, r"'advanced_accuracy_restorer_parameters'.*Received: 3"),
        ({"advanced_quantization_parameters": {"nope": 1}}, r"Unknown key 'advanced_parameters\.nope'"),
        ({"subset_size": 0}, r"'subset_size'"),
    ],
)
def test_a_wrong_argument_is_named_before_anything_is_evaluated(options, message):
    model, validate, seen = planted(bad=[], length=2)
    with pytest.raises(kc.ConfigError, match=message):
        controlled(model, validate, **options)
    assert seen == []


def test_the_parameters_of_nncf_are_taken_or_refused_by_name():
    import nncf

    model, validate, seen = planted(bad=[], length=2)
    options = {"max_drop": 0, "drop_type": nncf.DropType.ABSOLUTE, "on_failure": "return_best"}
    limit = nncf.AdvancedAccuracyRestorerParameters(max_num_iterations=2)
    controlled(model, validate, **options, advanced_accuracy_restorer_parameters=limit)
    assert len(seen) == 2
    default = nncf.AdvancedAccuracyRestorerParameters()
    assert controlled(
        model, validate, **options, advanced_accuracy_restorer_parameters=default
    ).accuracy_report.evaluations
    with pytest.raises(kc.ConfigError, match=r"\.ranking_subset_size' cannot be honoured.*Received: 8"):
        controlled(
            model,
            validate,
            **options,
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(ranking_subset_size=8),
        )
