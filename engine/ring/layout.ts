/**
 * One ring is one SharedArrayBuffer between one writer thread and one reader thread.
 *
 *   byte 0         128         256         384         512
 *        +----------+-----------+-----------+-----------+-------------------- - -+
 *        |   TAIL   |   HEAD    |  PARKED   |   STOP    |  records (capacity)    |
 *        |  writer  |  reader   |  reader   |  either   |  a power of two        |
 *        +----------+-----------+-----------+-----------+-------------------- - -+
 *
 *   one record, always 8-aligned and contiguous:
 *   +0           +4      +6        +8          +12         +16           +20      +24
 *   +------------+-------+---------+-----------+-----------+-------------+--------+---------------+
 *   | LENGTH u32 | KIND  | SOURCE  | RECV HI   | RECV LO   | GENERATION  | EXTRA  | skew, payload |
 *   | of payload | SKEW  |  u16    | u32       | u32       | u32         | u32    | and fill to 8 |
 *   +------------+-------+---------+-----------+-----------+-------------+--------+---------------+
 *
 * KIND and SKEW have a byte each. SKEW is 0 to 7 bytes before the payload, so that it lies as far from a multiple of 8 as
 * its source did: into shared memory V8 copies by words only then, byte by byte otherwise. 274 bytes: 28 ns against 88.
 *
 * Invariants
 *   1. 0 <= tail - head <= capacity. Positions count bytes for ever and wrap at 2^32.
 *   2. The payload is complete before TAIL moves past it, so the reader needs no lock.
 *   3. Space left at the end of the ring becomes one PADDING record (LENGTH counts the bytes after its first 8).
 *   4. A record is never longer than half the ring, so a padding and a record always fit into an empty ring.
 *   5. PARKED is odd while the reader sleeps on it; who wakes the reader makes it even. Each park has its own number.
 *
 * Arithmetic: 100,000 frames/s of 300 bytes are 32 MB/s; a ring of 8 MiB holds a quarter of a second of it.
 */
export const LINE_BYTES = 128 // two cache lines: neighbours are prefetched in pairs
export const TAIL_OFFSET = 0
export const HEAD_OFFSET = TAIL_OFFSET + LINE_BYTES
export const PARKED_OFFSET = HEAD_OFFSET + LINE_BYTES
export const STOP_OFFSET = PARKED_OFFSET + LINE_BYTES
export const RECORDS_OFFSET = STOP_OFFSET + LINE_BYTES

export const LENGTH_FIELD = 0
export const KIND_FIELD = 4
export const SOURCE_FIELD = 6
export const RECEIVED_HI_FIELD = 8
export const RECEIVED_LO_FIELD = 12
export const GENERATION_FIELD = 16
export const EXTRA_FIELD = 20
export const RECORD_HEAD_BYTES = 24
/** Shifts within the word of KIND, SKEW and SOURCE. */
export const SKEW_SHIFT = 8
export const SOURCE_SHIFT = 16
export const RECORD_ALIGN_BYTES = 8

/** Kind of the record that fills the end of the ring; frame kinds start above it. */
export const PADDING = 0

export const CAPACITY_BYTES_MIN = 1024
export const CAPACITY_BYTES_MAX = 1 << 30
