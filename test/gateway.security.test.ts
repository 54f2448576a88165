/** Rows G1 to G14 of the threats that a gateway meets, each as a probe against a real server over real sockets. */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { appendFileSync, existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { connect } from 'node:net'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import { test } from 'node:test'
import type { TestContext } from 'node:test'
import { WebSocket } from 'ws'
import { EXIT_CONFIG, Fault } from '../engine/base/fault.ts'
import {
  clientAddress,
  hostName,
  isLoopback,
  isSameOrigin,
  neighbourhood,
} from '../engine/gateway/security/addresses.ts'
import { assertServable } from '../engine/gateway/security/exposure.ts'
import { hashOfKey, KeyRing, parseKeys, withoutKeys } from '../engine/gateway/security/keys.ts'
import { Rates } from '../engine/gateway/security/rates.ts'
import { SILENT, temporaryDirectory, until } from './support/embedded.ts'
import { askerOf, served } from './support/gateway.ts'

/** A key and its line for the file, made without our own tool. */
function madeKey(id: string, more: object = { scopes: ['read', 'stream'] }): { key: string; line: string } {
  const key = `marketprism_${id}_${randomBytes(32).toString('base64url')}`
  return { key, line: `${JSON.stringify({ id, sha256: hashOfKey(key), ...more })}\n` }
}

function keysFile(t: TestContext, ...lines: string[]): string {
  const file = join(temporaryDirectory(t), 'keys')
  writeFileSync(file, lines.join(''))
  return file
}

const withKey = (key: string): RequestInit => ({ headers: { authorization: `Bearer ${key}` } })

/** Bytes as they are over a socket, and all that comes back until it is closed. */
function raw(port: number, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    let answer = ''
    socket.on('data', (chunk) => (answer += chunk))
    socket.on('error', reject)
    socket.on('close', () => resolve(answer))
  })
}

/** fetch() may not set Host or Origin as it likes. */
function asked(
  port: number,
  path: string,
  headers: Record<string, string>,
  method = 'GET',
  body = '',
): Promise<{ status: number; text: string; headers: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { host: '127.0.0.1', port, path, method, headers: { connection: 'close', ...headers } },
      (response) => {
        let text = ''
        response.on('data', (chunk) => (text += chunk))
        response.on('end', () => resolve({ status: response.statusCode ?? 0, text, headers: response.headers }))
      },
    )
    request.on('error', reject)
    request.end(body)
  })
}

const codeOf = (text: string): string => JSON.parse(text).error.code

test('gateway: who asks too often should be told when to come again, others should not notice (G1)', async (t) => {
  const [slow, fast] = [
    madeKey('slow', { scopes: ['read'], requestsPerSecond: 3 }),
    madeKey('fast', { scopes: ['read'] }),
  ]
  const file = keysFile(t, slow.line, fast.line)
  const { get, gateway } = await served(t, { security: { keys: { file, single: undefined } } })
  const answers = await Promise.all(Array.from({ length: 20 }, () => get('/v1/status', withKey(slow.key))))
  const refused = answers.filter(({ status }) => status === 429)
  assert.ok(refused.length >= 14 && refused.length <= 17, `${refused.length} of 20 at 3 a second`)
  for (const { headers, json } of refused) {
    assert.equal(headers.get('retry-after'), '1')
    assert.equal(json.error.code, 'too_many_requests')
  }
  assert.equal((await get('/v1/status', withKey(fast.key))).status, 200)
  assert.equal(gateway.counts.refused.rate, refused.length)
})

test('gateway: an address should be bounded, too, whatever keys it tries (G1)', async (t) => {
  const { get } = await served(t, { security: { requestsPerSecond: 5 } })
  const answers = await Promise.all(Array.from({ length: 30 }, () => get('/v1/nothing')))
  assert.ok(answers.filter(({ status }) => status === 429).length >= 20)
})

