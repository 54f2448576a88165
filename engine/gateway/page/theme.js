// @ts-check
/** Light or dark: as the system has it until somebody chooses; the choice is kept. */
import { byId, forgetColours, setText } from './dom.js'

const KEY = 'marketprism.theme'
const root = document.documentElement
const system = matchMedia('(prefers-color-scheme: light)')
/** @type {Set<() => void>} */
const watchers = new Set()

export const themeOf = () => root.dataset.theme ?? (system.matches ? 'light' : 'dark')

/** Told after every change, for what is drawn on canvas. @param {() => void} watcher */
export const whenThemeChanges = (watcher) => void watchers.add(watcher)

export function switchTheme() {
  root.dataset.theme = themeOf() === 'dark' ? 'light' : 'dark'
  try {
    localStorage.setItem(KEY, root.dataset.theme)
  } catch {
    // storage is switched off: the choice lives as long as the document
  }
  tell()
}

function tell() {
  forgetColours()
  setText(byId('theme-label'), `Theme: ${themeOf()}`)
  for (const watcher of watchers) watcher()
}

export function startTheme() {
  byId('theme').addEventListener('click', switchTheme)
  system.addEventListener('change', tell)
  tell()
}
