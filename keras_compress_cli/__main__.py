"""``python -m keras_compress_cli``, the same as the command ``keras-compress``."""

import sys

from keras_compress_cli.main import main

if __name__ == "__main__":
    sys.exit(main())
