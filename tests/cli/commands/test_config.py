"""``config check``, ``schema``, ``example`` and ``migrate``."""

import json

import pytest

from keras_compress import CompressionConfig, json_schema
from keras_compress.algorithms import registered_algorithms
from tests.cli.command_line import call


class TestCheck:
    def test_a_valid_file(self, folder, capfd):
        called = call(capfd, "config", "check", "int8.json")
        assert (called.code, called.err) == (0, "")
        assert called.out == "'int8.json' is a valid configuration of quantization\n"

    def test_a_file_on_a_model(self, folder, capfd):
        called = call(capfd, "config", "check", "int8.json", "model.keras", "--json")
        assert called.code == 0
        assert called.values["compressed_share"] == 1.0

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('{"compression": {"algorithm": "quantization", "weight": {}}}', "Did you mean 'weights'?"),
            ('{"compression"', "is not JSON"),
            ('{"compression": {"algorithm": "quantization", "ignored_scopes": "cnov"}}', "Nearest: conv"),
        ],
    )
    def test_a_file_that_is_wrong(self, text, message, folder, capfd):
        (folder / "wrong.json").write_text(text)
        called = call(capfd, "config", "check", "wrong.json", "model.keras")
        assert (called.code, called.out) == (1, "")
        assert message in called.err

    def test_keys_without_effect_are_warned_about(self, folder, capfd):
        (folder / "foreign.json").write_text('{"compression": {"algorithm": "quantization"}, "epochs": 3}')
        called = call(capfd, "config", "check", "foreign.json")
        assert called.code == 0
        assert called.err.startswith("warning: The key 'epochs'")

    def test_there_is_no_file(self, folder, capfd):
        assert call(capfd, "config", "check", "none.json").code == 2


def test_the_schema_is_printed(capfd):
    assert json.loads(call(capfd, "config", "schema").out) == json_schema()


class TestExample:
    @pytest.mark.parametrize("algorithm", sorted(registered_algorithms()))
    def test_it_is_valid(self, algorithm, folder, capfd):
        (folder / "example.json").write_text(call(capfd, "config", "example", algorithm, "const_sparsity").out)
        expected = {"compression": [{"algorithm": algorithm}, {"algorithm": "const_sparsity"}]}
        assert CompressionConfig.from_json("example.json") == CompressionConfig.from_dict(expected)

    def test_an_unknown_algorithm(self, capfd):
        called = call(capfd, "config", "example", "quantisation")
        assert called.code == 1
        assert "Did you mean 'quantization'?" in called.err


class TestMigrate:
    NNCF = (
        '{"input_info": {"sample_size": [1, 8, 8, 3]}, "compression": {"algorithm": "quantization", "preset": "mixed"}}'
    )

    def test_a_file_that_works(self, folder, capfd):
        (folder / "nncf.json").write_text(self.NNCF)
        called = call(capfd, "config", "migrate", "nncf.json", "--output", "new.json", "--json")
        assert called.code == 0, called.err
        assert {key["path"]: key["status"] for key in called.values["keys"]} == {
            "input_info": "no effect",
            "compression.algorithm": "used",
            "compression.preset": "used",
            "compression.overflow_fix": "differs",
        }
        assert json.loads((folder / "new.json").read_text()) == called.values["config"]
        assert CompressionConfig.from_json("new.json").compression[0].preset == "mixed"
        assert call(capfd, "config", "migrate", "nncf.json", "--output", "new.json").code == 2

    def test_a_file_that_does_not(self, folder, capfd):
        (folder / "nncf.json").write_text('{"compression": {"algorithm": "filter_pruning"}}')
        called = call(capfd, "config", "migrate", "nncf.json", "--output", "new.json")
        assert called.code == 1
        assert "not available" in called.out
        assert "'new.json' was not written" in called.err
        assert not (folder / "new.json").exists()
