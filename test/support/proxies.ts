import { createServer, type IncomingMessage } from 'node:http'
import net, { type AddressInfo, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'

/** A proxy on loopback that counts what went through it. */
export interface TestProxy {
  readonly url: string
  readonly targets: string[]
  close(): Promise<void>
}

function pipe(left: Duplex, right: Duplex): void {
  left.on('error', () => right.destroy())
  right.on('error', () => left.destroy())
  left.on('close', () => right.destroy())
  right.on('close', () => left.destroy())
  left.pipe(right)
  right.pipe(left)
}

/** RFC 9110 section 9.3.6, nothing else. @param refuse answers 403 to every CONNECT */
export async function startConnectProxy(refuse = false): Promise<TestProxy> {
  const targets: string[] = []
  const sockets = new Set<Duplex>()
  const server = createServer((_request, response) => response.writeHead(405).end())
  server.on('connect', (request: IncomingMessage, client: Duplex) => {
    sockets.add(client)
    targets.push(request.url ?? '')
    if (refuse) return client.end('HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n')
    const [host, port] = (request.url ?? '').split(':')
    const target = net.connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 OK\r\n\r\n')
      pipe(client, target)
    })
    target.on('error', () => client.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    targets,
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

/** RFC 1928: no authentication, CONNECT, IPv4 or name. */
export async function startSocksProxy(): Promise<TestProxy> {
  const targets: string[] = []
  const sockets = new Set<Socket>()
  const server = net.createServer((client) => {
    sockets.add(client)
    client.on('error', () => client.destroy())
    client.once('data', () => {
      client.write(Buffer.from([5, 0]))
      client.once('data', (request: Buffer) => connectFor(client, request, targets))
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `socks5h://127.0.0.1:${(server.address() as AddressInfo).port}`,
    targets,
    close: () => {
      for (const socket of sockets) socket.destroy()
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}

function connectFor(client: Socket, request: Buffer, targets: string[]): void {
  const isName = request[3] === 3
  const nameEnd = 5 + (request[4] as number)
  const host = isName ? request.toString('latin1', 5, nameEnd) : request.subarray(4, 8).join('.')
  const port = request.readUInt16BE(isName ? nameEnd : 8)
  targets.push(`${host}:${port}`)
  const target = net.connect(port, host, () => {
    client.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]))
    pipe(client, target)
  })
  target.on('error', () => client.destroy())
}
