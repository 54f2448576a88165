/**
 * Reads just enough of a SQL text to run it safely on chDB: where the rows of an INSERT begin, whether a second
 * statement hides behind the first, and which output format is asked for. Pure.
 *
 * Why it must be exact: chDB ends inline rows at the first empty line and runs what follows as SQL. So rows never go to
 * the engine as text; they are cut off here and travel through a file.
 *
 * Texts are scanned as latin1, one character a byte, so that offsets are byte offsets whatever the rows contain.
 */

/** An INSERT whose rows stand behind its head. */
export interface RowsStatement {
  readonly kind: 'rows'
  /** End of the target, where `FROM INFILE` goes. */
  readonly targetEnd: number
  /** Start and end of the text inside `SETTINGS …`, or null. */
  readonly settings: { readonly start: number; readonly end: number } | null
  readonly format: string
  /** First byte of the rows. */
  readonly dataOffset: number
}

/** Anything else, without its closing semicolon. */
export interface PlainStatement {
  readonly kind: 'plain'
  readonly end: number
  readonly firstWord: string
  /** Returns rows and changes nothing, so it may be streamed and killed. */
  readonly reads: boolean
  /** The word after FORMAT, or null. */
  readonly format: string | null
  /** Leaves something behind on its connection (SET, USE, temporary tables). */
  readonly sticky: boolean
}

export class StatementError extends Error {
  override readonly name = 'StatementError'
}

interface Token {
  readonly text: string
  readonly isWord: boolean
  readonly start: number
  readonly end: number
  readonly depth: number
}

const SKIPPED = /(?:\s+|--[^\n]*|\/\*[\s\S]*?(?:\*\/|$))+/y
const WORD = /[A-Za-z0-9_$\x80-\xff]+/y
const QUOTED = /'(?:[^'\\]|\\[\s\S]|'')*'|"(?:[^"\\]|\\[\s\S]|"")*"|`(?:[^`\\]|\\[\s\S]|``)*`/y

function* tokens(text: string): Generator<Token> {
  let at = 0
  let depth = 0
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at
    return pattern.exec(text)?.[0] ?? null
  }
  for (;;) {
    at += match(SKIPPED)?.length ?? 0
    if (at >= text.length) return
    const word = match(WORD)
    const found = word ?? match(QUOTED) ?? (text[at] as string)
    if (found === ')' && depth > 0) depth--
    yield {
      text: word === null ? found : found.toUpperCase(),
      isWord: word !== null,
      start: at,
      end: at + found.length,
      depth,
    }
    if (found === '(') depth++
    at += found.length
  }
}

/** @param text SQL, perhaps with rows behind it, as latin1. */
export function scanStatement(text: string): RowsStatement | PlainStatement {
  const first = tokens(text).next().value as Token | undefined
  if (first === undefined || first.text === ';') throw new StatementError('Empty query')
  return first.text === 'INSERT' ? scanInsert(text) : scanPlain(text)
}

function scanInsert(text: string): RowsStatement | PlainStatement {
  let seen = 0 // words and symbols of the target so far
  let inTarget = true
  let end = 0
  let targetEnd = 0
  let settingsStart = -1
  let awaitsFormat: Token | null = null
  for (const token of tokens(text)) {
    if (awaitsFormat !== null) {
      if (!token.isWord) throw new StatementError('FORMAT without a name')
      const settings = settingsStart < 0 ? null : { start: settingsStart, end: awaitsFormat.start }
      return {
        kind: 'rows',
        targetEnd: targetEnd || awaitsFormat.start,
        settings,
        format: text.slice(token.start, token.end),
        dataOffset: rowsAfter(text, token.end),
      }
    }
    if (token.depth > 0 || token.text === ')') {
      end = token.end
      continue
    }
    if (inTarget) {
      // INSERT [INTO] [TABLE | FUNCTION] name[.name]: names may be any word, so keywords count only behind them
      const filler =
        token.text === 'INSERT' || token.text === 'INTO' || token.text === 'TABLE' || token.text === 'FUNCTION'
      if (filler && seen === 0) continue
      if (seen === 0 || token.text === '.' || text[end - 1] === '.') {
        seen++
        end = token.end
        continue
      }
      inTarget = false
    }
    if (token.isWord) {
      if (token.text === 'SELECT' || token.text === 'WITH' || token.text === 'FROM' || token.text === 'WATCH')
        return scanPlain(text)
      if (token.text === 'SETTINGS') {
        targetEnd = end
        settingsStart = token.end
      } else if (token.text === 'VALUES') {
        const settings = settingsStart < 0 ? null : { start: settingsStart, end: token.start }
        return { kind: 'rows', targetEnd: targetEnd || token.start, settings, format: 'Values', dataOffset: token.end }
      } else if (token.text === 'FORMAT') awaitsFormat = token
    } else if (token.text === ';') break
    end = token.end
  }
  throw new StatementError('INSERT without VALUES, FORMAT or SELECT')
}

/** Rows begin behind the blanks and at most one line end that follow the name of the format. */
function rowsAfter(text: string, offset: number): number {
  let at = offset
  while (text[at] === ' ' || text[at] === '\t') at++
  if (text[at] === '\r') at++
  if (text[at] === '\n') at++
  return at
}

function scanPlain(text: string): PlainStatement {
  let firstWord = ''
  let end = 0
  let closed = false
  let inserts = false
  let sticky = false
  let format: string | null = null
  let formatEnd = -1
  let previous: Token | null = null
  for (const token of tokens(text)) {
    if (token.text === ';') {
      closed = true
      continue
    }
    if (closed) throw new StatementError('Multi-statements are not allowed')
    if (firstWord === '') firstWord = token.text
    if (token.depth === 0 && token.isWord) {
      if (token.text === 'INSERT') inserts = true
      if (token.text === 'TEMPORARY') sticky = true
      if (inserts && formatEnd >= 0 && token.text !== 'SETTINGS' && previous?.end === formatEnd) {
        throw new StatementError('rows behind INSERT … SELECT are not supported')
      }
      if (previous?.text === 'FORMAT' && previous.depth === 0) {
        format = text.slice(token.start, token.end)
        formatEnd = token.end
      }
    } else if (inserts && formatEnd >= 0 && previous?.end === formatEnd) {
      throw new StatementError('rows behind INSERT … SELECT are not supported')
    }
    end = token.end
    previous = token
  }
  const reads =
    !inserts && (firstWord === 'SELECT' || firstWord === 'WITH' || firstWord === 'FROM' || firstWord === '(')
  return { kind: 'plain', end, firstWord, reads, format, sticky: sticky || firstWord === 'SET' || firstWord === 'USE' }
}
