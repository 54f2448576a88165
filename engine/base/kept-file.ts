/** Small files that hold what must outlive the process: replaced as a whole, so that they hold the old content or the new. */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'

/** The old content or the new one, whenever the machine stops. @throws what the file system says */
export function replaceFile(path: string, text: string): void {
  const fresh = `${path}.new`
  mkdirSync(dirname(path), { recursive: true })
  try {
    const file = openSync(fresh, 'w')
    try {
      writeSync(file, text)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(fresh, path)
  } catch (error) {
    rmSync(fresh, { force: true })
    throw error
  }
}

/** @param onProblem hears why there is a file that cannot be read. @returns undefined when there is none, or then */
export function readJson(path: string, bytesMax: number, onProblem: (problem: string) => void): unknown {
  try {
    const text = readFileSync(path, 'utf8')
    if (text.length > bytesMax) throw new Error(`it has ${text.length} bytes, ${bytesMax} are the most`)
    return JSON.parse(text)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') onProblem(String(error))
    return undefined
  }
}
