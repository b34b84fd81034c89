/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which of several worker processes a packet is for. All that one client says and is told goes to one of them, its look-ups
 * as well as its flows, in both directions and on every interface: what a name led to is known where the flow is seen.
 *
 * The client is the end with an inside address. Where both ends have one, or neither, it is the end with the higher port;
 * of what shows no ports, fragments (long answers) and ICMP errors, the end that it is sent to.
 */
#ifndef SHARE_H
#define SHARE_H

#include "packet.h"

#define SPREAD 0x9E3779B97F4A7C15ull /* 2**64 by the golden ratio: neighbours go to different workers */

/* Private (RFC 1918, RFC 4193), shared (RFC 6598) and link-local (RFC 3927, RFC 4291) addresses. */
INLINE int is_inside(__u64 high, __u64 low)
{
	__u32 ipv4 = (__u32)low;

	if (high)
		return high >> 57 == 0xFC >> 1 || high >> 54 == 0xFE80 >> 6;
	return low >> 32 == 0xFFFF && (ipv4 >> 24 == 10 || ipv4 >> 20 == 0xAC1 || ipv4 >> 16 == 0xC0A8 ||
				       ipv4 >> 22 == 0x191 || ipv4 >> 16 == 0xA9FE);
}

INLINE int is_from_client(const struct packet *packet, int is_answer)
{
	int src = is_inside(packet->src[0], packet->src[1]);
	int dst = is_inside(packet->dst[0], packet->dst[1]);

	if (src != dst)
		return src;
	if (is_answer)
		return 0;
	if (packet->sport != packet->dport)
		return packet->sport > packet->dport;
	return packet->src[0] != packet->dst[0] ? packet->src[0] < packet->dst[0] : packet->src[1] < packet->dst[1];
}

/* The worker's number; what is DAMAGED has no reliable addresses and goes to the first. */
INLINE __u32 worker_of(const struct packet *packet, enum reading reading, int is_answer, __u32 workers)
{
	__u64 src = packet->src[0] ^ packet->src[1];
	__u64 dst = packet->dst[0] ^ packet->dst[1];
	__u64 spread = (is_from_client(packet, is_answer) ? src : dst) * SPREAD;

	return reading == DAMAGED ? 0 : (__u32)((spread >> 32) * workers >> 32);
}

#endif
