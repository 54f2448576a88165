import { decodeBlock } from '../record/decode.ts'

/** Rows by table, counted in the sealed blocks themselves. */
export type Kinds = Readonly<Record<string, number>>

export class KindCounts {
  readonly #counts = new Map<string, Map<string, number>>()

  add(bytes: Uint8Array): void {
    const { head, columns } = decodeBlock(bytes)
    const values = columns.get('instrument')?.values
    if (values === undefined) return
    const view = new DataView(values.buffer, values.byteOffset, values.byteLength)
    for (let row = 0; row < head.rows; row++) {
      const id = head.instruments[view.getUint16(row * 2, true)] as string
      const kinds = this.#counts.get(id) ?? new Map<string, number>()
      this.#counts.set(id, kinds)
      kinds.set(head.table, (kinds.get(head.table) ?? 0) + 1)
    }
  }

  of(id: string): Kinds {
    const kinds = [...(this.#counts.get(id) ?? [])]
    return Object.fromEntries(kinds.sort(([a], [b]) => (a < b ? -1 : 1)))
  }
}
