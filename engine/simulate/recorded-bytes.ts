import { createReadStream } from 'node:fs'
import { type FileHandle, open, stat } from 'node:fs/promises'
import { pipeline } from 'node:stream'
import { createGunzip, createInflateRaw } from 'node:zlib'
import { EXIT_USAGE, Fault } from '../base/fault.ts'

/**
 * The text of a recording, whatever it is packed in: plain, gzip, or a zip with one file in it, which is how Bybit hands
 * out its history. The first bytes tell, not the name.
 *
 *   zip: … | central directory: one head a file | end record: how many heads, where they begin
 *
 * The head in front of the content may lack the lengths (they are known only when the content is written), the central
 * directory never does: so it is read from there (APPNOTE.TXT 6.3.10, 4.3.7 to 4.3.16).
 */
const READ_CHUNK_BYTES = 1 << 20
const GZIP_MAGIC = 0x8b1f
const ZIP_MAGIC = 0x04034b50
const ZIP_END_MAGIC = 0x06054b50
const ZIP_END_BYTES = 22
const ZIP_COMMENT_BYTES_MAX = 65_535
const ZIP_HEAD_BYTES = 46
const ZIP_LOCAL_HEAD_BYTES = 30
const ZIP_64 = 0xffffffff
const STORED = 0
const DEFLATED = 8

/** @throws Fault for a file that is not there. */
export async function requireFile(file: string): Promise<void> {
  const found = await stat(file).catch(() => null)
  if (found === null) throw new Fault('RECORDING_MISSING', `recording ${file} is not there: check the path`, EXIT_USAGE)
  if (!found.isFile())
    throw new Fault('RECORDING_MISSING', `recording ${file} is not a file: name the files in it`, EXIT_USAGE)
}

export async function openBytes(file: string): Promise<AsyncIterable<Uint8Array>> {
  const handle = await open(file, 'r')
  try {
    const head = Buffer.alloc(4)
    await handle.read(head, 0, head.length, 0)
    if (head.readUInt32LE(0) === ZIP_MAGIC) return openZip(file, await onlyEntry(handle, file))
    if (head.readUInt16LE(0) === GZIP_MAGIC) return unpacked(file, createGunzip({ chunkSize: READ_CHUNK_BYTES }))
    return createReadStream(file, { highWaterMark: READ_CHUNK_BYTES })
  } finally {
    await handle.close()
  }
}

interface ZipEntry {
  readonly method: number
  readonly offset: number
  readonly packedBytes: number
}

function openZip(file: string, { method, offset, packedBytes }: ZipEntry): AsyncIterable<Uint8Array> {
  const range = { start: offset, end: offset + packedBytes - 1 }
  if (method === STORED) return createReadStream(file, { ...range, highWaterMark: READ_CHUNK_BYTES })
  return unpacked(file, createInflateRaw({ chunkSize: READ_CHUNK_BYTES }), range)
}

function unpacked(
  file: string,
  unpack: ReturnType<typeof createGunzip>,
  range: { start?: number; end?: number } = {},
): AsyncIterable<Uint8Array> {
  // What goes wrong arrives at the reader of `unpack`, as the error of its iteration.
  return pipeline(createReadStream(file, { ...range, highWaterMark: READ_CHUNK_BYTES }), unpack, () => undefined)
}

async function onlyEntry(handle: FileHandle, file: string): Promise<ZipEntry> {
  const { size } = await handle.stat()
  const tail = await bytesAt(handle, Math.max(0, size - ZIP_END_BYTES - ZIP_COMMENT_BYTES_MAX), size)
  let end = tail.length - ZIP_END_BYTES
  while (end >= 0 && tail.readUInt32LE(end) !== ZIP_END_MAGIC) end--
  if (end < 0) throw refused(file, 'its end is missing')
  const fileCount = tail.readUInt16LE(end + 10)
  if (fileCount !== 1) throw refused(file, `it holds ${fileCount} files, not one`)
  const headOffset = tail.readUInt32LE(end + 16)
  const head = await bytesAt(handle, headOffset, headOffset + ZIP_HEAD_BYTES)
  if (head.length < ZIP_HEAD_BYTES) throw refused(file, 'its directory is missing')
  const [isEncrypted, method, packedBytes, localOffset] = [
    (head.readUInt16LE(8) & 1) === 1,
    head.readUInt16LE(10),
    head.readUInt32LE(20),
    head.readUInt32LE(42),
  ]
  if (isEncrypted) throw refused(file, 'it is encrypted')
  if (method !== STORED && method !== DEFLATED) throw refused(file, `it is packed by method ${method}`)
  if (packedBytes === ZIP_64 || localOffset === ZIP_64) throw refused(file, 'it is larger than 4 GiB')
  const local = await bytesAt(handle, localOffset, localOffset + ZIP_LOCAL_HEAD_BYTES)
  if (local.length < ZIP_LOCAL_HEAD_BYTES) throw refused(file, 'its content is missing')
  const offset = localOffset + ZIP_LOCAL_HEAD_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28)
  return { method, offset, packedBytes }
}

async function bytesAt(handle: FileHandle, from: number, to: number): Promise<Buffer> {
  const bytes = Buffer.alloc(Math.max(0, to - from))
  const { bytesRead } = await handle.read(bytes, 0, bytes.length, from)
  return bytes.subarray(0, bytesRead)
}

function refused(file: string, why: string): Fault {
  return new Fault('RECORDING_ZIP', `the zip ${file} cannot be read: ${why}; unpack it and name the file`, EXIT_USAGE)
}
