import assert from 'node:assert/strict'
import { mock, test } from 'node:test'
import type { Outbox } from '../engine/gateway/live/outbox.ts'
import { WriteTurns } from '../engine/gateway/live/write-turns.ts'

/** Time stands still but for `pass` and for what writes cost. */
class Scene {
  nowMs = 1_000
  readonly written: { name: string; ms: number }[] = []
  makes = 0
  makesLeft = 0
  readonly turns = new WriteTurns(
    () => this.nowMs,
    () => {
      this.makes++
      return this.makesLeft-- > 0
    },
  )

  outbox(name: string, costMs = 0): Outbox {
    const flush = () => {
      this.nowMs += costMs
      this.written.push({ name, ms: this.nowMs })
    }
    return { flush } as unknown as Outbox
  }

  pass(ms: number): void {
    for (const end = this.nowMs + ms; this.nowMs < end; ) {
      this.nowMs++
      mock.timers.tick(1)
    }
  }
}

function scene(run: (scene: Scene) => void): void {
  mock.timers.enable({ apis: ['setTimeout'] })
  try {
    run(new Scene())
  } finally {
    mock.timers.reset()
  }
}

test('Write turns should give each client its own turn, some ms after something began to wait for it', () => {
  scene((scene) => {
    scene.turns.add(scene.outbox('a'))
    scene.pass(3)
    scene.turns.add(scene.outbox('b'))
    assert.deepEqual(scene.written, [])
    scene.pass(2)
    assert.deepEqual(
      scene.written.map(({ name }) => name),
      ['a'],
    )
    scene.pass(4)
    assert.deepEqual(
      scene.written.map(({ name }) => name),
      ['a', 'b'],
    )
    scene.pass(100)
    assert.equal(scene.written.length, 2, 'nobody who did not wait again')
  })
})

test('Write turns should come less often when they cost more than their share, and as often as before afterwards', () => {
  scene((scene) => {
    const writesIn = (ms: number, costMs: number): number => {
      const before = scene.written.length
      const endMs = scene.nowMs + ms
      const client = scene.outbox('client', costMs)
      const again = {
        flush: (...all: Parameters<Outbox['flush']>) => {
          client.flush(...all)
          if (scene.nowMs < endMs) scene.turns.add(again as unknown as Outbox)
        },
      }
      scene.turns.add(again as unknown as Outbox)
      while (scene.nowMs < endMs) scene.pass(1)
      scene.pass(50)
      return scene.written.length - before
    }
    const cheap = writesIn(1_000, 0)
    assert.ok(cheap > 150, `${cheap} writes that cost nothing`)
    const dear = writesIn(1_000, 5)
    assert.ok(dear > 25 && dear < 60, `${dear} writes of 5 ms: a quarter of the time, and a bit`)
    const again = writesIn(1_000, 0)
    assert.ok(again > 150, `${again} writes that cost nothing again`)
  })
})

test('Write turns should make what was wanted soon, once for many wishes, and go on while there is more', () => {
  scene((scene) => {
    for (let wish = 0; wish < 10; wish++) scene.turns.wantMade()
    scene.pass(10)
    assert.equal(scene.makes, 1)
    scene.makesLeft = 3
    scene.turns.wantMade()
    scene.pass(100)
    assert.equal(scene.makes, 1 + 4)
    scene.turns.wantMade()
    scene.turns.stop()
    scene.pass(100)
    assert.equal(scene.makes, 5, 'nothing after the end')
  })
})
