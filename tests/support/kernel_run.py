"""Runs the eBPF filter on single frames, without an interface (BPF_PROG_TEST_RUN)."""

import ctypes
import os
from pathlib import Path
from typing import Self

from sensor.capture.filter.bpf_loader import open_libbpf
from sensor.capture.filter.flow_heads import OBJECT, FlowHeads
from sensor.capture.filter.limits import Limits
from sensor.share import ALL, Share

# The kernel takes an Ethernet header off before it runs a socket filter; the frame that the filter sees lies behind.
WRAPPER = bytes(12) + b"\x88\xb5"


class _Options(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_char_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


class KernelRun:
    """The filter of a `share` with `limits`, loaded from `path`; every run adds to its table of flows."""

    def __init__(self, limits: Limits, path: Path = OBJECT, share: Share = ALL) -> None:
        self._heads = FlowHeads(limits, path, share)
        self.flow_counts = self._heads.flow_counts
        self._run = open_libbpf().bpf_prog_test_run_opts
        self._program = self._heads._object.program("ethernet_heads")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._heads.close()

    def octets(self, frame: bytes, repeat: int = 1) -> tuple[int, int]:
        """How many octets of `frame` pass at most, and how many ns a run took.

        Raises:
            OSError: the kernel refused the frame: it takes those that fit into a page.
        """
        content = WRAPPER + frame
        options = _Options(sz=ctypes.sizeof(_Options), data_in=content, data_size_in=len(content), repeat=repeat)
        code = self._run(self._program, ctypes.byref(options))
        if code:
            raise OSError(-code, os.strerror(-code))
        return options.retval, options.duration
