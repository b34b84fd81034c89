/* Records of a capture file with Ethernet frames, judged by the flow-head policy (flow_table.h), and frames read for Python.
 *
 * tests/sensor/capture/offline/test_heads.py runs this under the sanitizers, with HEADS_WITHOUT_PYTHON, and compares it
 * with the policy written in Python and with the kernel's.
 */
#ifndef HEADS_WITHOUT_PYTHON
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "handed_out.h"
#endif
#include "flow_table.h"

#define MAX_RECORD 262144

static uint32_t file32(const uint8_t *at, int is_swapped) {
    uint32_t value;
    memcpy(&value, at, 4);
    return is_swapped ? __builtin_bswap32(value) : value;
}

/* How the records of a file stand (sensor.capture.offline.layout): those of a pcap file, or enhanced packet blocks of a
 * pcapng section's first interface (draft-ietf-opsawg-pcapng section 4.3). In the header of either, time in two halves,
 * captured octets and those on the wire follow one another. */
struct layout {
    uint32_t header; /* octets before the frame */
    int is_block, is_swapped;
    unsigned long long base, multiplier, divisor; /* time: (upper * base + lower) * multiplier / divisor + offset */
    long long offset;
};
#define ENHANCED_PACKET 6
#define BLOCK_HEADER 28
#define BLOCK_FIELDS 12 /* time and sizes begin behind type, length and interface */
#define MAX_BLOCK (MAX_RECORD + 65536)

struct walk {
    uint64_t at, end;
    int64_t last; /* the time of the last record, -1 before the first */
    struct layout layout;
    uint32_t packets;
    int is_back;         /* the clock went back, the next record begins all flows anew */
    struct slot counted; /* if is_counted(...): of a flow that the last record began anew or displaced */
    struct packet packet; /* the last record, as `reading` says */
    enum reading reading;
};

/* Tells whether the time is one from 1970 to 2262, and 64 bits suffice to reckon it. */
static int read_time(const struct layout *l, const uint8_t *fields, int64_t *ts) {
    uint64_t units = file32(fields, l->is_swapped) * (uint64_t)l->base + file32(fields + 4, l->is_swapped), rest = 0;
    if (l->divisor != 1) {
        rest = units % l->divisor * l->multiplier / l->divisor;
        units /= l->divisor;
    }
    return !__builtin_mul_overflow(units, (uint64_t)l->multiplier, &units) &&
           !__builtin_add_overflow(units, rest, &units) && !__builtin_add_overflow(units, (int64_t)l->offset, ts) &&
           *ts >= 0;
}

/* How long a block is; 0: it is no enhanced packet of the first interface, or does not hold what it says. */
static uint64_t octets_of_block(const struct layout *l, const uint8_t *block, uint32_t captured) {
    uint32_t octets = file32(block + 4, l->is_swapped);
    if (file32(block, l->is_swapped) != ENHANCED_PACKET || file32(block + 8, l->is_swapped) != 0)
        return 0;
    return octets % 4 || octets > MAX_BLOCK || octets < BLOCK_HEADER + captured + 4 ? 0 : octets;
}

/* How long the next record is; 0: it is not all there, or not as the layout says. */
static uint64_t octets_of_record(const uint8_t *file, const struct walk *w, Frame *frame, int64_t *ts) {
    const struct layout *l = &w->layout;
    const uint8_t *record = file + w->at, *fields = record + (l->is_block ? BLOCK_FIELDS : 0);
    uint64_t left = w->end - w->at;
    if (left < l->header)
        return 0;
    frame->octets = record + l->header;
    frame->captured = file32(fields + 8, l->is_swapped);
    frame->wire = file32(fields + 12, l->is_swapped);
    if (frame->captured > MAX_RECORD)
        return 0;
    if (frame->wire < frame->captured)
        frame->wire = frame->captured;
    uint64_t octets = l->is_block ? octets_of_block(l, record, frame->captured) : (uint64_t)l->header + frame->captured;
    return octets <= left && read_time(l, fields, ts) ? octets : 0;
}

