/* Packets of a block of a TPACKET_V3 ring, read in place (sensor.capture.live.ring), and received ones, laid out as
 * there (sensor.capture.live.plain). With a flow table only what the flow-head policy lets pass is handed out, the rest is
 * counted; with a screen, only what something may come of.
 */
#define _GNU_SOURCE
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <errno.h>
#include <limits.h>
#include <linux/if_packet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#include "handed_out.h"

#define AT_ONCE 64
#define NS_TO_S INT64_C(1000000000)
#define BLOCK_LEAST (Py_ssize_t)sizeof(struct tpacket_block_desc)

struct header { /* struct tpacket3_hdr (linux/if_packet.h), as far as it is used */
    uint32_t following, seconds, nanoseconds, captured, wire, status;
    uint16_t offset;
};

/* Where packets are taken from; `table` is NULL where all of them pass. */
struct reading_place {
    const uint8_t *buffer;
    uint64_t octets, at;
    struct table *table;
    uint64_t slots;
    struct arrival arrival;
};

/* Take the packet at `from->at`; -1: it does not lie in the buffer, or there is no memory for it. */
static int take_packet(struct reading_place *from, struct handed_out *to) {
    struct header header;
    struct packet packet = {0};
    enum reading reading = NOT_IP;
    struct slot counted;
    counted.cut_packets[0] = counted.cut_packets[1] = 0;
    if (from->at > from->octets || from->octets - from->at < sizeof header)
        return -1;
    memcpy(&header, from->buffer + from->at, sizeof header);
    uint64_t room = from->octets - from->at;
    if (room < header.offset || room - header.offset < header.captured)
        return -1;
    Frame frame = {from->buffer + from->at + header.offset, header.captured, header.wire};
    __builtin_prefetch(from->buffer + from->at + header.following); /* the next one arrives while this one is judged */
    __builtin_prefetch(from->buffer + from->at + header.following + 64);
    from->arrival.ts = header.seconds * NS_TO_S + header.nanoseconds;
    from->at += header.following;
    int octets = WHOLE;
    if (from->table)
        octets = judge(from->table, from->slots, &frame, &from->arrival, &packet, &reading, &counted);
    else if (to->screen)
        reading = read_link(&frame, from->arrival.link_type, &packet);
    return hand_out(to, &frame, &packet, reading, from->arrival.ts, octets, &counted);
}

/* Take up to `packets` until there are `room` more handed out; how many were taken, -1 with an exception set. */
static Py_ssize_t take_packets(struct reading_place *from, struct handed_out *to, Py_ssize_t packets, Py_ssize_t room) {
    Py_ssize_t taken = 0, full = PyList_GET_SIZE(to->packets) + room;
    while (taken < packets && PyList_GET_SIZE(to->packets) < full) {
        if (take_packet(from, to) < 0) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "a packet lies outside the ring");
            return -1;
        }
        taken++;
    }
    return taken;
}

static PyObject *ring_take(PyObject *module, PyObject *arguments) {
    Py_buffer buffer;
    PyObject *table;
    Py_ssize_t at, packets, room;
    struct handed_out to = {0};
    struct reading_place from = {0};
    struct table_view view = {0};
    struct screen_view screen_view = {0};
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*nnnO!OOOOHO!|O&O", &buffer, &at, &packets, &room, &PyList_Type, &to.packets,
                          &to.maker.make, &to.maker.link_type, &to.maker.interface, &table, &from.arrival.socket,
                          &PyList_Type, &to.counts, view_screen, &screen_view, &to.ask))
        return NULL;
    to.screen = to.ask != NULL ? screen_view.screen : NULL;
    Py_ssize_t taken = -1;
    from.buffer = buffer.buf, from.octets = (uint64_t)buffer.len, from.at = (uint64_t)at;
    from.arrival.link_type = (int)PyLong_AsLong(to.maker.link_type);
    if (!PyErr_Occurred() && (table == Py_None || view_table(table, &view))) {
        from.table = view.table, from.slots = view.slots;
        taken = take_packets(&from, &to, packets, room);
        PyBuffer_Release(&view.buffer);
    }
    PyBuffer_Release(&screen_view.buffer);
    PyBuffer_Release(&buffer);
    return taken < 0 ? NULL : Py_BuildValue("Kn", (unsigned long long)from.at, taken);
}

/* Where blocks lie, and which of them is to be read next. */
struct blocks {
    const uint8_t *ring;
    Py_ssize_t next, count, octets;
};

static int is_within(const struct blocks *blocks, Py_ssize_t ring_octets) {
    int is_sound = blocks->next >= 0 && blocks->count > 0 && blocks->octets >= BLOCK_LEAST;
    return is_sound && ring_octets / blocks->octets >= blocks->count;
}

/* How many are filled and wait to be read; the kernel fills them in turn. */
static Py_ssize_t waiting_blocks(const struct blocks *blocks) {
    Py_ssize_t waiting = 0;
    for (; waiting < blocks->count; waiting++) {
        const uint8_t *block = blocks->ring + (blocks->next + waiting) % blocks->count * blocks->octets;
        const uint32_t *status = (const uint32_t *)(block + offsetof(struct tpacket_block_desc, hdr.bh1.block_status));
        if (!(__atomic_load_n(status, __ATOMIC_ACQUIRE) & TP_STATUS_USER))
            break;
    }
    return waiting;
}

