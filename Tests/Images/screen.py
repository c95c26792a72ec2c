# SPDX-FileCopyrightText: The distri authors
# SPDX-License-Identifier: Apache-2.0

"""Pictures of a screen: PNG (as qemu writes it: eight bits, red, green, blue), and how much two of them look alike."""

import struct
import zlib

from machine import Failure

# How many fields a picture is divided into for a comparison.
COLUMNS, ROWS = 32, 20


def read_png(path):
    """Width, height, bytes of a pixel and the rows of a picture."""
    data = path.read_bytes()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise Failure(f"{path} is no PNG")
    position, packed, width, height, channels = 8, b"", 0, 0, 0
    while position < len(data):
        length, kind = struct.unpack(">I4s", data[position : position + 8])
        body = data[position + 8 : position + 8 + length]
        if kind == b"IHDR":
            width, height, depth, color, _, _, interlaced = struct.unpack(">IIBBBBB", body)
            if depth != 8 or color not in (2, 6) or interlaced:
                raise Failure(f"{path} is a PNG of another kind")
            channels = 3 if color == 2 else 4
        elif kind == b"IDAT":
            packed += body
        position += length + 12
    raw, rows, before = zlib.decompress(packed), [], bytearray(width * channels)
    for row in range(height):
        start = row * (width * channels + 1)
        before = unfiltered(raw[start], bytearray(raw[start + 1 : start + 1 + width * channels]), before, channels)
        rows.append(before)
    return width, height, channels, rows


def write_png(path, width, height, channels, rows):
    """Writes a picture as small as it gets without a filter, which suits windows and text."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 6, 0, 0, 0)
    packed = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b""))


def unfiltered(kind, line, above, size):
    """A row without its filter (PNG, section 9)."""
    for index in range(len(line) if kind else 0):
        left = line[index - size] if index >= size else 0
        corner = above[index - size] if index >= size else 0
        if kind == 1:
            guess = left
        elif kind == 2:
            guess = above[index]
        elif kind == 3:
            guess = (left + above[index]) // 2
        else:
            estimate = left + above[index] - corner
            guess = min((left, above[index], corner), key=lambda value: abs(estimate - value))
        line[index] = (line[index] + guess) & 255
    return line


def fields(path):
    """The mean colours of the fields of a picture, row by row."""
    width, height, channels, rows = read_png(path)
    result = []
    for y in range(ROWS):
        for x in range(COLUMNS):
            left, right = x * width // COLUMNS, (x + 1) * width // COLUMNS
            lines = rows[y * height // ROWS : (y + 1) * height // ROWS]
            count = (right - left) * len(lines)
            result.append(tuple(
                sum(sum(line[left * channels + color : right * channels : channels]) for line in lines) / count for color in range(3)))
    return result


def difference(first, second):
    """How far the fields of two pictures are apart, from 0 to 255: the mean over all of the colour that differs most."""
    return sum(max(abs(a - b) for a, b in zip(one, other)) for one, other in zip(first, second)) / len(first)
