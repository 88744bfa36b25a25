"""Safe mode: files are data. What a file names is looked at before anything is made of it, and code is refused unless trusted."""

from keras_compress.safe_mode.descriptions import WAY_OUT, refuse_function, refuse_programs_in
from keras_compress.safe_mode.file_configuration import is_archive, refuse_programs_in_file
from keras_compress.safe_mode.graph_operations import called_functions, refuse_programs_in_graph
from keras_compress.safe_mode.load_model import load_model
from keras_compress.safe_mode.saved_model_graph import parsed_saved_model, refuse_programs_in_saved_model
from keras_compress.safe_mode.trust import is_trusted, trusting

__all__ = [
    "WAY_OUT",
    "called_functions",
    "is_archive",
    "is_trusted",
    "load_model",
    "parsed_saved_model",
    "refuse_function",
    "refuse_programs_in",
    "refuse_programs_in_file",
    "refuse_programs_in_graph",
    "refuse_programs_in_saved_model",
    "trusting",
]