test('gateway: more requests at once than allowed should be told to come again (G1)', async (t) => {
  const { get, engine, gateway } = await served(t, { security: { inFlightMax: 4 } })
  let open = (): void => {}
  const gate = new Promise<void>((resolve) => (open = resolve))
  engine.status = async () => {
    await gate
    return engine.processes
  }
  const held = Array.from({ length: 4 }, () => get('/v1/status'))
  await until(() => gateway.counts.inFlight === 4, 5_000, 'four requests are under way')
  const fifth = await get('/v1/status')
  assert.deepEqual([fifth.status, fifth.json.error.code, fifth.headers.get('retry-after')], [503, 'overloaded', '1'])
  open()
  assert.deepEqual(
    (await Promise.all(held)).map(({ status }) => status),
    [200, 200, 200, 200],
  )
  await until(() => gateway.counts.inFlight === 0, 5_000, 'all are counted out again')
})

test('gateway: a bucket should hold a second and fill all the time, and forget the oldest of many names', () => {
  let nowMs = 0
  const rates = new Rates(() => nowMs)
  assert.deepEqual([rates.take('a', 2), rates.take('a', 2), rates.take('a', 2)], [0, 0, 500])
  assert.equal(rates.take('b', 2), 0)
  nowMs = 500
  assert.deepEqual([rates.take('a', 2), rates.take('a', 2)], [0, 500])
  nowMs = 60_000
  assert.deepEqual([rates.take('a', 2), rates.take('a', 2), rates.take('a', 2)], [0, 0, 500])
  for (let name = 0; name < 20_000; name++) rates.take(String(name), 1)
  assert.equal(rates.size, 10_000)
})

test('gateway: a client that sends its headers slowly should be cut off (G2)', async (t) => {
  const { gateway } = await served(t, { security: { headersTimeoutMs: 300 } })
  const answer = await new Promise<string>((resolve) => {
    let text = ''
    const socket = connect(gateway.port, '127.0.0.1', () =>
      socket.write('GET /v1/status HTTP/1.1\r\nHost: localhost\r\n'),
    )
    const trickle = setInterval(() => socket.write('x: y\r\n'), 50)
    socket.on('error', () => {})
    socket.on('data', (chunk) => (text += chunk))
    socket.on('close', () => {
      clearInterval(trickle)
      resolve(text)
    })
  })
  assert.match(answer, /^HTTP\/1.1 408 /)
  assert.ok(answer.includes('"code":"too_slow"'))
})

test('gateway: one address should not get all connections (G2)', async (t) => {
  const { gateway } = await served(t, { security: { connectionsPerClientMax: 3 } })
  const sockets = Array.from({ length: 6 }, () => connect(gateway.port, '127.0.0.1'))
  t.after(() => {
    for (const socket of sockets) socket.destroy()
  })
  let closed = 0
  for (const socket of sockets) socket.on('close', () => closed++).on('error', () => {})
  await until(() => closed === 3, 5_000, 'three of six are closed')
  assert.equal(gateway.counts.refused.connections, 3)
  for (const socket of sockets) socket.destroy()
  await until(
    async () => (await askerOf(gateway.url)('/v1/status').catch(() => undefined))?.status === 200,
    5_000,
    'there is room again',
  )
})

test('gateway: what is too large should be refused by its kind (G3)', async (t) => {
  const { gateway, get } = await served(t, { security: { localAdmin: true } })
  const long = await get(`/v1/status?x=${'y'.repeat(2_100)}`)
  assert.deepEqual([long.status, long.json.error.code], [414, 'url_too_long'])
  const headers = await raw(
    gateway.port,
    `GET /v1/status HTTP/1.1\r\nHost: localhost\r\nX: ${'y'.repeat(9_000)}\r\n\r\n`,
  )
  assert.match(headers, /^HTTP\/1.1 431 /)
  assert.ok(headers.includes('"code":"headers_too_large"'))
  const body = await get('/v1/subscriptions', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ instruments: ['x'.repeat(70_000)] }),
  })
  assert.deepEqual([body.status, body.json.error.code], [413, 'body_too_large'])
  const junk = await raw(gateway.port, 'JUNK\r\n\r\n')
  assert.match(junk, /^HTTP\/1.1 400 /)
})

