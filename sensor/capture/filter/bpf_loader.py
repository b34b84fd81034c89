"""BPF objects loaded into the kernel through libbpf, called with ctypes.

Needs libbpf 1 and CAP_BPF. No callback is handed to libbpf: one would need memory that is writable and executable,
which systemd's MemoryDenyWriteExecute forbids; what libbpf would log is lost, its error number says enough.
"""

import ctypes
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sensor.errors import BpfUnavailable

LIBBPF = "libbpf.so.1"
BATCH_ENTRIES = 4096  # more than one bucket of a hash map can hold

_POINTER = ctypes.c_void_p
_PROTOTYPES: Mapping[str, tuple[Any, tuple[Any, ...]]] = {
    "libbpf_set_print": (_POINTER, (_POINTER,)),
    "libbpf_num_possible_cpus": (ctypes.c_int, ()),
    "bpf_object__open_file": (_POINTER, (ctypes.c_char_p, _POINTER)),
    "bpf_object__load": (ctypes.c_int, (_POINTER,)),
    "bpf_object__close": (None, (_POINTER,)),
    "bpf_object__find_map_by_name": (_POINTER, (_POINTER, ctypes.c_char_p)),
    "bpf_object__find_program_by_name": (_POINTER, (_POINTER, ctypes.c_char_p)),
    "bpf_map__set_max_entries": (ctypes.c_int, (_POINTER, ctypes.c_uint32)),
    "bpf_map__reuse_fd": (ctypes.c_int, (_POINTER, ctypes.c_int)),
    "bpf_map__fd": (ctypes.c_int, (_POINTER,)),
    "bpf_program__fd": (ctypes.c_int, (_POINTER,)),
    "bpf_map_update_elem": (ctypes.c_int, (ctypes.c_int, _POINTER, _POINTER, ctypes.c_uint64)),
    "bpf_map_lookup_elem": (ctypes.c_int, (ctypes.c_int, _POINTER, _POINTER)),
    "bpf_map_lookup_batch": (ctypes.c_int, (ctypes.c_int, *[_POINTER] * 6)),
}
_NOT_PERMITTED = frozenset((errno.EPERM, errno.EACCES))


class BpfObject:
    """A loaded object; its maps and programs live until `close`, and as long as a socket has a program attached.

    The maps named in `shared` are those of other objects.

    Raises:
        BpfUnavailable: libbpf is missing, or the kernel refused the object; the message is one clause that says which.
    """

    def __init__(self, path: Path, map_sizes: Mapping[str, int], shared: Mapping[str, "BpfObject"]) -> None:
        self._lib = open_libbpf()
        self._object = self._lib.bpf_object__open_file(os.fsencode(path), None)
        if not self._object:
            raise BpfUnavailable(f"libbpf cannot read {path.name}: {os.strerror(ctypes.get_errno())}")
        for name, entries in map_sizes.items():
            self._lib.bpf_map__set_max_entries(self._find_map(name), entries)
        for name, owner in shared.items():
            self._lib.bpf_map__reuse_fd(self._find_map(name), owner._map(name))  # noqa: SLF001 - one of this class
        code = self._lib.bpf_object__load(self._object)
        if code:
            self.close()
            raise BpfUnavailable(_refusal(-code))

    def program(self, name: str) -> int:
        """Return the descriptor of a program, valid until `close`."""
        return int(self._lib.bpf_program__fd(self._lib.bpf_object__find_program_by_name(self._object, name.encode())))

    def write(self, name: str, key: bytes, value: bytes) -> None:
        """Set the value of `key` in a map.

        Raises:
            OSError: The kernel refused it.
        """
        if self._lib.bpf_map_update_elem(self._map(name), key, value, 0):
            raise OSError(ctypes.get_errno(), f"BPF map {name}")

    def read(self, name: str, key: bytes, octets: int) -> bytes | None:
        """Return the value of `key` in a map whose values have `octets`, None if it is not there."""
        value = ctypes.create_string_buffer(octets)
        return None if self._lib.bpf_map_lookup_elem(self._map(name), key, value) else value.raw

    def read_per_cpu(self, name: str, key: bytes, octets: int) -> list[bytes]:
        """Return the values of `key` in a map with one a processor; `octets`, a multiple of 8, is the size of each."""
        processors = self._lib.libbpf_num_possible_cpus()
        value = self.read(name, key, octets * processors) or b""
        return [value[at : at + octets] for at in range(0, len(value), octets)]

    def read_all(self, name: str, key_octets: int, value_octets: int) -> Iterator[tuple[memoryview, memoryview]]:
        """Yield the keys and values of a hash map, packed, up to 4096 entries at a time.

        The views are valid until the next step. Entries that come and go meanwhile may be missing or come twice.

        Raises:
            OSError: The kernel cannot read by batch (before 5.6), or a bucket holds more than 4096 entries.
        """
        keys = ctypes.create_string_buffer(key_octets * BATCH_ENTRIES)
        values = ctypes.create_string_buffer(value_octets * BATCH_ENTRIES)
        position, count = ctypes.c_uint32(), ctypes.c_uint32()
        where = None
        while True:
            count.value = BATCH_ENTRIES
            failed = self._lib.bpf_map_lookup_batch(
                self._map(name), where, ctypes.byref(position), keys, values, ctypes.byref(count), None
            )
            code = ctypes.get_errno()
            if failed and code != errno.ENOENT:  # which says that this was the last batch
                raise OSError(code, f"BPF map {name}")
            yield memoryview(keys)[: count.value * key_octets], memoryview(values)[: count.value * value_octets]
            if failed:
                return
            where = ctypes.byref(position)

    def close(self) -> None:
        """Give the object back. Closing twice does nothing."""
        if self._object:
            self._lib.bpf_object__close(self._object)
            self._object = None

    def _map(self, name: str) -> int:
        return int(self._lib.bpf_map__fd(self._find_map(name)))

    def _find_map(self, name: str) -> int:
        return int(self._lib.bpf_object__find_map_by_name(self._object, name.encode()))


def open_libbpf() -> ctypes.CDLL:
    """Return the library with the prototypes of what is used of it, told to print nothing.

    Raises:
        BpfUnavailable: It is not installed.
    """
    try:
        lib = ctypes.CDLL(LIBBPF, use_errno=True)
        for name, (result, arguments) in _PROTOTYPES.items():
            function = getattr(lib, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, AttributeError) as error:
        raise BpfUnavailable(f"{LIBBPF} is not installed") from error
    lib.libbpf_set_print(None)
    return lib


def _refusal(code: int) -> str:
    if code in _NOT_PERMITTED:
        return "this process may not load BPF programs (CAP_BPF)"
    return f"the kernel refused the BPF program: {os.strerror(code)}"
