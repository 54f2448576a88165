import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The folder with package.json: benches run compiled (dist/native-bench) but use sources (peers, native). */
export const PROJECT_ROOT = projectRoot(dirname(fileURLToPath(import.meta.url)))
export const PEERS_FOLDER = join(PROJECT_ROOT, 'native-bench', 'peers')
export const NATIVE_FOLDER = join(PROJECT_ROOT, 'native-bench', 'native')

function projectRoot(from: string): string {
  return existsSync(join(from, 'package.json')) ? from : projectRoot(dirname(from))
}

/** A thread's or program's file beside this module, as it is: compiled or not. */
export function siblingUrl(moduleUrl: string, name: string): URL {
  return new URL(`${name}${moduleUrl.endsWith('.ts') ? '.ts' : '.js'}`, moduleUrl)
}
