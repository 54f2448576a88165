import Table from 'cli-table3'
import type { Effective, KeyPath } from '../base/config.ts'
import { KEY_PATHS, keyAt, OTHER_VARIABLES, shown, variableOf } from '../base/config.ts'

/** `marketprism config`: every key, its value, and where the value came from. */
export function runConfig(form: 'table' | 'json' | 'markdown', load: () => Effective): void {
  if (form === 'markdown') process.stdout.write(`${keysAsMarkdown()}\n`)
  else process.stdout.write(`${form === 'json' ? asJson(load()) : asTable(load())}\n`)
}

function asJson(effective: Effective): string {
  const keys = KEY_PATHS.map((path) => {
    const value = effective.values.get(path)
    const { layer, place } = effective.origins.get(path) as { layer: string; place: string }
    const key = keyAt(path)
    const safe = key.secret || typeof value === 'string' ? shown(path, value) : value
    return [
      path,
      {
        value: safe,
        from: layer,
        place,
        unit: key.unit,
        allowed: key.allowed,
        variable: variableOf(path),
        why: key.why,
      },
    ]
  })
  return JSON.stringify({ environment: effective.environment, keys: Object.fromEntries(keys) }, null, 2)
}

function asTable(effective: Effective): string {
  const table = new Table({
    head: ['key', 'value', 'unit', 'from', 'allowed'],
    style: { head: [], border: [], compact: true },
    wordWrap: true,
    colWidths: [54, 34, 13, 40, 44],
  })
  for (const path of KEY_PATHS) {
    const key = keyAt(path)
    table.push([
      path,
      shown(path, effective.values.get(path)),
      key.unit,
      effective.origins.get(path)?.place ?? '',
      key.allowed,
    ])
  }
  return `environment: ${effective.environment}\n${table.toString()}`
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replaceAll('*', '\\*').replace(/\s+/g, ' ')

function defaultText(path: KeyPath): string {
  const key = keyAt(path)
  const text = key.defaultText ?? shown(path, key.default)
  return text === '' ? '' : `\`${text}\``
}

/** The README's table; a test holds the README to it. */
export function keysAsMarkdown(): string {
  const rows = KEY_PATHS.map((path) => {
    const key = keyAt(path)
    const variable = key.secret ? `\`${variableOf(path)}\` or \`…_FILE\`` : `\`${variableOf(path)}\``
    return `| \`${path}\` | ${variable} | ${defaultText(path)} | ${cell(key.allowed)} | ${key.unit} | ${cell(key.why)} |`
  })
  const others = Object.entries(OTHER_VARIABLES).map(([name, about]) => `| | \`${name}\` | | | | ${cell(about)} |`)
  return [
    '| key | environment variable | default | allowed | unit | why |',
    '|---|---|---|---|---|---|',
    ...rows,
    ...others,
  ].join('\n')
}
