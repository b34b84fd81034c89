/* The screen: of the flow heads (flow_table.h) it holds back what nothing can come of, so that only the rest becomes
 * objects of Python. Nearly all look-ups and TLS connections go to names that no rule speaks of.
 *
 *   DNS over UDP, port 53    a plain query (screen_dns.h) is held until its answer comes. If question and aliases are of
 *                            no interest, both are passed over; the answer is kept as it is, for who asks by client and
 *                            address which names led there (`answers_to`), and so is who asked for which name and when
 *   TCP                      a connection is held from its first packet on. If it begins with a plain ClientHello
 *                            (screen_hello.h) of no interest and a ServerHello answers it, all of it is passed over
 *   whatever else            is handed out, and with it, before it, what was held of the same flow: nothing is ever
 *                            missing from a flow that is handed out
 *
 * What is of interest Python says, by name (`struct host`): each name once, the answer is remembered. About names that end
 * in none of those that the rules speak of (`spoken`) it is not asked at all. A flow between a
 * client and an address that an interesting name led it to is never held, nor is one of a client that was just told what
 * is not read here. Where this must forget, it hands out what it held of a hello and drops what carried nothing. Nothing
 * is held for longer than half a minute: the pipeline takes what is a minute old for another capture.
 *
 * Nothing is read outside the captured octets; tests/sensor/capture/test_screen_memory.py runs this under the sanitizers.
 */
#ifndef SCREEN_H
#define SCREEN_H

#include "flow_table.h"
#include "screen_dns.h"
#include "screen_hello.h"
#include "screen_tables.h"

#define NAMES 65536
#define MARKS 65536
#define ASKED 65536
#define CLIENTS 32768
#define DOUBTS 8192
#define TOLD 65536
#define FLOWS 32768
#define HELD_OCTETS (3 << 20)
#define ANSWER_OCTETS (4 << 20)
#define FIRST_OFFSET 64 /* in logs: 0 says that there is nothing */
#define HELLO_OCTETS 4096
#define MOST_ENDS 16
#define MOST_BEGUN 256
#define MOST_HELD 16      /* packets of a flow */
#define MOST_SEGMENTS 8   /* of a hello */
#define LARGEST_HELD 8192 /* octets of a packet */
#define SETTLE_NS INT64_C(3000000000)
#define LONGEST_NS INT64_C(30000000000)
#define DOUBT_NS UINT64_C(30000000000) /* until then Python has read it, and marks what it says */
#define CLOCK_STEP_NS UINT64_C(60000000000)

enum kind { QUESTION, NAME, PROTOCOL };
enum state { FREE, HELD, WAITING, OVER, HANDED }; /* WAITING: as HELD, with a hello of no interest */
enum { FAILED = -1, HOLD_BACK, PASS };

/* Who decides and who takes (octets stand behind a record). `ask`: 1 if the name is of interest, 0 if not; both -1 on
 * failure. */
struct host {
    void *context;
    int (*ask)(void *context, enum kind kind, const char *name, uint32_t octets);
    int (*hand)(void *context, const struct record *record);
};

struct watched {
    struct flow_key key; /* of DNS with the message's number in `unused` */
    uint64_t last;
    uint64_t first, newest; /* where the first and the last packet stand that are held; 0: none */
    uint64_t question;      /* of DNS: the hash of the name asked for */
    uint32_t start[2];      /* of TCP: the sequence number of each side's first octet; side 0 is the lower end */
    uint8_t has_start, has_opener, opener, has_hello, hello_side, held, state;
    uint8_t is_beyond_syn; /* something else came than the SYN that opens it */
    uint32_t epoch;
};

struct totals {
    uint64_t packets, octets; /* passed over */
    uint64_t flows, lookups;  /* judged, and of no interest */
    uint64_t messages;        /* of DNS among them */
    uint64_t evicted, names_evicted;
};

