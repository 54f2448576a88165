import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Shortage, whenThereIsRoom } from '../workers/shortage.ts'

function rig() {
  const lines: string[] = []
  let nowMs = 0
  const say = (line: string): void => void lines.push(line)
  const shortage = new Shortage('/spool', () => nowMs, { warn: say, error: say } as never)
  const look = (reason: string, forgotten = 0, ms = 500): void => {
    nowMs += ms
    shortage.look(reason, forgotten)
  }
  return { lines, shortage, look }
}

test('shortage should be told once when it lasts, and once when it is over', () => {
  const { lines, shortage, look } = rig()
  look('the disk is full')
  assert.deepEqual([lines.length, shortage.isThere], [0, true])
  look('')
  look('the disk is full')
  look('the disk is full')
  assert.deepEqual(lines, [])
  for (let looks = 0; looks < 5; looks++) look('the disk is full')
  look('')
  look('')
  assert.deepEqual(lines, [
    'the spool in /spool has no room, so the sockets are held back: the disk is full',
    'the spool in /spool has room again',
  ])
  assert.equal(shortage.isThere, false)
})

test('shortage should tell once that blocks are deleted that are delivered and not known to be stored', () => {
  const { lines, look } = rig()
  look('', 0)
  look('', 3)
  look('', 7)
  assert.equal(lines.length, 1)
  assert.match(lines[0] as string, /deletes blocks that are delivered and not known to be stored/)
})

test('a disk that is full at the start should be waited for and told once, any other error end it', async () => {
  const { lines, say } = { lines: [] as string[], say: (line: string): void => void lines.push(line) }
  let tries = 0
  const open = async (code: string): Promise<string> => {
    if (++tries < 4) throw Object.assign(new Error(code), { code })
    return 'open'
  }
  const log = { warn: say, error: say } as never
  assert.equal(await whenThereIsRoom(() => open('ENOSPC'), '/spool', log, 1), 'open')
  assert.deepEqual(lines, [
    'the disk of the spool in /spool is full, so nothing is collected yet: free some space',
    'the disk of the spool in /spool has room again: it is opened',
  ])
  tries = 0
  await assert.rejects(
    whenThereIsRoom(() => open('EACCES'), '/spool', log, 1),
    /EACCES/,
  )
})
