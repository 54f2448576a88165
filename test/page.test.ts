import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import type { Locator, Page } from 'playwright-core'
import { hashOfKey } from '../engine/gateway/security/keys.ts'
import { openPage, startBrowser } from './support/browser.ts'
import { served } from './support/gateway.ts'
import { PageGateway } from './support/page-gateway.ts'
import { projectRoot } from './support/project.ts'

/** The page against a gateway that is told what to say; test/page.demo.test.ts shows it with the engine. */

/** What somebody reads there. */
const textOf = async (locator: Locator): Promise<string> => (await locator.textContent()) ?? ''

const WAIT_MS_MAX = 20_000
const OTHER = 'okx.swap.ETHUSDT'

test('page should show 1,000 instruments, and be worked by the keyboard alone', async (t) => {
  const browser = await startBrowser(t)
  if (typeof browser === 'string') return t.skip(browser)
  const gateway = await PageGateway.start(t, { instruments: 1_000 })
  const { page, problems } = await openPage(browser, gateway.url)
  await page.locator('.asks .level .price').first().filter({ hasText: /\d/ }).waitFor()

  await page.keyboard.press('2')
  await page.locator('.cells i[data-state]').nth(999).waitFor()
  assert.equal(await page.locator('.cells i').count(), 1_000)
  for (const state of ['GAP', 'RESYNC'] as const) {
    const wanted = gateway.rows.filter((row) => row.state === state).length
    assert.equal(await page.locator(`.cells i[data-state="${state}"]`).count(), wanted, state)
  }
  const box = await page.locator('.cells').boundingBox()
  const panel = await page.locator('#states .body').boundingBox()
  assert.ok(box !== null && panel !== null && box.y + box.height <= panel.y + panel.height + 1, 'all cells fit')

  const gap = page.locator('.gap[data-status="open"]').first()
  await gap.focus()
  assert.match(await textOf(page.locator('#gaps-read')), /, open, from \d\d:\d\d:\d\d/)

  await page.locator('.cells').focus()
  await page.keyboard.press('ArrowRight')
  const pointed = await page.locator('.cells [aria-selected="true"]').getAttribute('data-name')
  assert.match(await textOf(page.locator('#states-read')), new RegExp(`^${pointed} `))
  await page.keyboard.press('Enter')
  await page.waitForURL(`**/#/market/${pointed}`)

  await page.keyboard.press('/')
  await page.keyboard.type('okx eth')
  await page.keyboard.press('ArrowDown')
  await page.keyboard.press('ArrowUp')
  assert.match(await textOf(page.locator('#search-count')), /^\d+ instruments/)
  await page.keyboard.press('Enter')
  await page.waitForURL(`**/#/market/${OTHER}`)
  assert.equal(await textOf(page.locator('.strip .name strong')), 'ETHUSDT')

  await page.keyboard.press('?')
  assert.ok(await page.locator('#help').isVisible())
  assert.ok((await page.locator('#help dt').count()) > 8)
  await page.keyboard.press('Escape')
  assert.ok(!(await page.locator('#help').isVisible()))

  const ground = (): Promise<string> => page.evaluate('getComputedStyle(document.body).backgroundColor')
  const dark = await ground()
  await page.keyboard.press('t')
  assert.notEqual(await ground(), dark)
  await page.reload()
  assert.notEqual(await ground(), dark, 'the choice of theme is kept')
  assert.deepEqual(problems, [])
})

test('page should show every digit of the book, with its sums, in the steps that are chosen by keys', async (t) => {
  const browser = await startBrowser(t)
  if (typeof browser === 'string') return t.skip(browser)
  const gateway = await PageGateway.start(t)
  const { page, problems } = await openPage(browser, `${gateway.url}/#/market/${OTHER}`)
  await page.locator('#tape .trade .price').first().filter({ hasText: /\d/ }).waitFor()
  gateway.isPaused = true
  const { bids, asks } = gateway.levelsOf(OTHER)
  const best = page.locator('.bids .level .price').first()
  await best.filter({ hasText: grouped(bids[0]?.[0] ?? '') }).waitFor()
  for (const [step, key] of [
    [1n, ''],
    [2n, '+'],
    [5n, '+'],
    [2n, '-'],
  ] as const) {
    if (key !== '') await page.keyboard.press(key)
    await page
      .locator('#ladder-step')
      .and(page.locator(`:has(option[value="${step}"]:checked)`))
      .waitFor()
    await shows(() => shownRows(page, '.bids'), summed(bids, step, 'down'), `bids by ${step}`)
    // the best ask stands below
    await shows(async () => (await shownRows(page, '.asks')).reverse(), summed(asks, step, 'up'), `asks by ${step}`)
  }
  assert.deepEqual(problems, [])
})