test('gateway: keys should be needed, known, unexpired and good for what is asked (G8)', async (t) => {
  const reader = madeKey('reader', { scopes: ['read'] })
  const admin = madeKey('admin', { scopes: ['admin'] })
  const old = madeKey('old', { scopes: ['read'], expires: '2020-01-01T00:00:00Z' })
  const file = keysFile(t, '# keys of a test\n', reader.line, '\n', admin.line, old.line)
  const { get } = await served(t, { security: { keys: { file, single: undefined }, localAdmin: true } })
  const outcome = async (init: RequestInit, path = '/v1/status') => {
    const { status, json } = await get(path, init)
    return status === 200 ? 200 : [status, json.error.code]
  }
  assert.deepEqual(await outcome({}), [401, 'key_missing'])
  assert.equal((await get('/v1/status')).headers.get('www-authenticate'), 'Bearer realm="marketprism"')
  assert.deepEqual(await outcome(withKey('')), [401, 'key_unknown'])
  assert.deepEqual(await outcome(withKey('nonsense')), [401, 'key_unknown'])
  assert.deepEqual(await outcome(withKey(madeKey('reader').key)), [401, 'key_unknown'], 'right id, wrong secret')
  assert.deepEqual(await outcome(withKey(madeKey('nobody').key)), [401, 'key_unknown'])
  assert.deepEqual(await outcome(withKey(old.key)), [401, 'key_expired'])
  assert.equal(await outcome(withKey(reader.key)), 200)
  assert.deepEqual(await outcome(withKey(admin.key)), [403, 'scope_missing'])
  assert.equal(await outcome(withKey(admin.key), '/v1/config'), 200)
  assert.deepEqual(await outcome(withKey(reader.key), '/v1/config'), [403, 'scope_missing'])
  assert.deepEqual(await outcome({}, `/v1/status?key=${reader.key}`), [401, 'key_missing'], 'never in a URL')
})

test('gateway: keys should be read again when their file changes, and stay when it is wrong (G8)', async (t) => {
  const [first, second] = [madeKey('first'), madeKey('second')]
  const file = keysFile(t, first.line)
  const { get } = await served(t, { security: { keys: { file, single: undefined } } })
  const status = async ({ key }: { key: string }) => (await get('/v1/status', withKey(key))).status
  assert.deepEqual([await status(first), await status(second)], [200, 401])
  appendFileSync(file, second.line)
  await until(async () => (await status(second)) === 200, 10_000, 'the second key is known')
  writeFileSync(`${file}.new`, second.line)
  renameSync(`${file}.new`, file)
  await until(async () => (await status(first)) === 401, 10_000, 'the first key is known no more')
  writeFileSync(file, 'not json\n')
  await new Promise((resolve) => setTimeout(resolve, 1_500))
  assert.equal(await status(second), 200)
})

test('gateway: a file of keys should be refused with the line that is wrong, and without its text', () => {
  const good = madeKey('a').line
  const problems = (text: string): string => {
    try {
      parseKeys(text, 'keys')
      return ''
    } catch (error) {
      assert.ok(error instanceof Fault && error.exitCode === EXIT_CONFIG)
      return error.message
    }
  }
  assert.equal(problems(`${good}\n# comment\n`), '')
  assert.match(problems(`${good}${good}`), /^keys line 2: id a stands twice/)
  const key = madeKey('b').key
  assert.match(problems(`${good}${key}`), /^keys line 2: no JSON/)
  assert.ok(!problems(key).includes(key.slice(20)))
  assert.match(problems('{"id":"a","sha256":"00","scopes":["read"]}'), /sha256 has to be 64/)
  assert.match(problems(good.replace('"read"', '"write"')), /scopes has to be a list of read, stream, admin/)
  assert.match(problems(madeKey('a', { scopes: ['read'], expires: 'soon' }).line), /expires has to be a time/)
  assert.match(problems(madeKey('a', { scopes: ['read'], requestsPerSecond: 0 }).line), /requestsPerSecond/)
})

