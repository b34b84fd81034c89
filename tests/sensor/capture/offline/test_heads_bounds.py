"""The walk under the sanitizers, over records of pcap and blocks of pcapng: nothing is read out of bounds."""

import random
import shutil
import subprocess
from pathlib import Path

import pytest
from blocks import described, of_packets, section
from judged import RECORDED, by_policy, capture, mutated

import sensor.capture.compiled
from sensor.capture.filter.flow_table import make_table
from sensor.capture.filter.limits import Limits
from sensor.capture.offline import heads
from sensor.decoding.decode import read_plain
from sensor.packet import Packet

pytestmark = [
    pytest.mark.skipif(not heads.IS_COMPILED, reason="there was no compiler at install"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc"),
]

FILES = 400
SOURCE = Path(sensor.capture.compiled.__file__).with_name("_heads.c")
BEGIN = section() + described()
LAYOUTS = {
    "pcap": (24, "{.header = 16, .base = 1000000000, .multiplier = 1, .divisor = 1}"),
    "pcapng": (len(BEGIN), "{.header = 28, .is_block = 1, .base = 4294967296, .multiplier = 1, .divisor = 1}"),
    "pcapng in odd units": (
        len(BEGIN),
        "{.header = 28, .is_block = 1, .base = 4294967296, .multiplier = 1953125, .divisor = 8388608, .offset = -9}",
    ),
}
MAIN = """
#define HEADS_WITHOUT_PYTHON
#include "_heads.c"
#include <stdio.h>
#include <stdlib.h>
static uint8_t *slurp(const char *path, uint64_t *octets) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END))
        exit(2);
    *octets = (uint64_t)ftell(file);
    uint8_t *all = malloc(*octets ? *octets : 1);
    rewind(file);
    if (fread(all, 1, *octets, file) != *octets)
        exit(2);
    fclose(file);
    return all;
}
int main(int count, char **arguments) {
    for (int i = 2; i < count; i++) {
        uint64_t room, octets;
        uint8_t *table = slurp(arguments[1], &room), *file = slurp(arguments[i], &octets);
        struct walk w = {.at = BEGIN, .end = octets, .layout = LAYOUT};
        Frame frame;
        int64_t ts;
        struct carried carried;
        unsigned long heads = 0, plain = 0;
        int passes = 0;
        while (octets >= BEGIN && passes >= 0) {
            w.is_back = 0;
            passes = step((struct table *)table, slots_of(table, room), file, &w, &frame, &ts);
            if (passes >= 0)
                read_link(&frame, LINKTYPE_RAW, &(struct packet){0});
            if (passes >= 0)
                plain += read_frame(&frame, &carried) && carried.captured <= frame.captured;
            heads += passes > 0;
            passes = w.is_back ? 0 : passes;
        }
        printf("%u %lu %lu\\n", w.packets, heads, plain);
        free(table);
        free(file);
    }
    return 0;
}
"""


def written(rows: list[Packet], layout: str) -> bytes:
    return capture(rows) if layout == "pcap" else BEGIN + of_packets(rows, has_options=len(rows[0].data) % 2 == 0)


def build(layout: str, folder: Path) -> Path:
    """Return the program that walks over files of a layout."""
    program, main = folder / "walk", folder / "main.c"
    begin, written_out = LAYOUTS[layout]
    main.write_text(f"#define BEGIN {begin}\n#define LAYOUT {written_out}\n{MAIN}")
    sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", "-g", "-O1", "-Wall", "-Wextra", *sanitizers, f"-I{SOURCE.parent}", str(main), "-o", str(program)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    if built.returncode and "libasan" in built.stderr:
        pytest.skip("this gcc has no sanitizers")
    assert not built.returncode, built.stderr
    return program


def damaged(chance: random.Random, content: bytes, begin: int) -> bytes:
    octets = bytearray(content)
    octets[chance.randrange(begin, len(octets))] = chance.randrange(256)
    return bytes(octets[: chance.randrange(len(octets))])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_read_out_of_bounds(layout: str, tmp_path: Path) -> None:
    program, table = build(layout, tmp_path), tmp_path / "table"
    table.write_bytes(make_table(Limits(flows=1024)))
    chance = random.Random(5)
    files, counts = [], []
    for number in range(FILES):
        rows = [mutated(chance, chance.choice(RECORDED)) for _ in range(40)]
        content = written(rows, layout)
        files.append(tmp_path / str(number))
        files[-1].write_bytes(damaged(chance, content, LAYOUTS[layout][0]) if number % 2 else content)
        plain = sum(read_plain(row) is not None for row in rows)
        is_known = not number % 2 and "odd" not in layout  # odd units: other times, so other flows begin anew
        counts.append(f"{len(rows)} {len(by_policy(rows))} {plain}" if is_known else None)
    done = subprocess.run([str(program), str(table), *map(str, files)], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == FILES
    for line, expected in zip(lines, counts, strict=True):
        assert expected in (None, line)
