/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flow-head policy (DESIGN.md section 2, docs/capture.md): what of a packet passes, and what its flow remembers.
 *
 *   TCP       segments that begin within `tcp_octets` of their direction's start, as long as no more than
 *             `tcp_passed_octets` have passed (repetitions count); SYN, FIN and RST; the first `opening_packets`
 *   UDP       datagrams until `udp_octets` have come, with a long QUIC header until `quic_octets`
 *   DNS       every datagram and segment of its ports, and every datagram that begins like a DNS message
 *   DHCP      every datagram of the server's port
 *   fragments that begin below `fragment_octets`; ICMP errors that say "unreachable"; whatever is damaged
 *   others    `other_octets` a direction
 *
 * A direction's start is what follows its SYN, or the first segment that is seen. A SYN, or a packet after the idle
 * time, begins another flow. Written once, for the kernel and for files; the table of flows is each one's own:
 *
 *   octets = judge_alone(...)                     GO_ON: the flow decides
 *   make_key(...), the flow in the table          zero both heads if it is new, or by is_idle(...)
 *   if (is_other_start(...)) zero both heads
 *   octets = judge_in_flow(...)
 */
#ifndef FLOW_POLICY_H
#define FLOW_POLICY_H

#include "packet.h"

#define WHOLE 0x40000
#define NONE 0
#define GO_ON -1 /* not decided yet */

#define ICMP_UNREACHABLE 3   /* RFC 792 */
#define ICMPV6_UNREACHABLE 1 /* RFC 4443 section 3.1 */

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define ACK 0x10

#define QUIC_LONG_HEADER 0xC0 /* the long and the fixed bit: RFC 9000 section 17.2 */
#define DNS_SHORTEST 17
#define MOST_SPENT 0xFFFF

/* sensor/capture/filter/limits.py packs these. */
struct limits {
	__u64 tcp_idle_ns;
	__u64 udp_idle_ns;
	__u32 tcp_octets;
	__u32 tcp_passed_octets;
	__u32 udp_octets;
	__u32 quic_octets;
	__u32 other_octets;
	__u32 fragment_octets;
	__u32 opening_packets;
	__u32 unused;
};

/* One for both directions: the end with the lower address (then port) comes first. */
struct flow_key {
	__be64 low[2];
	__be64 high[2];
	__be16 low_port;
	__be16 high_port;
	__u8 protocol;
	__u8 unused[3];
};

/* What is remembered of a direction; a new one is all zero. */
struct head {
	__u32 start; /* TCP: the sequence number of the first octet */
	__u16 spent; /* TCP: octets passed; others: octets seen; MOST_SPENT and more are the same */
	__u8 has_start;
	__u8 packets; /* TCP: how many came, up to 255 */
};

INLINE int is_from_low(const struct packet *packet)
{
	if (packet->src[0] != packet->dst[0])
		return packet->src[0] < packet->dst[0];
	if (packet->src[1] != packet->dst[1])
		return packet->src[1] < packet->dst[1];
	return packet->sport <= packet->dport;
}

/* Fills in `key`, which must be zero. */
INLINE void make_key(struct flow_key *key, const struct packet *packet, int from_low)
{
	key->low[0] = BE64(from_low ? packet->src[0] : packet->dst[0]);
	key->low[1] = BE64(from_low ? packet->src[1] : packet->dst[1]);
	key->high[0] = BE64(from_low ? packet->dst[0] : packet->src[0]);
	key->high[1] = BE64(from_low ? packet->dst[1] : packet->src[1]);
	key->low_port = BE16(from_low ? packet->sport : packet->dport);
	key->high_port = BE16(from_low ? packet->dport : packet->sport);
	key->protocol = packet->protocol;
}

/* Both times are loaded (volatile), then one is chosen: for the verifier no address may depend on the protocol. A pause
 * below zero is none: another processor took a later packet of the flow meanwhile.
 */
INLINE int is_idle(const struct packet *packet, const struct limits *limits, __s64 pause_ns)
{
	__u64 tcp_ns = *(const volatile __u64 *)&limits->tcp_idle_ns;
	__u64 udp_ns = *(const volatile __u64 *)&limits->udp_idle_ns;

	return pause_ns > (__s64)(packet->protocol == TCP ? tcp_ns : udp_ns);
}

/* A SYN that is no repetition begins another flow with the same ends; its answer, as the second packet, does not. */
INLINE int is_other_start(const struct packet *packet, const struct head *own)
{
	return (packet->flags & (SYN | ACK)) == SYN && !(own->has_start && own->start == packet->seq + 1);
}

INLINE int is_dns_port(__u16 port)
{
	return port == 53 || port == 5353 || port == 5355;
}

