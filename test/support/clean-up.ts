import { after, type TestContext } from 'node:test'

type Step = () => unknown

const steps = new WeakMap<TestContext, Step[]>()

/** Each step is taken even when one before it failed: a process that nobody ends would keep its test file from ending. */
async function takeAll(steps: Step[]): Promise<void> {
  const failures: unknown[] = []
  for (let next = steps.pop(); next !== undefined; next = steps.pop()) {
    try {
      await next()
    } catch (error) {
      failures.push(error)
    }
  }
  if (failures.length === 1) throw failures[0]
  if (failures.length > 1) throw new AggregateError(failures, `${failures.length} steps of a clean-up failed`)
}

/** Undoes what a test set up, whether it passed or not, last first: `t.after` would remove a directory under its server. */
export function cleanUp(t: TestContext, step: Step): void {
  const known = steps.get(t)
  if (known !== undefined) {
    known.push(step)
    return
  }
  const own = [step]
  steps.set(t, own)
  t.after(() => takeAll(own))
}

const atEnd: Step[] = []
after(() => takeAll(atEnd))

/** The same after the last test of the file, for what a test ends itself when it passes: a failure then does not hang. */
export function cleanUpAtEnd(step: Step): void {
  atEnd.push(step)
}
