import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { PassThrough } from 'node:stream'
import { type TestContext, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { ReadStream, WriteStream } from 'node:tty'
import { fileURLToPath } from 'node:url'
import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { REGISTRY_DEFAULT, ROLES_BUCKET } from '../engine/sinks/registry.ts'
import { rowLine } from '../engine/tools/consume/lines.ts'
import { Meter } from '../engine/tools/consume/meter.ts'
import { fit, frameOf, keysOf, newState, press, Screen, shownLines } from '../engine/tools/consume/screen.ts'
import { buildBlock, TRADE_INSTRUMENTS, tradeRows } from './support/blocks.ts'
import { cleanUp } from './support/clean-up.ts'
import { lastJson, runCli, startCli } from './support/cli.ts'
import { SILENT, temporaryDirectory, until } from './support/embedded.ts'
import { served } from './support/gateway.ts'
import { ToldSource, ToldWorker } from './support/live.ts'
import { startTestNats, type TestNats } from './support/nats.ts'

const MAIN = fileURLToPath(new URL('../engine/main.js', import.meta.url))
const PACKR = new Packr({ useRecords: false })
const ESCAPE = '\u001b'
/** A subject in the head, its newest row below. */
const OPENED = new RegExp(`\\ntrade\\.binance\\.usdm\\.ETHUSDT${ESCAPE}\\[K\\r*\\nbuy {2}100 × 1\\.5`)
const LEFT = new RegExp(`${ESCAPE}\\[\\?1049h[^]*${ESCAPE}\\[\\?1049l[^]*│ trade +│ +\\d+ │`)
const NOW_NS = 1_790_000_000_000_000_000n

async function natsOf(t: TestContext): Promise<TestNats | undefined> {
  const nats = await startTestNats()
  if (typeof nats === 'string') {
    t.skip(nats)
    return undefined
  }
  cleanUp(t, () => nats.stop())
  return nats
}

const tradeOf = (id: number) => ({
  received_ns: NOW_NS,
  event_ns: NOW_NS,
  trade_ns: NOW_NS,
  stream: 'trade',
  trade_id: id,
  first_trade_id: id,
  last_trade_id: id,
  price_mantissa: 6_180_020n,
  quantity_mantissa: 1_500n,
  price_scale: 2,
  quantity_scale: 3,
  side: 'sell',
  seq: id,
  venue_trade_id: '',
  origin: 'stream',
  liquidation: 'none',
})

const liveTrade = (symbol: string, number: number, ids: readonly number[]) =>
  PACKR.pack({ type: 'trade', exchange: 'binance', market: 'usdm', symbol, run: 'r', number, rows: ids.map(tradeOf) })

interface Summary {
  readonly rows: number
  readonly messages: number
  readonly bytes: number
  readonly lost: number
  readonly errors: number
  readonly subjects: number
  readonly latencyMs: { p50: number; p99: number } | null
  readonly types: Record<string, { rows: number }>
}

test('consume from NATS', async (t) => {
  const nats = await natsOf(t)
  if (nats === undefined) return
  const publish = (symbol: string, number: number, ids: readonly number[]) =>
    nats.connection.publish(`trade.binance.usdm.${symbol}`, liveTrade(symbol, number, ids))
  const start = (...words: string[]) => startCli(['consume', '--from', 'nats', '--url', nats.server.url, ...words])

  await t.test(
    'consume should print the rows of its patterns, each once, and end after as many as asked for',
    async () => {
      const cli = start('--json', '--count', '3', 'trade.*.usdm.BTC*', 'trade.>')
      const other = start('--json', '--count', '2', 'trade.binance.*.BTC*')
      await Promise.all([cli.line(/: reading NATS /), other.line(/: reading NATS /)])
      publish('ETHUSDT', 1, [1])
      publish('BTCUSDT', 1, [2])
      publish('BTCUSDT', 2, [3, 4, 5])
      const ids = async ({ ended }: typeof cli) => {
        const { stdout, code, stderr } = await ended
        assert.equal(code, 0, stderr)
        return stdout
          .trimEnd()
          .split('\n')
          .map((line) => JSON.parse(line) as { trade_id: number; price: string; symbol: string })
      }
      const all = await ids(cli)
      assert.deepEqual(
        all.map(({ trade_id }) => trade_id),
        [1, 2, 3],
      )
      assert.deepEqual([all[1]?.price, all[1]?.symbol], ['61800.2', 'BTCUSDT'])
      assert.deepEqual(
        (await ids(other)).map(({ trade_id }) => trade_id),
        [2, 3],
      )
    },
  )

  await t.test(
    'consume --demo should count rows, losses and what cannot be read, and say it as one object',
    async () => {
      const cli = start('--demo', '--seconds', '3', '--json', 'trade.>')
      await cli.line(/: reading NATS /)
      for (const number of [1, 2, 5, 6, 9]) publish('BTCUSDT', number, [number])
      publish('ETHUSDT', 7, [1, 2])
      nats.connection.publish('trade.binance.usdm.BAD', Buffer.from([0xc1]))
      const result = await cli.ended
      const counts = lastJson<Summary>(result)
      assert.equal(result.code, 0)
      assert.deepEqual([counts.messages, counts.rows, counts.lost, counts.errors, counts.subjects], [6, 7, 4, 1, 2])
      assert.equal(counts.types['trade']?.rows, 7)
      assert.ok(counts.bytes > 1_000 && counts.latencyMs !== null)
    },
  )

  await t.test('consume should stop in order when told, and show what was sent as it was sent', async () => {
    const cli = start('--raw', 'trade.>')
    const demo = start('--demo', '--seconds', '60', 'trade.>')
    await Promise.all([cli.line(/: reading NATS /), demo.line(/: reading NATS /)])
    publish('BTCUSDT', 1, [2 ** 40])
    const line = await cli.line(/price_mantissa/)
    const { rows, number } = JSON.parse(line) as { rows: { price_mantissa: number }[]; number: number }
    assert.deepEqual([Number(rows[0]?.price_mantissa), number], [6_180_020, 1])
    for (const each of [cli, demo]) each.kill('SIGTERM')
    const [plain, summed] = await Promise.all([cli.ended, demo.ended])
    assert.deepEqual([plain.code, summed.code], [0, 0])
    assert.match(summed.stdout, /│ trade +│ +1 │ +1 │/)
  })

  await t.test('consume should refuse what NATS does not have, and say what does', async () => {
    const book = await runCli(['consume', '--from', 'nats', '--url', nats.server.url, 'book.>'])
    assert.equal(book.code, 2)
    assert.match(book.stderr, /verified book, which the gateway makes: use --from gateway/)
    const unknown = await runCli(['consume', '--from', 'nats', '--url', nats.server.url, 'trades.>'])
    assert.equal(unknown.code, 2)
    assert.match(unknown.stderr, /there is no live type trades; there are trade, book_delta/)
    const silent = await runCli([
      'consume',
      '--from',
      'nats',
      '--url',
      nats.server.url,
      '--demo',
      '--seconds',
      '1',
      'kline.>',
    ])
    assert.equal(silent.code, 1)
    assert.match(silent.stderr, /nothing came for kline\.> in \d/)
  })

  await t.test('consume should find the gateway that runs with the engine, as it is listed', async (t) => {
    const source = new ToldSource()
    const { gateway } = await served(t, {}, SILENT, source)
    const kv = await nats.connection.jetstream().views.kv(ROLES_BUCKET, { ttl: REGISTRY_DEFAULT.ttlMs, history: 1 })
    const entry = { name: 'x', roles: ['serve'], host: 'h', pid: 1, version: '1', startedMs: 1, gateway: gateway.url }
    await kv.put('serve.x', JSON.stringify(entry))
    const cli = startCli(['consume', '--json', '--count', '1', '--set', `nats.url=${nats.server.url}`, 'trade.>'], {
      MARKETPRISM_SERVE_PORT: '9', // nobody is there
    })
    assert.match(await cli.line(/: reading gateway /), new RegExp(gateway.url))
    new ToldWorker(source).trade('binance.usdm.BTCUSDT', 9)
    assert.equal((JSON.parse((await cli.ended).stdout) as { trade_id: number }).trade_id, 9)
  })

  await t.test('consume --from blocks should show every row of the blocks that come, exactly', async () => {
    const cli = startCli([
      'consume',
      '--from',
      'blocks',
      '--url',
      nats.server.url,
      '--json',
      '--count',
      '20',
      'trade.binance.usdm.>',
    ])
    const raw = startCli([
      'consume',
      '--from',
      'blocks',
      '--url',
      nats.server.url,
      '--raw',
      '--count',
      '1',
      'trades.*.coinm.*',
    ])
    await Promise.all([cli.line(/: reading blocks /), raw.line(/: reading blocks /)])
    const rows = tradeRows(40, 0)
    const block = buildBlock({ table: 'trades', rows, instruments: TRADE_INSTRUMENTS, epoch: 1n, blockSeq: 1n })
    await nats.connection.jetstream().publish('block.trades.binance.p', block)
    const { stdout, code, stderr } = await cli.ended
    assert.equal(code, 0, stderr)
    const shown = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as { trade_id: number; quantity: string; market: string })
    assert.deepEqual(
      shown.map(({ trade_id }) => trade_id),
      rows.flatMap((row) => (row.instrument === 0 ? [row.trade_id] : [])),
    )
    assert.deepEqual([...new Set(shown.map(({ market }) => market))], ['usdm'])
    const stored = JSON.parse((await raw.ended).stdout) as { rows: { trade_id: string; quantity_mantissa: string }[] }
    assert.deepEqual(
      stored.rows.map((row) => row.quantity_mantissa),
      rows.flatMap((row) => (row.instrument === 1 ? [String(row.quantity_mantissa)] : [])),
    )
  })
})

