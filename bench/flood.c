/* Sends the frames of a pcap file (microseconds, little endian) as fast as the interface takes them:
 *
 *     flood INTERFACE FILE
 *
 * and prints how many were sent, the seconds and the CPU seconds that took. The file is mapped and read before the clock
 * starts; frames go past the queueing discipline (PACKET_QDISC_BYPASS), 64 a system call.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BATCH = 64, FILE_HEADER = 24, RECORD_HEADER = 16, CAPTURED_AT = 8 };

static void fail(const char *what) {
	perror(what);
	exit(1);
}

static double now_s(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static double cpu_s(void) {
	struct rusage used;
	getrusage(RUSAGE_SELF, &used);
	return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

static int open_interface(const char *name) {
	struct sockaddr_ll address = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(name)};
	int bypass = 1, sock = socket(AF_PACKET, SOCK_RAW, 0);
	if (sock < 0 || address.sll_ifindex == 0)
		fail(name);
	if (setsockopt(sock, SOL_PACKET, PACKET_QDISC_BYPASS, &bypass, sizeof bypass))
		fail("PACKET_QDISC_BYPASS");
	if (bind(sock, (struct sockaddr *)&address, sizeof address))
		fail(name);
	return sock;
}

static uint8_t *map_file(const char *path, size_t *octets) {
	struct stat about;
	int file = open(path, O_RDONLY);
	if (file < 0 || fstat(file, &about))
		fail(path);
	*octets = (size_t)about.st_size;
	void *start = mmap(NULL, *octets, PROT_READ, MAP_SHARED | MAP_POPULATE, file, 0);
	if (start == MAP_FAILED)
		fail(path);
	close(file);
	return start;
}

static void send_all(int sock, struct mmsghdr *messages, unsigned count) {
	for (unsigned done = 0; done < count;) {
		int sent = sendmmsg(sock, messages + done, count - done, 0);
		if (sent < 0)
			fail("sendmmsg");
		done += (unsigned)sent;
	}
}

int main(int argc, char **argv) {
	struct iovec pieces[BATCH];
	struct mmsghdr messages[BATCH];
	size_t octets;
	long frames = 0;
	unsigned held = 0;
	if (argc != 3)
		return 2;
	uint8_t *file = map_file(argv[2], &octets);
	int sock = open_interface(argv[1]);
	memset(messages, 0, sizeof messages);
	for (int number = 0; number < BATCH; number++)
		messages[number].msg_hdr = (struct msghdr){.msg_iov = &pieces[number], .msg_iovlen = 1};
	double started_s = now_s(), worked_s = cpu_s();
	for (size_t at = FILE_HEADER; at + RECORD_HEADER <= octets;) {
		uint32_t captured;
		memcpy(&captured, file + at + CAPTURED_AT, sizeof captured);
		if (captured > octets - at - RECORD_HEADER)
			break;
		pieces[held++] = (struct iovec){file + at + RECORD_HEADER, captured};
		at += RECORD_HEADER + captured;
		frames++;
		if (held == BATCH) {
			send_all(sock, messages, held);
			held = 0;
		}
	}
	send_all(sock, messages, held);
	printf("%ld %.6f %.6f\n", frames, now_s() - started_s, cpu_s() - worked_s);
	return 0;
}
