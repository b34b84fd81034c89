/* Plain DNS messages, as nearly all are: one question of class IN for an address, a name or a service binding, and an
 * answer whose records are whole and say nothing but names and addresses. Whatever is else is left to
 * sensor.extract.dns. RFC 1035, RFC 9460.
 */
#ifndef SCREEN_DNS_H
#define SCREEN_DNS_H

#include <stdint.h>
#include <string.h>

#define DNS_HEADER 12
#define MOST_ALIASES 8
#define MOST_ADDRESSES 32
#define NAME_OCTETS 256
#define ORDINARY_OCTETS 40

struct name {
    char text[NAME_OCTETS]; /* labels with dots between, lower-case */
    uint32_t length;
    int has_upper;
    uint64_t tag; /* the screen's hash of the text */
};

struct dns {
    int is_response;
    struct name question, aliases[MOST_ALIASES];
    uint32_t alias_count, address_count;
    struct {
        uint8_t octets[16];
        uint32_t length;
    } addresses[MOST_ADDRESSES];
};

enum dns_type { A = 1, NS = 2, CNAME = 5, SOA = 6, PTR = 12, AAAA = 28, OPT = 41, RRSIG = 46, NSEC = 47, NSEC3 = 50, HTTPS = 65 };

static inline uint32_t be16_at(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

/* Returns where a label's characters are in the text, -1 if one of them does not stand for itself. */
static int append_label(struct name *name, const uint8_t *label, uint32_t length) {
    if (name->length + length + 2 > NAME_OCTETS)
        return -1;
    if (name->length)
        name->text[name->length++] = '.';
    for (uint32_t i = 0; i < length; i++) {
        uint8_t c = label[i];
        if (c >= 'A' && c <= 'Z') {
            name->has_upper = 1;
            c |= 0x20;
        }
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return -1;
        name->text[name->length++] = (char)c;
    }
    return 0;
}

/* Reads the name at `at`; returns where it ends, 0 if it is not plain. Pointers lead backwards, so there is no loop. */
static uint32_t read_name(const uint8_t *message, uint32_t end, uint32_t at, struct name *name) {
    uint32_t behind = 0, lowest = at;
    name->length = 0, name->has_upper = 0;
    while (at < end && message[at]) {
        uint32_t length = message[at];
        if (length >= 0xC0) {
            if (at + 2 > end)
                return 0;
            uint32_t target = be16_at(message + at) & 0x3FFF;
            if (target < DNS_HEADER || target >= lowest)
                return 0;
            behind = behind ? behind : at + 2;
            at = lowest = target;
            continue;
        }
        if (length > 63 || at + 1 + length > end || append_label(name, message + at + 1, length))
            return 0;
        at += 1 + length;
    }
    if (at >= end)
        return 0;
    return behind ? behind : at + 1;
}

static int add_addresses(struct dns *dns, const uint8_t *packed, uint32_t octets, uint32_t size) {
    if (!octets || octets % size)
        return -1;
    for (; octets; octets -= size, packed += size) {
        if (dns->address_count == MOST_ADDRESSES)
            return -1;
        memcpy(dns->addresses[dns->address_count].octets, packed, size);
        dns->addresses[dns->address_count++].length = size;
    }
    return 0;
}

/* A service binding in its own name: the addresses that its parameters hint at (RFC 9460 section 7.3). */
static int read_binding(struct dns *dns, const uint8_t *data, uint32_t octets) {
    if (octets < 3 || data[2]) /* an alias, or a target of another name */
        return -1;
    for (uint32_t at = 3; at < octets;) {
        if (at + 4 > octets)
            return -1;
        uint32_t key = be16_at(data + at), length = be16_at(data + at + 2);
        at += 4;
        if (at + length > octets)
            return -1;
        if ((key == 4 || key == 6) && add_addresses(dns, data + at, length, key == 4 ? 4 : 16))
            return -1;
        at += length;
    }
    return 0;
}

static int read_data(struct dns *dns, const uint8_t *message, uint32_t end, uint32_t type, uint32_t at, uint32_t octets) {
    switch (type) {
    case A:
    case AAAA:
        return octets != (type == A ? 4 : 16) ? -1 : add_addresses(dns, message + at, octets, octets);
    case CNAME:
        if (dns->alias_count == MOST_ALIASES)
            return -1;
        return read_name(message, end, at, &dns->aliases[dns->alias_count++]) == at + octets ? 0 : -1;
    case HTTPS:
        return read_binding(dns, message + at, octets);
    default:
        return type == SOA || type == PTR || type == OPT || type == RRSIG || type == NSEC || type == NSEC3 ? 0 : -1;
    }
}

/* Returns where the record at `at` ends, 0 if it is not plain. */
static uint32_t read_record(struct dns *dns, const uint8_t *message, uint32_t end, uint32_t at) {
    struct name owner;
    if (!(at = read_name(message, end, at, &owner)) || at + 10 > end)
        return 0;
    uint32_t type = be16_at(message + at), class = be16_at(message + at + 2), octets = be16_at(message + at + 8);
    at += 10;
    if (at + octets > end || (class != 1 && type != OPT) || read_data(dns, message, end, type, at, octets))
        return 0;
    return at + octets;
}

static int is_plain_type(uint32_t type) { return type == A || type == AAAA || type == HTTPS || type == PTR; }

/* Tells whether a question for an address may carry data of a DNS tunnel (sensor.names.dns_shapes): it is long, or begins as
 * those that iodine and dnscat2 ask; dns2tcp's are not plain. */
static int may_carry_data(const char *name, uint32_t octets) {
    return octets >= ORDINARY_OCTETS || name[0] == 'v' || name[0] == 'z' || (octets > 7 && !memcmp(name, "dnscat.", 7));
}

/* Tells whether the message is plain; `dns` is filled in then. */
static int read_dns(const uint8_t *message, uint32_t end, struct dns *dns) {
    if (end < DNS_HEADER + 6 || be16_at(message + 4) != 1)
        return 0;
    uint32_t flags = be16_at(message + 2), records = be16_at(message + 6) + be16_at(message + 8) + be16_at(message + 10);
    dns->is_response = flags >> 15;
    dns->alias_count = dns->address_count = 0;
    if (flags & 0x7A00 || records > (dns->is_response ? 64 : 1)) /* another operation, cut off */
        return 0;
    if (!dns->is_response && (flags & 0x000F || be16_at(message + 10) != records))
        return 0;
    uint32_t at = read_name(message, end, DNS_HEADER, &dns->question);
    if (!at || at + 4 > end || !dns->question.length)
        return 0;
    if (!is_plain_type(be16_at(message + at)) || be16_at(message + at + 2) != 1)
        return 0;
    at += 4;
    while (records--)
        if (!(at = read_record(dns, message, end, at)))
            return 0;
    return at == end;
}

#endif
