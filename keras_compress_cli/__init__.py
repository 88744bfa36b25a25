"""The command line ``keras-compress``: the work of the package without writing Python.

It is a package of its own, beside ``keras_compress``, because whatever is imported from there brings TensorFlow along:
seconds of waiting and its log lines. Here help, mistakes in arguments and existing files are answered before that.
"""
