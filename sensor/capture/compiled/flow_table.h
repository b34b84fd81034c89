/* The flow-head policy (bpf/flow_policy.h) in the program, with its table of flows: for files and for sockets.
 *
 * What is not IP, damaged or cut by the snap length passes: Python decides and counts. Nothing is read outside `octets`..
 * `captured`.
 */
#ifndef FLOW_TABLE_H
#define FLOW_TABLE_H

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

#include "../bpf/flow_policy.h"

#define WAYS 8
#define LINKTYPE_ETHERNET 1
#define LINKTYPE_RAW 101

struct table { /* the first 128 octets; then slots, as many as there is room for: a power of two */
    uint64_t now, shift, clock_step;
    struct limits limits;
    uint64_t is_told; /* that the clock went back: the next record begins the flows anew */
    uint64_t cut_packets, cut_octets;
    uint64_t opened, displaced; /* flows; of those displaced, no more could have come only after the idle time */
    uint64_t unused[2];
};
struct slot {
    struct flow_key key;
    uint64_t last; /* 0: it was never used */
    struct head heads[2];
    uint64_t cut_octets[2];  /* on the wire, from low and from high: what did not pass and was not handed out as a count */
    int64_t cut_last;        /* when the last of that came */
    uint32_t cut_packets[2];
    uint16_t socket; /* that shows it: several may show the same flow, each has its own entry in the set */
    uint8_t has_begun;
};

/* One packet as it comes: from which link and socket, and when. */
struct arrival {
    int link_type;
    uint16_t socket;
    int64_t ts;
};

static inline int is_counted(const struct slot *s) { return s->cut_packets[0] || s->cut_packets[1]; }

/* Take out what was counted of a flow. */
static void depart(struct slot *s, struct slot *counted) {
    if (is_counted(s))
        *counted = *s;
    s->cut_octets[0] = s->cut_octets[1] = s->cut_packets[0] = s->cut_packets[1] = 0;
}

static inline uint64_t hash_of(const struct flow_key *key) {
    /* Field by field, here and below: a word that was written in parts has to reach the cache before it can be read. */
    uint64_t ports = (uint64_t)key->low_port << 32 | (uint64_t)key->high_port << 16 | key->protocol;
    uint64_t hash = (key->low[0] ^ ports) * 0x9E3779B97F4A7C15u ^ key->low[1] * 0xBF58476D1CE4E5B9u ^
                    key->high[0] * 0x94D049BB133111EBu ^ key->high[1] * 0xD6E8FEB86659FD93u;
    return (hash ^ hash >> 32) * 0x9E3779B97F4A7C15u >> 40; /* the last octets of addresses stand in the upper bits */
}

static struct slot *set_of(struct table *t, uint64_t slots, const struct flow_key *key) {
    return (struct slot *)(t + 1) + (hash_of(key) & (slots / WAYS - 1)) * WAYS;
}

static int is_same(const struct flow_key *one, const struct flow_key *other) {
    return one->low_port == other->low_port && one->high_port == other->high_port && one->low[1] == other->low[1] &&
           one->high[1] == other->high[1] && one->low[0] == other->low[0] && one->high[0] == other->high[0] &&
           one->protocol == other->protocol;
}

/* A slot for another flow; `counted` gets what was counted of the one that was there. */
static void displace(struct table *t, struct slot *s, struct slot *counted) {
    uint64_t idle = s->key.protocol == TCP ? t->limits.tcp_idle_ns : t->limits.udp_idle_ns;
    t->opened++;
    t->displaced += s->last && t->now - s->last <= idle;
    depart(s, counted);
    memset(s, 0, sizeof *s);
}

/* The flow's slot; a new one takes the place of the one in its set that was used least recently. */
static struct slot *find(struct table *t, uint64_t slots, const struct flow_key *key, uint16_t socket, struct slot *counted) {
    struct slot *set = set_of(t, slots, key), *oldest = set;
    for (struct slot *s = set; s < set + WAYS; s++) {
        if (is_same(&s->key, key) && s->socket == socket)
            return s;
        if (s->last < oldest->last)
            oldest = s;
    }
    displace(t, oldest, counted);
    oldest->key = *key;
    oldest->socket = socket;
    oldest->last = t->now;
    return oldest;
}

static enum reading read_link(Frame *frame, int link_type, struct packet *packet) {
    uint8_t version;
    if (link_type == LINKTYPE_ETHERNET)
        return read_ethernet(frame, packet);
    if (link_type != LINKTYPE_RAW || load(frame, 0, &version, sizeof version))
        return NOT_IP;
    return read_network(frame, 0, version >> 4 == 4 ? ETHERTYPE_IPV4 : version >> 4 == 6 ? ETHERTYPE_IPV6 : 0, packet);
}

static int judge_flow(struct table *t, struct slot *s, Frame *frame, const struct packet *packet, int from_low, int64_t ts,
                      struct slot *counted) {
    struct head *own = &s->heads[!from_low];
    int is_new = is_idle(packet, &t->limits, t->now - s->last) || is_other_start(packet, own);
    if (is_new || packet->flags & SYN)
        depart(s, counted);
    if (is_new) {
        memset(s->heads, 0, sizeof s->heads);
        s->has_begun = 0;
    }
    s->last = t->now;
    s->has_begun |= packet->payload || packet->flags & SYN;
    int octets = judge_in_flow(frame, packet, &t->limits, own);
    if (octets == NONE && s->has_begun) {
        s->cut_octets[!from_low] += frame->wire;
        s->cut_packets[!from_low]++;
        s->cut_last = ts;
    }
    return octets;
}

/* The clock of flows never goes back: where that of the packets does (another capture follows), all flows are idle. */
static void set_clock(struct table *t, uint64_t ts) {
    uint64_t idle = t->limits.tcp_idle_ns > t->limits.udp_idle_ns ? t->limits.tcp_idle_ns : t->limits.udp_idle_ns;
    if (ts + t->shift + t->clock_step < t->now)
        t->shift = t->now + idle + 1 - ts;
    if (ts + t->shift > t->now)
        t->now = ts + t->shift;
}

/* How many octets of the frame pass at most; `packet` and `reading` say what it is, `counted` gets what was counted until
 * now of a flow that begins anew or is displaced. */
static inline int judge(struct table *t, uint64_t slots, Frame *frame, const struct arrival *arrival, struct packet *packet,
                        enum reading *reading, struct slot *counted) {
    struct flow_key key = {0};
    set_clock(t, (uint64_t)arrival->ts);
    *reading = read_link(frame, arrival->link_type, packet);
    int octets = *reading == NOT_IP ? WHOLE : judge_alone(frame, packet, *reading, &t->limits);
    if (octets == GO_ON) {
        int from_low = is_from_low(packet);
        make_key(&key, packet, from_low);
        struct slot *s = find(t, slots, &key, arrival->socket, counted);
        octets = judge_flow(t, s, frame, packet, from_low, arrival->ts, counted);
    }
    if (octets == NONE) {
        t->cut_packets++;
        t->cut_octets += frame->wire;
    }
    return octets;
}

/* How many slots there are in a table of so many octets; 0: it is too small, or lies askew. */
static uint64_t slots_of(const void *table, uint64_t octets) {
    uint64_t slots = WAYS;
    if ((uintptr_t)table % 8 || octets < sizeof(struct table) + WAYS * sizeof(struct slot))
        return 0;
    while (sizeof(struct table) + 2 * slots * sizeof(struct slot) <= octets)
        slots *= 2;
    return slots;
}

#endif
