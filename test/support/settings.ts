/** What the parts are given when nothing is configured: the defaults of the keys, without any file of config/. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Config, loadConfig } from '../../engine/base/config.ts'
import { storageOptions, streamOptions } from '../../engine/roles/settings.ts'

export const CONFIG = unconfigured()
export const STREAMS = streamOptions(CONFIG)
export const STORAGE = storageOptions(CONFIG)

function unconfigured(): Config {
  const directory = mkdtempSync(join(tmpdir(), 'marketprism-config-'))
  try {
    writeFileSync(join(directory, 'base.yaml'), '')
    return loadConfig({ directory, variables: {} }).config
  } finally {
    rmSync(directory, { recursive: true })
  }
}
