/* Of interest or not: DNS messages over UDP, and the beginnings of TCP connections. Included by screen.h. */

#define TCP_IDLE_NS UINT64_C(3600000000000)

static int is_multicast(const __u64 address[2]) {
    if (!address[0] && address[1] >> 32 == 0xFFFF)
        return (address[1] >> 28 & 0xF) == 0xE;
    return address[0] >> 56 == 0xFF;
}

/* Where to note an answer with `tag`. Two are kept of a name: Python may not have come to the time of the newest yet. So
 * the older goes once it surely has, before that the newer. */
static struct place *place_of_answer(struct screen *s, uint64_t tag, const struct record *answer) {
    struct place *set = set_in(s->told, TOLD, tag), *older = NULL, *newer = NULL;
    for (struct place *each = set; each < set + PLACES_A_SET; each++) {
        if (each->tag != tag || each->age < s->answers.tail ||
            record_at(&s->answers, s->answer_store, each->age)->next != answer->next)
            continue;
        if (newer == NULL || each->age > newer->age)
            older = newer, newer = each;
        else
            older = each;
    }
    if (older == NULL)
        return oldest_in(s->told, TOLD, tag);
    int is_read = record_at(&s->answers, s->answer_store, newer->age)->ts + (int64_t)DOUBT_NS < answer->ts;
    return is_read ? older : newer;
}

/* Keep an answer as it is for who asks by client and address. */
static void keep_answer(struct screen *s, const __u64 client[2], const struct dns *dns, const uint8_t *message,
                        uint32_t octets, int64_t ts) {
    struct record record = {.ts = ts, .octets = octets};
    record.next = dns->question.tag;
    while (reach_with(&s->answers, octets) - s->answers.tail > s->answers.size)
        s->answers.tail = behind_record(&s->answers, s->answer_store, s->answers.tail);
    uint64_t at = add_record(&s->answers, s->answer_store, &record, message);
    for (uint32_t i = 0; i < dns->address_count; i++) {
        __u64 address[2];
        as_words(dns->addresses[i].octets, dns->addresses[i].length, address);
        uint64_t tag = tag_of_pair(s, client, address);
        struct place *to = place_of_answer(s, tag, &record);
        s->totals.names_evicted += to->age >= s->answers.tail && to->tag != tag;
        *to = (struct place){tag, at};
    }
}

/* Tells whether a name of the message is of interest, and tags its names. */
static int is_any_interesting(struct screen *s, const struct host *host, struct dns *dns) {
    struct name *name = &dns->question;
    name->tag = tag_of_name(s, name->text, name->length);
    int answer = is_interesting(s, host, QUESTION, name->text, name->length, name->tag);
    for (name = dns->aliases; name < dns->aliases + dns->alias_count; name++) {
        name->tag = tag_of_name(s, name->text, name->length);
        answer = answer ? answer : is_interesting(s, host, NAME, name->text, name->length, name->tag);
    }
    return answer;
}

static void mark_all(struct screen *s, const __u64 client[2], const struct dns *dns) {
    for (uint32_t i = 0; i < dns->address_count; i++) {
        __u64 address[2];
        as_words(dns->addresses[i].octets, dns->addresses[i].length, address);
        mark(s, client, address);
    }
}

/* A message of no interest: the query waits for its answer, the answer ends it. */
static int take_message(struct screen *s, const struct host *host, Frame *frame, const struct packet *packet,
                        const struct dns *dns, struct watched *w, struct watched *oldest, const struct flow_key *key,
                        int64_t ts) {
    const __u64 *client = dns->is_response ? packet->dst : packet->src;
    uint64_t place = note_client(s, client), tag = dns->question.tag;
    note_asked(s, client, place, &dns->question);
    for (uint32_t i = 0; i < dns->alias_count; i++)
        note_asked(s, client, place, &dns->aliases[i]);
    s->totals.messages++;
    if (dns->is_response) {
        if (dns->address_count)
            keep_answer(s, client, dns, frame->octets + packet->body, packet->payload, ts);
        if (w != NULL && w->question == tag)
            pass_over(s, w, FREE);
        return hold_back(s, frame);
    }
    if (w != NULL && w->question != tag)
        return hand_over(s, host, w); /* two look-ups with the same number: nobody knows which of them is answered */
    if (w == NULL && begin_watching(s, host, oldest, key) < 0)
        return FAILED;
    w = w != NULL ? w : oldest;
    w->question = tag;
    return is_room_for(w, frame) ? hold(s, host, w, frame, packet, 0, ts) : hold_back(s, frame);
}

/* Tells whether all of a message is there. */
static int is_whole(Frame *frame, const struct packet *packet) {
    struct udp_header udp;
    return !load(frame, packet->at, &udp, sizeof udp) && frame->captured >= packet->end &&
           BE16(udp.length) == packet->payload + sizeof udp && packet->payload <= LARGEST_HELD;
}

