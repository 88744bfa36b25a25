"""What a SavedModel would do when it is loaded and run, read from its files without loading it.

Loading runs the initializers of its tables, and calling it runs its functions; what reads and writes its own variables runs
only when TensorFlow restores and saves.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from keras_compress.errors import CompressionError, UntrustedFileError
from keras_compress.safe_mode.descriptions import WAY_OUT
from keras_compress.safe_mode.graph_operations import called_functions, functions_in, refuse_operations
from keras_compress.safe_mode.trust import is_trusted

__all__ = ["parsed_saved_model", "refuse_programs_in_saved_model"]

#: Reads a vocabulary, which is one of the SavedModel's own files if it comes from outside of the function.
_READS_ASSET = "InitializeTableFromTextFileV2"


def parsed_saved_model(path: Path) -> Any:
    """Return what the file of a SavedModel folder holds.

    Raises:
        CompressionError: there is none, or it is damaged.
    """
    file = path / "saved_model.pb"
    try:
        saved = SavedModel.FromString(file.read_bytes())
    except OSError as error:
        raise CompressionError(
            f"'{path}' is no SavedModel: {error}. Expected: a folder with 'saved_model.pb'."
        ) from None
    except Exception as error:  # of the protobuf library
        raise CompressionError(f"'{file}' is damaged: {error}. Export the model again.") from None
    if not saved.meta_graphs:
        raise CompressionError(f"'{file}' is damaged: it holds no graph. Export the model again.")
    return saved


def refuse_programs_in_saved_model(saved: Any, path: Path) -> None:
    """Refuse a SavedModel whose functions or initializers do more than compute, unless files are trusted.

    Args:
        saved: see :func:`parsed_saved_model`.
        path: its folder.

    Raises:
        UntrustedFileError: it has such operations, or is one of TensorFlow 1, which runs its graph while it is loaded.
    """
    if is_trusted():
        return
    graph = saved.meta_graphs[0]
    if len(saved.meta_graphs) > 1 or not graph.HasField("object_graph_def"):
        raise UntrustedFileError(
            f"'{path}' is more than a model: a SavedModel of TensorFlow 1 runs operations while it is loaded. Expected: one that "
            f"tf.saved_model.save or model.save wrote. {WAY_OUT}"
        )
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    savers = called_functions(_saver_nodes(graph), functions)
    assets = _functions_of_assets(graph.object_graph_def)
    for name, function in functions.items():
        if name in savers:
            continue
        allowed = [_READS_ASSET] if name in assets and _reads_only_arguments(function) else []
        refuse_operations(function.node_def, f"'{path}'", allowed)
        _refuse_calls(function.node_def, savers, path)
    others = [node for node in graph.graph_def.node if not called_functions([node], functions) & savers]
    refuse_operations(_without(others, _names(_saver_nodes(graph))), f"'{path}'")
    reached = savers & set(graph.object_graph_def.concrete_functions)
    if reached:
        _refuse_saver(sorted(reached)[0], path)
    for asset in graph.asset_file_def:
        place = PurePosixPath(asset.filename)
        if place.is_absolute() or ".." in place.parts:
            raise UntrustedFileError(
                f"'{path}' is more than a model: it reads '{asset.filename}' outside of its folder. {WAY_OUT}"
            )


def _saver_nodes(graph: Any) -> list[Any]:
    """Return the nodes outside of functions that save and restore its variables."""
    nodes = {node.name: node for node in graph.graph_def.node}
    saver = graph.saver_def
    waiting = [name for name in (saver.save_tensor_name, saver.restore_op_name) if name]
    found: dict[str, Any] = {}
    while waiting:
        name = waiting.pop().removeprefix("^").partition(":")[0]
        if name in nodes and name not in found:
            found[name] = nodes[name]
            waiting += nodes[name].input
    return list(found.values())


def _refuse_calls(nodes: Any, savers: set[str], path: Path) -> None:
    for node in nodes:
        for name in functions_in(node):
            if name in savers:
                _refuse_saver(name, path)


def _refuse_saver(name: str, path: Path) -> None:
    raise UntrustedFileError(
        f"'{path}' is more than a model: it saves or restores files when it is called, by the function '{name}'. {WAY_OUT}"
    )


def _names(nodes: list[Any]) -> set[str]:
    return {node.name for node in nodes}


def _without(nodes: list[Any], names: set[str]) -> list[Any]:
    return [node for node in nodes if node.name not in names]


def _functions_of_assets(objects: Any) -> set[str]:
    """Return the functions whose inputs from outside are files and tables of the SavedModel and nothing else."""
    kinds = [node.WhichOneof("kind") for node in objects.nodes]
    own = ("asset", "resource", "variable")
    return {
        name
        for name, function in objects.concrete_functions.items()
        if all(0 <= node < len(kinds) and kinds[node] in own for node in function.bound_inputs)
    }


def _reads_only_arguments(function: Any) -> bool:
    """Return whether the files that a function reads are its arguments, and not names that it makes itself."""
    arguments = {argument.name for argument in function.signature.input_arg}
    return all(set(node.input[:2]) <= arguments for node in function.node_def if node.op == _READS_ASSET)
