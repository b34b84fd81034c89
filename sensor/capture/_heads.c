/* The flow-head policy (bpf/flow_policy.h) over records of a pcap file with Ethernet frames, with a flow table.
 *
 * What is not IP, damaged or cut by the snap length passes: Python decides and counts. Nothing is read outside `octets`..
 * `captured`; tests/sensor/capture/test_heads.py runs this under the sanitizers, with HEADS_WITHOUT_PYTHON, and compares
 * it with the policy written in Python and with the kernel's.
 */
#ifndef HEADS_WITHOUT_PYTHON
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "as_packet.h"
#endif
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *octets;
    uint32_t captured, wire;
} Frame;

static inline int load(Frame *frame, uint32_t at, void *to, uint32_t octets) {
    if (at > frame->captured || octets > frame->captured - at)
        return -1;
    memcpy(to, frame->octets + at, octets);
    return 0;
}

static inline uint32_t octets_of(Frame *frame) { return frame->wire; }

#include "bpf/flow_policy.h"

#define WAYS 8
#define MAX_RECORD 262144
#define LINKTYPE_ETHERNET 1

struct table { /* the first 128 octets; then slots, as many as there is room for: a power of two */
    uint64_t now, shift, clock_step;
    struct limits limits;
    uint64_t is_told; /* that the clock went back: the next record begins the flows anew */
    uint64_t unused[6];
};
struct slot {
    struct flow_key key;
    uint64_t last; /* 0: it was never used */
    struct head heads[2];
    uint64_t cut_octets[2]; /* on the wire, from low and from high: what did not pass and was not handed out as a count */
    int64_t cut_last;       /* when the last of that came */
    uint32_t cut_packets, has_begun;
};

static uint32_t file32(const uint8_t *at, int is_swapped) {
    uint32_t value;
    memcpy(&value, at, 4);
    return is_swapped ? __builtin_bswap32(value) : value;
}

/* Take out what was counted of a flow. */
static void depart(struct slot *s, struct slot *counted) {
    if (s->cut_packets)
        *counted = *s;
    s->cut_octets[0] = s->cut_octets[1] = s->cut_packets = 0;
}

static struct slot *set_of(struct table *t, uint64_t slots, const struct flow_key *key) {
    /* Field by field, here and below: a word that was written in parts has to reach the cache before it can be read. */
    uint64_t ports = (uint64_t)key->low_port << 32 | (uint64_t)key->high_port << 16 | key->protocol;
    uint64_t hash = (key->low[0] ^ ports) * 0x9E3779B97F4A7C15u ^ key->low[1] * 0xBF58476D1CE4E5B9u ^
                    key->high[0] * 0x94D049BB133111EBu ^ key->high[1] * 0xD6E8FEB86659FD93u;
    hash = (hash ^ hash >> 32) * 0x9E3779B97F4A7C15u; /* the last octets of addresses stand in the upper bits */
    return (struct slot *)(t + 1) + (hash >> 40 & (slots / WAYS - 1)) * WAYS;
}

static int is_same(const struct flow_key *one, const struct flow_key *other) {
    return one->low_port == other->low_port && one->high_port == other->high_port && one->low[1] == other->low[1] &&
           one->high[1] == other->high[1] && one->low[0] == other->low[0] && one->high[0] == other->high[0] &&
           one->protocol == other->protocol;
}

/* The flow's slot; a new one takes the place of the one in its set that was used least recently. */
static struct slot *find(struct table *t, uint64_t slots, const struct flow_key *key, struct slot *counted) {
    struct slot *set = set_of(t, slots, key), *oldest = set;
    for (struct slot *s = set; s < set + WAYS; s++) {
        if (is_same(&s->key, key))
            return s;
        if (s->last < oldest->last)
            oldest = s;
    }
    depart(oldest, counted);
    memset(oldest, 0, sizeof *oldest);
    oldest->key = *key;
    oldest->last = t->now;
    return oldest;
}

