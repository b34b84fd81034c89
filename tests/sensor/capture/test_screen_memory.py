import random
import struct
import subprocess
from pathlib import Path

import pytest
from damage import changed
from frames import S
from traps import DETECTED
from traps_quiet import QUIET

from sensor.capture import compiled
from sensor.packet import LinkType, Packet

MAIN = """
#define HEADS_WITHOUT_PYTHON
#include "_heads.c"
#include "screen.h"
#include <stdio.h>
#include <stdlib.h>
static unsigned long handed, asked;
static uint64_t sum;
static const char *spoken[] = {"com", "io", "n*.net", "e*.org", NULL};
static int ask(void *context, enum kind kind, const char *name, uint32_t octets) {
    (void)context, (void)kind;
    asked++;
    for (uint32_t i = 0; i < octets; i++)
        sum += (uint8_t)name[i];
    return sum % 4 == 0;
}
static int hand(void *context, const struct record *record) {
    (void)context;
    handed++;
    for (uint32_t i = 0; i < record->octets; i++)
        sum += ((const uint8_t *)(record + 1))[i];
    return 0;
}
int main(int count, char **arguments) {
    struct screen *s = calloc(1, sizeof *s);
    struct host host = {NULL, ask, hand};
    unsigned long passed = 0, records = 0;
    prepare(s, (const uint64_t[2]){1, 2});
    memset(&s->spoken, 0, sizeof s->spoken);
    for (const char **name = spoken; *name; name++)
        add_name(&s->spoken, *name, strlen(*name));
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(arguments[i], "rb");
        uint32_t record[4];
        if (file == NULL)
            return 2;
        while (fread(record, 1, sizeof record, file) == sizeof record) {
            uint8_t *octets = malloc(record[2] ? record[2] : 1);
            if (fread(octets, 1, record[2], file) != record[2])
                return 2;
            Frame frame = {octets, record[2], record[3]};
            struct packet packet = {0};
            enum reading reading = read_link(&frame, LINKTYPE_ETHERNET, &packet);
            int64_t ts = record[0] * INT64_C(1000000000) + record[1];
            passed += screen(s, &host, &frame, &packet, reading, ts) == PASS;
            records++;
            free(octets);
        }
        fclose(file);
    }
    if (release_all(s, &host) < 0)
        return 3;
    printf("%lu %lu %lu %lu\\n", records, passed, handed, (unsigned long)s->totals.packets);
    free(s);
    return 0;
}
"""


def test_nothing_is_read_out_of_bounds_and_every_packet_is_handed_out_or_counted(tmp_path: Path) -> None:
    program, main = tmp_path / "screen", tmp_path / "main.c"
    main.write_text(MAIN)
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    include = Path(compiled.__file__).parent
    flags = ["-g", "-O1", "-Wall", "-Wextra", "-Wno-unused-function", f"-I{include}"]
    command = ["gcc", *flags, *sanitizers, str(main), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and "libasan" in built.stderr:
        pytest.skip("this gcc has no sanitizers")
    assert not built.returncode, built.stderr
    chance = random.Random(7)
    files = []
    for number in range(300):
        packets = [row for trap in chance.sample((*DETECTED, *QUIET), 3) for row in trap.packets()]
        rows = [row for _ in range(3) for row in changed(packets, chance) if row.link_type == LinkType.ETHERNET]
        files.append(tmp_path / f"{number}.pcap")
        files[-1].write_bytes(b"".join(map(as_record, rows)))
    done = subprocess.run([str(program), *map(str, files)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    records_read, passed, handed, passed_over = map(int, done.stdout.split())
    assert records_read == passed + handed + passed_over
    assert min(passed, handed, passed_over) > 100


def as_record(row: Packet) -> bytes:
    return struct.pack("<IIII", *divmod(row.ts_ns, S), len(row.data), row.wire_octets) + row.data
