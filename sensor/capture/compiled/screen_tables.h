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

/* Names without their number growing: a Bloom filter of two bits a name, by whole labels. It may say yes of others, the
 * more the fuller it is (1,000 names: of one in a thousand), never no of one that is in it. Who chooses names to be mistaken
 * for these only has them asked about. */
#define NAME_BITS 65536

struct names {
    uint64_t words[NAME_BITS / 64];
};

/* FNV-1a from the last octet to the first, so that what a name ends in is hashed on the way (draft-eastlake-fnv). */
#define HASH_BEGIN UINT64_C(0xCBF29CE484222325)

static inline uint64_t hash_more(uint64_t hash, char c) { return (hash ^ (uint8_t)c) * UINT64_C(0x100000001B3); }

static inline uint64_t *word_of(struct names *names, uint64_t hash, int which, uint64_t *bit) {
    uint64_t at = (hash >> (which ? 48 : 24) ^ hash >> (which ? 20 : 40)) & (NAME_BITS - 1);
    *bit = UINT64_C(1) << (at & 63);
    return &names->words[at >> 6];
}

static int has_hash(struct names *names, uint64_t hash) {
    uint64_t bit;
    return *word_of(names, hash, 0, &bit) & bit && *word_of(names, hash, 1, &bit) & bit;
}

static inline void add_name(struct names *names, const char *name, size_t octets) {
    uint64_t hash = HASH_BEGIN, bit;
    while (octets)
        hash = hash_more(hash, name[--octets]);
    for (int which = 0; which < 2; which++)
        *word_of(names, hash, which, &bit) |= bit;
}

/* Tells whether a name with plain labels, or one that it is below, may be among `names`; so may `f*.example.com` of what has
 * an f there. */
static int may_be_below(struct names *names, const char *name, uint32_t octets) {
    uint64_t hash = HASH_BEGIN, above = HASH_BEGIN;
    if (!octets) /* the root */
        return 0;
    while (octets--) {
        char c = name[octets];
        if (c == '.') {
            if (has_hash(names, hash) || has_hash(names, hash_more(hash_more(above, '*'), name[octets + 1])))
                return 1;
            above = hash_more(hash, c);
        }
        hash = hash_more(hash, c);
    }
    return has_hash(names, hash) || has_hash(names, hash_more(hash_more(above, '*'), name[0]));
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