test('page should show no book that is not LIVE, and say which state, why and since when', async (t) => {
  const browser = await startBrowser(t)
  if (typeof browser === 'string') return t.skip(browser)
  const gateway = await PageGateway.start(t)
  const { page, problems } = await openPage(browser, `${gateway.url}/#/market/${OTHER}`)
  const price = page.locator('.bids .level .price').first()
  await price.filter({ hasText: /\d/ }).waitFor()
  for (const state of ['GAP', 'RESYNC', 'STALE', 'PRE_OPEN'] as const) {
    gateway.setState(OTHER, state, 'sequence')
    const notice = page.locator('#ladder .notice').filter({ hasText: `Book is ${state}` })
    await notice.waitFor()
    assert.match(await textOf(notice), /Reason: sequence\nSince \d\d:\d\d:\d\d/)
    assert.equal(await textOf(page.locator('#ladder-state')), state)
    assert.deepEqual(
      (await page.locator('.level .price').allTextContents()).filter((text) => /\d/.test(text)),
      [],
      'no old level',
    )
    await page.locator('#depth .notice').waitFor()
  }
  gateway.setState(OTHER, 'LIVE', '')
  await price.filter({ hasText: /\d/ }).waitFor()
  assert.equal(await textOf(page.locator('#ladder-state')), 'LIVE')

  await page.keyboard.press('2')
  gateway.dropStreams()
  await page.locator('#engine-old').filter({ hasText: 'what is seen here is of' }).waitFor()
  await page.locator('#engine:not([data-old])').waitFor()
  await page.keyboard.press('1')
  gateway.dropStreams()
  await page.locator('#link[data-state="waiting"]').waitFor()
  await page.locator('#ladder .notice').filter({ hasText: 'Book is OFFLINE' }).waitFor()
  await page.locator('#link[data-state="live"]').waitFor()
  await price.filter({ hasText: /\d/ }).waitFor()
  assert.deepEqual(problems, [])
})

test('page should say of each panel why it is empty where nothing is stored', async (t) => {
  const browser = await startBrowser(t)
  if (typeof browser === 'string') return t.skip(browser)
  const gateway = await PageGateway.start(t, { hasStore: false })
  const { page, problems } = await openPage(browser, `${gateway.url}/#/market/${OTHER}`)
  await page.locator('#tape .trade .price').first().filter({ hasText: /\d/ }).waitFor()
  await page.keyboard.press('2')
  const notice = page.locator('#gaps .notice')
  await notice.filter({ hasText: 'knows no ClickHouse' }).waitFor()
  assert.deepEqual(
    problems.filter((problem) => !/503/.test(problem)),
    [],
    'nothing but the answers that say so',
  )
})

test('page should ask for a key when the gateway does, try it, and keep it for the tab alone', async (t) => {
  const browser = await startBrowser(t)
  if (typeof browser === 'string') return t.skip(browser)
  const key = `marketprism_page_${'k'.repeat(43)}`
  const single = { id: 'page', sha256: hashOfKey(key), scopes: ['read', 'stream'] } as const
  const { gateway } = await served(t, { security: { keys: { file: '', single } } })
  const { page, problems } = await openPage(browser, gateway.url)
  await page.locator('#key').waitFor()
  assert.equal(problems.filter((problem) => problem.startsWith('401')).length, 1, 'it knocks once')
  await page.keyboard.type(`marketprism_page_${'w'.repeat(43)}`)
  await page.keyboard.press('Enter')
  await page.locator('#key-error').filter({ hasText: 'key' }).waitFor()
  await page.locator('#key-input').fill(key)
  await page.keyboard.press('Enter')
  await page.locator('#link[data-state="live"]').waitFor()
  await page.locator('#health .chip[data-state="healthy"]').waitFor()
  assert.ok(!(await page.locator('#key').isVisible()))
  assert.ok(!page.url().includes('kkk'), 'no key in an address')
  await page.reload()
  await page.locator('#health .chip[data-state="healthy"]').waitFor()
  const another = await openPage(browser, gateway.url)
  await another.page.locator('#key').waitFor()
})