test('consume from a gateway', async (t) => {
  const source = new ToldSource()
  const { gateway, engine } = await served(t, {}, SILENT, source)
  const worker = new ToldWorker(source)
  const btc = 'binance.usdm.BTCUSDT'

  await t.test('consume should show rows and verified books', async () => {
    worker.live(btc, [[10_000, 1_000]], [[10_001, 2_000]])
    const beating = setInterval(() => worker.heartbeat(), 500) // a silent worker's books are STALE
    cleanUp(t, () => clearInterval(beating))
    const cli = startCli(['consume', '--url', gateway.url, '--json', '--count', '3', 'trade.>', `book.${btc}`])
    await cli.line(/: reading gateway /)
    await until(() => engine.wanted.length > 0, 20_000, 'the book is wanted')
    worker.snapshot(btc, [[10_000, 1_000]], [[10_001, 2_000]], { lastSeq: 100, epoch: 1, reason: 'wanted' })
    await cli.line(/"snapshot"/)
    worker.trade(btc, 7)
    worker.delta(btc, [[9_999, 1]], [], { firstSeq: 101, lastSeq: 102 })
    const { stdout, code, stderr } = await cli.ended
    assert.equal(code, 0, stderr)
    const lines = stdout
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>)
    assert.deepEqual(lines.map(({ type, kind, trade_id, last_seq }) => [type, kind ?? trade_id, last_seq]).sort(), [
      ['book', 'snapshot', 100],
      ['book', 'update', 102],
      ['trade', 7, undefined],
    ])
  })

  await t.test('consume --interactive should draw on a terminal, obey keys, and leave it as it was', async (t) => {
    if (spawnSync('script', ['--version']).status !== 0) return t.skip('no script(1) to make a terminal with')
    const words = [process.execPath, MAIN, 'consume', '--interactive', '--url', gateway.url, 'trade.>']
    const command = `stty cols 100 rows 12; ${words.map((word) => `'${word}'`).join(' ')}`
    const child = spawn('script', ['-qec', command, '/dev/null'], {
      env: { ...process.env, TERM: 'xterm', NO_COLOR: '1' },
    })
    cleanUp(t, () => child.kill('SIGKILL'))
    let drawn = ''
    child.stdout.on('data', (piece: Buffer) => {
      drawn += piece.toString()
    })
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve))
    const isDrawn = (pattern: RegExp) =>
      until(() => pattern.test(drawn), 15_000, `${pattern} in ${JSON.stringify(drawn.slice(-500))}`)
    await isDrawn(/0 subjects by rate/)
    const saying = setInterval(() => {
      for (const symbol of ['BTCUSDT', 'ETHUSDT']) worker.trade(`binance.usdm.${symbol}`, 5)
    }, 50)
    cleanUp(t, () => clearInterval(saying))
    await isDrawn(/2 subjects by rate/)
    child.stdin.write('s')
    await isDrawn(/2 subjects by name/)
    child.stdin.write('feth\r\r')
    await isDrawn(OPENED)
    child.stdin.write('q')
    assert.equal(await ended, 0)
    assert.match(drawn, LEFT)
  })

  await t.test('consume should say what to do when there is no gateway, no NATS, no key, or no terminal', async () => {
    const nobody = await runCli(['consume', '--url', 'http://127.0.0.1:9'])
    assert.deepEqual([nobody.code, nobody.stdout], [70, ''])
    assert.match(
      nobody.stderr,
      /no gateway answers at http:\/\/127\.0\.0\.1:9: start one \(marketprism all, or serve\), name it with --url/,
    )
    const noNats = await runCli(['consume', '--from', 'nats', '--data', temporaryDirectory(t)])
    assert.equal(noNats.code, 70)
    assert.match(noNats.stderr, /no NATS server of ours runs on .*: start an engine/)
    const keys = { file: '', single: { id: 'k', sha256: '0'.repeat(64), scopes: ['stream'] as const } }
    const closed = await served(t, { security: { keys } })
    const noKey = await runCli(['consume', '--url', closed.gateway.url], {
      MARKETPRISM_CONSUME_KEY: 'marketprism_canary',
    })
    assert.equal(noKey.code, 78, noKey.stderr)
    assert.match(noKey.stderr, /refuses: .*: set MARKETPRISM_CONSUME_KEY/)
    assert.ok(!noKey.stderr.includes('canary'))
    const noTerminal = await runCli(['consume', '--interactive', '--url', gateway.url])
    assert.equal(noTerminal.code, 2)
    assert.match(noTerminal.stderr, /needs a terminal/)
    const noPattern = await runCli(['consume', 'trade', '--url', gateway.url])
    assert.equal(noPattern.code, 2)
    assert.match(noPattern.stderr, /^marketprism: trade: a pattern is type\.exchange\.market\.symbol/)
  })
})