/* `counted` gets what was counted until now of a flow that begins anew or is forgotten. */
static int judge(struct table *t, uint64_t slots, Frame *frame, int64_t ts, struct slot *counted) {
    struct packet packet = {0};
    struct flow_key key = {0};
    enum reading reading = read_ethernet(frame, &packet);
    if (reading == NOT_IP)
        return WHOLE;
    int octets = judge_alone(frame, &packet, reading, &t->limits);
    if (octets != GO_ON)
        return octets;
    int from_low = is_from_low(&packet);
    make_key(&key, &packet, from_low);
    struct slot *s = find(t, slots, &key, counted);
    struct head *own = &s->heads[!from_low];
    int is_new = is_idle(&packet, &t->limits, t->now - s->last) || is_other_start(&packet, own);
    if (is_new || packet.flags & SYN)
        depart(s, counted);
    if (is_new) {
        memset(s->heads, 0, sizeof s->heads);
        s->has_begun = 0;
    }
    s->last = t->now;
    s->has_begun |= packet.payload || packet.flags & SYN;
    octets = judge_in_flow(frame, &packet, &t->limits, own);
    if (octets == NONE && s->has_begun) {
        s->cut_octets[!from_low] += frame->wire;
        s->cut_packets++;
        s->cut_last = ts;
    }
    return octets;
}

struct walk {
    uint64_t at, end;
    int64_t last; /* the time of the last record, -1 before the first */
    uint32_t packets, header, fraction;
    int is_swapped, is_damaged, is_back; /* is_back: the clock went back, the next record begins all flows anew */
    struct slot counted;                 /* with `cut_packets`: of a flow that the last record began anew or displaced */
};

/* The clock of flows never goes back: where that of the file does (another capture follows), all flows are idle. */
static void set_clock(struct table *t, uint64_t ts) {
    uint64_t idle = t->limits.tcp_idle_ns > t->limits.udp_idle_ns ? t->limits.tcp_idle_ns : t->limits.udp_idle_ns;
    if (ts + t->shift + t->clock_step < t->now)
        t->shift = t->now + idle + 1 - ts;
    if (ts + t->shift > t->now)
        t->now = ts + t->shift;
}

/* Take one record: how many octets of it pass at most (`frame` holds it, `*ts` its time); -1: no whole record. */
static int step(struct table *t, uint64_t slots, const uint8_t *file, struct walk *w, Frame *frame, int64_t *ts) {
    if (w->end - w->at < w->header)
        return -1;
    const uint8_t *record = file + w->at;
    frame->captured = file32(record + 8, w->is_swapped);
    frame->wire = file32(record + 12, w->is_swapped);
    if (frame->captured > MAX_RECORD) {
        w->is_damaged = 1;
        return -1;
    }
    if (w->end - w->at - w->header < frame->captured)
        return -1;
    if (frame->wire < frame->captured)
        frame->wire = frame->captured;
    frame->octets = record + w->header;
    __builtin_prefetch(frame->octets + frame->captured); /* the next record: it arrives while this one is judged */
    __builtin_prefetch(frame->octets + frame->captured + 64);
    *ts = file32(record, w->is_swapped) * INT64_C(1000000000) + file32(record + 4, w->is_swapped) * (int64_t)w->fraction;
    w->counted.cut_packets = 0;
    if ((uint64_t)*ts + t->shift + t->clock_step < t->now && !t->is_told) {
        t->is_told = w->is_back = 1;
        return -1;
    }
    t->is_told = 0;
    set_clock(t, (uint64_t)*ts);
    w->last = *ts;
    w->packets++;
    w->at += w->header + frame->captured;
    return judge(t, slots, frame, *ts, &w->counted);
}

static uint64_t slots_of(uint64_t octets) {
    uint64_t slots = WAYS;
    if (octets < sizeof(struct table) + WAYS * sizeof(struct slot))
        return 0;
    while (sizeof(struct table) + 2 * slots * sizeof(struct slot) <= octets)
        slots *= 2;
    return slots;
}

/* What sensor.decode makes of a frame. */
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
static const uint8_t mapped[12] = {[10] = 0xFF, [11] = 0xFF}; /* ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2) */

/* The count of a flow behind `heads` of them: (heads, key as in sensor.flow, octets each way, packets, last time). */
static int append_count(PyObject *counts, Py_ssize_t heads, const struct slot *s) {
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
    PyObject *row = Py_BuildValue("ny#KKIL", heads, key, (Py_ssize_t)(2 * octets + (s->key.protocol == UDP ? 5 : 4)),
                                  (unsigned long long)s->cut_octets[0], (unsigned long long)s->cut_octets[1],
                                  (unsigned)s->cut_packets, (long long)s->cut_last);
    int failed = row == NULL || PyList_Append(counts, row) < 0;
    Py_XDECREF(row);
    return failed ? -1 : 0;
}

