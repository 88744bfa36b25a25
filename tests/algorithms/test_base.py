"""What every algorithm has without writing it: how far compression is, and a scope that is looked at."""

import pytest

from keras_compress.algorithms import CompressionAlgorithm, CompressionStage, PlanContext
from keras_compress.algorithms.base import Plan, Position
from keras_compress.errors import ConfigError
from keras_compress.graph import ModelGraph
from tests import zoo


def algorithm(final, **settings):
    """Return an algorithm that plans nothing and is complete from the start of the epoch ``final``."""

    class Nothing(CompressionAlgorithm):
        name = "nothing"

        def plan(self, graph, context):
            return Plan()

        def final_epoch(self):
            return final

    return Nothing(**settings)


@pytest.mark.parametrize("final", [-1, 0, 2])
def test_compression_is_complete_from_the_final_epoch_on(final):
    stages = {epoch: algorithm(final).stage([], Position(epoch, step=epoch)) for epoch in range(-1, 5)}
    complete = CompressionStage.FULLY_COMPRESSED
    assert stages == {epoch: complete if epoch >= final else CompressionStage.UNCOMPRESSED for epoch in stages}


def test_an_algorithm_without_a_known_end_takes_itself_for_complete():
    assert algorithm(None).stage([], Position()) is CompressionStage.FULLY_COMPRESSED


def test_a_scope_that_names_no_layer_is_an_error_unless_that_is_allowed():
    graph, context = ModelGraph(zoo.snapshot("dense")), PlanContext(ignored_scopes=("nowhere",))
    with pytest.raises(ConfigError, match=r"'ignored_scopes' names no layer .*'nowhere'"):
        algorithm(0).checked_scope(graph, context)
    assert "nowhere" not in algorithm(0, validate_scopes=False).checked_scope(graph, context)


def test_a_scope_holds_what_the_algorithm_may_touch():
    graph = ModelGraph(zoo.snapshot("dense"))
    first, *others = [path for path, _ in graph.layers()]
    scope = algorithm(0, ignored_scopes=first).checked_scope(graph, PlanContext())
    assert first not in scope
    assert all(path in scope for path in others)
