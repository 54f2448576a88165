import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '../base/fault.ts'

/**
 * The part of a disk that the spool needs: one flat directory. Everything that must survive a power cut goes through
 * these few calls, so that a simulated disk can cut the power between any two of them.
 */
export interface Disk {
  readonly directory: string
  list(): Promise<string[]>
  bytesOf(name: string): Promise<number>
  /** Up to `length` bytes from `offset`; fewer at the end of the file. @param into memory that may be used for them */
  read(name: string, offset: number, length: number, into?: Buffer): Promise<Buffer>
  /** A new empty file; it must not exist. Its name is durable after `syncDirectory`. */
  create(name: string): Promise<DiskFile>
  /** An existing file, to be truncated and synced after a crash, never to be appended to. */
  open(name: string): Promise<DiskFile>
  rename(source: string, target: string): Promise<void>
  remove(name: string): Promise<void>
  syncDirectory(): Promise<void>
  freeBytes(): Promise<number>
  /** Changes when the operating system starts; '' where that cannot be known. */
  bootId(): string
}

export interface DiskFile {
  /** Writes the chunks at the end of the file. A failure may leave a part of them there. */
  append(chunks: readonly Uint8Array[]): Promise<void>
  sync(): Promise<void>
  truncate(bytes: number): Promise<void>
  close(): Promise<void>
}

/** Replaces a small file so that after a crash either the old or the new content is there, whole. */
export async function replaceFile(disk: Disk, name: string, content: string): Promise<void> {
  await disk.rename(await writeDraft(disk, name, content, (file) => file.sync()), name)
  await disk.syncDirectory()
}

/**
 * Replaces a small file without waiting for the disk: what a crash of the machine makes of it is found out when it is read.
 * A full disk is no reason to fail.
 */
export async function replaceAdvice(disk: Disk, name: string, content: string): Promise<void> {
  try {
    await disk.rename(await writeDraft(disk, name, content), name)
  } catch (error) {
    if (!isFull(error)) throw error
  }
}

/** A full disk must not keep the half of it, nor the file open: it is tried again and again. */
async function writeDraft(
  disk: Disk,
  name: string,
  content: string,
  finish: (file: DiskFile) => Promise<void> = async () => {},
): Promise<string> {
  const draft = `${name}.${randomBytes(4).toString('hex')}.tmp`
  const file = await disk.create(draft)
  try {
    await file.append([Buffer.from(content)])
    await finish(file)
  } catch (error) {
    await file.close()
    if (isFull(error)) await disk.remove(draft)
    throw error
  }
  await file.close()
  return draft
}

/** Whether the disk, or what we may have of it, is used up. */
export function isFull(error: unknown): boolean {
  const code = osCode(error)
  return code === 'ENOSPC' || code === 'EDQUOT'
}

/** A small file, or undefined when it is missing or damaged: those kept here may be lost without harm. */
export async function readJson<T>(disk: Disk, name: string): Promise<T | undefined> {
  try {
    return JSON.parse((await disk.read(name, 0, 16 * 1024 * 1024)).toString('utf8')) as T
  } catch {
    return undefined
  }
}

/** The error code of the operating system (`ENOSPC`, `EIO` …), or ''. */
export function osCode(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code
  return typeof code === 'string' ? code : ''
}

/** Opens a directory of the real file system, and makes it if it is missing. */
export async function openNodeDisk(directory: string): Promise<Disk> {
  try {
    await mkdir(directory, { recursive: true })
    const probe = join(directory, `.probe.${process.pid}.tmp`)
    await (await open(probe, 'w')).close()
    await rm(probe)
  } catch (error) {
    throw new Fault(
      'SPOOL_UNWRITABLE',
      `spool directory ${directory} cannot be written (${osCode(error)}): choose another with spool.directory or correct its owner`,
      undefined,
      { cause: error },
    )
  }
  return new NodeDisk(directory)
}

class NodeDisk implements Disk {
  readonly directory: string

  constructor(directory: string) {
    this.directory = directory
  }

  async list(): Promise<string[]> {
    const entries = await readdir(this.directory, { withFileTypes: true })
    return entries.filter((entry) => entry.isFile()).map((entry) => entry.name)
  }

  async bytesOf(name: string): Promise<number> {
    return (await stat(join(this.directory, name))).size
  }

  async read(name: string, offset: number, length: number, into?: Buffer): Promise<Buffer> {
    const file = await open(join(this.directory, name), 'r')
    try {
      const buffer = into !== undefined && into.length >= length ? into : Buffer.allocUnsafe(length)
      let filled = 0
      while (filled < length) {
        const { bytesRead } = await file.read(buffer, filled, length - filled, offset + filled)
        if (bytesRead === 0) break
        filled += bytesRead
      }
      return buffer.subarray(0, filled)
    } finally {
      await file.close()
    }
  }

  async create(name: string): Promise<DiskFile> {
    return new NodeDiskFile(await open(join(this.directory, name), 'wx'))
  }

  async open(name: string): Promise<DiskFile> {
    return new NodeDiskFile(await open(join(this.directory, name), 'r+'))
  }

  async rename(source: string, target: string): Promise<void> {
    await rename(join(this.directory, source), join(this.directory, target))
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.directory, name), { force: true })
  }

  async syncDirectory(): Promise<void> {
    const directory = await open(this.directory, 'r')
    try {
      await directory.sync()
    } finally {
      await directory.close()
    }
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.directory)
    return bavail * bsize
  }

  bootId(): string {
    try {
      return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
    } catch {
      return ''
    }
  }
}

class NodeDiskFile implements DiskFile {
  readonly #file: FileHandle
  #bytes = 0

  constructor(file: FileHandle) {
    this.#file = file
  }

  async append(chunks: readonly Uint8Array[]): Promise<void> {
    let rest = [...chunks]
    while (rest.length > 0) {
      const { bytesWritten } = await this.#file.writev(rest, this.#bytes)
      this.#bytes += bytesWritten
      rest = after(rest, bytesWritten)
    }
  }

  sync(): Promise<void> {
    return this.#file.datasync()
  }

  async truncate(bytes: number): Promise<void> {
    await this.#file.truncate(bytes)
    this.#bytes = bytes
  }

  close(): Promise<void> {
    return this.#file.close()
  }
}

/** What is left of the chunks after `written` bytes of them: the kernel may take fewer than it was given. */
function after(chunks: readonly Uint8Array[], written: number): Uint8Array[] {
  let skip = written
  let index = 0
  while (index < chunks.length && skip >= (chunks[index] as Uint8Array).length)
    skip -= (chunks[index++] as Uint8Array).length
  if (index === chunks.length) return []
  return [(chunks[index] as Uint8Array).subarray(skip), ...chunks.slice(index + 1)]
}
