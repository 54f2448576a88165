/** Sends blocks of trades to a ClickHouse and never marks them; says when their rows are in. To be killed there. */
import { createLog } from '../../engine/base/log.ts'
import { ClickHouseSink, CLICKHOUSE_DEFAULT } from '../../engine/sinks/clickhouse.ts'
import { tradeBlocks } from './trade-blocks.ts'

const [url = '', producer = '', count = '0'] = process.argv.slice(2)
const sink = new ClickHouseSink(
  { ...CLICKHOUSE_DEFAULT, url, markDelayMs: 600_000 },
  () => 1_790_000_001_000_000_000n,
  createLog('silent', 'test'),
)
for (const block of tradeBlocks(producer, Number(count))) void sink.send(block)
setInterval(() => {
  if (sink.stats.blocks === Number(count)) process.stdout.write('rows are in\n')
}, 20)
