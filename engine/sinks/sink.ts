import { crc32 } from 'node:zlib'
import { assert } from '../base/assert.ts'
import { BLOCK_FORMAT } from '../record/block.ts'
import { type Block, decodeBlock } from '../record/decode.ts'

/**
 * `acknowledged`: the other side has the block for good. `retry`: not now, the same bytes again later (the other side may
 * have it already; the identity makes that harmless). `poison`: this block will never be taken; set it aside.
 */
export type Outcome = 'acknowledged' | 'retry' | 'poison'

/** Where blocks go: JetStream, or ClickHouse directly. `send` never throws for what a network or a server does. */
export interface Sink {
  readonly name: string
  send(block: SealedBlock): Promise<Outcome>
  /** Undefined while all is well, else one line: what is wrong, and the remedy. */
  trouble(): string | undefined
  close(): Promise<void>
}

/** A block as it travels: its bytes, what they say, and the name under which they are taken once only. */
export interface SealedBlock extends Block {
  readonly payload: Uint8Array
  readonly crc32: number
  /**
   * `{producer}/{epoch}/{block_seq}:{crc32}`: Nats-Msg-Id and insert_deduplication_token. The checksum is in it because a
   * used token silently swallows other data.
   */
  readonly messageId: string
}

/** @throws when the bytes are no block. */
export function sealedBlock(payload: Uint8Array): SealedBlock {
  const block = decodeBlock(payload)
  assert(block.head.format === BLOCK_FORMAT, `block format ${block.head.format} is not ${BLOCK_FORMAT}`)
  const crc = crc32(payload)
  const { producer, epoch, blockSeq } = block.head
  return {
    ...block,
    payload,
    crc32: crc,
    messageId: `${producer}/${epoch}/${blockSeq}:${crc.toString(16).padStart(8, '0')}`,
  }
}
