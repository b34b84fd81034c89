/* What the screen (screen.h) holds and remembers, for Python (sensor.capture.screening.compiled). */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include "handed_out.h"

/* The packed address of an end, as in struct packet. */
static int read_end(const Py_buffer *from, __u64 words[2]) {
    if (from->len != 4 && from->len != 16) {
        PyErr_SetString(PyExc_ValueError, "no packed address");
        return -1;
    }
    as_words(from->buf, (uint32_t)from->len, words);
    return 0;
}

static PyObject *screen_size(PyObject *module, PyObject *none) {
    (void)module, (void)none;
    return PyLong_FromSize_t(sizeof(struct screen));
}

static PyObject *screen_prepare(PyObject *module, PyObject *arguments) {
    struct screen_view view = {0};
    Py_buffer secret;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&y*", view_screen, &view, &secret))
        return NULL;
    int is_right = view.screen != NULL && secret.len == sizeof view.screen->secret;
    if (is_right)
        prepare(view.screen, secret.buf);
    else
        PyErr_SetString(PyExc_ValueError, "a secret of 16 octets and a screen are needed");
    PyBuffer_Release(&view.buffer);
    PyBuffer_Release(&secret);
    return is_right ? Py_NewRef(Py_None) : NULL;
}

/* The number of a source among `sources`, by `numbers`; -1: there is no memory, or no number left. */
static Py_ssize_t number_of(PyObject *sources, PyObject *numbers, PyObject *source) {
    PyObject *known = PyDict_GetItemWithError(numbers, source);
    if (known != NULL || PyErr_Occurred())
        return known != NULL ? PyLong_AsSsize_t(known) : -1;
    PyObject *number = PyLong_FromSsize_t(PyList_GET_SIZE(sources));
    int failed = number == NULL || PyDict_SetItem(numbers, source, number) < 0 || PyList_Append(sources, source) < 0;
    Py_XDECREF(number);
    return failed ? -1 : PyList_GET_SIZE(sources) - 1;
}

/* A sensor.packet.Packet in parts; new references. */
struct parts {
    PyObject *ts, *data, *wire, *source;
};

static int take_apart(PyObject *packet, struct parts *parts) {
    PyObject *link_type = PyObject_GetAttrString(packet, "link_type");
    PyObject *interface = PyObject_GetAttrString(packet, "interface");
    *parts = (struct parts){PyObject_GetAttrString(packet, "ts_ns"), PyObject_GetAttrString(packet, "data"),
                            PyObject_GetAttrString(packet, "wire_octets"), NULL};
    if (link_type != NULL && interface != NULL)
        parts->source = PyTuple_Pack(2, link_type, interface);
    Py_XDECREF(link_type);
    Py_XDECREF(interface);
    return parts->ts && parts->data && parts->wire && parts->source && PyBytes_Check(parts->data) ? 0 : -1;
}

/* What becomes of a packet that is an object already. */
static int screen_object(struct handed_out *to, PyObject *numbers, PyObject *object) {
    struct parts parts;
    int fate = FAILED;
    if (!take_apart(object, &parts)) {
        struct host host = host_of(to);
        struct packet packet = {0};
        Frame frame = {(const uint8_t *)PyBytes_AS_STRING(parts.data), (uint32_t)PyBytes_GET_SIZE(parts.data),
                       (uint32_t)PyLong_AsUnsignedLong(parts.wire)};
        long long ts = PyLong_AsLongLong(parts.ts);
        int link_type = (int)PyLong_AsLong(PyTuple_GET_ITEM(parts.source, 0));
        Py_ssize_t number = PyErr_Occurred() ? -1 : number_of(to->sources, numbers, parts.source);
        if (number >= 0 && number <= UINT16_MAX) {
            to->screen->source = (uint64_t)number;
            fate = screen(to->screen, &host, &frame, &packet, read_link(&frame, link_type, &packet), ts);
        } else if (number >= 0) {
            fate = PASS;
        }
    }
    Py_XDECREF(parts.ts);
    Py_XDECREF(parts.data);
    Py_XDECREF(parts.wire);
    Py_XDECREF(parts.source);
    return fate == PASS ? PyList_Append(to->packets, object) : fate == FAILED ? -1 : 0;
}

/* sift(screen, packets, found, make, sources, numbers, ask) */
static PyObject *screen_sift(PyObject *module, PyObject *arguments) {
    struct screen_view view = {0};
    struct handed_out to = {0};
    PyObject *packets, *numbers;
    int failed = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&O!O!OO!O!O", view_screen, &view, &PyList_Type, &packets, &PyList_Type, &to.packets,
                          &to.maker.make, &PyList_Type, &to.sources, &PyDict_Type, &numbers, &to.ask))
        return NULL;
    to.screen = view.screen;
    if (view.screen == NULL)
        PyErr_SetString(PyExc_ValueError, "no screen");
    for (Py_ssize_t i = 0; view.screen != NULL && i < PyList_GET_SIZE(packets) && !failed; i++)
        failed = screen_object(&to, numbers, PyList_GET_ITEM(packets, i)) < 0;
    PyBuffer_Release(&view.buffer);
    if (failed && !PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "no packet");
    return failed || view.screen == NULL ? NULL : Py_NewRef(Py_None);
}

