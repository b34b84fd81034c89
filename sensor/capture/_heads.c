/* The flow-head policy over records of a pcap file with Ethernet frames (sensor/capture/heads.py tells the policy).
 *
 * Every doubt (a short header, a link or extension header not known here) passes the packet: Python decides and counts.
 * Nothing is read outside `octets`..`end`; tests/sensor/capture/test_heads.py runs this under the sanitizers, with
 * HEADS_WITHOUT_PYTHON, and compares it with the policy written in Python.
 */
#ifndef HEADS_WITHOUT_PYTHON
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#endif
#include <stdint.h>
#include <string.h>

#define WAYS 8
#define MAX_TAGS 4
#define MAX_EXTENSIONS 8
#define MAX_RECORD 262144
#define FIN_SYN_RST 0x07
#define SYN 0x02
#define SYN_ACK 0x12

struct table { /* the first 64 octets; then slots, as many as there is room for: a power of two */
    int64_t now, tcp_idle, udp_idle, clock_step;
    uint32_t tcp, udp, quic, other, fragment, generation;
    uint64_t is_told; /* that the clock went back: the next record begins the flows anew */
};
struct slot {
    uint64_t key[5];
    int64_t last;
    uint32_t generation;
    uint16_t octets[2]; /* of payload so far; 65535 and more are the same */
    uint8_t has_sent[2], has_begun, unused[5];
    uint64_t cut_octets[2]; /* on the wire, of what did not pass and was not handed out as a count yet */
    int64_t cut_last;       /* when the last of that came */
    uint64_t cut_packets;
};
struct packet {
    const uint8_t *data;
    uint32_t captured, wire, at, end; /* end: where the IP length says that it ends */
    uint8_t protocol, version;
    uint64_t ends[5];
    int64_t time;
    int side, has_count;
    struct slot count; /* with `has_count`: what was counted until now of a flow that begins anew or is forgotten */
};

static uint32_t be16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }
static uint32_t file32(const uint8_t *at, int is_swapped) {
    uint32_t value;
    memcpy(&value, at, 4);
    return is_swapped ? __builtin_bswap32(value) : value;
}

/* The key is the same for both directions; `side` tells which one this is. */
static void set_key(struct packet *p, const uint8_t *src, const uint8_t *dst, uint32_t src_port, uint32_t dst_port) {
    size_t octets = p->version == 4 ? 4 : 16;
    int order = memcmp(src, dst, octets);
    p->side = order > 0 || (order == 0 && src_port > dst_port);
    memset(p->ends, 0, sizeof p->ends);
    memcpy(&p->ends[0], p->side ? dst : src, octets);
    memcpy(&p->ends[2], p->side ? src : dst, octets);
    p->ends[4] = (uint64_t)p->protocol << 40 | (uint64_t)p->version << 32 |
                 (p->side ? dst_port << 16 | src_port : src_port << 16 | dst_port);
}

/* Take out what was counted of a flow. */
static void depart(struct packet *p, struct slot *s) {
    if (!s->cut_packets)
        return;
    p->count = *s;
    p->has_count = 1;
    s->cut_octets[0] = s->cut_octets[1] = s->cut_packets = 0;
}

static int count(const struct packet *p, struct slot *s, int passes) {
    if (passes || !s->has_begun)
        return passes;
    s->cut_octets[p->side] += p->wire;
    s->cut_packets++;
    s->cut_last = p->time;
    return 0;
}

static void renew(struct packet *p, struct slot *s) {
    depart(p, s);
    s->has_begun = 0;
    memset(s->octets, 0, sizeof s->octets);
    memset(s->has_sent, 0, sizeof s->has_sent);
}

static struct slot *set_of(struct table *t, uint64_t slots, const struct packet *p) {
    uint64_t hash = 0;
    for (int i = 0; i < 5; i++)
        hash = (hash ^ p->ends[i]) * 0x9E3779B97F4A7C15u, hash ^= hash >> 29;
    return (struct slot *)(t + 1) + (hash & (slots / WAYS - 1)) * WAYS;
}

/* The flow's slot; a new one takes the place of the one in its set that was used least recently. */
static struct slot *find(struct table *t, uint64_t slots, struct packet *p, int64_t idle) {
    struct slot *set = set_of(t, slots, p), *oldest = set;
    for (struct slot *s = set; s < set + WAYS; s++) {
        if (s->generation != t->generation) {
            oldest = s;
            break;
        }
        if (s->key[4] == p->ends[4] && !memcmp(s->key, p->ends, sizeof s->key)) {
            if (t->now - s->last > idle)
                renew(p, s);
            s->last = t->now;
            return s;
        }
        if (s->last < oldest->last)
            oldest = s;
    }
    if (oldest->generation != t->generation)
        oldest->cut_octets[0] = oldest->cut_octets[1] = oldest->cut_packets = 0;
    renew(p, oldest);
    memcpy(oldest->key, p->ends, sizeof oldest->key);
    oldest->last = t->now;
    oldest->generation = t->generation;
    return oldest;
}