test('gateway: a key that was taken away should not be good any more for who is inside (G8)', (t) => {
  const { key, line } = madeKey('a', { scopes: ['stream'], expires: new Date(50_000).toISOString() })
  let nowMs = 0
  const ring = new KeyRing({ file: keysFile(t, line), single: undefined }, () => nowMs, SILENT)
  t.after(() => ring.close())
  const record = ring.find(key)
  assert.ok(typeof record === 'object' && ring.isGood(record))
  nowMs = 50_000
  assert.equal(ring.isGood(record), false)
  assert.equal(ring.find(key), 'expired')
})

test('gateway: off loopback it should start with keys and TLS, or with an explicit word only (G8)', () => {
  const matrix: string[] = []
  for (const host of ['127.0.0.1', '::1', 'localhost', '0.0.0.0', '::', '192.168.1.5', 'example.com'])
    for (const hasKeys of [false, true])
      for (const way of ['plain', 'tls', 'proxy'] as const)
        for (const exposed of [false, true]) {
          const exposure = { host, hasKeys, hasTls: way === 'tls', behindTlsProxy: way === 'proxy', exposed }
          try {
            assertServable(exposure)
            matrix.push(`${host} ${hasKeys ? 'keys' : 'open'} ${way} ${exposed ? 'exposed' : ''} starts`)
          } catch (error) {
            assert.ok(error instanceof Fault && error.exitCode === EXIT_CONFIG && !error.message.includes('\n'))
            assert.match(error.message, hasKeys ? /TLS/ : /marketprism keys create/)
          }
        }
  const isRight = (line: string): boolean => {
    const isLocal = /^(127\.0\.0\.1|::1|localhost) /.test(line) && !line.includes('proxy')
    return isLocal || line.includes('exposed') || (line.includes('keys') && !line.includes('plain'))
  }
  assert.deepEqual(
    matrix.filter((line) => !isRight(line)),
    [],
  )
  assert.equal(matrix.length, 3 * 2 * 2 * 2 + 3 * 2 + 3 + 4 * 2 * 3 + 4 * 2)
})

test('gateway: without keys the machine may look and not change (G8)', async (t) => {
  const { get } = await served(t)
  assert.equal((await get('/v1/config')).status, 200)
  const change = { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"instruments":["a.b.c"]}' }
  const refused = await get('/v1/subscriptions', change)
  assert.deepEqual([refused.status, refused.json.error.code], [403, 'scope_missing'])
  const { get: getOpen, engine } = await served(t, { security: { localAdmin: true } })
  assert.equal((await getOpen('/v1/subscriptions', change)).status, 200)
  assert.equal(engine.changes.length, 1)
})