const plain = (text: string): string => text.replaceAll(new RegExp(`${ESCAPE}\\[[0-9;]*m`, 'g'), '')

function filled(): Meter {
  const meter = new Meter(() => NOW_NS + 3_000_000n)
  const take = (symbol: string, rows: number) =>
    meter.take({
      type: 'trade',
      exchange: 'binance',
      market: 'usdm',
      symbol,
      bytes: 100,
      raw: () => null,
      rows: Array.from({ length: rows }, (_, index) => ({
        received_ns: String(NOW_NS),
        side: 'buy',
        price: String(index),
        quantity: '1',
        trade_id: index,
      })),
    })
  take('BTCUSDT', 2)
  take('ETHUSDT', 30)
  take('SOLUSDT', 5)
  meter.look(1)
  return meter
}

test('consume screen should sort, filter, choose and open by keys', () => {
  const meter = filled()
  const state = newState()
  const names = () => shownLines(meter, state).map(({ id }) => id.split('.').at(-1))
  const keys = (text: string): boolean => keysOf(text).every((key) => press(key, state, meter))
  assert.deepEqual(names(), ['ETHUSDT', 'SOLUSDT', 'BTCUSDT'], 'by rate')
  assert.ok(keys('s'))
  assert.deepEqual(names(), ['BTCUSDT', 'ETHUSDT', 'SOLUSDT'], 'by name')
  assert.ok(keys('fsol\r'))
  assert.deepEqual([names(), state.isTyping], [['SOLUSDT'], false])
  assert.ok(keys(ESCAPE))
  assert.equal(names().length, 3)
  assert.ok(keys(`${ESCAPE}[B${ESCAPE}[B`))
  assert.equal(state.chosen, 'trade.binance.usdm.ETHUSDT')
  assert.ok(keys('p\r'))
  assert.deepEqual([state.isPaused, state.isOpen], [true, true])
  const frame = frameOf(meter, state, { source: 'x', seconds: 5, rates: { rows: 37, bytes: 300 } }, 80, 12).map(plain)
  assert.equal(frame.length, 12)
  assert.match(frame[3] ?? '', /^trade\.binance\.usdm\.ETHUSDT/)
  assert.match(frame.at(-2) ?? '', /^buy {2}29 × 1/, 'the newest row is the last')
  assert.match(frame[1] ?? '', /37 rows\/s .* p50 3\.\d+ ms/)
  assert.ok(keys('f'))
  assert.ok(keys('q'), 'a letter of the filter')
  assert.equal(press('\u0003', state, meter), false)
})