/* advance(screen, now, packets, make, sources, ask, is it the end) */
static PyObject *screen_advance(PyObject *module, PyObject *arguments) {
    struct screen_view view = {0};
    struct handed_out to = {0};
    long long now;
    int is_end, fate = FAILED;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&LO!OO!Op", view_screen, &view, &now, &PyList_Type, &to.packets, &to.maker.make,
                          &PyList_Type, &to.sources, &to.ask, &is_end))
        return NULL;
    struct host host = host_of(&to);
    if (view.screen == NULL)
        PyErr_SetString(PyExc_ValueError, "no screen");
    else
        fate = is_end ? release_all(view.screen, &host) : expire(view.screen, &host, now);
    PyBuffer_Release(&view.buffer);
    return fate == FAILED ? NULL : Py_NewRef(Py_None);
}

/* Take the answers with `tag` that came until `now` out, the oldest first. */
static int take_answers(struct screen *s, uint64_t tag, int64_t now, PyObject *rows) {
    struct place *set = set_in(s->told, TOLD, tag);
    for (;;) {
        struct place *oldest = NULL;
        for (struct place *each = set; each < set + PLACES_A_SET; each++)
            if (each->tag == tag && each->age >= s->answers.tail && (oldest == NULL || each->age < oldest->age) &&
                record_at(&s->answers, s->answer_store, each->age)->ts <= now)
                oldest = each;
        if (oldest == NULL)
            return 0;
        const struct record *record = record_at(&s->answers, s->answer_store, oldest->age);
        oldest->age = 0;
        PyObject *row = Py_BuildValue("Ly#", (long long)record->ts, (const char *)(record + 1), (Py_ssize_t)record->octets);
        int failed = row == NULL || PyList_Append(rows, row) < 0;
        Py_XDECREF(row);
        if (failed)
            return -1;
    }
}

static PyObject *screen_answers(PyObject *module, PyObject *arguments) {
    struct screen_view view = {0};
    Py_buffer client, address;
    __u64 ends[4];
    long long now;
    PyObject *rows = NULL;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&y*y*L", view_screen, &view, &client, &address, &now))
        return NULL;
    if (view.screen == NULL)
        PyErr_SetString(PyExc_ValueError, "no screen");
    else if (!read_end(&client, ends) && !read_end(&address, ends + 2)) {
        rows = PyList_New(0);
        if (rows != NULL && take_answers(view.screen, tag_of_pair(view.screen, ends, ends + 2), now, rows) < 0)
            Py_CLEAR(rows);
    }
    PyBuffer_Release(&view.buffer);
    PyBuffer_Release(&client);
    PyBuffer_Release(&address);
    return rows;
}

/* asked(screen, client, name): when last, and since when the client is watched, in nanoseconds; -1: never. */
static PyObject *screen_asked(PyObject *module, PyObject *arguments) {
    struct screen_view view = {0};
    Py_buffer client;
    const char *name;
    Py_ssize_t octets;
    __u64 words[2];
    PyObject *answer = NULL;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&y*s#", view_screen, &view, &client, &name, &octets))
        return NULL;
    if (view.screen == NULL || octets > UINT32_MAX)
        PyErr_SetString(PyExc_ValueError, "no screen, or no name");
    else if (!read_end(&client, words)) {
        struct screen *s = view.screen;
        uint64_t tag = tag_of_asked(s, words, tag_of_name(s, name, (uint32_t)octets));
        struct place *asked = look(s->asked, ASKED, tag);
        struct place *watched = look(s->clients, CLIENTS, sip_hash(s->secret, words, sizeof words));
        answer = Py_BuildValue("LL", asked ? (long long)(asked->age >> CLIENT_BITS) * 1000000 : -1LL,
                               watched ? (long long)watched->age : -1LL);
    }
    PyBuffer_Release(&view.buffer);
    PyBuffer_Release(&client);
    return answer;
}

static PyObject *screen_mark(PyObject *module, PyObject *arguments) {
    struct screen_view view = {0};
    Py_buffer client, address;
    __u64 ends[4];
    int failed = -1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&y*y*", view_screen, &view, &client, &address))
        return NULL;
    if (view.screen == NULL)
        PyErr_SetString(PyExc_ValueError, "no screen");
    else if (!(failed = read_end(&client, ends) || read_end(&address, ends + 2)))
        mark(view.screen, ends, ends + 2);
    PyBuffer_Release(&view.buffer);
    PyBuffer_Release(&client);
    PyBuffer_Release(&address);
    return failed ? NULL : Py_NewRef(Py_None);
}

