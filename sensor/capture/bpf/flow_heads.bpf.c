// SPDX-License-Identifier: Apache-2.0
/*
 * Passes the heads of flows to a packet socket and counts the rest: flow_policy.h in the kernel, with its flow table.
 *
 * Returned is how many octets of the packet the socket gets: 0 for none.
 * What another interface shows of a direction within `moved_ns` is a copy (sensor/capture/copies.py): it does not pass.
 *
 * The verifier checks programs without CAP_PERFMON more strictly: a pointer may not be moved by what depends on the path
 * taken. Therefore one branch a direction, with constant offsets and nothing that the compiler could merge.
 *
 * Kernel 5.8 or later. No CO-RE: `struct __sk_buff` is stable. Built by `make bpf`.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

typedef struct __sk_buff Frame;

static __always_inline int load(Frame *skb, __u32 at, void *to, __u32 octets)
{
	return bpf_skb_load_bytes(skb, at, to, octets);
}

static __always_inline __u32 octets_of(Frame *skb)
{
	return skb->len;
}

#include "flow_policy.h"
#include "share.h"

#define COPY -2

/* Two branches with different instructions are not merged; these do nothing. */
#define KEEP_APART(instruction, pointer) asm volatile(instruction : "+r"(pointer))

struct direction {
	__u64 octets;  /* of whole frames, on the wire */
	__u64 packets; /* segments of a giant counted one by one */
	struct head head;
	__u64 last_ns;
	__u32 interface; /* where the direction showed first, as `is_copy` numbers it */
	__u32 unused;
};

/* Of the sockets that have this copy of the program, which are those of one network namespace. */
struct place {
	__u64 moved_ns;
	__u32 number;
	__u32 worker; /* only packets for this one */
	__u32 workers;
	__u32 unused;
};

struct flow {
	__u64 opened_ns; /* bpf_ktime_get_ns: tells flows of one five-tuple apart */
	__u64 last_ns;
	struct direction from_low;
	struct direction from_high;
};

struct stats {
	__u64 cut_packets;
	__u64 cut_octets;
	__u64 copies;
	__u64 opened; /* flows put into the map: many more than flows there are mean that it is too small */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072); /* the loader says how many */
	__type(key, struct flow_key);
	__type(value, struct flow);
} flows SEC(".maps");

/* sensor/capture/filter/flow_heads.py writes these once, before a socket has the program. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limits);
} limits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stats);
} stats SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct place);
} place SEC(".maps");

static __always_inline int cut(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct stats *total = bpf_map_lookup_elem(&stats, &zero);

	if (total) {
		total->cut_packets += 1;
		total->cut_octets += skb->len;
	}
	return NONE;
}

static __always_inline struct flow *open_flow(const struct flow_key *key, __u64 now_ns)
{
	struct flow fresh = {.opened_ns = now_ns, .last_ns = now_ns};
	__u32 zero = 0;
	struct stats *total = bpf_map_lookup_elem(&stats, &zero);

	if (total)
		total->opened += 1;
	bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(&flows, key);
}

static __always_inline void reopen(struct flow *flow, __u64 now_ns)
{
	struct flow fresh = {.opened_ns = now_ns, .last_ns = now_ns};

	*flow = fresh;
}

static __always_inline int take(struct __sk_buff *skb, const struct packet *packet, const struct limits *limits,
				struct direction *own)
{
	__u32 segments = skb->gso_segs;

	__sync_fetch_and_add(&own->octets, skb->len);
	__sync_fetch_and_add(&own->packets, segments ? segments : 1);
	return judge_in_flow(skb, packet, limits, &own->head);
}

/* An interface's number is its namespace's; with the place it tells those of several apart. */
static __always_inline int is_copy(struct __sk_buff *skb, struct direction *own, __u64 now_ns)
{
	__u32 zero = 0;
	const struct place *own_place = bpf_map_lookup_elem(&place, &zero);
	struct stats *total;
	__u32 here;

	if (!own_place)
		return 0;
	here = skb->ifindex ^ (own_place->number << 24);
	if (own->interface && own->interface != here && (__s64)(now_ns - own->last_ns) <= (__s64)own_place->moved_ns) {
		total = bpf_map_lookup_elem(&stats, &zero);
		if (total)
			total->copies += 1;
		return 1;
	}
	own->interface = here;
	own->last_ns = now_ns;
	return 0;
}

static __always_inline int follow(struct __sk_buff *skb, const struct packet *packet, const struct limits *limits)
{
	int from_low = is_from_low(packet);
	__u64 now_ns = bpf_ktime_get_ns();
	struct flow_key key = {};
	struct flow *flow;

	make_key(&key, packet, from_low);
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		flow = open_flow(&key, now_ns);
	if (!flow)
		return WHOLE;
	if (is_idle(packet, limits, now_ns - flow->last_ns))
		reopen(flow, now_ns);
	flow->last_ns = now_ns;
	if (from_low) {
		if (is_other_start(packet, &flow->from_low.head))
			reopen(flow, now_ns);
		KEEP_APART("%0 = %0", flow);
		return is_copy(skb, &flow->from_low, now_ns) ? COPY : take(skb, packet, limits, &flow->from_low);
	}
	if (is_other_start(packet, &flow->from_high.head))
		reopen(flow, now_ns);
	KEEP_APART("%0 += 0", flow);
	return is_copy(skb, &flow->from_high, now_ns) ? COPY : take(skb, packet, limits, &flow->from_high);
}

static __always_inline int is_for_another(struct __sk_buff *skb, const struct packet *packet, enum reading reading)
{
	__u32 zero = 0;
	const struct place *own = bpf_map_lookup_elem(&place, &zero);
	int is_answer;

	if (!own || own->workers < 2 || (packet->protocol == UDP && is_of_dhcp_server(packet))) /* all learn who is who */
		return 0;
	is_answer = reading == FRAGMENTED || (reading == READ && is_unreachable(skb, packet));
	return worker_of(packet, reading, is_answer, own->workers) != own->worker;
}

static __always_inline int judge(struct __sk_buff *skb, const struct packet *packet, enum reading reading)
{
	__u32 zero = 0;
	const struct limits *limit = bpf_map_lookup_elem(&limits, &zero);
	int octets;

	if (reading == NOT_IP || is_for_another(skb, packet, reading))
		return NONE;
	if (!limit)
		return WHOLE;
	octets = judge_alone(skb, packet, reading, limit);
	if (octets == GO_ON)
		octets = follow(skb, packet, limit);
	if (octets == COPY)
		return NONE;
	return octets ? octets : cut(skb);
}

/* Frames with an Ethernet header; the kernel has taken the outermost tag off. */
SEC("socket")
int ethernet_heads(struct __sk_buff *skb)
{
	struct packet packet = {};

	return judge(skb, &packet, read_ethernet(skb, &packet));
}

/* Packets without a link header (tun, WireGuard, PPP). */
SEC("socket")
int network_heads(struct __sk_buff *skb)
{
	struct packet packet = {};

	return judge(skb, &packet, read_network(skb, 0, BE16(skb->protocol), &packet));
}

char licence[] SEC("license") = "Apache-2.0";