/* Take one record: how many octets of it pass at most (`frame` holds it, `*ts` its time); -1: there is none to take. */
static int step(struct table *t, uint64_t slots, const uint8_t *file, struct walk *w, Frame *frame, int64_t *ts) {
    uint64_t octets = octets_of_record(file, w, frame, ts);
    if (!octets)
        return -1;
    __builtin_prefetch(file + w->at + octets); /* the next record: it arrives while this one is judged */
    __builtin_prefetch(file + w->at + octets + 64);
    w->counted.cut_packets[0] = w->counted.cut_packets[1] = 0;
    if ((uint64_t)*ts + t->shift + t->clock_step < t->now && !t->is_told) {
        t->is_told = w->is_back = 1;
        return -1;
    }
    t->is_told = 0;
    w->last = *ts;
    w->packets++;
    w->at += octets;
    memset(&w->packet, 0, sizeof w->packet);
    return judge(t, slots, frame, &(struct arrival){.link_type = LINKTYPE_ETHERNET, .ts = *ts}, &w->packet, &w->reading,
                 &w->counted);
}

/* What sensor.decoding.decode makes of a frame. */
struct carried {
    uint8_t key[36]; /* both addresses, both ports */
    uint32_t key_octets, body, captured, payload;
    uint32_t first, second; /* TCP: sequence and acknowledgement number; UDP: the ports */
    int flags;              /* TCP; -1: UDP */
};

/* Writes addresses and ports; returns how many octets, 0 for IPv4 with options. */
static uint32_t write_key(const Frame *frame, const struct packet *packet, uint8_t *key) {
    const uint8_t *transport = frame->octets + packet->at;
    if (packet->src[0] || packet->dst[0] || packet->src[1] >> 32 != 0xFFFF || packet->dst[1] >> 32 != 0xFFFF) {
        __be64 ends[4] = {BE64(packet->src[0]), BE64(packet->src[1]), BE64(packet->dst[0]), BE64(packet->dst[1])};
        memcpy(key, ends, sizeof ends);
        memcpy(key + sizeof ends, transport, 4);
        return sizeof ends + 4;
    }
    const uint8_t *ip = transport - sizeof(struct ipv4_header);
    __be32 ends[2] = {BE32((uint32_t)packet->src[1]), BE32((uint32_t)packet->dst[1])};
    if (*ip != 0x45 || memcmp(ip + 12, ends, sizeof ends)) /* or it is IPv6 with mapped addresses */
        return 0;
    memcpy(key, ip + 12, sizeof ends + 4);
    return sizeof ends + 4;
}

/* Tells whether the frame carries TCP or UDP that needs no second look; `carried` is filled in then. */
static int read_frame(Frame *frame, struct carried *carried) {
    struct packet packet = {0};
    struct tcp_header tcp;
    struct udp_header udp;
    if (read_ethernet(frame, &packet) != READ || (packet.protocol != TCP && packet.protocol != UDP))
        return 0;
    carried->key_octets = write_key(frame, &packet, carried->key);
    carried->payload = packet.payload;
    if (packet.protocol == TCP && !load(frame, packet.at, &tcp, sizeof tcp)) {
        carried->flags = tcp.flags, carried->first = packet.seq, carried->second = BE32(tcp.ack);
    } else if (!load(frame, packet.at, &udp, sizeof udp)) {
        carried->flags = -1, carried->first = packet.sport, carried->second = packet.dport;
        carried->payload = udp.length ? BE16(udp.length) - (uint32_t)sizeof udp : packet.payload;
    }
    carried->body = packet.body < frame->captured ? packet.body : frame->captured;
    uint32_t captured = frame->captured - carried->body;
    carried->captured = carried->payload < captured ? carried->payload : captured;
    return carried->key_octets > 0;
}

