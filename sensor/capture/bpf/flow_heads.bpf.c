// SPDX-License-Identifier: Apache-2.0
/*
 * Passes the heads of flows to a packet socket and counts the rest (DESIGN.md section 2, docs/capture.md).
 *
 * Returned is how many octets of the packet the socket gets: 0 for none. What passes:
 *   TCP       segments that begin within `tcp_octets` of their direction's start, as long as no more than
 *             `tcp_passed_octets` have passed (repetitions count); SYN, FIN and RST; the first `opening_packets`
 *   UDP       datagrams until `udp_octets` have come, with a long QUIC header until `quic_octets`
 *   DNS       every datagram and segment of its ports, and every datagram that begins like a DNS message
 *   fragments that begin below `fragment_octets`; ICMP errors that say "unreachable"
 *   others    `other_octets` a direction
 * A direction's start is what follows its SYN, or the first segment that is seen. A SYN, or a packet after the idle
 * time, begins another flow. What another interface shows of a direction within `moved_ns` is a copy: it does not pass.
 *
 * The verifier checks programs without CAP_PERFMON more strictly: a pointer may not be moved by what depends on the path
 * taken. Therefore one branch a direction, with constant offsets and nothing that the compiler could merge.
 *
 * Kernel 5.8 or later. No CO-RE: `struct __sk_buff` is stable. Built by `make bpf`.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Two branches with different instructions are not merged; these do nothing. */
#define KEEP_APART(instruction, pointer) asm volatile(instruction : "+r"(pointer))

#define WHOLE 0x40000
#define NONE 0
#define GO_ON -1 /* not decided yet */

#define ETHERNET_OCTETS 14
#define ETHERTYPE_AT 12
#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86DD
#define ETHERTYPE_PPPOE 0x8864
#define PPPOE_OCTETS 8
#define PPP_IPV4 0x0021
#define PPP_IPV6 0x0057
#define MAX_TAGS 4
#define MAX_EXTENSION_HEADERS 8

#define HOP_BY_HOP 0
#define ICMP 1
#define TCP 6
#define UDP 17
#define ROUTING 43
#define FRAGMENT 44
#define AUTHENTICATION 51
#define ICMPV6 58
#define DESTINATION_OPTIONS 60

#define ICMP_UNREACHABLE 3
#define ICMPV6_UNREACHABLE 1

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

#define QUIC_LONG_HEADER 0xC0 /* the long and the fixed bit: RFC 9000 section 17.2 */

/* sensor/capture/flow_heads.py writes these once, before a socket has the program. */
struct limits {
	__u64 tcp_idle_ns;
	__u64 udp_idle_ns;
	__u64 moved_ns;
	__u32 tcp_octets;
	__u32 tcp_passed_octets;
	__u32 udp_octets;
	__u32 quic_octets;
	__u32 other_octets;
	__u32 fragment_octets;
	__u32 opening_packets;
	__u32 place; /* of the sockets with this copy of the program: one number a network namespace */
};

/* The end with the lower address (then port) comes first; IPv4 addresses as ::ffff:a.b.c.d (RFC 4291 2.5.5.2). */
struct flow_key {
	__be64 low[2];
	__be64 high[2];
	__be16 low_port;
	__be16 high_port;
	__u8 protocol;
	__u8 unused[3];
};

