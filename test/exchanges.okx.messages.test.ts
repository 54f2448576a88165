import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { feedRules } from '../engine/exchanges/index.ts'
import { OkxRig, type Told } from './support/okx.ts'
import { RECORDINGS } from './support/recordings.ts'

/**
 * Every recorded message of OKX: either its rows, each number as the venue wrote it, or why there are none. The oracle is
 * JSON.parse: OKX writes its numbers as strings.
 */
const FOLDER = join(RECORDINGS, 'messages')
const isThere = existsSync(FOLDER)

interface Push {
  readonly arg: Readonly<Record<string, string>>
  readonly action?: string
  readonly data: readonly Readonly<Record<string, never>>[]
}

const linesOf = (path: string): string[] => readFileSync(join(FOLDER, path), 'utf8').trim().split('\n')
const ns = (ms: string): bigint => BigInt(ms) * 1_000_000n
/** Only what the venue says: an empty string is nothing. */
const said = (row: Told): Told =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== '' && value !== undefined))

/** What the rows of a push must be, from its JSON. */
function expected({ arg, action, data }: Push): Told[] {
  const channel = String(arg['channel'])
  return (data as readonly Readonly<Record<string, string>>[]).flatMap((row): Told[] => {
    const symbol = row['instId'] ?? arg['instId']
    const head = { symbol, event_ns: row['ts'] === undefined ? 0n : ns(row['ts']) }
    const isSpot = symbol?.split('-').length === 2
    switch (channel) {
      case 'mark-price':
        return [{ table: 'mark_prices', ...head, mark_price: row['markPx'] }]
      case 'index-tickers':
        return [{ table: 'index_prices', ...head, index_price: row['idxPx'] }]
      case 'open-interest':
        return [
          said({
            table: 'open_interests',
            ...head,
            open_interest: row['oi'],
            base_open_interest: row['oiCcy'],
            quote_open_interest: row['oiUsd'],
          }),
        ]
      case 'funding-rate':
        return [
          said({
            table: 'funding_rates',
            ...head,
            funding_rate: row['fundingRate'],
            funding_ns: ns(row['fundingTime'] as string),
            next_funding_rate: row['nextFundingRate'],
            next_funding_ns: ns(row['nextFundingTime'] as string),
            settled_rate: row['settFundingRate'],
            interest_rate: row['interestRate'],
            premium: row['premium'],
            rate_min: row['minFundingRate'],
            rate_max: row['maxFundingRate'],
            interval_hours:
              row['prevFundingTime'] === undefined
                ? undefined
                : String((Number(row['fundingTime']) - Number(row['prevFundingTime'])) / 3_600_000),
          }),
        ]
      case 'tickers':
        return [
          {
            table: 'tickers',
            ...head,
            last_price: row['last'],
            last_quantity: row['lastSz'],
            open_price: row['open24h'],
            high_price: row['high24h'],
            low_price: row['low24h'],
            volume: row['vol24h'],
            [isSpot ? 'quote_volume' : 'base_volume']: row['volCcy24h'],
            bid_price: row['bidPx'],
            bid_quantity: row['bidSz'],
            ask_price: row['askPx'],
            ask_quantity: row['askSz'],
          },
        ]
      case 'opt-summary':
        return [
          said({
            table: 'tickers',
            ...head,
            delta: row['deltaBS'],
            gamma: row['gammaBS'],
            theta: row['thetaBS'],
            vega: row['vegaBS'],
            mark_iv: row['markVol'],
            bid_iv: row['bidVol'],
            ask_iv: row['askVol'],
            underlying_price: row['fwdPx'],
            underlying: row['uly'],
          }),
        ]
      case 'liquidation-orders':
        return (row['details'] as unknown as Readonly<Record<string, string>>[]).map((order) => ({
          table: 'liquidations',
          symbol,
          event_ns: ns(order['ts'] as string),
          side: order['side'],
          price: order['bkPx'],
          quantity: order['sz'],
          venue_id: order['posSide'],
        }))
      case 'candle1D': {
        const bar = row as unknown as readonly string[]
        return [
          said({
            table: 'klines',
            symbol,
            interval: '1d',
            open_ns: ns(bar[0] as string),
            close_ns: ns(bar[0] as string) + 86_400_000_000_000n,
            open: bar[1],
            high: bar[2],
            low: bar[3],
            close: bar[4],
            volume: bar[5],
            base_volume: isSpot ? undefined : bar[6],
            quote_volume: bar[7],
          }),
        ]
      }
      case 'trades': {
        const [id, count] = [Number(row['tradeId']), Number(row['count'] ?? 1)]
        return [
          {
            table: 'trades',
            symbol,
            tradeMs: Number(row['ts']),
            ids: [id - count + 1, id, id],
            seqs: [id - count + 1, id],
            venueTradeId: '',
            price: row['px'],
            quantity: row['sz'],
            side: row['side'],
          },
        ]
      }
      default: {
        const of = (side: string) => ((row[side] ?? []) as unknown as string[][]).map((level) => level.slice(0, 2))
        if (channel === 'bbo-tbt')
          return [
            {
              table: 'book_tickers',
              symbol,
              eventMs: Number(row['ts']),
              updateId: row['seqId'],
              bid: of('bids')[0],
              ask: of('asks')[0],
            },
          ]
        const seq = row['seqId']
        const isSnapshot = action === 'snapshot' || Number(row['prevSeqId']) === -1
        return [
          {
            table: 'book',
            symbol,
            eventMs: Number(row['ts']),
            isSnapshot,
            checksum: row['checksum'],
            seqs: [seq, seq, isSnapshot ? 0 : row['prevSeqId']],
            bids: of('bids'),
            asks: of('asks'),
          },
        ]
      }
    }
  })
}

