"""How the C library handles the host's memory while the CPU is the device."""

import ctypes

# Names and numbers of mallopt's parameters in glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Keeps freed memory instead of giving it back to the kernel; whether this C library can (glibc).

    XLA's CPU backend allocates the hundreds of megabytes of a step anew every time. Given back in between, they cost 80,000
    page faults in each step of ResNet-20: 860 ms instead of 665 (docs/performance.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(mallopt(name, value) == 1 for name, value in ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, _NEVER), (_ARENA_MAX, 1)))