struct direction {
	__u64 octets;  /* of whole frames, on the wire */
	__u64 packets; /* segments of a giant counted one by one */
	__u64 payload; /* TCP: octets passed; others: octets seen, while a budget lasts */
	__u32 start;   /* TCP: the sequence number of the first octet */
	__u32 has_start;
	__u64 last_ns;
	__u32 interface; /* and its place: where the direction showed first */
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

/* Where the parts of a packet lie, from the start of what the socket sees. */
struct layout {
	__u32 at;      /* the transport header */
	__u32 end;     /* behind the last octet of the IP packet */
	__u32 payload; /* octets of transport payload */
	__u32 body;    /* where that begins */
	__u16 sport;
	__u16 dport;
	__u32 seq;
	__u8 protocol;
	__u8 flags;
	__u64 src[2];
	__u64 dst[2];
};

struct tcp_start {
	__be16 sport;
	__be16 dport;
	__be32 seq;
	__be32 ack;
	__u8 data_offset;
	__u8 flags;
} __attribute__((packed));

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

static __always_inline int is_dns_port(__u16 port)
{
	return port == 53 || port == 5353 || port == 5355;
}

/* As the header tests of sensor.extract.dns.is_likely_dns; what random payload passes with a probability of 2**-36. */
static __always_inline int is_like_dns(struct __sk_buff *skb, const struct layout *packet)
{
	__be16 header[6];
	__u16 flags;

	if (packet->payload < 17 || bpf_skb_load_bytes(skb, packet->body, header, sizeof(header)))
		return 0;
	flags = bpf_ntohs(header[1]);
	if (header[2] != bpf_htons(1) || bpf_ntohs(header[3] | header[4] | header[5]) >= 0x400)
		return 0;
	return flags & 0x8000 ? !(flags & 0x7840) : !(flags & ~0x0130);
}

static __always_inline int is_quic_long(struct __sk_buff *skb, const struct layout *packet)
{
	__u8 first;

	if (bpf_skb_load_bytes(skb, packet->body, &first, sizeof(first)))
		return 0;
	return (first & QUIC_LONG_HEADER) == QUIC_LONG_HEADER;
}

static __always_inline int is_unreachable(struct __sk_buff *skb, const struct layout *packet)
{
	__u8 type;

	if (bpf_skb_load_bytes(skb, packet->at, &type, sizeof(type)))
		return 0;
	return packet->protocol == ICMP ? type == ICMP_UNREACHABLE : type == ICMPV6_UNREACHABLE;
}

static __always_inline void count(struct __sk_buff *skb, struct direction *own)
{
	__u32 segments = skb->gso_segs;

	__sync_fetch_and_add(&own->octets, skb->len);
	__sync_fetch_and_add(&own->packets, segments ? segments : 1);
}

static __always_inline int judge_segment(struct __sk_buff *skb, const struct layout *packet,
					 const struct limits *limit, struct direction *own)
{
	int head = packet->body + limit->tcp_octets;
	__u64 packets = own->packets;
	__s32 offset;

	count(skb, own);
	if (packet->flags & SYN && !(own->has_start && own->start == packet->seq + 1)) {
		own->start = packet->seq + 1;
		own->has_start = 1;
		own->payload = 0;
	}
	if (packet->flags & (SYN | FIN | RST) || is_dns_port(packet->sport) || is_dns_port(packet->dport))
		return head;
	if (!packet->payload)
		return packets < limit->opening_packets ? head : cut(skb);
	if (!own->has_start) {
		own->start = packet->seq;
		own->has_start = 1;
	}
	offset = packet->seq - own->start;
	if (offset >= (__s32)limit->tcp_octets || offset <= -(__s32)limit->tcp_octets)
		return cut(skb);
	if (own->payload >= limit->tcp_passed_octets)
		return cut(skb);
	own->payload += packet->payload < limit->tcp_octets ? packet->payload : limit->tcp_octets;
	return head;
}

static __always_inline int judge_datagram(struct __sk_buff *skb, const struct layout *packet,
					  const struct limits *limit, struct direction *own)
{
	__u64 before = own->payload;

	count(skb, own);
	if (!packet->payload)
		return cut(skb);
	if (before < limit->quic_octets)
		own->payload = before + packet->payload;
	if (before < limit->udp_octets)
		return WHOLE;
	if (before < limit->quic_octets && is_quic_long(skb, packet))
		return WHOLE;
	return is_like_dns(skb, packet) ? WHOLE : cut(skb);
}

static __always_inline int judge_other(struct __sk_buff *skb, const struct layout *packet,
				       const struct limits *limit, struct direction *own)
{
	__u64 before = own->payload;

	count(skb, own);
	if (before >= limit->other_octets)
		return cut(skb);
	own->payload = before + packet->payload;
	return packet->at + limit->other_octets;
}

static __always_inline int judge(struct __sk_buff *skb, const struct layout *packet, const struct limits *limit,
				 struct direction *own)
{
	if (packet->protocol == TCP)
		return judge_segment(skb, packet, limit, own);
	if (packet->protocol == UDP)
		return judge_datagram(skb, packet, limit, own);
	return judge_other(skb, packet, limit, own);
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

static __always_inline int is_other_start(const struct layout *packet, const struct direction *own)
{
	return (packet->flags & (SYN | ACK)) == SYN && !(own->has_start && own->start == packet->seq + 1);
}

/* An interface's number is its namespace's; with the place it tells those of several apart. */
static __always_inline int is_copy(struct __sk_buff *skb, const struct limits *limit, struct direction *own,
				   __u64 now_ns)
{
	__u32 here = skb->ifindex ^ (limit->place << 24);
	__u32 zero = 0;
	struct stats *total;

	if (own->interface && own->interface != here && (__s64)(now_ns - own->last_ns) <= (__s64)limit->moved_ns) {
		total = bpf_map_lookup_elem(&stats, &zero);
		if (total)
			total->copies += 1;
		return 1;
	}
	own->interface = here;
	own->last_ns = now_ns;
	return 0;
}

static __always_inline int is_from_low(const struct layout *packet)
{
	if (packet->src[0] != packet->dst[0])
		return packet->src[0] < packet->dst[0];
	if (packet->src[1] != packet->dst[1])
		return packet->src[1] < packet->dst[1];
	return packet->sport <= packet->dport;
}

static __always_inline void set_key(struct flow_key *key, const struct layout *packet, int from_low)
{
	key->low[0] = bpf_cpu_to_be64(from_low ? packet->src[0] : packet->dst[0]);
	key->low[1] = bpf_cpu_to_be64(from_low ? packet->src[1] : packet->dst[1]);
	key->high[0] = bpf_cpu_to_be64(from_low ? packet->dst[0] : packet->src[0]);
	key->high[1] = bpf_cpu_to_be64(from_low ? packet->dst[1] : packet->src[1]);
	key->low_port = bpf_htons(from_low ? packet->sport : packet->dport);
	key->high_port = bpf_htons(from_low ? packet->dport : packet->sport);
	key->protocol = packet->protocol;
}

/* Both are loaded (volatile), then one is chosen: the address must not depend on the protocol. */
static __always_inline __u64 idle_ns(const struct layout *packet, const struct limits *limit)
{
	__u64 tcp_ns = *(const volatile __u64 *)&limit->tcp_idle_ns;
	__u64 udp_ns = *(const volatile __u64 *)&limit->udp_idle_ns;

	return packet->protocol == TCP ? tcp_ns : udp_ns;
}

static __always_inline int take(struct __sk_buff *skb, const struct layout *packet)
{
	__u32 zero = 0;
	int from_low = is_from_low(packet);
	__u64 now_ns = bpf_ktime_get_ns();
	const struct limits *limit = bpf_map_lookup_elem(&limits, &zero);
	struct flow_key key = {};
	struct flow *flow;

	if (!limit)
		return WHOLE;
	set_key(&key, packet, from_low);
	flow = bpf_map_lookup_elem(&flows, &key);
	if (!flow)
		flow = open_flow(&key, now_ns);
	if (!flow)
		return WHOLE;
	if (now_ns - flow->last_ns > idle_ns(packet, limit))
		reopen(flow, now_ns);
	flow->last_ns = now_ns;
	if (from_low) {
		if (is_other_start(packet, &flow->from_low))
			reopen(flow, now_ns);
		KEEP_APART("%0 = %0", flow);
		if (is_copy(skb, limit, &flow->from_low, now_ns))
			return NONE;
		return judge(skb, packet, limit, &flow->from_low);
	}
	if (is_other_start(packet, &flow->from_high))
		reopen(flow, now_ns);
	KEEP_APART("%0 += 0", flow);
	if (is_copy(skb, limit, &flow->from_high, now_ns))
		return NONE;
	return judge(skb, packet, limit, &flow->from_high);
}

/* Reads the transport header; a header that is not there whole passes, so that it is counted as damaged. */
static __always_inline int read_transport(struct __sk_buff *skb, struct layout *packet)
{
	struct tcp_start tcp;
	__be16 udp[2];

	packet->body = packet->at;
	if (packet->protocol == TCP) {
		if (bpf_skb_load_bytes(skb, packet->at, &tcp, sizeof(tcp)))
			return WHOLE;
		packet->sport = bpf_ntohs(tcp.sport);
		packet->dport = bpf_ntohs(tcp.dport);
		packet->seq = bpf_ntohl(tcp.seq);
		packet->flags = tcp.flags;
		packet->body = packet->at + (tcp.data_offset >> 4) * 4;
	} else if (packet->protocol == UDP) {
		if (bpf_skb_load_bytes(skb, packet->at, udp, sizeof(udp)))
			return WHOLE;
		packet->sport = bpf_ntohs(udp[0]);
		packet->dport = bpf_ntohs(udp[1]);
		packet->body = packet->at + 8;
		if (is_dns_port(packet->sport) || is_dns_port(packet->dport))
			return WHOLE; /* not into the map: each look-up has a port of its own */
	} else if ((packet->protocol == ICMP || packet->protocol == ICMPV6) && is_unreachable(skb, packet)) {
		return WHOLE;
	}
	packet->payload = packet->end > packet->body ? packet->end - packet->body : 0;
	return GO_ON;
}

static __always_inline int take_fragment(struct __sk_buff *skb, __u32 offset)
{
	__u32 zero = 0;
	const struct limits *limit = bpf_map_lookup_elem(&limits, &zero);

	return !limit || offset < limit->fragment_octets ? WHOLE : cut(skb);
}

struct ipv4 {
	__u8 version_length;
	__u8 service;
	__be16 total;
	__be16 identification;
	__be16 fragment;
	__u8 lifetime;
	__u8 protocol;
	__be16 checksum;
	__be32 src;
	__be32 dst;
};

static __always_inline int read_ipv4(struct __sk_buff *skb, __u32 at, struct layout *packet)
{
	struct ipv4 ip;
	__u16 fragment;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return WHOLE;
	fragment = bpf_ntohs(ip.fragment);
	if (fragment & 0x3FFF) /* more fragments, or an offset (RFC 791 section 3.1) */
		return take_fragment(skb, (fragment & 0x1FFF) * 8);
	packet->protocol = ip.protocol;
	packet->at = at + (ip.version_length & 0x0F) * 4;
	packet->end = ip.total ? at + bpf_ntohs(ip.total) : skb->len; /* 0: a giant beyond 64 KiB */
	packet->src[1] = 0xFFFF00000000ull | bpf_ntohl(ip.src);
	packet->dst[1] = 0xFFFF00000000ull | bpf_ntohl(ip.dst);
	return GO_ON;
}

struct ipv6 {
	__be32 version_class_label;
	__be16 length;
	__u8 next;
	__u8 hops;
	__be64 src[2];
	__be64 dst[2];
} __attribute__((packed));

struct extension {
	__u8 next;
	__u8 length;
	__be16 fragment;
};

static __always_inline int is_extension(__u8 protocol)
{
	return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == FRAGMENT || protocol == AUTHENTICATION ||
	       protocol == DESTINATION_OPTIONS;
}

static __always_inline int read_ipv6(struct __sk_buff *skb, __u32 at, struct layout *packet)
{
	struct extension header;
	struct ipv6 ip;

	if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)))
		return WHOLE;
	packet->protocol = ip.next;
	packet->at = at + sizeof(ip);
	packet->end = ip.length ? packet->at + bpf_ntohs(ip.length) : skb->len; /* 0: a jumbogram or a giant */
	packet->src[0] = bpf_be64_to_cpu(ip.src[0]);
	packet->src[1] = bpf_be64_to_cpu(ip.src[1]);
	packet->dst[0] = bpf_be64_to_cpu(ip.dst[0]);
	packet->dst[1] = bpf_be64_to_cpu(ip.dst[1]);
