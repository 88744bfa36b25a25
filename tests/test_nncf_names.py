"""Names of NNCF's scripts: each that is another one here says so, in the error and on the page."""

import copy
import pickle
from pathlib import Path

import pytest

import keras_compress as kc
from keras_compress.nncf_names import NAMES
from tests import zoo

PAGE = (Path(kc.__file__).parents[1] / "docs" / "migrate_from_nncf.md").read_text(encoding="utf-8").replace("`", "")
SPARSITY = {"algorithm": "magnitude_sparsity", "params": {"sparsity_target": 0.5}}


@pytest.fixture(scope="module")
def objects():
    controller, _ = kc.create_compressed_model(zoo.dense(), {"compression": SPARSITY})
    return {
        "keras_compress": kc,
        "config": controller.config,
        "controller": controller,
        "scheduler": controller.scheduler,
        "statistics": controller.statistics(),
    }


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, names in NAMES.items() for name in names])
def test_a_name_of_nncf_is_an_error_that_says_what_to_write_as_the_page_does(objects, kind, name):
    with pytest.raises(AttributeError, match=r"a name of NNCF\. Write here: ") as caught:
        getattr(objects[kind], name)
    instead = NAMES[kind][name]
    assert instead in str(caught.value)
    assert any(f"{name}{call} | {instead} |" in PAGE for call in ("", "()"))
    assert not hasattr(objects[kind], name)


def test_what_stands_on_the_page_is_there(objects):
    controller = objects["controller"]
    assert controller.compression_rate == controller.statistics().sparsity_level
    assert controller.scheduler.final_epoch is not None
    assert controller.config["compression"][0]["algorithm"] == "magnitude_sparsity"
    assert controller.statistics().numbers["magnitude_sparsity"]
    assert controller.statistics().operations_by_bits()
    assert isinstance(controller.get_compression_state(), dict)
    assert controller.config.init_data is None


def test_freezing_does_what_disabling_the_schedule_did():
    controller, _ = kc.create_compressed_model(zoo.dense(), {"compression": SPARSITY})
    controller.set_sparsity_level(0.25)
    controller.freeze()
    level = controller.compression_rate
    for _ in range(5):
        controller.scheduler.epoch_step()
    assert controller.compression_rate == level > 0


@pytest.mark.parametrize("kind", NAMES)
def test_any_other_name_is_an_ordinary_attribute_error(objects, kind):
    with pytest.raises(AttributeError, match="nothing_of_that_name") as caught:
        objects[kind].nothing_of_that_name  # noqa: B018  it raises
    assert "NNCF" not in str(caught.value)


def test_statistics_and_configurations_are_copied_and_pickled_as_before(objects):
    statistics, config = objects["statistics"], objects["config"]
    assert copy.deepcopy(statistics).to_dict() == statistics.to_dict()
    assert pickle.loads(pickle.dumps(statistics)).to_dict() == statistics.to_dict()
    assert pickle.loads(pickle.dumps(config)) == copy.copy(config) == config
