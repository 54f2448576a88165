import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SealedBlock } from './sink.ts'

/**
 * Where blocks go that no sink will ever take: one file each, named by identity, the bytes of the block as they are, so
 * that a person can look at them and send them again. Without this one bad block would hold back all behind it.
 */
export async function setAside(
  directory: string,
  block: SealedBlock | undefined,
  payload: Uint8Array,
  fallbackName: string,
): Promise<void> {
  const name = (block?.messageId ?? fallbackName).replace(/[^A-Za-z0-9_.-]/g, '_')
  await mkdir(directory, { recursive: true })
  await writeFile(join(directory, `${name}.tmp`), payload, { flush: true })
  await rename(join(directory, `${name}.tmp`), join(directory, `${name}.block`))
}
