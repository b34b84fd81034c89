/* A plain TLS ClientHello: in one record, with one server name in lower case and at least one protocol name. Whatever is
 * else is left to sensor.extract.tls. RFC 8446 section 4.1.2, RFC 6066 section 3, RFC 7301.
 */
#ifndef SCREEN_HELLO_H
#define SCREEN_HELLO_H

#include <stdint.h>

#define TLS_RECORD 5
#define MOST_PROTOCOLS 8

enum hello_reading { NO_HELLO, MORE_TO_COME, PLAIN_HELLO };

struct span {
    const uint8_t *at;
    uint32_t octets;
};

struct hello {
    struct span server, protocols[MOST_PROTOCOLS];
    uint32_t protocol_count;
};

/* Take a vector with a length of `size` octets off the front of `from`; 0 if it is not whole. */
static int take_vector(struct span *from, uint32_t size, struct span *vector) {
    if (from->octets < size)
        return 0;
    uint32_t octets = size == 1 ? from->at[0] : (uint32_t)from->at[0] << 8 | from->at[1];
    if (from->octets - size < octets)
        return 0;
    *vector = (struct span){from->at + size, octets};
    from->at += size + octets, from->octets -= size + octets;
    return 1;
}

static int take_octets(struct span *from, uint32_t octets) {
    if (from->octets < octets)
        return 0;
    from->at += octets, from->octets -= octets;
    return 1;
}

static int is_plain_host(struct span name) {
    int has_letter = 0;
    if (!name.octets || name.octets > 253 || name.at[0] == '.' || name.at[name.octets - 1] == '.')
        return 0;
    for (uint32_t i = 0; i < name.octets; i++) {
        uint8_t c = name.at[i];
        has_letter |= c >= 'a' && c <= 'z';
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return 0;
    }
    return has_letter;
}

static int read_server(struct span body, struct hello *hello) {
    struct span list;
    if (hello->server.octets || !take_vector(&body, 2, &list) || body.octets)
        return 0;
    if (!list.octets || *list.at || !take_octets(&list, 1) || !take_vector(&list, 2, &hello->server) || list.octets)
        return 0;
    return is_plain_host(hello->server);
}

static int is_printing(struct span name) {
    for (uint32_t i = 0; i < name.octets; i++)
        if (name.at[i] <= ' ' || name.at[i] > '~' || name.at[i] == '\\')
            return 0;
    return name.octets && name.octets <= 64;
}

static int read_protocols(struct span body, struct hello *hello) {
    struct span list, name;
    if (hello->protocol_count || !take_vector(&body, 2, &list) || body.octets)
        return 0;
    while (list.octets) {
        if (hello->protocol_count == MOST_PROTOCOLS || !take_vector(&list, 1, &name) || !is_printing(name))
            return 0;
        hello->protocols[hello->protocol_count++] = name;
    }
    return hello->protocol_count > 0;
}

static int read_extensions(struct span extensions, struct hello *hello) {
    while (extensions.octets) {
        struct span body;
        if (extensions.octets < 4)
            return 0;
        uint32_t kind = (uint32_t)extensions.at[0] << 8 | extensions.at[1];
        take_octets(&extensions, 2);
        if (!take_vector(&extensions, 2, &body))
            return 0;
        if ((kind == 0 && !read_server(body, hello)) || (kind == 16 && !read_protocols(body, hello)))
            return 0;
    }
    return hello->server.octets && hello->protocol_count;
}

/* Tells whether octets that are there may begin a plain hello. */
static int may_be_hello(const uint8_t *octets, uint32_t count) {
    return (count < 1 || octets[0] == 22) && (count < 2 || octets[1] == 3) && (count < 6 || octets[5] == 1);
}

static enum hello_reading read_hello(const uint8_t *octets, uint32_t count, struct hello *hello) {
    if (!may_be_hello(octets, count))
        return NO_HELLO;
    if (count < TLS_RECORD + 4)
        return MORE_TO_COME;
    uint32_t record = (uint32_t)octets[3] << 8 | octets[4];
    uint32_t message = (uint32_t)octets[6] << 16 | (uint32_t)octets[7] << 8 | octets[8];
    if (record > 16384 || record != message + 4)
        return NO_HELLO;
    if (count < TLS_RECORD + record)
        return MORE_TO_COME;
    struct span rest = {octets + TLS_RECORD + 4, message}, ciphers, other, extensions;
    hello->server.octets = hello->protocol_count = 0;
    if (!take_octets(&rest, 34) || !take_vector(&rest, 1, &other) || !take_vector(&rest, 2, &ciphers) ||
        !ciphers.octets || ciphers.octets % 2 || !take_vector(&rest, 1, &other))
        return NO_HELLO;
    if (!take_vector(&rest, 2, &extensions) || rest.octets || !read_extensions(extensions, hello))
        return NO_HELLO;
    return PLAIN_HELLO;
}

#endif