test('gateway: pages of other origins should get nothing, those of the list what they ask (G9)', async (t) => {
  const { gateway } = await served(t, { security: { origins: ['https://desk.example'], localAdmin: true } })
  const { port } = gateway
  const own = { host: `localhost:${port}` }
  const status = async (headers: Record<string, string>, method = 'GET') =>
    (await asked(port, '/v1/status', { ...own, ...headers }, method)).status
  assert.equal(await status({}), 200)
  assert.equal(await status({ origin: `http://localhost:${port}` }), 200)
  assert.equal(await status({ origin: 'https://desk.example' }), 200)
  for (const origin of [
    'https://evil.example',
    'null',
    `http://localhost:${port + 1}`,
    'https://desk.example.evil.example',
    'file://',
  ])
    assert.equal(await status({ origin }), 403, origin)
  assert.equal(await status({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'no-cors' }), 403)
  assert.equal(await status({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' }), 200, 'a link')
  const preflight = { 'access-control-request-method': 'GET' }
  const allowed = await asked(port, '/v1/status', { ...own, ...preflight, origin: 'https://desk.example' }, 'OPTIONS')
  assert.equal(allowed.status, 204)
  assert.equal(allowed.headers['access-control-allow-origin'], 'https://desk.example')
  assert.equal(allowed.headers['access-control-allow-credentials'], undefined)
  assert.equal(await status({ ...preflight, origin: 'https://evil.example' }, 'OPTIONS'), 403)
})

test('gateway: a form of a foreign page should change nothing (G9)', async (t) => {
  const { gateway, engine } = await served(t, { security: { localAdmin: true } })
  const body = '{"instruments":["a.b.c"]}'
  const post = (headers: Record<string, string>) =>
    asked(
      gateway.port,
      '/v1/subscriptions',
      { host: 'localhost', 'content-length': String(body.length), ...headers },
      'POST',
      body,
    )
  for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])
    assert.equal((await post({ 'content-type': type })).status, 415, type)
  const foreign = await post({ 'content-type': 'application/json', origin: 'https://evil.example' })
  assert.equal(foreign.status, 403)
  assert.equal(engine.changes.length, 0)
})

test('gateway: a WebSocket of a foreign page should be refused (G9)', async (t) => {
  const { gateway } = await served(t)
  for (const path of ['/v1/stream', '/elsewhere'])
    for (const origin of ['https://evil.example', 'null']) {
      const [status, text] = await refusal(new WebSocket(`ws://127.0.0.1:${gateway.port}${path}`, { origin }))
      assert.deepEqual([status, codeOf(text)], [403, 'origin_not_allowed'], `${path} ${origin}`)
    }
})

function refusal(socket: WebSocket): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    socket.on('unexpected-response', (_, response) => {
      let text = ''
      response.on('data', (chunk) => (text += chunk))
      response.on('end', () => resolve([response.statusCode ?? 0, text]))
    })
    socket.on('open', () => reject(new Error('it was let in')))
    socket.on('error', () => {})
  })
}

test('gateway: a name that leads here unknown to us should be refused (DNS rebinding)', async (t) => {
  const { gateway } = await served(t, { security: { hosts: ['prism.example'] } })
  const status = async (host: string) => (await asked(gateway.port, '/v1/status', { host })).status
  for (const host of [
    'localhost',
    `localhost:${gateway.port}`,
    '127.0.0.1',
    '[::1]:80',
    'prism.example',
    'PRISM.example:443',
  ])
    assert.equal(await status(host), 200, host)
  for (const host of [
    'evil.example',
    '127.0.0.1.evil.example',
    'localhost.evil.example',
    '169.254.169.254',
    'a b',
    '[::2]',
  ])
    assert.equal(await status(host), 421, host)
  assert.match(await raw(gateway.port, 'GET /v1/status HTTP/1.0\r\n\r\n'), /^HTTP\/1.1 421 /)
})

test('gateway: one that others reach should be called by loopback names and those of serve.hosts alone, and say so', async (t) => {
  const { gateway } = await served(t, {
    host: '0.0.0.0',
    security: { exposed: true, hosts: ['prism.example', '2001:db8::7'] },
  })
  const ask = (host: string) => asked(gateway.port, '/v1/status', { host })
  for (const host of ['localhost', '127.0.0.1:80', '[::1]', 'prism.example', '[2001:DB8::7]:9480'])
    assert.equal((await ask(host)).status, 200, host)
  for (const host of [
    'evil.example',
    'localhost.evil.example',
    '127.0.0.1.evil.example',
    'evil.localhost',
    '10.0.0.1',
  ]) {
    const { status, text } = await ask(host)
    assert.deepEqual([status, codeOf(text)], [421, 'host_not_allowed'], host)
    assert.ok(text.includes(`not called ${host} (header Host): call it localhost, 127.0.0.1, [::1]`), text)
    assert.ok(text.includes('add the name to serve.hosts') && !text.includes('prism.example'), text)
  }
  assert.match((await ask('a b')).text, /header Host names no host: call it localhost/)
})