#pragma unroll
	for (int depth = 0; depth < MAX_EXTENSION_HEADERS && is_extension(packet->protocol); depth++) {
		if (bpf_skb_load_bytes(skb, packet->at, &header, sizeof(header)))
			return WHOLE;
		if (packet->protocol == FRAGMENT && header.fragment & bpf_htons(0xFFF9)) /* else atomic: RFC 6946 */
			return take_fragment(skb, bpf_ntohs(header.fragment) & 0xFFF8);
		if (packet->protocol == FRAGMENT)
			packet->at += 8;
		else if (packet->protocol == AUTHENTICATION)
			packet->at += (header.length + 2) * 4;
		else
			packet->at += (header.length + 1) * 8;
		packet->protocol = header.next;
	}
	return GO_ON;
}

static __always_inline int take_network(struct __sk_buff *skb, __u32 at, __u16 ethertype)
{
	struct layout packet = {};
	int octets;

	if (ethertype == ETHERTYPE_IPV4)
		octets = read_ipv4(skb, at, &packet);
	else if (ethertype == ETHERTYPE_IPV6)
		octets = read_ipv6(skb, at, &packet);
	else
		return NONE;
	if (octets == GO_ON)
		octets = read_transport(skb, &packet);
	return octets == GO_ON ? take(skb, &packet) : octets;
}