/* Fills in `wanted`, which must be zero, from a key as in sensor.flow; tells whether its source is the lower end. */
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

static PyObject *heads_take(PyObject *module, PyObject *arguments) {
    Py_buffer table, key;
    struct flow_key wanted = {0};
    struct slot counted = {0};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "w*y*", &table, &key))
        return NULL;
    uint64_t slots = slots_of((uint64_t)table.len);
    Py_ssize_t octets = key.len <= 13 ? 4 : 16;
    int is_low = 1;
    if (slots && !((uintptr_t)table.buf % 8) && (key.len == 2 * octets + 4 || key.len == 2 * octets + 5)) {
        is_low = read_key(&wanted, key.buf, (size_t)octets, key.len == 2 * octets + 5);
        struct slot *set = set_of(table.buf, slots, &wanted);
        for (struct slot *s = set; s < set + WAYS; s++)
            if (is_same(&s->key, &wanted))
                depart(s, &counted);
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&key);
    if (!counted.cut_packets)
        Py_RETURN_NONE;
    return Py_BuildValue("KKIL", (unsigned long long)counted.cut_octets[!is_low],
                         (unsigned long long)counted.cut_octets[is_low], (unsigned)counted.cut_packets,
                         (long long)counted.cut_last);
}

/* Take records until there are `heads` of them among `found`, and what was counted among `counts`. */
static int take_records(struct table *table, uint64_t slots, const uint8_t *file, struct walk *w, const struct maker *maker,
                        Py_ssize_t records, Py_ssize_t heads, int64_t until, PyObject *found, PyObject *counts) {
    while (records-- > 0 && PyList_GET_SIZE(found) < heads && w->last < until) {
        Frame frame;
        int64_t ts;
        int octets = step(table, slots, file, w, &frame, &ts);
        if (octets < 0)
            break;
        if (w->counted.cut_packets && append_count(counts, PyList_GET_SIZE(found), &w->counted) < 0)
            return -1;
        Py_ssize_t kept = (uint32_t)octets < frame.captured ? octets : (Py_ssize_t)frame.captured;
        if (octets && append_packet(found, maker, ts, frame.octets, kept, frame.wire) < 0)
            return -1;
    }
    return 0;
}

static PyObject *heads_walk(PyObject *module, PyObject *arguments) {
    Py_buffer table, file;
    Py_ssize_t at, end, records, heads;
    PyObject *found, *counts, *answer = NULL;
    struct maker maker = {0};
    long long until = INT64_MAX; /* no record is taken behind one that is this late */
    struct walk w = {.last = -1};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "w*y*nnO!O!OnnIIp|L", &table, &file, &at, &end, &PyList_Type, &found, &PyList_Type,
                          &counts, &maker.make, &records, &heads, &w.header, &w.fraction, &w.is_swapped, &until))
        return NULL;
    uint64_t slots = slots_of((uint64_t)table.len);
    w.at = (uint64_t)at, w.end = (uint64_t)end;
    maker.link_type = PyLong_FromLong(LINKTYPE_ETHERNET);
    if (!slots || (uintptr_t)table.buf % 8 || at < 0 || at > end || end > file.len || w.header < 16)
        PyErr_SetString(PyExc_ValueError, "the table is too small, or the window lies outside the buffer");
    else if (!take_records(table.buf, slots, file.buf, &w, &maker, records, heads, until, found, counts))
        answer = Py_BuildValue("KILOO", (unsigned long long)w.at, w.packets, (long long)w.last,
                               w.is_damaged ? Py_True : Py_False, w.is_back ? Py_True : Py_False);
    Py_XDECREF(maker.link_type);
    PyBuffer_Release(&table);
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
    {"take", heads_take, METH_VARARGS, "Return what was counted of a flow, both ways, and forget it; None for nothing."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_heads", .m_size = 0, .m_methods = methods};
PyMODINIT_FUNC PyInit__heads(void) { return PyModule_Create(&definition); }
#endif
