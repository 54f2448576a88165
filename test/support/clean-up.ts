import { after, type TestContext } from 'node:test'

type Step = () => unknown

const steps = new WeakMap<TestContext, Step[]>()

/** Undoes what a test set up, whether it passed or not, last first: `t.after` would remove a directory under its server. */
export function cleanUp(t: TestContext, step: Step): void {
  const known = steps.get(t)
  if (known !== undefined) {
    known.push(step)
    return
  }
  const own = [step]
  steps.set(t, own)
  t.after(async () => {
    for (let next = own.pop(); next !== undefined; next = own.pop()) await next()
  })
}

const atEnd: Step[] = []
after(async () => {
  for (let next = atEnd.pop(); next !== undefined; next = atEnd.pop()) await next()
})

/** The same after the last test of the file, for what a test ends itself when it passes: a failure then does not hang. */
export function cleanUpAtEnd(step: Step): void {
  atEnd.push(step)
}