static int spend(uint16_t *spent, uint32_t octets, uint32_t budget) {
    int passes = *spent < budget;
    *spent = octets > 65535u - *spent ? 65535 : (uint16_t)(*spent + octets);
    return passes;
}

static int tcp_passes(struct table *t, uint64_t slots, struct packet *p, const uint8_t *src, const uint8_t *dst) {
    if (p->at + 20 > p->end || p->at + 20 > p->captured)
        return 1;
    const uint8_t *tcp = p->data + p->at;
    uint32_t header = (tcp[12] >> 4) * 4u, flags = tcp[13];
    if (header < 20 || p->at + header > p->end)
        return 1;
    uint32_t payload = p->end - p->at - header;
    set_key(p, src, dst, be16(tcp), be16(tcp + 2));
    struct slot *s = find(t, slots, p, t->tcp_idle);
    if (flags & SYN)
        depart(p, s);
    if ((flags & SYN_ACK) == SYN)
        renew(p, s);
    if (payload || flags & SYN)
        s->has_begun = 1;
    int has_sent = s->has_sent[p->side], has_room = spend(&s->octets[p->side], payload, t->tcp);
    s->has_sent[p->side] = (flags & SYN_ACK) != SYN;
    if (flags & FIN_SYN_RST)
        return 1;
    return count(p, s, payload ? has_room : !has_sent); /* an acknowledgement only says that its sender is there: one is enough */
}

static int udp_passes(struct table *t, uint64_t slots, struct packet *p, const uint8_t *src, const uint8_t *dst) {
    if (p->at + 8 > p->end || p->at + 8 > p->captured)
        return 1;
    const uint8_t *udp = p->data + p->at, *payload = udp + 8;
    uint32_t src_port = be16(udp), dst_port = be16(udp + 2), length = be16(udp + 4);
    uint32_t captured = p->captured - p->at - 8;
    if ((length && length < 8) || p->at + length > p->end)
        return 1;
    length = length ? length - 8 : p->end - p->at - 8;
    if (src_port == 53 || dst_port == 53 || src_port == 5353 || dst_port == 5353 || src_port == 5355 || dst_port == 5355)
        return 1;
    if (captured >= 17 && !payload[4] && payload[5] == 1 && !(payload[2] & 0x78) && payload[6] <= 2)
        return 1; /* one question, a standard query or its response: DNS on any port */
    set_key(p, src, dst, src_port, dst_port);
    int is_quic = captured && (payload[0] & 0xC0) == 0xC0;
    struct slot *s = find(t, slots, p, t->udp_idle);
    s->has_begun |= length > 0;
    return count(p, s, spend(&s->octets[p->side], length, is_quic ? t->quic : t->udp));
}

static int transport_passes(struct table *t, uint64_t slots, struct packet *p, const uint8_t *src, const uint8_t *dst) {
    if (p->end > p->captured && p->wire <= p->captured)
        return 1; /* the IP length exceeds the frame */
    if (p->protocol == 6)
        return tcp_passes(t, slots, p, src, dst);
    if (p->protocol == 17)
        return udp_passes(t, slots, p, src, dst);
    if (p->protocol == 1 || p->protocol == 58)
        return p->at >= p->captured || p->data[p->at] == (p->protocol == 1 ? 3 : 1); /* unreachable */
    set_key(p, src, dst, 0, 0);
    return spend(&find(t, slots, p, t->udp_idle)->octets[p->side], p->end > p->at ? p->end - p->at : 0, t->other);
}

static int ipv4_passes(struct table *t, uint64_t slots, struct packet *p) {
    if (p->at + 20 > p->captured)
        return 1;
    const uint8_t *ip = p->data + p->at;
    uint32_t header = (ip[0] & 15) * 4u, total = be16(ip + 2), fragment = be16(ip + 6);
    if (ip[0] >> 4 != 4 || header < 20 || (total && total < header))
        return 1;
    if (fragment & 0x3FFF)
        return (fragment & 0x1FFF) * 8 < t->fragment;
    p->version = 4;
    p->protocol = ip[9];
    p->end = total ? p->at + total : p->wire;
    p->at += header;
    return p->end < p->at || transport_passes(t, slots, p, ip + 12, ip + 16);
}