struct screen {
    uint64_t secret[2];
    uint64_t now, due; /* the newest time; what stands before `due` was looked at when its time was over */
    uint64_t doubted;  /* when a client was last */
    uint64_t source;   /* the number of the interface that the next packets are from */
    struct totals totals;
    uint32_t epoch; /* flows of another are forgotten */
    uint32_t begun_count;
    uint32_t begun[MOST_BEGUN]; /* flows of whose hello more was to come when they were put here */
    uint64_t followed; /* where answers begin that are judged by what is of interest now */
    struct names spoken; /* by the rules, of which and of those below them Python is asked */
    uint64_t end_count;
    __u64 ends[MOST_ENDS][2]; /* where flows of clients that an interesting name was seen of are of interest, too */
    struct log held, answers;
    struct place names[NAMES];     /* of no interest */
    struct place marks[MARKS];     /* clients with addresses that interesting names led them to */
    struct place doubts[DOUBTS];   /* clients that were told what only Python can read; `age`: when last */
    struct place clients[CLIENTS]; /* `age`: since when they are watched */
    struct place asked[ASKED];     /* client with name; `age`: when last, in milliseconds, and the client's place */
    struct place told[TOLD];       /* client with address; `age`: where the answer stands */
    struct watched flows[FLOWS];
    uint8_t held_store[HELD_OCTETS];
    uint8_t answer_store[ANSWER_OCTETS];
};

#define CLIENT_BITS 15 /* of a place among CLIENTS */

static inline void prepare(struct screen *s, const uint64_t secret[2]) {
    memcpy(s->secret, secret, sizeof s->secret);
    s->held = (struct log){FIRST_OFFSET, FIRST_OFFSET, HELD_OCTETS};
    s->answers = (struct log){FIRST_OFFSET, FIRST_OFFSET, ANSWER_OCTETS};
    s->due = FIRST_OFFSET;
    memset(&s->spoken, 0xFF, sizeof s->spoken);
}

/* Addresses as in struct packet, whose numbers are in the order of the machine. */
static uint64_t tag_of_pair(const struct screen *s, const __u64 client[2], const __u64 other[2]) {
    uint64_t pair[4] = {client[0], client[1], other[0], other[1]};
    return sip_hash(s->secret, pair, sizeof pair);
}

/* The same for both directions. */
static uint64_t tag_of_ends(const struct screen *s, const __u64 one[2], const __u64 other[2]) {
    int is_low = one[0] != other[0] ? one[0] < other[0] : one[1] < other[1];
    return is_low ? tag_of_pair(s, one, other) : tag_of_pair(s, other, one);
}

static uint64_t tag_of_name(const struct screen *s, const char *name, uint32_t octets) {
    return sip_hash(s->secret, name, octets);
}

static uint64_t tag_of_asked(const struct screen *s, const __u64 client[2], uint64_t name) {
    uint64_t parts[3] = {client[0], client[1], name};
    return sip_hash(s->secret, parts, sizeof parts);
}

/* An address as in struct packet, of four or sixteen octets. */
static void as_words(const uint8_t *address, uint32_t octets, __u64 words[2]) {
    uint8_t whole[16] = {[10] = 0xFF, [11] = 0xFF};
    memcpy(whole + 16 - octets, address, octets);
    memcpy(words, whole, sizeof whole);
    words[0] = BE64(words[0]), words[1] = BE64(words[1]);
}

static int is_marked(struct screen *s, const __u64 one[2], const __u64 other[2]) {
    return look(s->marks, MARKS, tag_of_ends(s, one, other)) != NULL;
}

static void mark(struct screen *s, const __u64 client[2], const __u64 other[2]) {
    note(s->marks, MARKS, tag_of_ends(s, client, other), s->now);
}

static void note_interest(struct screen *s, const __u64 client[2]) {
    for (uint64_t i = 0; i < s->end_count; i++)
        mark(s, client, s->ends[i]);
}

static void doubt(struct screen *s, const __u64 client[2]) {
    s->doubted = s->now;
    note(s->doubts, DOUBTS, sip_hash(s->secret, client, 16), s->now);
}

static int is_doubted(struct screen *s, const __u64 client[2]) {
    if (s->now - s->doubted >= DOUBT_NS) /* nobody is */
        return 0;
    struct place *place = look(s->doubts, DOUBTS, sip_hash(s->secret, client, 16));
    return place != NULL && s->now - place->age < DOUBT_NS;
}

