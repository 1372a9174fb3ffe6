#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes a store that is whole, but of another version: damage.py map|device FILE.

Changes the version number where it is written, and the checksum over it, so that nothing but the
version is wrong.  server/map_format.h and server/dev_file.c have the layout.
"""

import struct
import sys

MAP_MAGIC = b"cowd-map"
DEV_MAGIC = b"COWDEV1"
MAP_TABLE = b"\0"
MAP_KEY = b"store"
MAP_STORE_BYTES = 88
DEV_CRC_OFF = 36


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def damage_map(data):
    at = data.find(MAP_MAGIC)
    assert at >= 0, "no store value"
    while at >= 0:
        begin = at - 8
        value = bytearray(data[begin:begin + MAP_STORE_BYTES])
        value[4:8] = struct.pack("<I", struct.unpack_from("<I", value, 4)[0] + 1)
        value[0:4] = struct.pack("<I", crc32c(MAP_TABLE + MAP_KEY + value[4:]))
        data[begin:begin + MAP_STORE_BYTES] = value
        at = data.find(MAP_MAGIC, at + 1)


def damage_device(data):
    assert data.startswith(DEV_MAGIC), "no device header"
    version = struct.unpack_from("<I", data, 8)[0]
    struct.pack_into("<I", data, 8, version + 1)
    struct.pack_into("<I", data, DEV_CRC_OFF, crc32c(data[:DEV_CRC_OFF]))


def main():
    what, path = sys.argv[1:]
    with open(path, "r+b") as file:
        data = bytearray(file.read(1 << 24))
        (damage_map if what == "map" else damage_device)(data)
        file.seek(0)
        file.write(data)


main()
