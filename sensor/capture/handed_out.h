/* What the flow table (flow_table.h) lets pass as a sensor.packet.Packet, what it counted as a row for Python. */
#ifndef HANDED_OUT_H
#define HANDED_OUT_H

#include "as_packet.h"
#include "flow_table.h"

static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF}; /* ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2) */

/* Where it goes: packets, rows of counts. */
struct handed_out {
    PyObject *packets, *counts;
    struct maker maker;
};

/* A table in a buffer of Python's. */
struct table_view {
    Py_buffer buffer;
    struct table *table;
    uint64_t slots;
};

/* The count of a flow behind so many packets: (packets, socket, key as in sensor.flow, octets each way, packets each way,
 * time of the last). */
static int append_count(const struct handed_out *to, const struct slot *s) {
    uint8_t key[37];
    const uint8_t *low = (const uint8_t *)s->key.low, *high = (const uint8_t *)s->key.high;
    size_t octets = memcmp(low, mapped, sizeof mapped) || memcmp(high, mapped, sizeof mapped) ? 16 : 4;
    if (s->key.protocol != TCP && s->key.protocol != UDP)
        return 0;
    memcpy(key, low + 16 - octets, octets);
    memcpy(key + octets, high + 16 - octets, octets);
    memcpy(key + 2 * octets, &s->key.low_port, 2);
    memcpy(key + 2 * octets + 2, &s->key.high_port, 2);
    key[2 * octets + 4] = 'u';
    Py_ssize_t length = (Py_ssize_t)(2 * octets + (s->key.protocol == UDP ? 5 : 4));
    PyObject *row = Py_BuildValue("nHy#KKIIL", PyList_GET_SIZE(to->packets), s->socket, key, length,
                                  (unsigned long long)s->cut_octets[0], (unsigned long long)s->cut_octets[1],
                                  (unsigned)s->cut_packets[0], (unsigned)s->cut_packets[1], (long long)s->cut_last);
    int failed = row == NULL || PyList_Append(to->counts, row) < 0;
    Py_XDECREF(row);
    return failed ? -1 : 0;
}

/* Hand out the first `octets` of a frame, none of them if it does not pass, behind what was `counted`. */
static int hand_out(const struct handed_out *to, const Frame *frame, int64_t ts, int octets, const struct slot *counted) {
    if (is_counted(counted) && append_count(to, counted) < 0)
        return -1;
    Py_ssize_t kept = (uint32_t)octets < frame->captured ? octets : (Py_ssize_t)frame->captured;
    return octets ? append_packet(to->packets, &to->maker, ts, frame->octets, kept, frame->wire) : 0;
}

/* As an "O&" of PyArg_ParseTuple: a writable buffer that holds a table; PyBuffer_Release is the caller's, once all
 * arguments are read. */
static int view_table(PyObject *object, void *view) {
    struct table_view *to = view;
    if (object == NULL) { /* another argument was refused */
        PyBuffer_Release(&to->buffer);
        return 1;
    }
    if (PyObject_GetBuffer(object, &to->buffer, PyBUF_WRITABLE) < 0)
        return 0;
    to->table = to->buffer.buf;
    to->slots = slots_of(to->table, (uint64_t)to->buffer.len);
    if (to->slots)
        return Py_CLEANUP_SUPPORTED;
    PyBuffer_Release(&to->buffer);
    PyErr_SetString(PyExc_ValueError, "the table is too small, or lies askew");
    return 0;
}

#endif
