"""Files: the one door through which the package writes, and the lock of a folder that has one writer."""

from keras_compress.files.door import replacing, write_file
from keras_compress.files.folder_lock import FolderLock
from keras_compress.files.memory_file import MemoryFile
from keras_compress.files.targets import require_folder, require_replaceable

__all__ = [
    "FolderLock",
    "MemoryFile",
    "replacing",
    "require_folder",
    "require_replaceable",
    "write_file",
]
