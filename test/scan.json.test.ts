import assert from 'node:assert/strict'
import { test } from 'node:test'
import { freshSeed, type Random, seededRandom } from '../engine/base/random.ts'
import { DEPTH_MAX, JsonCursor } from '../engine/scan/json.ts'
import { NO_SYMBOL, SymbolTable } from '../engine/scan/symbols.ts'

function accepts(text: string): { isAccepted: boolean; failure: string } {
  const bytes = new TextEncoder().encode(text)
  const cursor = new JsonCursor()
  cursor.begin(bytes, 0, bytes.length)
  const isAccepted = cursor.skip() && cursor.isDone()
  return { isAccepted, failure: cursor.failure }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function value(random: Random, depth: number): unknown {
  const kind = Math.floor(random() * (depth > 4 ? 5 : 7))
  if (kind === 0) return null
  if (kind === 1) return random() < 0.5
  if (kind === 2) return Math.floor(random() * 2 ** 40)
  if (kind === 3) return random() * 10 ** Math.floor(random() * 20 - 10)
  if (kind === 4) return 'aü"\\\n\t€x'.slice(Math.floor(random() * 8))
  const members = Array.from({ length: Math.floor(random() * 4) }, () => value(random, depth + 1))
  return kind === 5 ? members : Object.fromEntries(members.map((member, index) => [`k${index}`, member]))
}

test('cursor should accept exactly what JSON.parse accepts, also after damage', (t) => {
  const seed = freshSeed()
  t.diagnostic(`seed ${seed}`)
  const random = seededRandom(seed)
  for (let round = 0; round < 40_000; round++) {
    let text = JSON.stringify(value(random, 0), null, random() < 0.3 ? 1 : 0)
    for (let damage = Math.floor(random() * 3); damage > 0; damage--) {
      const at = Math.floor(random() * (text.length + 1))
      const inserted = '{}[]",:0123-+.eEtrufalsn\\ \u0001'[Math.floor(random() * 30)] ?? ''
      text = text.slice(0, at) + inserted + text.slice(at + Math.floor(random() * 3))
    }
    const { isAccepted, failure } = accepts(text)
    if (failure === 'escape') continue // keys with escapes are refused on purpose
    assert.equal(isAccepted, isJson(text), `${JSON.stringify(text)} seed ${seed}`)
  }
})

test('cursor should refuse what nests too deep, however deep', () => {
  assert.equal(accepts('['.repeat(1_000_000)).failure, 'depth')
  assert.equal(accepts(`${'['.repeat(DEPTH_MAX)}${']'.repeat(DEPTH_MAX)}`).isAccepted, true)
})

test('symbols should be found by their bytes, many of them, and nothing else', () => {
  const table = new SymbolTable()
  const names = Array.from({ length: 3000 }, (_, index) => `S${index * 7919}USDT`)
  for (const [index, name] of names.entries()) table.add(name, index)
  const find = (name: string) => {
    const bytes = new TextEncoder().encode(`"${name}"`)
    return table.find(bytes, 1, bytes.length - 1)
  }
  for (const [index, name] of names.entries()) assert.equal(find(name), index)
  for (const name of ['', 'S', 'S1USDT', 'S0USDTX', 'constructor']) assert.equal(find(name), NO_SYMBOL)
  assert.throws(() => table.add('S0USDT', 1), /twice/)
})