/* Wait for more blocks than `most`, or until a time of the monotonic clock; -1 with errno. */
static int rest(const struct blocks *blocks, int epoll, Py_ssize_t most, int64_t until) {
    while (waiting_blocks(blocks) <= most) {
        struct timespec now;
        struct epoll_event event;
        clock_gettime(CLOCK_MONOTONIC, &now);
        int64_t left = until - now.tv_sec * NS_TO_S - now.tv_nsec, left_ms = left / 1000000 + 1;
        if (left <= 0)
            break;
        if (epoll_wait(epoll, &event, 1, left_ms < INT_MAX ? (int)left_ms : INT_MAX) < 0)
            return -1;
    }
    return 0;
}

static PyObject *ring_rest(PyObject *module, PyObject *arguments) {
    Py_buffer buffer;
    struct blocks blocks;
    Py_ssize_t most;
    PyObject *filled;
    long long until;
    int epoll, failed;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "y*nnnOnL", &buffer, &blocks.next, &blocks.count, &blocks.octets, &filled, &most,
                          &until))
        return NULL;
    blocks.ring = buffer.buf;
    failed = (epoll = PyObject_AsFileDescriptor(filled)) < 0;
    if (!failed && !is_within(&blocks, buffer.len)) {
        PyErr_SetString(PyExc_ValueError, "the blocks lie outside the ring");
        failed = 1;
    }
    while (!failed) {
        Py_BEGIN_ALLOW_THREADS;
        failed = rest(&blocks, epoll, most, until);
        Py_END_ALLOW_THREADS;
        if (!failed || errno != EINTR)
            break;
        failed = PyErr_CheckSignals();
    }
    if (failed && !PyErr_Occurred())
        PyErr_SetFromErrno(PyExc_OSError);
    PyBuffer_Release(&buffer);
    return failed ? NULL : Py_NewRef(Py_None);
}

/* What the kernel says beside a packet: its time, and its octets before a filter cut it. */
static void read_beside(struct msghdr *message, struct header *header) {
    struct tpacket_auxdata auxiliary;
    struct timespec time = {0};
    for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
        if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SO_TIMESTAMPNS) {
            memcpy(&time, CMSG_DATA(each), sizeof time);
        } else if (each->cmsg_level == SOL_PACKET && each->cmsg_type == PACKET_AUXDATA) {
            memcpy(&auxiliary, CMSG_DATA(each), sizeof auxiliary);
            header->wire = auxiliary.tp_len;
        }
    }
    if (!time.tv_sec) /* it came before the kernel began to stamp packets */
        clock_gettime(CLOCK_REALTIME, &time);
    header->seconds = (uint32_t)time.tv_sec, header->nanoseconds = (uint32_t)time.tv_nsec;
}

/* Receive up to `most` packets that wait, each at `step` octets behind the one before; how many, -1 with errno. */
static int receive_packets(int fd, uint8_t *buffer, uint32_t step, unsigned most) {
    struct mmsghdr messages[AT_ONCE];
    struct iovec vectors[AT_ONCE];
    _Alignas(struct cmsghdr) uint8_t beside[AT_ONCE][CMSG_SPACE(sizeof(struct timespec)) +
                                                     CMSG_SPACE(sizeof(struct tpacket_auxdata))];
    memset(messages, 0, most * sizeof *messages);
    for (unsigned i = 0; i < most; i++) {
        vectors[i] = (struct iovec){buffer + (size_t)i * step + sizeof(struct header), step - sizeof(struct header)};
        messages[i].msg_hdr.msg_iov = &vectors[i], messages[i].msg_hdr.msg_iovlen = 1;
        messages[i].msg_hdr.msg_control = beside[i], messages[i].msg_hdr.msg_controllen = sizeof beside[i];
    }
    int received = recvmmsg(fd, messages, most, MSG_DONTWAIT | MSG_TRUNC, NULL);
    for (int i = 0; i < received; i++) {
        uint32_t octets = messages[i].msg_len, room = step - (uint32_t)sizeof(struct header);
        struct header header = {.following = step, .wire = octets, .offset = sizeof header};
        header.captured = octets < room ? octets : room;
        read_beside(&messages[i].msg_hdr, &header);
        memcpy(buffer + (size_t)i * step, &header, sizeof header);
    }
    return received;
}

static PyObject *ring_receive(PyObject *module, PyObject *arguments) {
    Py_buffer buffer;
    unsigned step, most;
    int fd, received = -1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "iw*II", &fd, &buffer, &step, &most))
        return NULL;
    most = most < AT_ONCE ? most : AT_ONCE;
    if (step <= sizeof(struct header) || (uint64_t)buffer.len / step < most)
        PyErr_SetString(PyExc_ValueError, "the buffer is too small");
    else if ((received = receive_packets(fd, buffer.buf, step, most)) < 0)
        PyErr_SetFromErrno(PyExc_OSError);
    PyBuffer_Release(&buffer);
    return received < 0 ? NULL : PyLong_FromLong(received);
}

static PyMethodDef methods[] = {
    {"take", ring_take, METH_VARARGS, "Take packets of a block; return where the one behind them begins, and how many."},
    {"rest", ring_rest, METH_VARARGS, "Wait for so many filled blocks, or until a time."},
    {"receive", ring_receive, METH_VARARGS, "Receive packets that wait, laid out as in a ring; return how many."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_ring", .m_size = 0, .m_methods = methods};
PyMODINIT_FUNC PyInit__ring(void) { return PyModule_Create(&definition); }
