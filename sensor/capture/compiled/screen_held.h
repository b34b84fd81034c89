/* The packets of flows that the screen holds back, and what becomes of them: handed out or passed over. Included by
 * screen.h.
 */

static struct watched *find_watched(struct screen *s, const struct flow_key *key, struct watched **oldest) {
    struct watched *set = s->flows + (hash_of(key) & (FLOWS / WAYS - 1)) * WAYS;
    *oldest = set;
    for (struct watched *w = set; w < set + WAYS; w++) {
        w->state = w->epoch == s->epoch ? w->state : FREE;
        if (w->state != FREE && is_same(&w->key, key) && w->key.unused[0] == key->unused[0] &&
            w->key.unused[1] == key->unused[1])
            return w;
        if (w->state == FREE ? (*oldest)->state != FREE : (*oldest)->state != FREE && w->last < (*oldest)->last)
            *oldest = w;
    }
    return NULL;
}

static int is_of_dns(const struct watched *w) { return w->key.protocol == UDP; }

static int is_held(const struct watched *w) { return w->state == HELD || w->state == WAITING; }

static void forget_held(struct watched *w) {
    w->first = w->newest = 0;
    w->held = 0;
}

/* Hand out what is held of a flow, and all that comes of it from now on. */
static int hand_over(struct screen *s, const struct host *host, struct watched *w) {
    for (uint64_t at = w->first; at;) {
        struct record *record = record_at(&s->held, s->held_store, at);
        at = record->next;
        if (host->hand(host->context, record) < 0)
            return FAILED;
        s->totals.packets--, s->totals.octets -= record->wire;
    }
    forget_held(w);
    w->state = HANDED;
    return PASS;
}

/* Pass over what is held of a flow, which ends as `state`. */
static void pass_over(struct screen *s, struct watched *w, enum state state) {
    *(is_of_dns(w) ? &s->totals.lookups : &s->totals.flows) += 1;
    forget_held(w);
    w->state = (uint8_t)state;
}

/* Tells whether an interesting name led one end of a flow to the other, by now. */
static int is_led(struct screen *s, const struct watched *w) {
    __u64 low[2], high[2];
    for (int i = 0; i < 2; i++)
        low[i] = BE64(w->key.low[i]), high[i] = BE64(w->key.high[i]);
    return is_marked(s, low, high);
}

/* Tells whether something may come of what is held: a hello of which more was to come, or what leads to an address that
 * was told since it began. */
static int is_telling(struct screen *s, const struct watched *w) {
    return w->state == HELD && (w->has_hello || is_led(s, w));
}

/* The time in which a hello and its answer are to be expected is over: a SYN alone is forgotten, what is of no interest by
 * now held on. */
static int settle(struct screen *s, const struct host *host, struct watched *w) {
    if (is_telling(s, w))
        return hand_over(s, host, w);
    if (!is_of_dns(w) && !w->is_beyond_syn)
        pass_over(s, w, FREE);
    return PASS;
}

/* No packet is held any longer. A look-up that nobody answered is dropped, and a hello before any name led there: handed
 * out now, it would seem to come after. Its answer is waited for all the same. */
static int release(struct screen *s, const struct host *host, struct watched *w) {
    if (is_of_dns(w))
        pass_over(s, w, FREE);
    else if (w->state == WAITING && is_led(s, w))
        forget_held(w);
    else
        return hand_over(s, host, w);
    return PASS;
}

/* Give up a flow that there is no more room for. */
static int give_up(struct screen *s, const struct host *host, struct watched *w) {
    if (is_telling(s, w))
        return hand_over(s, host, w);
    s->totals.evicted += s->now < w->last + SETTLE_NS;
    pass_over(s, w, FREE);
    return PASS;
}

/* The flow whose first packet is the record at `at`, NULL if that was handed out or passed over, or is no record. */
static struct watched *owner_of(struct screen *s, uint64_t at) {
    if (!is_record(&s->held, s->held_store, at))
        return NULL;
    struct watched *w = s->flows + record_at(&s->held, s->held_store, at)->owner;
    return is_held(w) && w->first == at ? w : NULL;
}

