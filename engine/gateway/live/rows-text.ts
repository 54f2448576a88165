/**
 * Live messages as JSON frames, from bytes to bytes: what `publicRow` and `JSON.stringify` would make of them, without the
 * objects and texts between. Most of what the gateway sends are such messages, so this is where its time would go.
 *
 *   {"type":"trade","exchange":"okx",…,"seq":"k3x9az-17","rows":[{"received_ns":"17…","price":"61800.2",…},…]}
 *   └─────── head of the topic ─────────┘
 *
 * What stands in none of the forms that record/live.ts writes is not written here; the caller goes by way of objects then.
 */
import { LiveReader, type RowLayout } from '../../record/live-reader.ts'
import type { PublicColumn } from '../../record/rows.ts'
import { SCALE_MAX } from '../../scan/decimal.ts'
import { JSON_GROWTH_MAX, JsonWriter } from './json-writer.ts'

const COMMA = 44
const OPEN_OBJECT = 123
const CLOSE_OBJECT = 125
const SEQ_BYTES_MAX = 32
const NULL = Buffer.from('null')
const BEFORE_ROWS = Buffer.from('","rows":[')
const AFTER_ROWS = Buffer.from(']}')

/** How one public column is made of the values of a row. */
interface Step {
  readonly form: PublicColumn['form']
  /** `"price":`, behind a comma or the brace that opens the row */
  readonly key: Uint8Array
  /** places in the layout: the value, of which the mantissa or the prices */
  readonly value: number
  readonly scale: number
  /** of levels */
  readonly quantities: number
  readonly quantityScale: number
}

export class RowsText {
  readonly #columns: readonly PublicColumn[]
  readonly #reader = new LiveReader()
  readonly #json = new JsonWriter()
  #layout: RowLayout | undefined
  #steps: readonly Step[] = []
  readonly #prices: number[] = []
  readonly #quantities: number[] = []

  constructor(columns: readonly PublicColumn[]) {
    this.#columns = columns
  }

  /**
   * @param head JSON up to the text of `seq`
   * @returns a WebSocket frame; undefined when the message has forms that are not known here.
   */
  frame(head: Uint8Array, seq: string, message: Uint8Array): Buffer | undefined {
    const reader = this.#reader
    if (!reader.open(message)) return undefined
    const json = this.#json.begin(head.length + SEQ_BYTES_MAX + JSON_GROWTH_MAX * message.length)
    json.raw(head)
    json.ascii(seq)
    json.raw(BEFORE_ROWS)
    for (let isFirst = true; reader.hasRows; isFirst = false) {
      if (!reader.next()) return undefined
      if (reader.layout !== this.#layout) this.#fit(reader.layout)
      if (!isFirst) json.byte(COMMA)
      if (!this.#row()) return undefined
    }
    if (!reader.isAtEnd) return undefined
    json.raw(AFTER_ROWS)
    return json.frame()
  }

  /** Which values of such rows go where. A column that the rows lack is left out. */
  #fit(layout: RowLayout): void {
    this.#layout = layout
    const at = (name: string): number => layout.names.indexOf(name)
    const steps: Step[] = []
    for (const column of this.#columns) {
      const places = placesOf(column, at)
      if (places.value < 0) continue
      const key = Buffer.from(`${steps.length === 0 ? '' : ','}${JSON.stringify(column.name)}:`)
      steps.push({ form: column.form, key, ...places })
    }
    this.#steps = steps
  }

  #row(): boolean {
    const json = this.#json
    json.byte(OPEN_OBJECT)
    for (const step of this.#steps) {
      json.raw(step.key)
      if (!this.#value(step)) return false
    }
    json.byte(CLOSE_OBJECT)
    return true
  }

  /** @returns false when the value is in none of the forms of its column. */
  #value(step: Step): boolean {
    const reader = this.#reader
    const offset = reader.offsets[step.value] as number
    switch (step.form) {
      case 'scaled':
        return this.#scaled(offset, step.scale)
      case 'levels':
        return this.#levels(offset, step)
      case 'time':
        return reader.read64(offset) && this.#json.time(reader.hi, reader.lo)
      case 'number': {
        const value = reader.integer(offset)
        if (Number.isNaN(value)) return false
        this.#json.integer(value)
        return true
      }
      case 'decimal':
        if (!reader.isNil(offset)) return this.#text(offset)
        this.#json.raw(NULL)
        return true
      default:
        return this.#text(offset)
    }
  }

  #text(offset: number): boolean {
    const reader = this.#reader
    if (!reader.isTextAt(offset)) return false
    const start = reader.inside(offset)
    return this.#json.quoted(reader.bytes, start, start + reader.textLength(offset))
  }

  #scaled(offset: number, scalePlace: number): boolean {
    const mantissa = this.#reader.integer(offset)
    const scale = this.#scaleAt(scalePlace)
    if (Number.isNaN(mantissa + scale)) return false
    this.#json.decimal(mantissa, scale)
    return true
  }

  #levels(offset: number, { scale, quantities, quantityScale }: Step): boolean {
    const reader = this.#reader
    const scales = [this.#scaleAt(scale), this.#scaleAt(quantityScale)] as const
    const count = reader.integers(offset, this.#prices)
    const isWhole = quantities >= 0 && reader.integers(reader.offsets[quantities] as number, this.#quantities) === count
    if (count < 0 || !isWhole || Number.isNaN(scales[0] + scales[1])) return false
    this.#json.levels(this.#prices, this.#quantities, count, ...scales)
    return true
  }

  /** @returns NaN when there is none that numbers can have. */
  #scaleAt(place: number): number {
    const scale = place < 0 ? Number.NaN : this.#reader.integer(this.#reader.offsets[place] as number)
    return scale <= SCALE_MAX ? scale : Number.NaN
  }
}

function placesOf(column: PublicColumn, at: (name: string) => number): Omit<Step, 'form' | 'key'> {
  switch (column.form) {
    case 'scaled':
      return { value: at(column.mantissa), scale: at(column.scale), quantities: -1, quantityScale: -1 }
    case 'levels':
      return {
        value: at(column.prices),
        scale: at(column.priceScale),
        quantities: at(column.quantities),
        quantityScale: at(column.quantityScale),
      }
    default:
      return { value: at(column.name), scale: -1, quantities: -1, quantityScale: -1 }
  }
}
