import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import { assertTruth, answerOf, recordingFiles, replayed, truthOf } from './support/recordings.ts'

const RECORDING = 'bybit-v5/2024-12-01_XRPUSDT_ob500.data.gz'

for (const market of ['bybit.linear', 'bybit.spot']) {
  test(`replay of the Bybit recording as ${market} should give the true book`, async (t) => {
    const files = recordingFiles(t, RECORDING)
    if (files === undefined) return
    const truth = truthOf('bybit_v5_XRPUSDT_ob500')
    const result = await replayed(...files, '--market', market)
    assert.equal(result.answer.messages, truth.recording.lines)
    assert.equal(result.answer.rejected, 0)
    assert.deepEqual(Object.keys(result.answer.instruments), [`${market}.XRPUSDT`])
    assertTruth(result, `${market}.XRPUSDT`, truth.symbols['XRPUSDT'] as never)
  })
}

test('replay of the Bybit recording should be the same from the zip that Bybit hands out', async (t) => {
  const files = recordingFiles(t, RECORDING)
  if (files === undefined) return
  const folder = await mkdtemp(join(tmpdir(), 'marketprism-bybit-'))
  t.after(() => rm(folder, { recursive: true, force: true }))
  const zip = join(folder, 'ob500.data.zip')
  await writeFile(zip, storedZip(gunzipSync(await readFile(files[0] as string))))
  assert.deepEqual(
    await answerOf(zip, '--market', 'bybit.linear'),
    await answerOf(...files, '--market', 'bybit.linear'),
  )
})

/** A zip with one file that is not packed; zips made by other code are in the test of the reader. */
function storedZip(content: Buffer): Buffer {
  const name = Buffer.from('ob500.data')
  const local = Buffer.alloc(30)
  local.writeUInt32LE(0x04034b50, 0)
  local.writeUInt16LE(name.length, 26)
  const head = Buffer.alloc(46)
  head.writeUInt32LE(0x02014b50, 0)
  head.writeUInt32LE(content.length, 20)
  head.writeUInt32LE(content.length, 24)
  head.writeUInt16LE(name.length, 28)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(1, 8)
  end.writeUInt16LE(1, 10)
  end.writeUInt32LE(head.length + name.length, 12)
  end.writeUInt32LE(local.length + name.length + content.length, 16)
  return Buffer.concat([local, name, content, head, name, end])
}
