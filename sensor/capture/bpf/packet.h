/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a frame down to its transport header: Ethernet, VLAN tags, PPPoE, IPv4, IPv6 and its extension headers.
 *
 * Who includes this says first how octets are read:
 *   Frame                                        the type of what holds a frame
 *   int load(Frame *, __u32 at, void *, __u32)   copies octets from `at`; not 0 if they are not all there
 *   __u32 octets_of(Frame *)                     how long the frame is on the wire
 * Everything else is the same in the kernel (flow_heads.bpf.c) and over files (../compiled/_heads.c).
 *
 * What sensor.decoding calls malformed is DAMAGED here: it passes, so that it sees and counts it.
 */
#ifndef PACKET_H
#define PACKET_H

#include <linux/types.h>

#define INLINE static inline __attribute__((always_inline))

#ifdef __bpf__
#define UNROLL _Pragma("unroll") /* without CAP_PERFMON the verifier takes no loops */
#else
#define UNROLL
#endif

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BE16(value) __builtin_bswap16(value)
#define BE32(value) __builtin_bswap32(value)
#define BE64(value) __builtin_bswap64(value)
#else
#define BE16(value) (value)
#define BE32(value) (value)
#define BE64(value) (value)
#endif

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

enum reading { READ, FRAGMENTED, DAMAGED, NOT_IP };

/* Offsets are from the start of the frame; numbers and addresses are in the order of the machine. */
struct packet {
	__u32 at;       /* the transport header */
	__u32 end;      /* behind the last octet of the IP packet, as its header says */
	__u32 body;     /* the transport payload */
	__u32 payload;  /* octets of that */
	__u32 fragment; /* of FRAGMENTED: octets before it in its datagram */
	__u32 seq;
	__u16 sport; /* 0 of protocols without ports */
	__u16 dport;
	__u8 protocol;
	__u8 flags;
	__u64 src[2]; /* IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2) */
	__u64 dst[2];
};

struct tcp_header {
	__be16 sport;
	__be16 dport;
	__be32 seq;
	__be32 ack;
	__u8 data_offset;
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};

struct udp_header {
	__be16 sport;
	__be16 dport;
	__be16 length;
	__be16 checksum;
};