static int ipv6_passes(struct table *t, uint64_t slots, struct packet *p) {
    if (p->at + 40 > p->captured)
        return 1;
    const uint8_t *ip = p->data + p->at;
    uint32_t length = be16(ip + 4);
    if (ip[0] >> 4 != 6)
        return 1;
    p->version = 6;
    p->protocol = ip[6];
    p->end = length ? p->at + 40 + length : p->wire;
    p->at += 40;
    for (int i = 0; i < MAX_EXTENSIONS; i++) {
        uint8_t kind = p->protocol;
        if (kind != 0 && kind != 43 && kind != 44 && kind != 51 && kind != 60)
            return p->end < p->at || transport_passes(t, slots, p, ip + 8, ip + 24);
        if (p->at + 8 > p->captured || p->at + 8 > p->end)
            return 1;
        const uint8_t *header = p->data + p->at;
        if (kind == 44 && be16(header + 2) & 0xFFF9)
            return (be16(header + 2) & 0xFFF8) < t->fragment;
        p->protocol = header[0];
        p->at += kind == 44 ? 8 : kind == 51 ? (header[1] + 2u) * 4 : (header[1] + 1u) * 8;
    }
    return 1;
}

static int passes(struct table *t, uint64_t slots, struct packet *p) {
    if (p->captured < 14)
        return 1;
    uint32_t kind = be16(p->data + 12);
    p->at = 14;
    for (int i = 0; i < MAX_TAGS && (kind == 0x8100 || kind == 0x88A8 || kind == 0x9100); i++) {
        if (p->at + 4 > p->captured)
            return 1;
        kind = be16(p->data + p->at + 2);
        p->at += 4;
    }
    return kind == 0x0800 ? ipv4_passes(t, slots, p) : kind == 0x86DD ? ipv6_passes(t, slots, p) : 1;
}

struct walk {
    uint64_t at, end, octets;
    int64_t last; /* the time of the last record, -1 before the first */
    uint32_t packets, header, fraction;
    int is_swapped, is_damaged, is_back; /* is_back: the clock went back, the next record begins all flows anew */
};

/* Take one record: 1 it passes (`p` holds it, `*ts` its time), 0 it does not, -1 there is no whole record. */
static int step(struct table *t, uint64_t slots, const uint8_t *file, struct walk *w, struct packet *p, int64_t *ts) {
    if (w->end - w->at < w->header)
        return -1;
    const uint8_t *record = file + w->at;
    p->captured = file32(record + 8, w->is_swapped);
    p->wire = file32(record + 12, w->is_swapped);
    if (p->captured > MAX_RECORD) {
        w->is_damaged = 1;
        return -1;
    }
    if (w->end - w->at - w->header < p->captured)
        return -1;
    if (p->wire < p->captured)
        p->wire = p->captured;
    *ts = file32(record, w->is_swapped) * INT64_C(1000000000) + file32(record + 4, w->is_swapped) * (int64_t)w->fraction;
    if (*ts < t->now - t->clock_step) { /* another capture follows, or the clock was set: all flows are new */
        if (!t->is_told) {
            t->is_told = w->is_back = 1;
            return -1;
        }
        t->generation++, t->now = *ts;
    }
    t->is_told = 0;
    if (*ts > t->now)
        t->now = *ts;
    w->last = *ts;
    w->packets++;
    w->octets += p->wire;
    w->at += w->header + p->captured;
    p->data = record + w->header;
    p->time = *ts;
    p->has_count = 0;
    return passes(t, slots, p);
}

static uint64_t slots_of(uint64_t octets) {
    uint64_t slots = WAYS;
    if (octets < sizeof(struct table) + WAYS * sizeof(struct slot))
        return 0;
    while (sizeof(struct table) + 2 * slots * sizeof(struct slot) <= octets)
        slots *= 2;
    return slots;
}