static int screen_message(struct screen *s, const struct host *host, Frame *frame, const struct packet *packet, int64_t ts) {
    struct flow_key key = {0};
    struct watched *oldest, *w;
    struct dns dns;
    if (packet->payload < DNS_SHORTEST || frame->captured < packet->body + DNS_HEADER)
        return PASS;
    const uint8_t *message = frame->octets + packet->body;
    const __u64 *client = message[2] & 0x80 ? packet->dst : packet->src;
    if (is_multicast(client))
        return PASS;
    if (is_like_dns(frame, packet))
        note_client(s, client);
    make_key(&key, packet, is_from_low(packet));
    memcpy(key.unused, message, 2);
    w = find_watched(s, &key, &oldest);
    int interest = 1;
    if (is_whole(frame, packet) && read_dns(message, packet->payload, &dns)) {
        interest = dns.question.has_upper ? 1 : is_any_interesting(s, host, &dns); /* perhaps the program's own */
        if (interest > 0)
            note_interest(s, client);
        if (interest > 0 && dns.is_response)
            mark_all(s, client, &dns);
    } else {
        doubt(s, client);
    }
    if (interest == 0 && (w == NULL || is_held(w)) && !is_marked(s, packet->src, packet->dst))
        return take_message(s, host, frame, packet, &dns, w, oldest, &key, ts);
    if (interest < 0 || (w != NULL && hand_over(s, host, w) < 0))
        return FAILED;
    return PASS;
}

/* TCP */

/* Put together what came of a hello; returns how many octets of it there are without a gap, -1 if some came twice. */
static int gather(struct screen *s, const struct watched *w, const Frame *frame, const struct packet *packet,
                  uint8_t *octets) {
    uint32_t from[MOST_SEGMENTS], to[MOST_SEGMENTS], count = 0, reached = 0;
    for (uint64_t at = w->first;;) {
        const struct record *record = at ? record_at(&s->held, s->held_store, at) : NULL;
        uint32_t seq = record ? record->seq : packet->seq, body = record ? record->body : packet->body;
        uint32_t payload = record ? record->payload : packet->payload;
        if (payload && (record == NULL || record->side == w->hello_side)) {
            uint32_t offset = seq - w->start[w->hello_side], end = offset + payload;
            if (count == MOST_SEGMENTS || offset > HELLO_OCTETS || end > HELLO_OCTETS ||
                (record ? record->octets : frame->captured) < body + payload)
                return -1;
            for (uint32_t i = 0; i < count; i++)
                if (offset < to[i] && from[i] < end)
                    return -1;
            memcpy(octets + offset, (record ? (const uint8_t *)(record + 1) : frame->octets) + body, payload);
            from[count] = offset, to[count++] = end;
        }
        if (record == NULL)
            break;
        at = record->next;
    }
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t j = 0; j < count; j++)
            reached = from[j] == reached ? to[j] : reached;
    return (int)reached;
}

/* Tells whether what led here was judged by other rules than those in force. */
static int is_told_before(struct screen *s, const __u64 client[2], const __u64 other[2]) {
    uint64_t tag = tag_of_pair(s, client, other);
    struct place *set = set_in(s->told, TOLD, tag);
    for (struct place *each = set; each < set + PLACES_A_SET; each++)
        if (each->tag == tag && each->age >= s->answers.tail && each->age < s->followed)
            return 1;
    return 0;
}

static int is_of_interest(struct screen *s, const struct host *host, enum kind kind, struct span name) {
    const char *text = (const char *)name.at;
    return is_interesting(s, host, kind, text, name.octets, tag_of_name(s, text, name.octets));
}

static int is_hello_interesting(struct screen *s, const struct host *host, const struct hello *hello) {
    int answer = is_of_interest(s, host, NAME, hello->server);
    for (uint32_t i = 0; i < hello->protocol_count && !answer; i++)
        answer = is_of_interest(s, host, PROTOCOL, hello->protocols[i]);
    return answer;
}

/* Octets of the side that says hello. HOLD_BACK: more is to come, or (WAITING then) it is of no interest. */
static int take_hello(struct screen *s, const struct host *host, struct watched *w, const Frame *frame,
                      const struct packet *packet) {
    uint8_t gathered[HELLO_OCTETS];
    struct hello hello = {0};
    const uint8_t *octets = frame->octets + packet->body;
    uint32_t count = packet->body < frame->captured ? frame->captured - packet->body : 0;
    int is_cut = count < packet->payload;
    count = is_cut ? count : packet->payload;
    if (w->has_hello || packet->seq != w->start[w->hello_side]) { /* not all in this segment */
        int reached = gather(s, w, frame, packet, gathered);
        if (reached < 0)
            return PASS;
        octets = gathered, count = (uint32_t)reached;
    }
    w->has_hello = 1;
    enum hello_reading reading = read_hello(octets, count, &hello);
    if (reading == MORE_TO_COME)
        return is_cut ? PASS : note_begun(s, host, w);
    int interest = 1;
    if (reading == PLAIN_HELLO && !is_suspect(s, packet) && !is_told_before(s, packet->src, packet->dst))
        interest = is_hello_interesting(s, host, &hello);
    if (interest == 0)
        w->state = WAITING;
    else
        note_interest(s, packet->src);
    return interest < 0 ? FAILED : interest ? PASS : HOLD_BACK;
}

