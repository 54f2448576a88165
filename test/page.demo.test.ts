import assert from 'node:assert/strict'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Page } from 'playwright-core'
import { openPage, startBrowser } from './support/browser.ts'
import { cleanUp } from './support/clean-up.ts'
import { startCli } from './support/cli.ts'
import { temporaryDirectory } from './support/embedded.ts'
import { projectRoot } from './support/project.ts'

/** The page as somebody sees it who runs the demo: simulated venues, the whole engine, the gateway, a real browser. */

const PICTURES = join(projectRoot, 'artefacts')
/** Long enough for whatever the machine does besides; the test ends it itself. */
const SECONDS = '240'
const WAIT_MS_MAX = 30_000
/** Polls are skipped under overload, as at the start on a busy machine; the next is up to a minute away, and the page asks ever later. */
const POLLED_MS_MAX = 120_000
const LOOK_MS = 100

/** What an element shows: text, or the picture on a canvas as a number. */
const TEXT = (selector: string): string => `document.querySelector('${selector}').textContent`
const PICTURE = (selector: string): string =>
  `[...document.querySelectorAll('${selector} canvas')].map((canvas) => canvas.toDataURL()).join()`

const NOTICES = `[...document.querySelectorAll('.notice')].filter((notice) => notice.checkVisibility()).length`

/** Asked from here again and again: the page's own policy lets nobody evaluate text in it. */
async function until(
  page: Page,
  expression: string,
  isGood: (shown: unknown) => boolean,
  msMax = WAIT_MS_MAX,
): Promise<void> {
  const lastMs = performance.now() + msMax
  for (let shown = await page.evaluate(expression); !isGood(shown); shown = await page.evaluate(expression)) {
    assert.ok(performance.now() < lastMs, `${expression} is ${String(shown).slice(0, 200)} after ${msMax} ms`)
    await sleep(LOOK_MS)
  }
}

/** Waits until it is another than now. */
async function moves(page: Page, expression: string): Promise<void> {
  const before: unknown = await page.evaluate(expression)
  await until(page, expression, (shown) => shown !== before)
}

async function picture(page: Page, name: string): Promise<void> {
  mkdirSync(PICTURES, { recursive: true })
  await page.screenshot({ path: join(PICTURES, `page-${name}.png`) })
}

/** A machine that is too busy refuses the past for a moment (README, Overload), and the browser itself says so. */
const isBusy = (problem: string): boolean => /^503 \(come again\): .*\/v1\/|^console: .*status of 503 /.test(problem)

test('page should move with the market of a demo, in both themes, by the keyboard, without a word in the console', async (t) => {
  const browser = await startBrowser(t)
  if (typeof browser === 'string') return t.skip(browser)
  const load = ['--seconds', SECONDS, '--rate', '1500', '--instruments', '8', '--venues', 'binance,okx']
  const demo = startCli(['demo', ...load, '--data', temporaryDirectory(t)])
  cleanUp(t, async () => {
    demo.kill('SIGTERM')
    await demo.ended
  })
  const line = await demo.line(/^gateway: http/)
  const url = /http:\S+/.exec(line)?.[0] as string
  const { page, problems } = await openPage(browser, url)

  await page.locator('.bids .level .price').first().filter({ hasText: /\d/ }).waitFor()
  assert.equal(await page.locator('#ladder-state').textContent(), 'LIVE')
  for (const moving of ['.levels', '.trades', '#candle-values', '.last-price']) await moves(page, TEXT(moving))
  for (const moving of ['.p-candles', '.p-depth', '.p-funding']) await moves(page, PICTURE(moving))
  await until(page, TEXT('[data-figure="interest"] dd'), (shown) => shown !== '', POLLED_MS_MAX)
  await until(page, NOTICES, (shown) => shown === 0, POLLED_MS_MAX) // no panel of a perpetual stays empty
  await picture(page, 'market-dark')

  await page.keyboard.press('2')
  await until(page, TEXT('#states-legend [data-state="LIVE"] b'), (shown) => shown === '8')
  for (const moving of ['.p-throughput', '.p-latency', '.p-delivery']) await moves(page, PICTURE(moving))
  assert.ok((await page.locator('#shards tbody tr').count()) >= 1)
  assert.ok((await page.locator('.blocks i[data-state="open"]').count()) >= 4, 'sockets to the venues')
  await moves(page, TEXT('#delivery .facts'))
  await picture(page, 'engine-dark')
  await page.keyboard.press('t')
  await picture(page, 'engine-light')

  await page.keyboard.press('/')
  await page.keyboard.type('okx swap')
  await page.keyboard.press('Enter')
  await page.waitForURL('**/#/market/okx.swap.*')
  await page.locator('#ladder-state').filter({ hasText: 'LIVE' }).waitFor()
  await moves(page, TEXT('.levels'))
  await moves(page, PICTURE('.p-candles'))
  await picture(page, 'market-light')
  assert.deepEqual(
    problems.filter((problem) => !isBusy(problem)),
    [],
  )
})