static int make_room(struct screen *s, const struct host *host, uint64_t octets) {
    while (reach_with(&s->held, octets) - s->held.tail > s->held.size) {
        struct watched *w = owner_of(s, s->held.tail);
        if (w != NULL && give_up(s, host, w) < 0)
            return FAILED;
        s->held.tail = behind_record(&s->held, s->held_store, s->held.tail);
    }
    s->due = s->due < s->held.tail ? s->held.tail : s->due;
    return PASS;
}

static int is_since(struct screen *s, uint64_t at, int64_t ts) {
    return is_record(&s->held, s->held_store, at) && record_at(&s->held, s->held_store, at)->ts > ts;
}

/* Look at the flows whose first packet is so old by `now` that they are due. */
static int expire(struct screen *s, const struct host *host, int64_t now) {
    struct watched *w;
    for (; s->due < s->held.head && !is_since(s, s->due, now - SETTLE_NS);
         s->due = behind_record(&s->held, s->held_store, s->due))
        if ((w = owner_of(s, s->due)) != NULL && settle(s, host, w) < 0)
            return FAILED;
    for (; s->held.tail < s->due && !is_since(s, s->held.tail, now - LONGEST_NS);
         s->held.tail = behind_record(&s->held, s->held_store, s->held.tail))
        if ((w = owner_of(s, s->held.tail)) != NULL && release(s, host, w) < 0)
            return FAILED;
    return PASS;
}

/* The end, or another beginning: nothing is held from here on. */
static int release_all(struct screen *s, const struct host *host) {
    for (; s->held.tail < s->held.head; s->held.tail = behind_record(&s->held, s->held_store, s->held.tail)) {
        struct watched *w = owner_of(s, s->held.tail);
        if (w != NULL && give_up(s, host, w) < 0)
            return FAILED;
    }
    s->due = s->held.tail;
    s->epoch++;
    return PASS;
}

/* A place for a flow that there is none of yet; `oldest` makes room. */
static int begin_watching(struct screen *s, const struct host *host, struct watched *oldest, const struct flow_key *key) {
    if (is_held(oldest) && give_up(s, host, oldest) < 0)
        return FAILED;
    memset(oldest, 0, sizeof *oldest);
    oldest->key = *key;
    oldest->epoch = s->epoch;
    oldest->last = s->now;
    oldest->state = HELD;
    return PASS;
}

static int is_room_for(const struct watched *w, const Frame *frame) {
    return w->held < MOST_HELD && frame->captured <= LARGEST_HELD;
}

/* Hold a packet of a flow back. */
static int hold(struct screen *s, const struct host *host, struct watched *w, const Frame *frame, const struct packet *packet,
                int side, int64_t ts) {
    struct record record = {.ts = ts,
                            .octets = frame->captured,
                            .wire = frame->wire,
                            .owner = (uint32_t)(w - s->flows),
                            .seq = packet->seq,
                            .payload = packet->payload,
                            .body = (uint16_t)packet->body,
                            .source = (uint16_t)s->source,
                            .side = (uint8_t)side};
    if (make_room(s, host, frame->captured) < 0)
        return FAILED;
    if (!is_held(w)) /* it had to make room itself */
        return PASS;
    uint64_t at = add_record(&s->held, s->held_store, &record, frame->octets);
    if (w->first)
        record_at(&s->held, s->held_store, w->newest)->next = at;
    else
        w->first = at;
    w->newest = at;
    w->held++;
    s->totals.packets++, s->totals.octets += frame->wire;
    return HOLD_BACK;
}

/* Hand out the hellos of which more is to come: it may come in fragments, which are not read here, and not before them. */
static int hand_over_begun(struct screen *s, const struct host *host) {
    for (uint32_t i = 0; i < s->begun_count; i++) {
        struct watched *w = s->flows + s->begun[i];
        if (w->state == HELD && w->has_hello && hand_over(s, host, w) < 0)
            return FAILED;
    }
    s->begun_count = 0;
    return PASS;
}

static int note_begun(struct screen *s, const struct host *host, const struct watched *w) {
    if (s->begun_count == MOST_BEGUN && hand_over_begun(s, host) < 0)
        return FAILED;
    s->begun[s->begun_count++] = (uint32_t)(w - s->flows);
    return HOLD_BACK;
}

static int hold_back(struct screen *s, const Frame *frame) {
    s->totals.packets++, s->totals.octets += frame->wire;
    return HOLD_BACK;
}
