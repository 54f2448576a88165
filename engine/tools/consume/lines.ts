/** A row as one line for people: time, subject, and what matters of its type. */
import colors from 'picocolors'
import type { Level } from '../../record/rows.ts'
import type { AnyRow as Row } from './source.ts'

const SUBJECT_WIDTH = 34
/** Text that came from outside, without what a terminal would obey. */
const plain = (value: string): string => value.replace(/\p{Cc}/gu, '?')
const text = (value: unknown): string => (value === null || value === undefined ? '–' : plain(String(value)))

/** Of a type that has no line of its own: what the venue said, without times. */
function anyLine(row: Row): string {
  return Object.entries(row)
    .filter(([name, value]) => value !== null && value !== '' && !name.endsWith('_ns') && !Array.isArray(value))
    .map(([name, value]) => `${colors.dim(`${name}=`)}${text(value)}`)
    .join(' ')
}

function sideOf(side: unknown): string {
  return side === 'buy' ? colors.green('buy ') : colors.red('sell')
}

function levelsLine({ bids = [], asks = [] }: { bids?: readonly Level[]; asks?: readonly Level[] }): string {
  const [bid, ask] = [bids[0], asks[0]]
  return `${bids.length} bids ${colors.green(bid === undefined ? '–' : bid.join(' × '))}  ${asks.length} asks ${colors.red(ask === undefined ? '–' : ask.join(' × '))}`
}

const LINES: Readonly<Record<string, (row: Row) => string>> = {
  trade: (row) =>
    `${sideOf(row['side'])} ${text(row['price'])} × ${text(row['quantity'])}  ${colors.dim(`id ${text(row['trade_id']) === '0' ? text(row['venue_trade_id']) : text(row['trade_id'])}`)}`,
  book_ticker: (row) =>
    `${colors.green(`${text(row['bid_price'])} × ${text(row['bid_quantity'])}`)}  ${colors.red(`${text(row['ask_price'])} × ${text(row['ask_quantity'])}`)}`,
  book_delta: (row) => `${text(row['state'])} ${text(row['last_seq'])}  ${levelsLine(row)}`,
  book_snapshot: (row) => `${text(row['reason'] ?? row['kind'])} ${text(row['last_seq'])}  ${levelsLine(row)}`,
  book: (row) => `${text(row['kind'])} ${text(row['last_seq'])}  ${levelsLine(row)}`,
  book_reset: (row) => colors.yellow(`${text(row['state'])}: ${text(row['reason'])}`),
  book_state: (row) =>
    `${row['state'] === 'LIVE' ? colors.green('LIVE') : colors.yellow(text(row['state']))} ${text(row['reason'])}`,
  kline: (row) =>
    `${text(row['interval'])} o ${text(row['open'])} h ${text(row['high'])} l ${text(row['low'])} c ${text(row['close'])} v ${text(row['volume'])}`,
  gap: (row) =>
    colors.yellow(`${text(row['channel'])} ${text(row['cause'])} ${text(row['status'])}: ${text(row['detail'])}`),
}

/** UTC, to the millisecond. */
function timeOf(row: Row): string {
  const received = row['received_ns']
  if (typeof received !== 'string') return ' '.repeat(12)
  return new Date(Number(BigInt(received) / 1_000_000n)).toISOString().slice(11, 23)
}

export function rowLine(type: string, id: string, row: Row): string {
  const subject = plain(`${type}.${id}`).padEnd(SUBJECT_WIDTH)
  return `${colors.dim(timeOf(row))} ${colors.cyan(subject)} ${contentLine(type, row)}`
}

/** Without time and subject. */
export function contentLine(type: string, row: Row): string {
  return (LINES[type] ?? anyLine)(row)
}
