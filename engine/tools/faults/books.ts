/** The last book of every instrument in the store against the simulator's own. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ClickHouseClient } from '@clickhouse/client'
import type { ExchangeName } from '../../simulate/venue.ts'

interface TrueBook {
  readonly market: string
  readonly symbol: string
  readonly priceScale: number
  readonly quantityScale: number
  readonly lastSeq: number
  readonly bids: readonly (readonly [number, number])[]
  readonly asks: readonly (readonly [number, number])[]
}

interface StoredBook {
  readonly id: string
  readonly priceScale: number
  readonly quantityScale: number
  readonly lastSeq: string
  readonly bids: readonly (readonly [string, string])[]
  readonly asks: readonly (readonly [string, string])[]
}

export interface BookDifference {
  readonly id: string
  readonly why: string
}

/** @param isExpected by id: instruments that trade to the end, and whose books were asked for */
export async function compareBooks(
  client: ClickHouseClient,
  database: string,
  truths: readonly { readonly exchange: ExchangeName; readonly directory: string }[],
  isExpected: (id: string) => boolean,
): Promise<{ compared: number; differences: BookDifference[] }> {
  const stored = new Map((await storedBooks(client, database)).map((book) => [book.id, book]))
  const differences: BookDifference[] = []
  let compared = 0
  for (const { exchange, directory } of truths) {
    for (const book of trueBooks(directory)) {
      const id = `${exchange}.${book.market}.${book.symbol}`
      if (!isExpected(id)) continue
      compared++
      const why = differenceOf(book, stored.get(id))
      if (why !== '') differences.push({ id, why })
    }
  }
  return { compared, differences }
}

function trueBooks(directory: string): TrueBook[] {
  const lines = readFileSync(join(directory, 'books.ndjson'), 'utf8').split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as TrueBook)
}

async function storedBooks(client: ClickHouseClient, database: string): Promise<StoredBook[]> {
  const side = (name: string): string =>
    `arrayMap((price, quantity) -> (toString(price), toString(quantity)), ${name}_price_mantissas, ${name}_quantity_mantissas)`
  const answer = await client.query({
    query: `SELECT concat(exchange, '.', market, '.', symbol) AS id, price_scale AS priceScale, quantity_scale AS quantityScale,
        toString(last_seq) AS lastSeq, ${side('bid')} AS bids, ${side('ask')} AS asks
      FROM ${database}.book_snapshots ORDER BY received_ns DESC, block_seq DESC, row_in_block DESC LIMIT 1 BY id`,
    format: 'JSONEachRow',
  })
  return answer.json<StoredBook>()
}

function differenceOf(book: TrueBook, stored: StoredBook | undefined): string {
  if (stored === undefined) return 'no book is stored'
  if (String(book.lastSeq) !== stored.lastSeq) return `ends at ${stored.lastSeq}, not at ${book.lastSeq}`
  for (const side of ['bids', 'asks'] as const) {
    const texts = (
      levels: readonly (readonly [number | string, number | string])[],
      scales: StoredBook | TrueBook,
    ): string[] =>
      levels.map(([price, quantity]) => `${plain(price, scales.priceScale)} ${plain(quantity, scales.quantityScale)}`)
    const [wanted, found] = [texts(book[side], book), texts(stored[side], stored)]
    const at = wanted.findIndex((level, index) => level !== found[index])
    if (at >= 0 || wanted.length !== found.length)
      return `${side}: level ${at} of ${wanted.length} is ${found[at] ?? 'not there'}, not ${wanted[at] ?? 'absent'} (${found.length} stored)`
  }
  return ''
}

/** The number that mantissa and scale stand for, in one spelling. */
function plain(mantissa: number | string, scale: number): string {
  let [digits, places] = [BigInt(mantissa), scale]
  while (places > 0 && digits % 10n === 0n) {
    digits /= 10n
    places--
  }
  return `${digits}e-${places}`
}
