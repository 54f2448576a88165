import { crc32 } from 'node:zlib'
import { assert } from '../base/assert.ts'
import { BLOCK_FORMAT } from '../record/block.ts'
import { type Block, decodeBlock } from '../record/decode.ts'
import type { Hops } from './hops.ts'

/**
 * `acknowledged`: the other side has the block for good. `retry`: not now, the same bytes again later (the other side may
 * have it already; the identity makes that harmless). Poison: this block will never be taken; it becomes a dead letter.
 */
export type Outcome = 'acknowledged' | 'retry' | Poison

export interface Poison {
  /** one line */
  readonly reason: string
  /** how often it was tried */
  readonly attempts: number
}

/** Where blocks go: JetStream, or ClickHouse directly. `send` never throws for what a network or a server does. */
export interface Sink {
  readonly name: string
  /** what it acknowledges is not stored yet: somebody else does that, and says so */
  readonly isTransit?: boolean
  /** @param againMs when it was found that this sink had lost the block, or may have; it must not take it for one that it knows */
  send(block: SealedBlock, againMs?: number): Promise<Outcome>
  /** Undefined while all is well, else one line: what is wrong, and the remedy. */
  trouble(): string | undefined
  close(): Promise<void>
}

/** A block as it travels: its bytes, what they say, and the name under which they are taken once only. */
export interface SealedBlock extends Block {
  /** where it has been, and when */
  hops?: Hops
  /**
   * It was lost, or may be: its rows prove that it is stored, its mark does not. A server may come out of a power cut with
   * the mark and without the rows.
   */
  isDoubted?: boolean
  readonly payload: Uint8Array
  readonly crc32: number
  /**
   * `{producer}/{epoch}/{block_seq}:{crc32}`: Nats-Msg-Id and insert_deduplication_token. The checksum is in it because a
   * used token silently swallows other data.
   */
  readonly messageId: string
}

/** Of a message: its block is doubted. */
export const DOUBTED_HEADER = 'Marketprism-Doubted'

/**
 * Such a name, as it is published: behind `#` the mark of a renewal, for rows that were deleted and shall come again (the
 * store remembers the old token); behind `~` the mark of one more try, which is the same block to the store and only the
 * duplicate window of JetStream must not swallow.
 */
const PUBLISHED_NAME = /^(.+:[0-9a-f]{8})(?:#([A-Za-z0-9_-]+))?(?:~[A-Za-z0-9_-]+)?$/

/** The name of one more try, in place of the mark of an earlier one. @param atMs what sets it apart from other tries */
export function triedName(name: string, atMs: number): string {
  return `${name.replace(/~.*$/, '')}~${Math.floor(atMs).toString(36)}`
}

/**
 * Opens a block that came under a name, and checks that its bytes are those that were published under it.
 * @throws Error with one line: what is wrong with the bytes.
 */
export function openBlock(payload: Uint8Array, publishedAs = ''): SealedBlock {
  if (publishedAs === '') return sealedBlock(payload)
  const [, name, renewal = ''] = PUBLISHED_NAME.exec(publishedAs) ?? []
  const block = sealedBlock(payload, renewal)
  if (name === undefined || block.messageId !== (renewal === '' ? name : `${name}#${renewal}`))
    throw new Error(`these are not the bytes of ${publishedAs}: they are those of ${block.messageId}`)
  return block
}

/**
 * @param renewal makes another name of the same block, under which it is taken once more.
 * @throws when the bytes are no block.
 */
export function sealedBlock(payload: Uint8Array, renewal = ''): SealedBlock {
  const block = decodeBlock(payload)
  assert(block.head.format === BLOCK_FORMAT, `block format ${block.head.format} is not ${BLOCK_FORMAT}`)
  const crc = crc32(payload)
  const { producer, epoch, blockSeq } = block.head
  return {
    ...block,
    payload,
    crc32: crc,
    messageId: `${producer}/${epoch}/${blockSeq}:${crc.toString(16).padStart(8, '0')}${renewal === '' ? '' : `#${renewal}`}`,
  }
}
