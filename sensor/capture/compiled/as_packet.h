/* Octets as a sensor.packet.Packet. */
#include <Python.h>
#include <stdint.h>

/* `make` is the class; packets without an `interface` have none. References are the caller's. */
struct maker {
    PyObject *make, *link_type, *interface;
};

/* Put a packet, `kept` octets of the `wire` that were sent, among `found`. */
static inline int append_packet(PyObject *found, const struct maker *maker, int64_t ts, const uint8_t *octets,
                                Py_ssize_t kept, uint32_t wire) {
    PyObject *parts[5] = {PyLong_FromLongLong(ts), maker->link_type,
                          PyBytes_FromStringAndSize((const char *)octets, kept), PyLong_FromUnsignedLong(wire),
                          maker->interface};
    int is_whole = parts[0] && parts[1] && parts[2] && parts[3];
    PyObject *packet = is_whole ? PyObject_Vectorcall(maker->make, parts, parts[4] ? 5 : 4, NULL) : NULL;
    int failed = packet == NULL || PyList_Append(found, packet) < 0;
    Py_XDECREF(packet);
    Py_XDECREF(parts[0]);
    Py_XDECREF(parts[2]);
    Py_XDECREF(parts[3]);
    return failed ? -1 : 0;
}
