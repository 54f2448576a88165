import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Where package.json stands, whether a test runs from dist/ or from another output. */
export const projectRoot = rootAbove(dirname(fileURLToPath(import.meta.url)))

function rootAbove(from: string): string {
  return existsSync(join(from, 'package.json')) ? from : rootAbove(dirname(from))
}