struct ipv4_header {
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

struct ipv6_header {
	__u8 version_class;
	__u8 class_label[3];
	__be16 length;
	__u8 next;
	__u8 hops;
	__be64 src[2];
	__be64 dst[2];
};

struct extension_header {
	__u8 next;
	__u8 length;
	__be16 fragment; /* of a fragment header only */
	__be32 rest;
};

INLINE enum reading read_tcp(Frame *frame, struct packet *packet)
{
	struct tcp_header tcp;
	__u32 octets;

	if (packet->at + sizeof(tcp) > packet->end || load(frame, packet->at, &tcp, sizeof(tcp)))
		return DAMAGED;
	octets = (tcp.data_offset >> 4) * 4;
	if (octets < sizeof(tcp) || packet->at + octets > packet->end)
		return DAMAGED;
	packet->sport = BE16(tcp.sport);
	packet->dport = BE16(tcp.dport);
	packet->seq = BE32(tcp.seq);
	packet->flags = tcp.flags;
	packet->body = packet->at + octets;
	return READ;
}

INLINE enum reading read_udp(Frame *frame, struct packet *packet)
{
	struct udp_header udp;
	__u32 length;

	if (packet->at + sizeof(udp) > packet->end || load(frame, packet->at, &udp, sizeof(udp)))
		return DAMAGED;
	length = BE16(udp.length);
	if (length && (length < sizeof(udp) || packet->at + length > packet->end)) /* 0: a jumbogram (RFC 2675) */
		return DAMAGED;
	packet->sport = BE16(udp.sport);
	packet->dport = BE16(udp.dport);
	packet->body = packet->at + sizeof(udp);
	return READ;
}

INLINE enum reading read_transport(Frame *frame, struct packet *packet)
{
	enum reading reading = READ;

	if (packet->end < packet->at || packet->end > octets_of(frame))
		return DAMAGED;
	packet->body = packet->at;
	if (packet->protocol == TCP)
		reading = read_tcp(frame, packet);
	else if (packet->protocol == UDP)
		reading = read_udp(frame, packet);
	packet->payload = packet->end - packet->body;
	return reading;
}

INLINE enum reading read_ipv4(Frame *frame, __u32 at, struct packet *packet)
{
	struct ipv4_header ip;
	__u32 octets, fragment;

	if (load(frame, at, &ip, sizeof(ip)))
		return DAMAGED;
	octets = (ip.version_length & 0x0F) * 4;
	if (ip.version_length >> 4 != 4 || octets < sizeof(ip))
		return DAMAGED;
	packet->src[1] = 0xFFFF00000000ull | BE32(ip.src);
	packet->dst[1] = 0xFFFF00000000ull | BE32(ip.dst);
	fragment = BE16(ip.fragment);
	if (fragment & 0x3FFF) { /* more fragments, or an offset (RFC 791 section 3.1) */
		packet->fragment = (fragment & 0x1FFF) * 8;
		return FRAGMENTED;
	}
	packet->protocol = ip.protocol;
	packet->at = at + octets;
	packet->end = ip.total ? at + BE16(ip.total) : octets_of(frame); /* 0: a giant beyond 64 KiB */
	return read_transport(frame, packet);
}

INLINE int is_extension(__u8 protocol)
{
	return protocol == HOP_BY_HOP || protocol == ROUTING || protocol == FRAGMENT || protocol == AUTHENTICATION ||
	       protocol == DESTINATION_OPTIONS;
}

INLINE enum reading skip_extension(Frame *frame, struct packet *packet)
{
	struct extension_header header;
	__u8 protocol = packet->protocol;

	if (packet->at + sizeof(header) > packet->end || load(frame, packet->at, &header, sizeof(header)))
		return DAMAGED;
	if (protocol == FRAGMENT && header.fragment & BE16(0xFFF9)) { /* else atomic: RFC 6946 */
		packet->fragment = BE16(header.fragment) & 0xFFF8;
		return FRAGMENTED;
	}
	if (protocol == FRAGMENT)
		packet->at += sizeof(header);
	else if (protocol == AUTHENTICATION)
		packet->at += (header.length + 2) * 4;
	else
		packet->at += (header.length + 1) * 8;
	packet->protocol = header.next;
	return READ;
}

INLINE enum reading read_ipv6(Frame *frame, __u32 at, struct packet *packet)
{
	struct ipv6_header ip;

	if (load(frame, at, &ip, sizeof(ip)) || ip.version_class >> 4 != 6)
		return DAMAGED;
	packet->protocol = ip.next;
	packet->at = at + sizeof(ip);
	packet->end = ip.length ? packet->at + BE16(ip.length) : octets_of(frame); /* 0: a jumbogram or a giant */
	packet->src[0] = BE64(ip.src[0]);
	packet->src[1] = BE64(ip.src[1]);
	packet->dst[0] = BE64(ip.dst[0]);
	packet->dst[1] = BE64(ip.dst[1]);
	UNROLL
	for (int depth = 0; depth < MAX_EXTENSION_HEADERS && is_extension(packet->protocol); depth++) {
		enum reading reading = skip_extension(frame, packet);

		if (reading != READ)
			return reading;
	}
	return is_extension(packet->protocol) ? DAMAGED : read_transport(frame, packet);
}

/* Fills in `packet`, which must be zero, from the network header at `at`. */
INLINE enum reading read_network(Frame *frame, __u32 at, __u16 ethertype, struct packet *packet)
{
	if (ethertype == ETHERTYPE_IPV4)
		return read_ipv4(frame, at, packet);
	if (ethertype == ETHERTYPE_IPV6)
		return read_ipv6(frame, at, packet);
	return NOT_IP;
}

INLINE int is_tag(__u16 ethertype)
{
	return ethertype == 0x8100 || ethertype == 0x88A8 || ethertype == 0x9100; /* 802.1Q, 802.1ad, the older QinQ */
}

/* As `read_network`, of a frame that begins with an Ethernet header. */
INLINE enum reading read_ethernet(Frame *frame, struct packet *packet)
{
	__u32 at = ETHERNET_OCTETS;
	__be16 word;
	__u16 ethertype;

	if (load(frame, ETHERTYPE_AT, &word, sizeof(word)))
		return NOT_IP;
	ethertype = BE16(word);
	UNROLL
	for (int tag = 0; tag < MAX_TAGS && is_tag(ethertype); tag++) {
		if (load(frame, at + 2, &word, sizeof(word)))
			return NOT_IP;
		ethertype = BE16(word);
		at += 4;
	}
	if (ethertype == ETHERTYPE_PPPOE) { /* RFC 2516 section 4; RFC 1332 section 2, RFC 5072 section 3 */
		if (load(frame, at + 6, &word, sizeof(word)))
			return NOT_IP;
		at += PPPOE_OCTETS;
		ethertype = word == BE16(PPP_IPV4) ? ETHERTYPE_IPV4 : word == BE16(PPP_IPV6) ? ETHERTYPE_IPV6 : 0;
	}
	return read_network(frame, at, ethertype, packet);
}

#endif
