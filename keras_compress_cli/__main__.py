"""``python -m keras_compress_cli``, the same as the command ``keras-compress``."""

import sys

from keras_compress_cli.working_folder import put_working_folder_last

put_working_folder_last()

from keras_compress_cli.main import main  # noqa: E402  behind installed packages

if __name__ == "__main__":
    sys.exit(main())
