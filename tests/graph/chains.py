"""Models of layers one behind the other."""

from keras_compress._keras import keras


def chain(*parts, shape=(8, 8, 3)):
    x = y = keras.Input(shape, name="x")
    for part in parts:
        y = part(y)
    return keras.Model(x, y)


def conv(name="conv", **options):
    return keras.layers.Conv2D(4, 3, name=name, **options)