/* Tells whether an interesting name may have led one end to the other. */
static int is_suspect(struct screen *s, const struct packet *packet) {
    return is_marked(s, packet->src, packet->dst) || is_doubted(s, packet->src) || is_doubted(s, packet->dst);
}

/* Of a name with its tag; each kind has a place of its own. A question of no interest is no interesting name either. */
static int is_interesting(struct screen *s, const struct host *host, enum kind kind, const char *name, uint32_t octets,
                          uint64_t tag) {
    if (kind != PROTOCOL && !(kind == QUESTION && may_carry_data(name, octets)) && !may_be_below(&s->spoken, name, octets))
        return 0;
    if (look(s->names, NAMES, tag + kind) != NULL)
        return 0;
    int answer = host->ask(host->context, kind, name, octets);
    if (answer == 0)
        note(s->names, NAMES, tag + kind, s->now);
    if (answer == 0 && kind == QUESTION)
        note(s->names, NAMES, tag + NAME, s->now);
    return answer;
}

static uint64_t note_client(struct screen *s, const __u64 client[2]) {
    uint64_t tag = sip_hash(s->secret, client, 16);
    struct place *place = look(s->clients, CLIENTS, tag);
    if (place == NULL) {
        place = oldest_in(s->clients, CLIENTS, tag);
        *place = (struct place){tag, s->now ? s->now : 1};
    }
    return (uint64_t)(place - s->clients);
}

/* Who loses a name early counts as newly watched, so that nobody says of it that the name was not asked for. */
static void note_asked(struct screen *s, const __u64 client[2], uint64_t place, const struct name *name) {
    uint64_t age = (s->now / 1000000 + 1) << CLIENT_BITS | place;
    struct place left = note(s->asked, ASKED, tag_of_asked(s, client, name->tag), age);
    if (left.age) {
        s->clients[left.age & (CLIENTS - 1)].age = s->now ? s->now : 1;
        s->totals.names_evicted++;
    }
}

#include "screen_held.h"
#include "screen_flows.h"

/* Tells whether a segment may carry an answer, behind its length (RFC 7766 section 8) or, cut there, without. */
static int is_like_answer(Frame *frame, const struct packet *packet) {
    struct packet behind = *packet;
    if (!packet->payload || packet->sport == 53)
        return packet->payload > 0;
    behind.body += 2, behind.payload -= packet->payload < 2 ? packet->payload : 2;
    return is_like_dns(frame, packet) || is_like_dns(frame, &behind);
}

/* Tells whether it may be an answer that is not read here. */
static int is_other_dns(Frame *frame, const struct packet *packet) {
    if (packet->protocol == TCP)
        return is_like_answer(frame, packet);
    return packet->protocol == UDP && packet->sport != 53 && packet->dport != 53 && is_like_dns(frame, packet);
}

/* What becomes of a packet that the flow-head policy lets pass: PASS, or HOLD_BACK. What was held of its flow is handed
 * out first. */
static int screen(struct screen *s, const struct host *host, Frame *frame, const struct packet *packet, enum reading reading,
                  int64_t ts) {
    if ((uint64_t)ts + CLOCK_STEP_NS < s->now) { /* another capture begins, or the clock was set */
        if (release_all(s, host) < 0)
            return FAILED;
        s->now = (uint64_t)ts;
    }
    s->now = (uint64_t)ts > s->now ? (uint64_t)ts : s->now;
    if (expire(s, host, (int64_t)s->now) < 0)
        return FAILED;
    if (reading == FRAGMENTED && hand_over_begun(s, host) < 0)
        return FAILED;
    if (reading == FRAGMENTED || (reading == READ && is_other_dns(frame, packet)))
        doubt(s, packet->dst);
    if (reading != READ)
        return PASS;
    if (packet->protocol == UDP && (packet->sport == 53 || packet->dport == 53))
        return screen_message(s, host, frame, packet, ts);
    if (packet->protocol == TCP && !is_of_dns_port(packet))
        return screen_segment(s, host, frame, packet, ts);
    return PASS;
}

#endif