static void forget_names(struct screen *s) { memset(s->names, 0, sizeof s->names); }

/* Add `names`, a sequence; None, or one that cannot be added: all that there are. */
static int speak_of(struct screen *s, PyObject *names) {
    PyObject *rows = names != Py_None ? PySequence_Fast(names, "names are needed, or None") : NULL;
    int failed = names != Py_None && rows == NULL;
    for (Py_ssize_t i = 0; rows != NULL && i < PySequence_Fast_GET_SIZE(rows) && !failed; i++) {
        Py_ssize_t octets;
        const char *name = PyUnicode_AsUTF8AndSize(PySequence_Fast_GET_ITEM(rows, i), &octets);
        failed = name == NULL;
        if (!failed)
            add_name(&s->spoken, name, (size_t)octets);
    }
    if (names == Py_None || failed)
        memset(&s->spoken, 0xFF, sizeof s->spoken);
    Py_XDECREF(rows);
    return failed ? -1 : 0;
}

/* ask_again(screen, names) */
static PyObject *screen_ask_again(PyObject *module, PyObject *arguments) {
    struct screen_view view = {0};
    PyObject *names;
    int failed = 0;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&O", view_screen, &view, &names))
        return NULL;
    if (view.screen != NULL) {
        forget_names(view.screen);
        failed = speak_of(view.screen, names) < 0;
    }
    PyBuffer_Release(&view.buffer);
    return failed ? NULL : Py_NewRef(Py_None);
}

static void follow_ends(struct screen *s, const Py_buffer *ends) {
    s->followed = s->answers.head;
    s->end_count = (uint64_t)ends->len / 16;
    for (uint64_t i = 0; i < s->end_count; i++)
        as_words((const uint8_t *)ends->buf + 16 * i, 16, s->ends[i]);
}

/* follow(screen, ends, names) */
static PyObject *screen_follow(PyObject *module, PyObject *arguments) {
    struct screen_view view = {0};
    Py_buffer ends;
    PyObject *names;
    int failed = -1;
    (void)module;
    if (!PyArg_ParseTuple(arguments, "O&y*O", view_screen, &view, &ends, &names))
        return NULL;
    if (view.screen != NULL && ends.len % 16 == 0 && ends.len <= 16 * MOST_ENDS) {
        forget_names(view.screen);
        follow_ends(view.screen, &ends);
        memset(&view.screen->spoken, 0, sizeof view.screen->spoken);
        failed = speak_of(view.screen, names);
    } else {
        PyErr_SetString(PyExc_ValueError, "a screen and 16 addresses of 16 octets at most are needed");
    }
    PyBuffer_Release(&view.buffer);
    PyBuffer_Release(&ends);
    return failed ? NULL : Py_NewRef(Py_None);
}

static PyObject *screen_totals(PyObject *module, PyObject *object) {
    struct screen_view view = {0};
    struct totals totals = {0};
    (void)module;
    if (!view_screen(object, &view))
        return NULL;
    if (view.screen != NULL)
        totals = view.screen->totals;
    PyBuffer_Release(&view.buffer);
    return Py_BuildValue("KKKKKKK", (unsigned long long)totals.packets, (unsigned long long)totals.octets,
                         (unsigned long long)totals.flows, (unsigned long long)totals.lookups,
                         (unsigned long long)totals.messages, (unsigned long long)totals.evicted,
                         (unsigned long long)totals.names_evicted);
}

static PyMethodDef methods[] = {
    {"size", screen_size, METH_NOARGS, "Return how many octets a screen takes."},
    {"prepare", screen_prepare, METH_VARARGS, "Make a screen of a zeroed buffer."},
    {"advance", screen_advance, METH_VARARGS, "Hand out what waited for long enough; at the end, nothing is held any more."},
    {"sift", screen_sift, METH_VARARGS, "Append the packets that pass to a list."},
    {"answers", screen_answers, METH_VARARGS, "Take out the answers that led a client to an address by a time."},
    {"asked", screen_asked, METH_VARARGS, "Return when a client asked for a name, and since when it is watched."},
    {"mark", screen_mark, METH_VARARGS, "Hold no flow back between a client and an address."},
    {"ask_again", screen_ask_again, METH_VARARGS, "Forget which names are of no interest, and ask about more."},
    {"follow", screen_follow, METH_VARARGS, "As ask_again, about these alone, also of those told before; note where flows are of interest."},
    {"totals", screen_totals, METH_O, "Return what was counted."},
    {NULL, NULL, 0, NULL},
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "_screen", .m_size = 0, .m_methods = methods};
PyMODINIT_FUNC PyInit__screen(void) { return PyModule_Create(&definition); }