/* Frames with an Ethernet header; the kernel has taken the outermost tag off. */
SEC("socket")
int ethernet_heads(struct __sk_buff *skb)
{
	__u32 at = ETHERNET_OCTETS;
	__be16 word;
	__u16 ethertype;

	if (bpf_skb_load_bytes(skb, ETHERTYPE_AT, &word, sizeof(word)))
		return NONE;
	ethertype = bpf_ntohs(word);
#pragma unroll
	for (int tag = 0; tag < MAX_TAGS; tag++) {
		if (ethertype != 0x8100 && ethertype != 0x88A8 && ethertype != 0x9100)
			break;
		if (bpf_skb_load_bytes(skb, at + 2, &word, sizeof(word)))
			return NONE;
		ethertype = bpf_ntohs(word);
		at += 4;
	}
	if (ethertype == ETHERTYPE_PPPOE) {
		if (bpf_skb_load_bytes(skb, at + 6, &word, sizeof(word)))
			return NONE;
		at += PPPOE_OCTETS;
		ethertype = word == bpf_htons(PPP_IPV4) ? ETHERTYPE_IPV4 : word == bpf_htons(PPP_IPV6) ? ETHERTYPE_IPV6 : 0;
	}
	return take_network(skb, at, ethertype);
}

/* Packets without a link header (tun, WireGuard, PPP). */
SEC("socket")
int network_heads(struct __sk_buff *skb)
{
	return take_network(skb, 0, bpf_ntohs(skb->protocol));
}

char licence[] SEC("license") = "Apache-2.0";