INLINE int is_of_dns_port(const struct packet *packet)
{
	return is_dns_port(packet->sport) || is_dns_port(packet->dport);
}

/* RFC 2131 section 4.1. All clients that have no address yet share one five-tuple. */
INLINE int is_of_dhcp_server(const struct packet *packet)
{
	return packet->sport == 67 || packet->dport == 67;
}

/* As the header tests of sensor.extract.dns.is_likely_dns; what random payload passes with a probability of 2**-36. */
INLINE int is_like_dns(Frame *frame, const struct packet *packet)
{
	__be16 header[6];
	__u16 flags;

	if (packet->payload < DNS_SHORTEST || load(frame, packet->body, header, sizeof(header)))
		return 0;
	flags = BE16(header[1]);
	if (header[2] != BE16(1) || BE16(header[3] | header[4] | header[5]) >= 0x400)
		return 0;
	return flags & 0x8000 ? !(flags & 0x7840) : !(flags & ~0x0130);
}

INLINE int is_quic_long(Frame *frame, const struct packet *packet)
{
	__u8 first;

	return !load(frame, packet->body, &first, sizeof(first)) && (first & QUIC_LONG_HEADER) == QUIC_LONG_HEADER;
}

INLINE int is_unreachable(Frame *frame, const struct packet *packet)
{
	__u8 type;

	if (packet->protocol != ICMP && packet->protocol != ICMPV6)
		return 0;
	if (load(frame, packet->at, &type, sizeof(type)))
		return 1; /* damaged */
	return type == (packet->protocol == ICMP ? ICMP_UNREACHABLE : ICMPV6_UNREACHABLE);
}

/* What passes whatever its flow; DNS datagrams are not followed, since each look-up has a port of its own. */
INLINE int judge_alone(Frame *frame, const struct packet *packet, enum reading reading, const struct limits *limits)
{
	if (reading == DAMAGED)
		return WHOLE;
	if (reading == FRAGMENTED)
		return packet->fragment < limits->fragment_octets ? WHOLE : NONE;
	if (packet->protocol == UDP && (is_of_dns_port(packet) || is_of_dhcp_server(packet)))
		return WHOLE;
	if (is_unreachable(frame, packet))
		return WHOLE;
	return GO_ON;
}

INLINE void spend(struct head *own, __u32 octets)
{
	__u32 spent = own->spent + octets;

	own->spent = spent < MOST_SPENT ? spent : MOST_SPENT;
}

INLINE void begin(struct head *own, __u32 start)
{
	own->start = start;
	own->has_start = 1;
	own->spent = 0;
}

INLINE int judge_segment(const struct packet *packet, const struct limits *limits, struct head *own)
{
	int head = packet->body + limits->tcp_octets;
	__u8 packets = own->packets;
	__s32 offset;

	if (packets < 0xFF)
		own->packets = packets + 1;
	if (packet->flags & SYN && !(own->has_start && own->start == packet->seq + 1))
		begin(own, packet->seq + 1);
	if (packet->flags & (SYN | FIN | RST) || is_of_dns_port(packet))
		return head;
	if (!packet->payload)
		return packets < limits->opening_packets ? head : NONE;
	if (!own->has_start)
		begin(own, packet->seq);
	offset = packet->seq - own->start;
	if (offset >= (__s32)limits->tcp_octets || offset <= -(__s32)limits->tcp_octets)
		return NONE;
	if (own->spent >= limits->tcp_passed_octets)
		return NONE;
	spend(own, packet->payload < limits->tcp_octets ? packet->payload : limits->tcp_octets);
	return head;
}

INLINE int judge_datagram(Frame *frame, const struct packet *packet, const struct limits *limits, struct head *own)
{
	__u32 before = own->spent;

	if (!packet->payload)
		return NONE;
	spend(own, packet->payload);
	if (before < limits->udp_octets || (before < limits->quic_octets && is_quic_long(frame, packet)))
		return WHOLE;
	return is_like_dns(frame, packet) ? WHOLE : NONE;
}

INLINE int judge_other(const struct packet *packet, const struct limits *limits, struct head *own)
{
	__u32 before = own->spent;

	spend(own, packet->payload);
	return before < limits->other_octets ? (int)(packet->at + limits->other_octets) : NONE;
}

/* How many octets of the frame pass (it may be shorter), and what its direction remembers from now on. */
INLINE int judge_in_flow(Frame *frame, const struct packet *packet, const struct limits *limits, struct head *own)
{
	if (packet->protocol == TCP)
		return judge_segment(packet, limits, own);
	if (packet->protocol == UDP)
		return judge_datagram(frame, packet, limits, own);
	return judge_other(packet, limits, own);
}

#endif