test('page routes should serve the files of the page and no others, with a policy that lets nothing else in', async (t) => {
  const gateway = await PageGateway.start(t)
  const index = await fetch(gateway.url)
  assert.equal(index.status, 200)
  const policy = index.headers.get('content-security-policy') ?? ''
  assert.match(policy, /default-src 'none'; script-src 'self'; style-src 'self'/)
  assert.ok(!policy.includes('unsafe'), policy)
  const html = await index.text()
  assert.ok(
    !/ style="|<style|<script>|\son[a-z]+="/.test(html),
    'nothing inside the document that the policy would stop',
  )
  for (const name of readdirSync(join(projectRoot, 'engine/gateway/page')).filter((file) =>
    /\.(js|css|svg)$/.test(file),
  )) {
    const answer = await fetch(`${gateway.url}/page/${name}`)
    assert.equal(answer.status, 200, name)
    const again = await fetch(`${gateway.url}/page/${name}`, {
      headers: { 'if-none-match': answer.headers.get('etag') ?? '' },
    })
    assert.equal(again.status, 304, name)
  }
  for (const path of [
    '../routes/page.ts',
    '..%2froutes%2fpage.ts',
    '%2e%2e/%2e%2e/package.json',
    'vendor/../../page.ts',
    'nothing.js',
    '__proto__',
    '',
  ])
    assert.equal((await fetch(`${gateway.url}/page/${path}`)).status, 404, path)
  const licences = await (await fetch(`${gateway.url}/page/licences.txt`)).text()
  for (const word of ['Leon Sorokin', 'Apache License', 'SIL OPEN FONT LICENSE'])
    assert.ok(licences.includes(word), word)
})

/** Waits until the best levels are shown as they should be; the ladder is drawn ten times a second. */
async function shows(read: () => Promise<bigint[][]>, wanted: bigint[][], what: string): Promise<void> {
  const lastMs = performance.now() + WAIT_MS_MAX
  let shown = await read()
  while (!isDeepStrictEqual(shown, wanted.slice(0, shown.length)) && performance.now() < lastMs) shown = await read()
  assert.ok(shown.length > 5, what)
  assert.deepEqual(shown, wanted.slice(0, shown.length), what)
}

/** 2345.6 → 2,345.6 */
const grouped = (text: string): string => text.replace(/\B(?=(\d{3})+(?!\d)(?=\.|$))/, ',')

/** What a side of the ladder says: price in tenths, size and sum in thousandths. */
async function shownRows(page: Page, side: string): Promise<bigint[][]> {
  const rows: bigint[][] = []
  for (const row of await page.locator(`${side} .level`).all()) {
    const [price = '', size = '', total = ''] = await row.locator('span').allTextContents()
    if (price !== '') rows.push([whole(price, 1), whole(size, 3), whole(total, 3)])
  }
  return rows
}

function whole(text: string, digits: number): bigint {
  const [integer = '', fraction = ''] = text.replaceAll(',', '').split('.')
  assert.ok(fraction.length <= digits, `${text} has more than ${digits} digits`)
  return BigInt(integer + fraction.padEnd(digits, '0'))
}

/** Levels of a tenth put together by steps of tenths, in whole numbers. */
function summed(levels: readonly [string, string][], step: bigint, direction: 'up' | 'down'): bigint[][] {
  const rows: bigint[][] = []
  let total = 0n
  for (const [price, quantity] of levels) {
    const tenths = whole(price, 1)
    const at = ((tenths + (direction === 'up' ? step - 1n : 0n)) / step) * step
    const size = whole(quantity, 3)
    total += size
    const last = rows.at(-1)
    if (last?.[0] === at) rows[rows.length - 1] = [at, (last[1] as bigint) + size, total]
    else rows.push([at, size, total])
  }
  return rows
}
