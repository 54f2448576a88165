import { mkdir, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Dead letters of a collector without NATS, in one directory:
 *
 *   {name}.block    the bytes as they are
 *   {name}.json     number, name, reason, attempts, time; written first, so that a block is never without it
 *
 * The number is what a person names the letter by: it stays while others go, and is not given again while a later one is
 * there. The same block put again keeps its number.
 */
export interface LetterNoteFile {
  readonly number: number
  readonly name: string
  readonly reason: string
  readonly attempts: number
  readonly atMs: number
}

const BLOCK = '.block'
const NOTE = '.json'
const DRAFT = '.tmp'

export class LetterFiles {
  readonly directory: string
  #writing: Promise<unknown> = Promise.resolve()

  constructor(directory: string) {
    this.directory = directory
  }

  /** One after the other, so that no two get one number. @throws as the file system does. */
  write(payload: Uint8Array, note: Omit<LetterNoteFile, 'number'>): Promise<void> {
    const written = this.#writing.then(() => this.#write(payload, note))
    this.#writing = written.catch(() => undefined)
    return written
  }

  async #write(payload: Uint8Array, note: Omit<LetterNoteFile, 'number'>): Promise<void> {
    await mkdir(this.directory, { recursive: true })
    const there = await this.list()
    const number =
      there.find((other) => other.name === note.name)?.number ?? Math.max(0, ...there.map((other) => other.number)) + 1
    const file = fileName(note.name)
    await this.#replace(`${file}${NOTE}`, JSON.stringify({ ...note, number } satisfies LetterNoteFile))
    await this.#replace(`${file}${BLOCK}`, payload)
    const directory = await open(this.directory, 'r')
    await directory.sync().finally(() => directory.close())
  }

  /** In the order of their numbers; an absent directory has none. */
  async list(): Promise<LetterNoteFile[]> {
    const names = await readdir(this.directory).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return []
      throw error
    })
    const files = names.filter((name) => name.endsWith(BLOCK)).map((name) => name.slice(0, -BLOCK.length))
    const notes = await Promise.all(files.map((file) => this.#note(file)))
    const last = Math.max(0, ...notes.map((note) => note.number))
    const numbered = notes.map((note, index) => (note.number > 0 ? note : { ...note, number: last + 1 + index }))
    return numbered.sort((a, b) => a.number - b.number)
  }

  read(name: string): Promise<Buffer> {
    return readFile(join(this.directory, `${fileName(name)}${BLOCK}`))
  }

  async remove(name: string): Promise<void> {
    await rm(join(this.directory, `${fileName(name)}${BLOCK}`), { force: true })
    await rm(join(this.directory, `${fileName(name)}${NOTE}`), { force: true })
  }

  /** A block whose note is missing is a letter all the same. */
  async #note(file: string): Promise<LetterNoteFile> {
    try {
      return JSON.parse(await readFile(join(this.directory, `${file}${NOTE}`), 'utf8')) as LetterNoteFile
    } catch {
      const { mtimeMs } = await stat(join(this.directory, `${file}${BLOCK}`))
      return { number: 0, name: file, reason: 'its note is missing', attempts: 0, atMs: mtimeMs }
    }
  }

  async #replace(name: string, content: string | Uint8Array): Promise<void> {
    await writeFile(join(this.directory, `${name}${DRAFT}`), content, { flush: true })
    await rename(join(this.directory, `${name}${DRAFT}`), join(this.directory, name))
  }
}

function fileName(name: string): string {
  return name.replace(/[^A-Za-z0-9_.-]/g, '_')
}
