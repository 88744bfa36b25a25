"""IgnoredScope: each way to name layers leaves out just those, and what names nothing is an error that helps."""

import pytest

import keras_compress as kc
from keras_compress.algorithms.scope import Scope
from keras_compress.graph import ModelGraph, take
from keras_compress.post_training.ignored_scope import ignored_scopes, scope_of
from tests import zoo
from tests.post_training import models
from tests.post_training.nncf_scope import ScopeOfNNCF, SubgraphOfNNCF


def left_out(model, scope):
    """Return the layers with a kernel that a scope leaves out, without building anything."""
    graph = ModelGraph(take(model))
    ignored = Scope(ignored=ignored_scopes(scope_of(scope), graph))
    return {
        path for path, _ in graph.layers() if path not in ignored and "kernel" in graph.snapshot.weights.get(path, ())
    }


def scopes(model, **values):
    return set(ignored_scopes(kc.IgnoredScope(**values), ModelGraph(take(model))))


@pytest.mark.parametrize(
    "scope",
    [
        "body",
        ["body"],
        ("body",),
        {"names": "body"},
        kc.IgnoredScope(names=["body"]),
        kc.IgnoredScope(patterns=["^bod"]),
        kc.IgnoredScope(subgraphs=[kc.Subgraph(inputs=["body"], outputs=["body_norm"])]),
        ["{re}dy$"],
    ],
    ids=str,
)
def test_a_layer_can_be_named_in_every_way(scope):
    assert left_out(zoo.residual(), scope) == {"body"}


def test_a_class_names_all_its_layers():
    model = zoo.residual()
    assert scopes(model, types=["Conv2D"]) == {"stem", "body"}
    assert left_out(model, kc.IgnoredScope(types=["Conv2D"])) == {"stem", "body"}


def test_a_class_names_a_separable_convolution_before_it_is_split():
    quantized = models.wrapped(
        kc.quantize(
            zoo.odd_convolutions(),
            zoo.samples(zoo.odd_convolutions(), 4),
            ignored_scope=kc.IgnoredScope(types="SeparableConv2D"),
        )
    )
    assert set(quantized) == {"depthwise", "transposed"}


def test_a_name_of_a_nested_model_means_all_in_it():
    assert left_out(zoo.nested(), ["backbone"]) == {"backbone/conv"}
    assert left_out(zoo.nested(), kc.IgnoredScope(types="Dense")) == {"head/dense"}


def test_a_subgraph_is_all_ways_between_its_ends_and_no_more():
    found = scopes(zoo.residual(), subgraphs=kc.Subgraph(inputs=["stem_relu"], outputs=["sum"]))
    assert found == {"stem_relu", "body", "body_norm", "sum"}
    assert scopes(zoo.concatenation(), subgraphs=[{"inputs": ["right"], "outputs": ["join"]}]) == {"right", "join"}


def test_a_subgraph_through_a_nested_model_holds_what_is_in_it():
    scope = kc.IgnoredScope(subgraphs=[kc.Subgraph(inputs="image", outputs="pool")])
    assert left_out(zoo.transfer(), scope) == {"backbone/conv"}


def test_all_parts_add_up_and_nothing_is_named_twice():
    model = zoo.residual()
    graph = ModelGraph(take(model))
    found = ignored_scopes(kc.IgnoredScope(names=["out"], types=["Dense"], patterns=["^stem$"]), graph)
    assert sorted(found) == ["out", "{re}^stem$"]


def test_nothing_leaves_nothing_out():
    assert scope_of(None) == scope_of([]) == kc.IgnoredScope()
    assert left_out(zoo.residual(), None) == left_out(zoo.residual(), kc.IgnoredScope()) == set()


@pytest.mark.parametrize(
    ("scope", "message"),
    [
        ("bdy", r"'ignored_scope\.names' names no layer.*Received: ignored_scope\.names='bdy'\. Nearest: body"),
        ({"names": ["bdy"]}, r"'ignored_scope\.names'.*'bdy'"),
        ({"patterns": ["^nope"]}, r"'ignored_scope\.patterns' names no layer.*\^nope"),
        ({"patterns": ["("]}, r"'ignored_scope\.patterns'.*not a regular expression.*Received: '\{re\}\('"),
        (
            {"types": ["Conv"]},
            r"'ignored_scope\.types' names a class that no layer has\. Expected: one of \[.*'Conv2D'.*'Conv'",
        ),
        (
            {"subgraphs": {"inputs": "body", "outputs": "bodynorm"}},
            r"'ignored_scope\.subgraphs'.*'bodynorm'.*body_norm",
        ),
        ({"subgraphs": {"inputs": "out", "outputs": "stem"}}, r"no way leads from \['out'\] to \['stem'\]"),
        ({"subgraphs": {}}, r"'ignored_scope\.subgraphs' is empty"),
        (3, r"'ignored_scope'\. Expected: .*IgnoredScope\. Received: 3"),
        ([3], r"'ignored_scope\.names\[0\]'\. Expected: a valid string\. Received: 3"),
        ({"name": "body"}, r"Unknown key 'ignored_scope\.name'\. Did you mean 'names'"),
    ],
)
def test_what_names_nothing_is_an_error_that_names_it(scope, message):
    model = zoo.residual()
    with pytest.raises(kc.ConfigError, match=message):
        kc.quantize(model, zoo.samples(model), ignored_scope=scope)


@pytest.mark.parametrize(
    "values", [{"names": ["bdy"]}, {"patterns": ["^nope"]}, {"types": ["Conv"]}, {"subgraphs": [{"inputs": "bdy"}]}]
)
def test_without_validation_what_names_nothing_leaves_nothing_out(values):
    assert left_out(zoo.residual(), kc.IgnoredScope(**values, validate=False)) == set()
    assert left_out(zoo.residual(), {**values, "validate_scopes": False}) == set()


def test_an_object_of_nncf_is_taken():
    scope = scope_of(ScopeOfNNCF(["a"], ["b"], ["C"], [SubgraphOfNNCF(["d"], ["e"])], validate=False))
    expected = kc.IgnoredScope(names="a", patterns="b", types="C", subgraphs=kc.Subgraph(inputs="d", outputs="e"))
    assert scope == expected.model_copy(update={"validate_scopes": False})
    assert left_out(zoo.residual(), ScopeOfNNCF(names=["body"])) == {"body"}
    assert left_out(zoo.residual(), ScopeOfNNCF(names=["bdy"], validate=False)) == set()


@pytest.mark.parametrize("kind", [ScopeOfNNCF, kc.IgnoredScope, dict], ids=lambda kind: kind.__name__)
def test_what_is_left_out_stays_in_floating_point(kind):
    model = zoo.residual()
    scope = kind(names=["bdy", "stem"], types=["Dense"], validate=False)
    quantized = kc.quantize(model, zoo.samples(model), ignored_scope=scope)
    assert set(models.wrapped(quantized)) == {"body"}


def test_an_object_of_the_nncf_that_is_installed_is_taken():
    import nncf

    scope = nncf.IgnoredScope(types=["Conv2D"], subgraphs=[nncf.Subgraph(["sum"], ["sum_relu"])])
    assert scope_of(scope) == kc.IgnoredScope(types="Conv2D", subgraphs=kc.Subgraph(inputs="sum", outputs="sum_relu"))
