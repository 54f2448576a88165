/**
 * Subjects of live messages, `{type}.{exchange}.{market}.{symbol}`, and the patterns that users ask for them with: `*` in a
 * word stands for any characters of it, `>` for all words that follow.
 */
import type { InstrumentName } from '../engine-link.ts'

export interface Subject extends InstrumentName {
  readonly type: string
}

/** A symbol may hold dots: only the first three count. */
export function parseSubject(text: string): Subject | undefined {
  const first = text.indexOf('.')
  const second = text.indexOf('.', first + 1)
  const third = text.indexOf('.', second + 1)
  if (first <= 0 || second < 0 || third < 0) return undefined
  return {
    type: text.slice(0, first),
    exchange: text.slice(first + 1, second),
    market: text.slice(second + 1, third),
    symbol: text.slice(third + 1),
  }
}

export const idOf = ({ exchange, market, symbol }: InstrumentName): string => `${exchange}.${market}.${symbol}`

/** `{exchange}.{market}.{symbol}` of a path or query. */
export function parseInstrument(text: string): InstrumentName | undefined {
  const first = text.indexOf('.')
  const second = text.indexOf('.', first + 1)
  if (first <= 0 || second <= first + 1 || second === text.length - 1) return undefined
  return { exchange: text.slice(0, first), market: text.slice(first + 1, second), symbol: text.slice(second + 1) }
}

export const PATTERN_CHARS_MAX = 128
const WORDS = 4

/** One pattern, read once. */
export class Pattern {
  readonly text: string
  /** no wildcard: it is a subject itself */
  readonly isExact: boolean
  readonly words: readonly string[]

  private constructor(text: string, words: readonly string[]) {
    this.text = text
    this.words = words
    this.isExact = !text.includes('*') && words.at(-1) !== '>'
  }

  /** @returns why it is none. */
  static parse(text: string): Pattern | string {
    if (text.length > PATTERN_CHARS_MAX) return `a pattern has at most ${PATTERN_CHARS_MAX} characters`
    if (!/^[^\s\p{C}]+$/u.test(text)) return 'a pattern is printable text without blanks'
    const parts = text.split('.')
    const words = parts.length > WORDS ? [...parts.slice(0, WORDS - 1), parts.slice(WORDS - 1).join('.')] : parts
    const rest = words.indexOf('>')
    if (words.some((word) => word === '')) return 'a pattern has no empty word'
    if (words.some((word) => word.length > 1 && word.includes('>'))) return '> is a word of its own'
    if (rest >= 0 && rest !== words.length - 1) return '> stands at the end'
    if (rest < 0 && words.length < WORDS) return 'a pattern is type.exchange.market.symbol, or ends with >'
    return new Pattern(text, words)
  }

  get typeWord(): string {
    return this.words[0] as string
  }

  /** Whether there may be a subject that both match. */
  mayShare({ words }: { readonly words: readonly string[] }): boolean {
    for (const [index, word] of this.words.entries()) {
      const other = words[index] as string
      if (word === '>' || other === '>') return true
      if (!mayShareWord(word, other)) return false
    }
    return true
  }

  matches({ type, exchange, market, symbol }: Subject): boolean {
    const given = [type, exchange, market, symbol]
    for (const [index, word] of this.words.entries()) {
      if (word === '>') return true
      if (!matchesGlob(word, given[index] as string)) return false
    }
    return true
  }
}

/** Whether there may be a word that both fit. */
function mayShareWord(one: string, other: string): boolean {
  if (!one.includes('*')) return matchesGlob(other, one)
  if (!other.includes('*')) return matchesGlob(one, other)
  const [left, right] = [one, other].map((glob) => glob.slice(0, glob.indexOf('*'))) as [string, string]
  return left.startsWith(right) || right.startsWith(left)
}

/** In time of at most their lengths' product, whatever the pattern: it comes from outside. */
export function matchesGlob(glob: string, text: string): boolean {
  let globAt = 0
  let textAt = 0
  let starAt = -1
  let triedAt = 0
  while (textAt < text.length) {
    if (glob[globAt] === '*') {
      starAt = globAt++
      triedAt = textAt
    } else if (globAt < glob.length && glob[globAt] === text[textAt]) {
      globAt++
      textAt++
    } else if (starAt >= 0) {
      globAt = starAt + 1
      textAt = ++triedAt
    } else return false
  }
  while (glob[globAt] === '*') globAt++
  return globAt === glob.length
}
