/*
 * node .ci/complete-lock.mjs: run it after every `npm install` that changed package-lock.json.
 *
 * Some packages have a part for each platform, as optional dependencies. A package mirror may carry only the parts of its
 * own platform; npm then writes a lock file without the others, which `npm ci` refuses everywhere ("Missing: … from lock
 * file") and which would leave macOS without them. This adds the missing entries; their names say what they are for.
 */
import { readFileSync, writeFileSync } from 'node:fs'

const LOCK = new URL('../package-lock.json', import.meta.url)
const SYSTEMS = ['darwin', 'linux', 'win32', 'android', 'freebsd']
const PROCESSORS = ['arm64', 'x64', 'arm', 'ia32']
const LIBRARIES = { musl: 'musl', gnu: 'glibc', glibc: 'glibc' }

const lock = JSON.parse(readFileSync(LOCK, 'utf8'))
for (const [parent, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`
    if (parent === '' || path in lock.packages) continue
    const words = name.split('/').at(-1).split('-')
    const [os, cpu, libc] = [SYSTEMS, PROCESSORS, Object.keys(LIBRARIES)].map((known) => words.find((word) => known.includes(word)))
    if (!os || !cpu || !/^\d/.test(version)) throw new Error(`${name}@${version}: not a part for one platform; add it by hand`)
    lock.packages[path] = {
      version,
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...(libc ? { libc: [LIBRARIES[libc]] } : {}),
      ...(entry.license ? { license: entry.license } : {}),
      optional: true,
      os: [os],
    }
    console.log(`added ${name}@${version}`)
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => (a < b ? -1 : 1)))
writeFileSync(LOCK, `${JSON.stringify(lock, null, 2)}\n`)