/** Channels that stand in no table; the reason is beside each in kinds.ts. */
const WITHOUT_ROWS = [
  'estimated-price',
  'index-candle1D',
  'mark-price-candle1D',
  'price-limit',
  'instruments',
  'status',
]

function check(text: string): void {
  const push = JSON.parse(text) as Push
  const channel = String(push.arg['channel'])
  const result = new OkxRig().parse(text)
  if (WITHOUT_ROWS.includes(channel)) return assert.deepEqual(result, { outcome: 'other_event', events: [] }, text)
  const isOpen = channel.startsWith('candle') && (push.data[0] as unknown as string[])[8] !== '1'
  if (isOpen) return assert.deepEqual(result, { outcome: 'open_kline', events: [] }, text)
  assert.deepEqual(result, { outcome: '', events: expected(push) }, text)
}

test('okx should read each live message of 2025 and 2026, exact to the last digit', (t) => {
  if (!isThere) return t.skip(`no messages at ${FOLDER}: set MARKETPRISM_RECORDINGS`)
  const lines = [
    ...linesOf('live-2026/okx_perp_channels.jsonl'),
    ...linesOf('live-2026/okx_errors_and_acks.jsonl'),
    ...linesOf('gocryptotrader/okx_trades.jsonl'),
    ...linesOf('live-2026/liquidations.jsonl')
      .map((line) => JSON.parse(line) as { exchange: string; raw: unknown })
      .filter(({ exchange }) => exchange === 'okx')
      .map(({ raw }) => JSON.stringify(raw)),
  ]
  const pushes = lines.filter((line) => line.startsWith('{"arg":'))
  for (const line of pushes) check(line)
  assert.equal(pushes.length, 21)
  for (const line of lines.filter((one) => !pushes.includes(one)))
    assert.deepEqual(new OkxRig().parse(line), { outcome: 'control', events: [] }, line)
})

test('okx should keep 23 digits of open interest and 16 decimals of funding, and no next rate where it is empty', (t) => {
  if (!isThere) return t.skip('no messages')
  const lines = linesOf('live-2026/okx_perp_channels.jsonl')
  const rows = lines.flatMap((line) => new OkxRig().parse(line).events)
  const interests = rows.filter(({ table }) => table === 'open_interests').map((row) => row['quote_open_interest'])
  assert.ok(interests.includes('1555162949.9893549292325'), String(interests))
  const rates = rows.filter(({ table }) => table === 'funding_rates')
  assert.deepEqual(
    rates.map((row) => [row['funding_rate'], row['interval_hours'], 'next_funding_rate' in row]),
    [
      ['0.0000252378080097', '8', false],
      ['0.0000539713785601', '8', false],
      ['0.0000249625867043', '8', false],
      ['0.0000500000000000', '4', false],
    ],
  )
})

