/** What has been written; true to the last byte when all is. */
export interface ExportTally {
  rows: number
}

/** What a format puts around the rows of the slices. */
export interface Form {
  head(): Iterable<Buffer>
  body(bytes: AsyncIterable<Uint8Array>, tally: ExportTally): AsyncGenerator<Buffer>
  tail(tally: ExportTally): Iterable<Buffer>
}
