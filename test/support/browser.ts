import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { cleanUp } from './clean-up.ts'

const NAMES = ['chromium', 'chromium-browser', 'google-chrome']
/** A browser of a test speaks with nobody but the server under test. */
const FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** @returns one sentence why there is none; where CI is set that is an error instead. */
export async function startBrowser(t: TestContext): Promise<Browser | string> {
  const executablePath = onPath()
  if (executablePath === undefined) {
    const reason = `none of ${NAMES.join(', ')} is on PATH: install chromium with the package manager of the system`
    if (process.env.CI !== undefined) throw new Error(reason)
    return reason
  }
  const browser = await chromium.launch({ executablePath, args: FLAGS })
  cleanUp(t, () => browser.close())
  return browser
}

function onPath(): string | undefined {
  const folders = (process.env.PATH ?? '').split(delimiter)
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

export interface WatchedPage {
  readonly page: Page
  /** what a user would find in the console: errors, warnings, failed requests, answers that are no */
  readonly problems: string[]
}

export async function openPage(
  browser: Browser,
  url: string,
  options: BrowserContextOptions = {},
): Promise<WatchedPage> {
  const page = await browser.newPage({ viewport: { width: 1600, height: 900 }, colorScheme: 'dark', ...options })
  const problems: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) problems.push(`console: ${message.text()}`)
  })
  page.on('pageerror', (error) => problems.push(`thrown: ${error.message}`))
  page.on('requestfailed', (request) => {
    const reason = request.failure()?.errorText ?? ''
    if (reason !== 'net::ERR_ABORTED') problems.push(`failed: ${request.url()} ${reason}`) // nobody waited any more
  })
  page.on('response', (response) => {
    const comeAgain = response.headers()['retry-after'] === undefined ? '' : ' (come again)'
    if (response.status() >= 400) problems.push(`${response.status()}${comeAgain}: ${response.url()}`)
  })
  await page.goto(url)
  return { page, problems }
}
