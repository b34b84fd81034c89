/* Packets of a block of a TPACKET_V3 ring, read in place (sensor.capture.ring). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "as_packet.h"

struct header { /* struct tpacket3_hdr (linux/if_packet.h), as far as it is used */
    uint32_t following, seconds, nanoseconds, captured, wire, status;
    uint16_t offset;
};

/* Take the packet at `at`; -1: it does not lie in the ring, or there is no memory for it. */
static int take_packet(const uint8_t *ring, uint64_t octets, uint64_t *at, const struct maker *maker, PyObject *found) {
    struct header header;
    if (*at > octets || octets - *at < sizeof header)
        return -1;
    memcpy(&header, ring + *at, sizeof header);
    if (octets - *at < header.offset || octets - *at - header.offset < header.captured)
        return -1;
    int64_t ts = header.seconds * INT64_C(1000000000) + header.nanoseconds;
    const uint8_t *frame = ring + *at + header.offset;
    *at += header.following;
    return append_packet(found, maker, ts, frame, header.captured, header.wire);
}

static PyObject *ring_take(PyObject *module, PyObject *arguments) {
    Py_buffer ring;
    Py_ssize_t at, packets;
    PyObject *found;
    struct maker maker;
    int failed = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*nnO!OOO", &ring, &at, &packets, &PyList_Type, &found, &maker.make, &maker.link_type,
                          &maker.interface))
        return NULL;
    uint64_t next = (uint64_t)at;
    while (packets-- > 0 && !failed)
        failed = take_packet(ring.buf, (uint64_t)ring.len, &next, &maker, found);
    PyBuffer_Release(&ring);
    if (failed && !PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a packet lies outside the ring");
    return failed ? NULL : PyLong_FromUnsignedLongLong(next);
}

static PyMethodDef methods[] = {
    {"take", ring_take, METH_VARARGS, "Take packets of a block; return where the one behind them begins."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_ring", .m_size = 0, .m_methods = methods};
PyMODINIT_FUNC PyInit__ring(void) { return PyModule_Create(&definition); }