#ifndef HEADS_WITHOUT_PYTHON
/* Fills in `wanted`, which must be zero, from a key as in sensor.flows; tells whether its source is the lower end. */
static int read_key(struct flow_key *wanted, const uint8_t *key, size_t octets, int is_udp) {
    uint8_t ends[2][16];
    for (int i = 0; i < 2; i++) {
        memcpy(ends[i], mapped, sizeof mapped);
        memcpy(ends[i] + 16 - octets, key + (size_t)i * octets, octets);
    }
    const uint8_t *ports = key + 2 * octets;
    int order = memcmp(ends[0], ends[1], 16), is_low = order < 0 || (order == 0 && memcmp(ports, ports + 2, 2) <= 0);
    memcpy(wanted->low, ends[!is_low], 16);
    memcpy(wanted->high, ends[is_low], 16);
    memcpy(&wanted->low_port, ports + (is_low ? 0 : 2), 2);
    memcpy(&wanted->high_port, ports + (is_low ? 2 : 0), 2);
    wanted->protocol = is_udp ? UDP : TCP;
    return is_low;
}

/* Append what was counted of the flow in `s`, seen from its lower end or the other one, and forget it. */
static int take_count(struct slot *s, int is_low, PyObject *rows) {
    struct slot counted = {0};
    depart(s, &counted);
    if (!is_counted(&counted))
        return 0;
    PyObject *row = Py_BuildValue("HKKIIL", counted.socket, (unsigned long long)counted.cut_octets[!is_low],
                                  (unsigned long long)counted.cut_octets[is_low], (unsigned)counted.cut_packets[!is_low],
                                  (unsigned)counted.cut_packets[is_low], (long long)counted.cut_last);
    int failed = row == NULL || PyList_Append(rows, row) < 0;
    Py_XDECREF(row);
    return failed ? -1 : 0;
}

static PyObject *heads_take(PyObject *module, PyObject *arguments) {
    Py_buffer key;
    struct table_view table = {0};
    struct flow_key wanted = {0};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&y*", view_table, &table, &key))
        return NULL;
    PyObject *rows = PyList_New(0);
    Py_ssize_t octets = key.len <= 13 ? 4 : 16;
    int failed = rows == NULL;
    if (key.len == 2 * octets + 4 || key.len == 2 * octets + 5) {
        int is_low = read_key(&wanted, key.buf, (size_t)octets, key.len == 2 * octets + 5);
        struct slot *set = set_of(table.table, table.slots, &wanted);
        for (struct slot *s = set; s < set + WAYS && !failed; s++)
            failed = is_same(&s->key, &wanted) && take_count(s, is_low, rows) < 0;
    }
    PyBuffer_Release(&table.buffer);
    PyBuffer_Release(&key);
    if (failed)
        Py_CLEAR(rows);
    return rows;
}

static PyObject *heads_take_all(PyObject *module, PyObject *arguments) {
    struct table_view table = {0};
    struct handed_out to = {0};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&O!", view_table, &table, &PyList_Type, &to.counts))
        return NULL;
    to.packets = PyList_New(0);
    int failed = to.packets == NULL;
    struct slot *slots = (struct slot *)(table.table + 1);
    for (struct slot *s = slots; s < slots + table.slots && !failed; s++) {
        struct slot counted = {0};
        depart(s, &counted);
        failed = is_counted(&counted) && append_count(&to, &counted) < 0;
    }
    Py_XDECREF(to.packets);
    PyBuffer_Release(&table.buffer);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

/* Take records until there are `heads` of them handed out. */
static int take_records(const struct table_view *table, const uint8_t *file, struct walk *w, struct handed_out *to,
                        Py_ssize_t records, Py_ssize_t heads, int64_t until) {
    while (records-- > 0 && PyList_GET_SIZE(to->packets) < heads && w->last < until) {
        Frame frame;
        int64_t ts;
        int octets = step(table->table, table->slots, file, w, &frame, &ts);
        if (octets < 0)
            break;
        if (hand_out(to, &frame, &w->packet, w->reading, ts, octets, &w->counted) < 0)
            return -1;
    }
    return 0;
}

static PyObject *heads_walk(PyObject *module, PyObject *arguments) {
    struct table_view table = {0};
    struct screen_view view = {0};
    Py_buffer file;
    Py_ssize_t at, end, records, heads;
    PyObject *answer = NULL;
    struct handed_out to = {0};
    long long until = INT64_MAX; /* no record is taken behind one that is this late */
    struct walk w = {.last = -1};
    struct layout *l = &w.layout;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&y*nnO!O!Onn(IppKKKLU)|LO&O", view_table, &table, &file, &at, &end, &PyList_Type,
                          &to.packets, &PyList_Type, &to.counts, &to.maker.make, &records, &heads, &l->header, &l->is_block,
                          &l->is_swapped, &l->base, &l->multiplier, &l->divisor, &l->offset, &to.maker.interface, &until,
                          view_screen, &view, &to.ask))
        return NULL;
    to.screen = to.ask != NULL ? view.screen : NULL;
    w.at = (uint64_t)at, w.end = (uint64_t)end;
    to.maker.link_type = PyLong_FromLong(LINKTYPE_ETHERNET);
    if (at < 0 || at > end || end > file.len || l->header < (l->is_block ? BLOCK_HEADER : 16) || !l->divisor)
        PyErr_SetString(PyExc_ValueError, "the window lies outside the buffer");
    else if (!take_records(&table, file.buf, &w, &to, records, heads, until))
        answer = Py_BuildValue("KILO", (unsigned long long)w.at, w.packets, (long long)w.last,
                               w.is_back ? Py_True : Py_False);
    Py_XDECREF(to.maker.link_type);
    PyBuffer_Release(&table.buffer);
    PyBuffer_Release(&view.buffer);
    PyBuffer_Release(&file);
    return answer;
}