#ifndef HEADS_WITHOUT_PYTHON
/* The count of a flow behind `heads` of them: (heads, key as in sensor.flow, octets each way, packets, last time). */
static int append_count(PyObject *counts, Py_ssize_t heads, const struct slot *s) {
    uint8_t key[37];
    uint64_t version = s->key[4] >> 32 & 0xFF, protocol = s->key[4] >> 40, octets = version == 4 ? 4 : 16;
    if (protocol != 6 && protocol != 17)
        return 0;
    memcpy(key, &s->key[0], octets);
    memcpy(key + octets, &s->key[2], octets);
    for (int i = 0; i < 4; i++)
        key[2 * octets + i] = (uint8_t)(s->key[4] >> (24 - 8 * i));
    key[2 * octets + 4] = 'u';
    PyObject *row = Py_BuildValue("ny#KKKL", heads, key, (Py_ssize_t)(2 * octets + (protocol == 17 ? 5 : 4)),
                                  (unsigned long long)s->cut_octets[0], (unsigned long long)s->cut_octets[1],
                                  (unsigned long long)s->cut_packets, (long long)s->cut_last);
    int failed = row == NULL || PyList_Append(counts, row) < 0;
    Py_XDECREF(row);
    return failed ? -1 : 0;
}

static PyObject *heads_take(PyObject *module, PyObject *arguments) {
    Py_buffer table, key;
    struct packet p = {0};
    PyObject *answer = Py_None;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "w*y*", &table, &key))
        return NULL;
    uint64_t slots = slots_of((uint64_t)table.len);
    Py_ssize_t octets = key.len <= 13 ? 4 : 16;
    const uint8_t *at = key.buf;
    Py_INCREF(answer);
    if (slots && !((uintptr_t)table.buf % 8) && (key.len == 2 * octets + 4 || key.len == 2 * octets + 5)) {
        p.version = octets == 4 ? 4 : 6;
        p.protocol = key.len == 2 * octets + 5 ? 17 : 6;
        set_key(&p, at, at + octets, be16(at + 2 * octets), be16(at + 2 * octets + 2));
        struct table *t = table.buf;
        struct slot *set = set_of(t, slots, &p);
        for (struct slot *s = set; s < set + WAYS; s++)
            if (s->generation == t->generation && !memcmp(s->key, p.ends, sizeof s->key))
                depart(&p, s);
    }
    if (p.has_count) {
        Py_DECREF(answer);
        answer = Py_BuildValue("KKKL", (unsigned long long)p.count.cut_octets[p.side],
                               (unsigned long long)p.count.cut_octets[1 - p.side],
                               (unsigned long long)p.count.cut_packets, (long long)p.count.cut_last);
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&key);
    return answer;
}

static PyObject *heads_walk(PyObject *module, PyObject *arguments) {
    Py_buffer table, file;
    Py_ssize_t at, end, records;
    struct walk w = {.last = -1};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "w*y*nnnIIp", &table, &file, &at, &end, &records, &w.header, &w.fraction, &w.is_swapped))
        return NULL;
    uint64_t slots = slots_of((uint64_t)table.len);
    PyObject *found = NULL, *counts = PyList_New(0), *answer = NULL;
    if (!slots || (uintptr_t)table.buf % 8 || at < 0 || at > end || end > file.len || w.header < 16)
        PyErr_SetString(PyExc_ValueError, "the table is too small, or the window lies outside the buffer");
    else if (counts != NULL)
        found = PyList_New(0);
    w.at = (uint64_t)at, w.end = (uint64_t)end;
    while (found != NULL && records-- > 0) {
        struct packet p;
        int64_t ts;
        int is_head = step(table.buf, slots, file.buf, &w, &p, &ts);
        if (is_head < 0)
            break;
        if (p.has_count && append_count(counts, PyList_GET_SIZE(found), &p.count) < 0) {
            Py_CLEAR(found);
            break;
        }
        PyObject *row = is_head ? Py_BuildValue("Ly#I", (long long)ts, p.data, (Py_ssize_t)p.captured, p.wire) : NULL;
        if (is_head && (row == NULL || PyList_Append(found, row) < 0))
            Py_CLEAR(found);
        Py_XDECREF(row);
    }
    if (found != NULL)
        answer = Py_BuildValue("NKIKLOOO", found, (unsigned long long)w.at, w.packets, (unsigned long long)w.octets,
                               (long long)w.last, w.is_damaged ? Py_True : Py_False, counts,
                               w.is_back ? Py_True : Py_False);
    Py_XDECREF(counts);
    PyBuffer_Release(&table);
    PyBuffer_Release(&file);
    return answer;
}

static PyMethodDef methods[] = {
    {"walk", heads_walk, METH_VARARGS, "Return what passes of the next records of a window, and where it ends."},
    {"take", heads_take, METH_VARARGS, "Return what was counted of a flow, both ways, and forget it; None for nothing."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_heads", .m_size = 0, .m_methods = methods};
PyMODINIT_FUNC PyInit__heads(void) { return PyModule_Create(&definition); }
#endif
