/* What the flow table (flow_table.h) lets pass and the screen (screen.h) does not hold back as a sensor.packet.Packet,
 * what the table counted as a row for Python. */
#ifndef HANDED_OUT_H
#define HANDED_OUT_H

#include "as_packet.h"
#include "flow_table.h"
#include "screen.h"

static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF}; /* ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2) */

/* Where it goes: packets, rows of counts. `screen` is NULL where nothing is held back; `ask` says of a kind and a name
 * whether it is of interest; `sources`: link types and interfaces by number, NULL where there is one, the maker's. */
struct handed_out {
    PyObject *packets, *counts;
    struct maker maker;
    struct screen *screen;
    PyObject *ask, *sources;
};

/* A screen in a buffer of Python's, or none. */
struct screen_view {
    Py_buffer buffer;
    struct screen *screen;
};

/* A table in a buffer of Python's. */
struct table_view {
    Py_buffer buffer;
    struct table *table;
    uint64_t slots;
};

/* The count of a flow behind so many packets: (packets, socket, key as in sensor.flows, octets each way, packets each way,
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

/* What cannot be judged is handed out: Screen.decide says so after an error of its own, and so it is if it was not reached. */
static int ask_python(void *context, enum kind kind, const char *name, uint32_t octets) {
    const struct handed_out *to = context;
    PyObject *answer = PyObject_CallFunction(to->ask, "is#", (int)kind, name, (Py_ssize_t)octets);
    int is_interesting = answer ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    if (is_interesting >= 0 || !PyErr_ExceptionMatches(PyExc_Exception))
        return is_interesting;
    PyErr_Clear();
    return 1;
}

static int hand_to_python(void *context, const struct record *record) {
    const struct handed_out *to = context;
    struct maker maker = to->maker;
    if (to->sources != NULL && record->source < PyList_GET_SIZE(to->sources)) {
        PyObject *source = PyList_GET_ITEM(to->sources, record->source);
        maker.link_type = PyTuple_GET_ITEM(source, 0), maker.interface = PyTuple_GET_ITEM(source, 1);
    }
    return append_packet(to->packets, &maker, record->ts, (const uint8_t *)(record + 1), record->octets, record->wire);
}

static struct host host_of(struct handed_out *to) { return (struct host){to, ask_python, hand_to_python}; }

/* Hand out the first `octets` of a frame, none of them if it does not pass, behind what was `counted`. */
static inline int hand_out(struct handed_out *to, const Frame *frame, const struct packet *packet, enum reading reading,
                           int64_t ts, int octets, const struct slot *counted) {
    if (is_counted(counted) && append_count(to, counted) < 0)
        return -1;
    if (!octets)
        return 0;
    Frame kept = *frame;
    kept.captured = (uint32_t)octets < frame->captured ? (uint32_t)octets : frame->captured;
    if (to->screen != NULL) {
        struct host host = host_of(to);
        to->screen->source = 0;
        int fate = screen(to->screen, &host, &kept, packet, reading, ts);
        if (fate != PASS)
            return fate == FAILED ? -1 : 0;
    }
    return append_packet(to->packets, &to->maker, ts, kept.octets, kept.captured, kept.wire);
}

/* As an "O&" of PyArg_ParseTuple: a writable buffer that holds a table; PyBuffer_Release is the caller's, once all
 * arguments are read. */
static inline int view_table(PyObject *object, void *view) {
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

/* As an "O&" of PyArg_ParseTuple: a writable buffer that holds a screen, or None; PyBuffer_Release as for a table. */
static int view_screen(PyObject *object, void *view) {
    struct screen_view *to = view;
    if (object == NULL) {
        PyBuffer_Release(&to->buffer);
        return 1;
    }
    if (object == Py_None)
        return 1;
    if (PyObject_GetBuffer(object, &to->buffer, PyBUF_WRITABLE) < 0)
        return 0;
    to->screen = to->buffer.buf;
    if ((uint64_t)to->buffer.len == sizeof(struct screen) && (uintptr_t)to->screen % 8 == 0)
        return Py_CLEANUP_SUPPORTED;
    PyBuffer_Release(&to->buffer);
    PyErr_SetString(PyExc_ValueError, "the screen has another size, or lies askew");
    return 0;
}

#endif
