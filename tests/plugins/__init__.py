"""What another package registers: an algorithm on activations, a file format, a layer. Nothing of keras_compress is edited for it."""