test('consume screen should fill exactly the terminal, whatever its size, and keep the chosen line on it', () => {
  const meter = filled()
  const seed = Number(process.env.TEST_SEED ?? 3)
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 6, max: 60 }), (columns, rows) => {
      const state = { ...newState(), chosen: 'trade.binance.usdm.BTCUSDT' }
      const frame = frameOf(meter, state, { source: 'x', seconds: 0, rates: { rows: 0, bytes: 0 } }, columns, rows).map(
        plain,
      )
      assert.equal(frame.length, rows)
      assert.ok(frame.every((line) => line.length <= columns))
      assert.ok(frame.some((line) => line.startsWith('>')))
    }),
    { seed },
  )
})

test('consume screen should cut text by what it takes on a terminal', () => {
  assert.equal(fit('abcdef', 3), 'abc')
  assert.equal(fit('币安人生', 5), '币安')
  assert.equal(fit(`${ESCAPE}[31mabc${ESCAPE}[39m`, 2), `${ESCAPE}[31mab${ESCAPE}[0m`)
  assert.deepEqual(keysOf(`a${ESCAPE}[A币`), ['a', `${ESCAPE}[A`, '币'])
})

test('consume screen should leave the terminal as it was', async () => {
  const input = new PassThrough() as unknown as ReadStream
  const modes: boolean[] = []
  Object.assign(input, { setRawMode: (mode: boolean) => modes.push(mode) })
  const output = new PassThrough() as unknown as WriteStream
  Object.assign(output, { columns: 60, rows: 10 })
  let quits = 0
  const screen = new Screen(filled(), 'gateway', input, output, () => quits++)
  screen.start()
  ;(input as unknown as PassThrough).write('sq')
  await sleep(20)
  screen.stop()
  const drawn = String((output as unknown as PassThrough).read())
  assert.equal(quits, 1)
  assert.deepEqual(modes, [true, false])
  assert.ok(drawn.startsWith(`${ESCAPE}[?1049h${ESCAPE}[?25l`) && drawn.endsWith(`${ESCAPE}[?25h${ESCAPE}[?1049l`))
  assert.match(plain(drawn), /ETHUSDT/)
})

test('consume lines should show nothing that a terminal would obey', () => {
  const line = rowLine('gap', `x.y.${ESCAPE}]0;title`, {
    channel: 'book',
    cause: 'loss',
    status: 'open',
    detail: `${ESCAPE}[2J\r\n`,
  })
  assert.ok(![...plain(line)].some((character) => character < ' '), JSON.stringify(line))
})
