import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'

/** What the README shows must run as it stands there. */
const README = readFileSync('README.md', 'utf8')
const PYTHONS = ['python3', '/usr/bin/python3']

test('readme should show Python that reads a block', (t) => {
  const code = /```python\n([\s\S]*?)```/.exec(README)?.[1] ?? ''
  assert.ok(code.trim().split('\n').length <= 10, 'ten lines')
  const python = PYTHONS.find((name) => spawnSync(name, ['-c', 'import msgpack, numpy']).status === 0)
  if (python === undefined) return t.skip('no Python with msgpack and numpy here')
  const rows = tradeRows(5, 1000)
  const block = buildBlock({
    table: 'trades',
    rows,
    instruments: TRADE_INSTRUMENTS,
    epoch: 7n,
    blockSeq: 9n,
    producer: 'p',
  })
  const { stdout, stderr, status } = spawnSync(python, ['-c', code], { input: block, encoding: 'utf8' })
  assert.equal(status, 0, stderr)
  const lines = stdout.trim().split('\n')
  assert.equal(lines[0], 'trades 5 rows of p 7 9')
  assert.equal(lines.length, 4)
  const first = rows[0] as Record<string, number | bigint>
  assert.ok(lines[1]?.startsWith(TRADE_INSTRUMENTS[Number(first.instrument)] as string))
  for (const name of ['trade_id', 'price_mantissa', 'quantity_mantissa', 'received_ns'])
    assert.match(lines[1] as string, new RegExp(`'${name}': ${first[name]}[,}]`))
})