test('okx should read each documented message, or say why there is no row', (t) => {
  if (!isThere) return t.skip('no messages')
  const documented = JSON.parse(readFileSync(join(FOLDER, 'jkorf/okx.json'), 'utf8')) as {
    kind: string
    raw: unknown
  }[]
  const pushes = documented.filter(({ kind }) => kind === 'ws')
  for (const { raw } of pushes) check(JSON.stringify(raw))
  assert.equal(pushes.length, 15)
  let count = 0
  for (const file of readdirSync(join(FOLDER, 'nautilus/okx')).filter((name) => name.startsWith('ws_'))) {
    const message = JSON.parse(readFileSync(join(FOLDER, 'nautilus/okx', file), 'utf8')) as unknown
    // the option summary stands there without its frame, and with greeks spelt `deltaBs`
    if (file === 'ws_opt_summary.json') {
      const text = JSON.stringify({ arg: { channel: 'opt-summary', instFamily: 'BTC-USD' }, data: message })
      const { outcome, events } = new OkxRig().parse(text)
      assert.equal(outcome, '')
      assert.deepEqual(
        events.map((row) => [row['symbol'], row['delta'], row['mark_iv']]),
        [
          ['BTC-USD-250328-92000-C', '0.5312', '0.53'],
          ['BTC-USD-250328-92000-P', '-0.4688', '0.52'],
        ],
      )
    } else check(JSON.stringify(message))
    count++
  }
  assert.equal(count, 9)
})

test('okx should read each REST answer that it asks for', (t) => {
  if (!isThere) return t.skip('no messages')
  const rules = feedRules().get('okx')
  assert.ok(rules)
  const nautilus = (name: string): string => readFileSync(join(FOLDER, 'nautilus/okx', `http_get_${name}.json`), 'utf8')
  for (const [market, name] of [
    ['spot', 'instruments_spot'],
    ['swap', 'instruments_swap'],
    ['futures', 'instruments_futures'],
    ['option', 'instruments_option'],
    ['index', 'index_price'],
  ] as const) {
    const listed = (JSON.parse(nautilus(name)) as { data: { instId: string }[] }).data
    assert.deepEqual(
      rules.readInstruments(market, nautilus(name)).map(({ id }) => id),
      listed.map(({ instId }) => `okx.${market}.${instId}`),
    )
  }
  const trades = new OkxRig().trades(nautilus('trades'), 'BTC-USDT')
  assert.deepEqual(
    trades.events.map((row) => [row['ids'], row['price'], row['quantity'], row['side']]),
    [
      [[734864332, 734864332, 734864332], '102537.9', '0.0000125', 'buy'],
      [[734864333, 734864333, 734864333], '102537.9', '0.00013669', 'sell'],
    ],
  )
  const documented = JSON.parse(readFileSync(join(FOLDER, 'jkorf/okx.json'), 'utf8')) as {
    path?: string
    raw: unknown
  }[]
  const answer = (path: string): string => JSON.stringify(documented.find((one) => one.path === path)?.raw)
  assert.equal(rules.readServerTime(answer('/api/v5/public/time')), 1597026383085)
  assert.deepEqual(
    [...rules.readVolumes('swap', answer('/api/v5/market/tickers'))],
    [
      ['LTC-USD-SWAP', 2222 * 9999.99],
      ['BTC-USD-SWAP', 2222 * 9999.99],
    ],
  )
  const ratio = answer('/api/v5/rubik/stat/contracts/long-short-account-ratio')
  assert.deepEqual(new OkxRig().poll('long_short_all_accounts_5m', ratio, 'BTC-USDT-SWAP').events, [
    {
      table: 'long_short_ratios',
      symbol: 'BTC-USDT-SWAP',
      event_ns: 1630502100000000000n,
      scope: 'all_accounts',
      period: '5m',
      ratio: '1.25',
    },
  ])
})
