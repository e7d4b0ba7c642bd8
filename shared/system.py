"""Call the C library and the kernel: limit the heap and the image libraries, and end with the parent process."""

import ctypes
import os
import signal
import sys
import warnings

_ARENA_MAX = -8
_MMAP_THRESHOLD = -3
"""M_ARENA_MAX and M_MMAP_THRESHOLD in malloc.h."""
_MMAP_BYTES = 2**20
_libc = ctypes.CDLL(None)


def limit_arenas(threads: int) -> None:
    """Limit the number of malloc arenas, the heaps that threads share, and what they keep. Does nothing without glibc.

    By default a process with many threads gets up to eight arenas per processor, and each keeps the memory of
    its largest request. Blocks of _MMAP_BYTES or more are then returned to the system as soon as they are free.
    """
    if hasattr(_libc, "malloc_trim"):
        _libc.mallopt(_ARENA_MAX, threads)
        _libc.mallopt(_MMAP_THRESHOLD, _MMAP_BYTES)


def trim_heap() -> None:
    """Return free memory of the heap to the operating system. Does nothing without glibc."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


def limit_image_libraries(max_pixels: int) -> None:
    """Limit what OpenCV and Pillow decode to images of `max_pixels`. Call it before cv2 is imported.

    It is a second line of defence: they check the size that they read themselves, which can differ from ours. OpenCV is
    also limited in child processes.
    """
    from PIL import Image  # imported here: most processes that import this module need no images

    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(max_pixels)
    Image.MAX_IMAGE_PIXELS = max_pixels
    warnings.simplefilter("error", Image.DecompressionBombWarning)


_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG, prctl(2)


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Make the kernel send the signal `by` to this process when its parent ends. Only Linux supports this.

    The parent is the thread that started this process (prctl(2)). On other systems, the child of a killed parent runs
    until its pipe breaks.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, int(by))


def silence_openvino() -> None:
    """Keep OpenVINO from reporting to its maker that it is used. Call this before its first import.

    OpenVINO does without the package that reports, if it cannot be imported.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # the documented way to forbid an import
