"""Reading and running files in their runtimes. Modules of this folder need NumPy and their runtime only.

So a process that runs files in ONNX Runtime, OpenVINO or LiteRT imports neither TensorFlow nor Keras; see
:mod:`keras_compress.export.runtimes.worker`.
"""
