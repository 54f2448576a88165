import type { EventKind } from '../venue.ts'

/**
 * Event messages of Binance. Spot trades end in `M`, futures trades have `X`; the spot bookTicker has no type and no time;
 * COIN-M puts `u` before `e` and adds `ps`.
 */
type Shape = Readonly<Record<EventKind, string>>

const FUTURES_TRADE = '{"e":"trade","E":%E,"T":%T,"s":"$s","t":%i,"p":"%p","q":"%q","X":"MARKET","m":%m}'
const FUTURES_AGG = '{"e":"aggTrade","E":%E,"a":%i,"s":"$s","p":"%p","q":"%q","f":%f,"l":%l,"T":%T,"m":%m}'

export const SHAPES: Readonly<Record<'spot' | 'usdm' | 'coinm', Shape>> = {
  spot: {
    trade: '{"e":"trade","E":%E,"s":"$s","t":%i,"p":"%p","q":"%q","T":%T,"m":%m,"M":true}',
    aggTrade: '{"e":"aggTrade","E":%E,"s":"$s","a":%i,"p":"%p","q":"%q","f":%f,"l":%l,"T":%T,"m":%m,"M":true}',
    bookTicker: '{"u":%u,"s":"$s","b":"%b","B":"%B","a":"%a","A":"%A"}',
    depth: '{"e":"depthUpdate","E":%E,"s":"$s","U":%U,"u":%u,"b":[%x],"a":[%y]}',
  },
  usdm: {
    trade: FUTURES_TRADE,
    aggTrade: FUTURES_AGG,
    bookTicker: '{"e":"bookTicker","u":%u,"s":"$s","b":"%b","B":"%B","a":"%a","A":"%A","T":%T,"E":%E}',
    depth: '{"e":"depthUpdate","E":%E,"T":%T,"s":"$s","U":%U,"u":%u,"pu":%v,"b":[%x],"a":[%y]}',
  },
  coinm: {
    trade: FUTURES_TRADE,
    aggTrade: FUTURES_AGG,
    bookTicker: '{"u":%u,"e":"bookTicker","s":"$s","ps":"$p","b":"%b","B":"%B","a":"%a","A":"%A","T":%T,"E":%E}',
    depth: '{"e":"depthUpdate","E":%E,"T":%T,"s":"$s","ps":"$p","U":%U,"u":%u,"pu":%v,"b":[%x],"a":[%y]}',
  },
}
