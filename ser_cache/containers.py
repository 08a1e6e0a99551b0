"""What the bytes of an audio file promise: sizes in the headers of chunks, the last page of OGG, MP3 frames.

Nothing is decoded here. libsndfile shortens files that were cut without a word, so ``audio`` compares what it
got with this.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

# Streaming writers leave 0xFFFFFFFF (ffmpeg), 0x7FFFF000 or 0x7FFFFFFF (sox) where the size would stand.
_PLACEHOLDER_SIZE = 0x7FFF0000

# Containers of chunks: WAV (RIFF), RF64 and AIFF (FORM).


class _Chunk(NamedTuple):
    name: bytes
    start: int  # of its content
    size: int


def _chunks(data: bytes, order: str) -> Iterator[_Chunk]:
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from(f"{order}4sI", data, position)
        yield _Chunk(name, position + 8, size)
        position += 8 + size + size % 2


def _sound_chunk(data: bytes) -> _Chunk | None:
    """The chunk that holds the samples of a WAV, RF64 or AIFF file, with its true 64-bit size."""
    order, wanted = {b"RIFF": ("<", b"data"), b"RF64": ("<", b"data"), b"FORM": (">", b"SSND")}.get(
        data[:4], ("", b"")
    )
    if not order:
        return None
    size64 = None
    for chunk in _chunks(data, order):
        if chunk.name == b"ds64" and chunk.start + 16 <= len(data):
            size64 = struct.unpack_from("<Q", data, chunk.start + 8)[0]
        if chunk.name == wanted:
            return chunk if size64 is None else chunk._replace(size=size64)
    return None


def missing_bytes(data: bytes) -> int:
    """How many bytes of samples a WAV, RF64, AIFF or AU header promises beyond the end of the file."""
    if data[:4] == b".snd" and len(data) >= 12:
        start, size = struct.unpack_from(">II", data, 4)
    elif chunk := _sound_chunk(data):
        start, size = chunk.start, chunk.size
        if data[:4] == b"RF64" and size >= 2**63:
            return 0
    else:
        return 0
    if data[:4] != b"RF64" and size >= _PLACEHOLDER_SIZE:
        return 0
    # Some recorders write the size of the whole file where that of the samples belongs; nothing is missing.
    if size in {len(data), len(data) - 8}:
        return 0
    return int(max(0, start + size - len(data)))


def with_data_size(data: bytes) -> bytes:
    """Fill in the size of a streamed WAV that says 0, which libsndfile takes for an empty file.

    A WAV that is truly empty is told apart by its RIFF size, which then covers what follows the data chunk.
    """
    chunk = _sound_chunk(data) if data[:4] == b"RIFF" else None
    if chunk is None or chunk.size or chunk.start >= len(data):
        return data
    riff = struct.unpack_from("<I", data, 4)[0]
    if riff < _PLACEHOLDER_SIZE and riff + 8 > chunk.start:
        return data
    rest = len(data) - chunk.start
    return data[: chunk.start - 4] + struct.pack("<I", rest) + data[chunk.start :]


def ogg_is_whole(data: bytes) -> bool:
    """Whether the last page is there in full and marked as the stream's last (RFC 3533, section 6)."""
    page = data.rfind(b"OggS")
    if page < 0 or page + 27 > len(data):
        return False
    segments = data[page + 26]
    table = data[page + 27 : page + 27 + segments]
    end = page + 27 + segments + sum(table)
    return len(table) == segments and end <= len(data) and bool(data[page + 5] & 4)


# MPEG audio, layer III: lengths of frames from their headers (ISO/IEC 11172-3 and 13818-3).
_KBITS_V1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_V2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MP3_RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}


class Mp3Frame(NamedTuple):
    """Where a frame lies, in bytes, and how many samples it decodes to."""

    start: int
    size: int  # bytes
    samples: int


def mp3_frame(data: bytes, start: int) -> Mp3Frame | None:
    """The frame whose header begins here; None where none does."""
    if start + 4 > len(data):
        return None
    header = int.from_bytes(data[start : start + 4], "big")
    version, layer = header >> 19 & 3, header >> 17 & 3
    bitrate, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or bitrate in {0, 15} or rate == 3:
        return None
    samples, kbits = (1152, _KBITS_V1) if version == 3 else (576, _KBITS_V2)
    size = samples // 8 * kbits[bitrate] * 1000 // _MP3_RATES[version][rate] + (header >> 9 & 1)
    return Mp3Frame(start, size, samples)


def mp3_frames(data: bytes) -> list[Mp3Frame]:
    """The unbroken run of frames from the first one on; empty where none is found."""
    start = 0
    while data[start : start + 3] == b"ID3" and start + 10 <= len(data):
        sevens = data[start + 6 : start + 10]  # 7 bits a byte
        start += 10 + (sevens[0] << 21 | sevens[1] << 14 | sevens[2] << 7 | sevens[3])
    while 0 <= start < len(data):
        frame = mp3_frame(data, start)
        if frame and mp3_frame(data, start + frame.size):
            break
        start = data.find(b"\xff", start + 1)
    frames = []
    while start >= 0 and (frame := mp3_frame(data, start)):
        frames.append(frame)
        start += frame.size
    return frames
