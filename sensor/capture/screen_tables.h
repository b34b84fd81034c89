/* What the screen (screen.h) remembers: names, clients, who asked for what and was told which address. All of it is
 * bounded; the oldest in a set of eight leaves first. Tags are keyed hashes (SipHash-1-3), so that nobody outside can
 * choose a name that takes another's place.
 */
#ifndef SCREEN_TABLES_H
#define SCREEN_TABLES_H

#include <stdint.h>
#include <string.h>

#define PLACES_A_SET 8

/* `age`: 0 of one that is free; it grows with time, so the least is the oldest. */
struct place {
    uint64_t tag, age;
};

static inline uint64_t turned(uint64_t word, int bits) { return word << bits | word >> (64 - bits); }

static inline void sip_round(uint64_t v[4]) {
    v[0] += v[1], v[2] += v[3];
    v[1] = turned(v[1], 13) ^ v[0], v[3] = turned(v[3], 16) ^ v[2];
    v[0] = turned(v[0], 32);
    v[2] += v[1], v[0] += v[3];
    v[1] = turned(v[1], 17) ^ v[2], v[3] = turned(v[3], 21) ^ v[0];
    v[2] = turned(v[2], 32);
}

/* SipHash-1-3 (Aumasson and Bernstein, "SipHash: a fast short-input PRF", with fewer rounds). */
static uint64_t sip_hash(const uint64_t secret[2], const void *octets, size_t length) {
    uint64_t v[4] = {secret[0] ^ 0x736F6D6570736575u, secret[1] ^ 0x646F72616E646F6Du, secret[0] ^ 0x6C7967656E657261u,
                     secret[1] ^ 0x7465646279746573u};
    const uint8_t *at = octets, *end = at + (length & ~(size_t)7);
    uint64_t word, last = (uint64_t)length << 56;
    for (; at < end; at += 8) {
        memcpy(&word, at, 8);
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (size_t i = 0; i < (length & 7); i++)
        last |= (uint64_t)at[i] << 8 * i;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xFF;
    sip_round(v), sip_round(v), sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* The set that a tag points to, of a table with so many places (a power of two). */
static inline struct place *set_in(struct place *table, uint64_t places, uint64_t tag) {
    return table + (tag & (places / PLACES_A_SET - 1)) * PLACES_A_SET;
}

static struct place *look(struct place *table, uint64_t places, uint64_t tag) {
    struct place *set = set_in(table, places, tag);
    for (struct place *each = set; each < set + PLACES_A_SET; each++)
        if (each->tag == tag && each->age)
            return each;
    return NULL;
}

static struct place *oldest_in(struct place *table, uint64_t places, uint64_t tag) {
    struct place *set = set_in(table, places, tag), *oldest = set;
    for (struct place *each = set + 1; each < set + PLACES_A_SET; each++)
        if (each->age < oldest->age)
            oldest = each;
    return oldest;
}

/* Note a tag; returns what left for it, free if nothing did. */
static struct place note(struct place *table, uint64_t places, uint64_t tag, uint64_t age) {
    struct place *place = look(table, places, tag), left = {0};
    if (place == NULL) {
        place = oldest_in(table, places, tag);
        left = *place;
    }
    *place = (struct place){tag, age ? age : 1};
    return left;
}

/* A log that forgets its oldest records. Offsets only grow; a record never runs over the end of `store`. */
struct record {
    int64_t ts;
    uint64_t next; /* of the same flow, 0: the last; of an answer: the hash of the name asked for */
    uint32_t octets, wire, owner, seq, payload;
    uint16_t body, source;
    uint8_t side, is_gap;
};

struct log {
    uint64_t head, tail, size;
};

static inline struct record *record_at(const struct log *log, uint8_t *store, uint64_t at) {
    return (struct record *)(store + at % log->size);
}

static inline uint64_t record_octets(uint64_t octets) { return (sizeof(struct record) + octets + 7) & ~UINT64_C(7); }

/* Where the record behind the one at `at` begins. */
static uint64_t behind_record(const struct log *log, uint8_t *store, uint64_t at) {
    uint64_t room = log->size - at % log->size;
    if (room < sizeof(struct record) || record_at(log, store, at)->is_gap)
        return at + room;
    return at + record_octets(record_at(log, store, at)->octets);
}

/* Tells whether there is a record at `at`, no gap before the end of the store. */
static int is_record(const struct log *log, uint8_t *store, uint64_t at) {
    return log->size - at % log->size >= sizeof(struct record) && !record_at(log, store, at)->is_gap;
}

/* How far the log reaches once there is a record of so many octets. */
static uint64_t reach_with(const struct log *log, uint64_t octets) {
    uint64_t room = log->size - log->head % log->size, needed = record_octets(octets);
    return log->head + (needed > room ? room : 0) + needed;
}

/* Add a record for which there is room; returns where it stands. */
static uint64_t add_record(struct log *log, uint8_t *store, const struct record *record, const uint8_t *octets) {
    uint64_t room = log->size - log->head % log->size;
    if (record_octets(record->octets) > room) {
        if (room >= sizeof(struct record))
            record_at(log, store, log->head)->is_gap = 1;
        log->head += room;
    }
    uint64_t at = log->head;
    struct record *to = record_at(log, store, at);
    *to = *record;
    to->is_gap = 0;
    memcpy(to + 1, octets, record->octets);
    log->head += record_octets(record->octets);
    return at;
}

#endif