test('gateway: addresses should be read as they are meant', () => {
  assert.equal(clientAddress('::ffff:10.0.0.7', {}, false), '10.0.0.7')
  const forged = { 'x-forwarded-for': '1.1.1.1, 2.2.2.2' }
  assert.equal(clientAddress('10.0.0.7', forged, false), '10.0.0.7')
  assert.equal(clientAddress('10.0.0.7', forged, true), '2.2.2.2', 'what the proxy wrote, not the client')
  assert.equal(clientAddress('10.0.0.7', { 'x-forwarded-for': ' ' }, true), '10.0.0.7')
  assert.equal(neighbourhood('10.0.0.7'), '10.0.0.7')
  assert.equal(neighbourhood('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  assert.equal(neighbourhood('2001:db8::6'), '2001:db8:0:0::/64')
  assert.equal(hostName('[::1]:80'), '::1')
  assert.equal(hostName('user@host'), undefined)
  assert.ok(isLoopback('127.9.9.9') && isLoopback('a.localhost') && !isLoopback('127.0.0.1.nip.example'))
  assert.ok(isSameOrigin('https://a.example', 'a.example') && !isSameOrigin('https://a.example', 'b.example'))
  assert.ok(isSameOrigin('http://a.example', 'a.example:80') && !isSameOrigin('data:x', 'x'))
})

test('gateway: admin calls should be written down, with who, what, from where and what came of it', async (t) => {
  const auditFile = join(temporaryDirectory(t), 'audit.ndjson')
  const admin = madeKey('boss', { scopes: ['admin'] })
  const reader = madeKey('reader', { scopes: ['read'] })
  const file = keysFile(t, admin.line, reader.line)
  const { get } = await served(t, { security: { auditFile, keys: { file, single: undefined } } })
  const change = (key: string, body: string) =>
    get('/v1/subscriptions', {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${key}` },
      body,
    })
  assert.equal((await change(admin.key, '{"instruments":["a.b.c"]}')).status, 200)
  assert.equal((await change(reader.key, `{"instruments":["a.b.${reader.key}"]}`)).status, 403)
  assert.equal((await change('wrong', '{}')).status, 401)
  const lines = (): string[] => (existsSync(auditFile) ? readFileSync(auditFile, 'utf8').trimEnd().split('\n') : [])
  await until(() => lines().length === 3, 5_000, 'three lines')
  assert.deepEqual(
    lines().map((line) => {
      const { who, what, from, status } = JSON.parse(line)
      return [who, what, from, status]
    }),
    [
      ['boss', 'POST /v1/subscriptions', '127.0.0.1', 200],
      ['reader', 'POST /v1/subscriptions', '127.0.0.1', 403],
      ['nobody', 'POST /v1/subscriptions', '127.0.0.1', 401],
    ],
  )
  assert.ok(!readFileSync(auditFile, 'utf8').includes(reader.key.slice(-30)))
  assert.equal(withoutKeys(`x ${admin.key} y`), 'x marketprism_*** y')
})

test('gateway: over TLS it should speak nothing else, and take a renewed certificate without a stop', async (t) => {
  const directory = temporaryDirectory(t)
  const [certFile, keyFile] = [join(directory, 'cert.pem'), join(directory, 'key.pem')]
  const renew = (name: string): void => {
    const words = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
    const files = ['-keyout', `${keyFile}.new`, '-out', `${certFile}.new`, '-subj', `/CN=${name}`]
    execFileSync('openssl', [...words, ...files], { stdio: 'ignore' })
    renameSync(`${keyFile}.new`, keyFile)
    renameSync(`${certFile}.new`, certFile)
  }
  renew('first')
  const { gateway } = await served(t, { security: { tls: { certFile, keyFile } } })
  assert.match(gateway.url, /^https:/)
  const nameOf = (): Promise<string> =>
    new Promise((resolve, reject) => {
      const socket = tlsConnect({ port: gateway.port, host: '127.0.0.1', rejectUnauthorized: false }, () => {
        resolve(String(socket.getPeerCertificate().subject.CN))
        socket.destroy()
      })
      socket.on('error', reject)
    })
  assert.equal(await nameOf(), 'first')
  const secure = await new Promise<{ status: number | undefined; hsts: unknown }>((resolve, reject) =>
    httpsRequest({ port: gateway.port, host: '127.0.0.1', path: '/livez', rejectUnauthorized: false }, (response) => {
      response.resume()
      resolve({ status: response.statusCode, hsts: response.headers['strict-transport-security'] })
    })
      .on('error', reject)
      .end(),
  )
  assert.deepEqual(secure, { status: 200, hsts: 'max-age=31536000' })
  const plain = await raw(gateway.port, 'GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n').catch(() => '')
  assert.ok(!plain.includes('200'), plain)
  renew('second')
  await until(async () => (await nameOf()) === 'second', 15_000, 'the renewed certificate')
  await assert.rejects(
    served(t, { security: { tls: { certFile, keyFile: join(directory, 'none.pem') } } }),
    (error: Fault) =>
      error.exitCode === EXIT_CONFIG && /serve\.tlsKeyFile = .*none\.pem cannot be read/.test(error.message),
  )
})

test('gateway: WebSockets should need a key like all else, and be bounded a key and an address (G5, G8)', async (t) => {
  const streamer = madeKey('streamer', { scopes: ['stream'] })
  const reader = madeKey('reader', { scopes: ['read'] })
  const keys = { file: keysFile(t, streamer.line, reader.line), single: undefined }
  const { gateway } = await served(t, { security: { keys, connectionsPerClientMax: 3 } })
  const socketOf = (path: string, key?: string): WebSocket =>
    new WebSocket(
      `ws://127.0.0.1:${gateway.port}${path}`,
      key === undefined ? {} : { headers: { authorization: `Bearer ${key}` } },
    )
  const refused = async (path: string, key?: string) => {
    const [status, text] = await refusal(socketOf(path, key))
    return [status, codeOf(text)]
  }
  assert.deepEqual(await refused('/v1/stream', reader.key), [403, 'scope_missing'])
  assert.deepEqual(await refused('/v1/stream', madeKey('streamer').key), [401, 'key_unknown'])
  assert.deepEqual(await refused('/ws-stream-normalized'), [401, 'key_missing'])
  assert.deepEqual(await refused('/nowhere', streamer.key), [404, 'not_found'])
  const open = Array.from({ length: 3 }, () => socketOf('/v1/stream', streamer.key))
  t.after(() => {
    for (const socket of open) socket.terminate()
  })
  await Promise.all(open.map((socket) => once(socket, 'open')))
  await assert.rejects(once(socketOf('/v1/stream', streamer.key), 'open'), 'the fourth connection is cut')
  open[0]?.close()
  await until(
    () =>
      new Promise<boolean>((resolve) => {
        const socket = socketOf('/v1/stream', streamer.key)
        socket.on('error', () => resolve(false))
        socket.on('open', () => {
          socket.close()
          resolve(true)
        })
      }),
    10_000,
    'there is room again',
  )
})

test('gateway: under overload it should give up history and keep what is live', async (t) => {
  const { get, engine, gateway } = await served(t)
  const outcome = async (path: string) => {
    const { status, json, headers } = await get(path)
    return [status, json.error?.code, headers.get('retry-after')]
  }
  const before = await outcome('/v1/gaps')
  assert.notEqual(before[1], 'overloaded')
  for (const level of [2, 3]) {
    engine.level = level
    for (const path of ['/v1/gaps', '/v1/trades/binance.usdm.BTCUSDT', '/v1/instruments'])
      assert.deepEqual(await outcome(path), [503, 'overloaded', '10'], path)
    assert.equal((await get('/v1/status')).status, 200)
    assert.equal((await get('/v1/books')).status, 200)
  }
  assert.equal(gateway.counts.refused.overload, 6)
  engine.level = 1
  assert.deepEqual(await outcome('/v1/gaps'), before)
})