/* Returns a tuple of new objects; NULL if one of them could not be made. */
static PyObject *tuple_of(PyObject **parts, Py_ssize_t count) {
    int is_whole = 1;
    for (Py_ssize_t i = 0; i < count; i++)
        is_whole = is_whole && parts[i] != NULL;
    PyObject *tuple = is_whole ? PyTuple_New(count) : NULL;
    for (Py_ssize_t i = 0; i < count; i++)
        if (tuple != NULL)
            PyTuple_SET_ITEM(tuple, i, parts[i]);
        else
            Py_XDECREF(parts[i]);
    return tuple;
}

static PyObject *heads_read(PyObject *module, PyObject *const *arguments, Py_ssize_t count) {
    struct carried carried;
    (void)module;
    if (count != 2 || !PyBytes_Check(arguments[0]))
        return PyErr_Format(PyExc_TypeError, "read(frame: bytes, wire_octets: int)");
    unsigned long wire = PyLong_AsUnsignedLong(arguments[1]);
    if (wire == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (PyBytes_GET_SIZE(arguments[0]) > MAX_RECORD || wire > UINT32_MAX)
        Py_RETURN_NONE;
    Frame frame = {(const uint8_t *)PyBytes_AS_STRING(arguments[0]), (uint32_t)PyBytes_GET_SIZE(arguments[0]), (uint32_t)wire};
    if (!read_frame(&frame, &carried))
        Py_RETURN_NONE;
    const char *payload = (const char *)frame.octets + carried.body;
    PyObject *parts[] = {PyLong_FromLong(carried.flags),
                         PyBytes_FromStringAndSize((const char *)carried.key, carried.key_octets),
                         PyLong_FromUnsignedLong(carried.first),
                         PyLong_FromUnsignedLong(carried.second),
                         PyBytes_FromStringAndSize(payload, carried.captured),
                         PyLong_FromUnsignedLong(carried.payload)};
    return tuple_of(parts, sizeof parts / sizeof *parts); /* Py_BuildValue takes three times as long */
}

static PyMethodDef methods[] = {
    {"walk", heads_walk, METH_VARARGS, "Take what passes of the next records of a window; return where it ends."},
    {"read", (PyCFunction)(void (*)(void))heads_read, METH_FASTCALL, "Return what a frame carries, None: Python reads it."},
    {"take", heads_take, METH_VARARGS, "Return what was counted of a flow, by socket, and forget it."},
    {"take_all", heads_take_all, METH_VARARGS, "Append what was counted of all flows, and forget it."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_heads", .m_size = 0, .m_methods = methods};
PyMODINIT_FUNC PyInit__heads(void) { return PyModule_Create(&definition); }
#endif