/* The first octets of the side that answers a hello of no interest. */
static int is_server_hello(const Frame *frame, const struct packet *packet) {
    const uint8_t *octets = frame->octets + packet->body;
    return packet->payload >= 6 && frame->captured >= packet->body + 6 && octets[0] == 22 && octets[1] == 3 && octets[5] == 2;
}

/* After a hello of no interest: HOLD_BACK until it is answered, and (OVER then) if a ServerHello does that. PASS if
 * something else does, if something stands before the hello, or if an interesting name has led here since. */
static int take_answer(struct screen *s, struct watched *w, const Frame *frame, const struct packet *packet, int side) {
    int32_t offset = (int32_t)(packet->seq - w->start[side]);
    if (side == w->hello_side || offset)
        return side == w->hello_side && offset < 0 ? PASS : HOLD_BACK;
    if (!is_server_hello(frame, packet) || is_suspect(s, packet))
        return PASS;
    pass_over(s, w, OVER);
    return HOLD_BACK;
}

static void note_syn(struct watched *w, const struct packet *packet, int side) {
    w->start[side] = packet->seq + 1;
    w->has_start |= (uint8_t)(1 << side);
    w->opener = (uint8_t)(packet->flags & ACK ? !side : side);
    w->has_opener = 1;
}

/* Tells whether a segment is of the kind that nearly all are; others are evidence of somebody's wit. */
static int is_usual(const struct watched *w, const struct packet *packet, int side) {
    if (packet->flags & SYN) {
        int is_repeated = w->has_start >> side & 1 && w->start[side] == packet->seq + 1;
        return !packet->payload && !(packet->flags & (FIN | RST)) && (is_repeated || !(w->has_start >> side & 1));
    }
    return !packet->payload || (packet->flags & (ACK | RST)) == ACK;
}

/* A segment of a flow that is held: HOLD_BACK, or PASS if the flow is to be handed over. */
static int take_segment(struct screen *s, const struct host *host, struct watched *w, const Frame *frame,
                        const struct packet *packet, int side) {
    if (!is_usual(w, packet, side) || !is_room_for(w, frame))
        return PASS;
    if (packet->flags & SYN)
        note_syn(w, packet, side);
    w->is_beyond_syn |= (packet->flags & (SYN | ACK)) != SYN;
    if (!packet->payload)
        return HOLD_BACK;
    if (!(w->has_start >> side & 1)) {
        w->start[side] = packet->seq;
        w->has_start |= (uint8_t)(1 << side);
    }
    if (w->state == WAITING)
        return take_answer(s, w, frame, packet, side);
    if (w->has_hello ? side != w->hello_side : w->has_opener && side != w->opener)
        return PASS; /* the other side speaks first */
    w->hello_side = (uint8_t)side;
    return take_hello(s, host, w, frame, packet);
}

/* Tells whether to look at a flow that is not known yet: from its SYN on, or if it begins with a hello. */
static int is_beginning(const Frame *frame, const struct packet *packet) {
    if (packet->flags & SYN)
        return 1;
    return frame->captured >= packet->body + 6 && packet->payload >= 6 && may_be_hello(frame->octets + packet->body, 6);
}

static int screen_segment(struct screen *s, const struct host *host, Frame *frame, const struct packet *packet, int64_t ts) {
    struct flow_key key = {0};
    struct watched *oldest, *w;
    int from_low = is_from_low(packet), side = !from_low;
    make_key(&key, packet, from_low);
    w = find_watched(s, &key, &oldest);
    if (w != NULL && s->now - w->last > TCP_IDLE_NS && !is_held(w))
        w->state = FREE, oldest = w, w = NULL;
    if (w == NULL) {
        if (!packet->payload && !(packet->flags & SYN))
            return PASS; /* of a flow that is handed out, or of none */
        if (begin_watching(s, host, oldest, &key) < 0)
            return FAILED;
        w = oldest;
        if (!is_beginning(frame, packet) || is_suspect(s, packet))
            w->state = HANDED;
    }
    w->last = s->now;
    if (w->state == OVER) {
        if (!(packet->flags & SYN) || (w->has_start >> side & 1 && w->start[side] == packet->seq + 1))
            return hold_back(s, frame);
        if (begin_watching(s, host, w, &key) < 0) /* a SYN that is no repetition begins another flow */
            return FAILED;
        if (is_suspect(s, packet))
            w->state = HANDED;
    }
    if (w->state == HANDED)
        return PASS;
    int fate = take_segment(s, host, w, frame, packet, side);
    if (fate == HOLD_BACK)
        return w->state == OVER ? hold_back(s, frame) : hold(s, host, w, frame, packet, side, ts);
    if (fate == FAILED)
        return FAILED;
    return hand_over(s, host, w);
}
