/*
 * The ceiling: the work of the pipeline bench in C++, as fast as it gets without SIMD tricks.
 *
 *   message bytes ─► forward byte scan, every key verified ─► paged price ladder ─► columns ─► blocks (one buffer each)
 *
 * One instrument, one thread, messages in memory; no ring (the pipeline under test pays for its ring itself). It knows
 * exactly the messages of a Binance USD-M recording and ends at the first one that looks different: it is a yardstick, not a
 * reader. Arithmetic: 420 bytes a message at 1 to 2 ns a byte of digits and 11 ns a level give 2 to 4 M messages/s.
 *
 *   ceiling FILE RUNS SYMBOL PRICE_SCALE QUANTITY_SCALE ROWS_MAX BYTES_MAX AGE_MS SNAPSHOT_MS SNAPSHOT_DEPTH
 */
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

using std::string_view;

[[noreturn]] static void refuse(const char *what, const char *at) {
  std::fprintf(stderr, "ceiling: %s at: %.60s\n", what, at);
  std::exit(1);
}

struct Settings {
  string_view symbol;
  int priceScale, quantityScale;
  size_t rowsMax, bytesMax;
  int64_t ageNs, snapshotNs;
  size_t snapshotDepth;
};

// ---------------------------------------------------------------- ladder

/* One side of a book. A directory of pages of 256 ticks; a page holds quantities and a bitmap of the taken ones. */
template <bool IS_BID> class Ladder {
  static constexpr int PAGE_BITS = 8, PAGE_TICKS = 1 << PAGE_BITS, DIRECTORY_PAGES = 1 << 20;
  struct Page {
    int64_t quantity[PAGE_TICKS];
    uint64_t taken[PAGE_TICKS / 64];
    int count;
  };
  std::vector<Page *> directory = std::vector<Page *>(DIRECTORY_PAGES, nullptr);
  std::vector<std::unique_ptr<Page>> pages;
  int64_t firstPage = DIRECTORY_PAGES, lastPage = -1;

public:
  static constexpr int64_t NO_PRICE = -1;
  int64_t best = NO_PRICE;
  size_t count = 0;

  void clear() {
    for (auto &page : pages) std::memset(page.get(), 0, sizeof(Page));
    best = NO_PRICE;
    count = 0;
  }

  void set(int64_t tick, int64_t quantity) {
    const int64_t index = tick >> PAGE_BITS;
    if (index >= DIRECTORY_PAGES) refuse("price beyond the directory", "");
    Page *page = directory[index];
    if (page == nullptr) {
      if (quantity == 0) return;
      pages.push_back(std::make_unique<Page>());
      page = directory[index] = pages.back().get();
      std::memset(page, 0, sizeof(Page));
      if (index < firstPage) firstPage = index;
      if (index > lastPage) lastPage = index;
    }
    const int slot = tick & (PAGE_TICKS - 1);
    uint64_t &word = page->taken[slot >> 6];
    const uint64_t bit = 1ull << (slot & 63);
    if (quantity != 0) {
      page->quantity[slot] = quantity;
      if ((word & bit) == 0) {
        word |= bit, page->count++, count++;
        if (best == NO_PRICE || (IS_BID ? tick > best : tick < best)) best = tick;
      }
    } else if ((word & bit) != 0) {
      word &= ~bit, page->count--, count--;
      page->quantity[slot] = 0;
      if (tick == best) best = next(tick);
    }
  }

  int64_t quantityAt(int64_t tick) const { return directory[tick >> PAGE_BITS]->quantity[tick & (PAGE_TICKS - 1)]; }

  /* The taken tick after this one, away from the top. */
  int64_t next(int64_t tick) const {
    int64_t index = tick >> PAGE_BITS;
    int slot = tick & (PAGE_TICKS - 1);
    const Page *page = directory[index];
    int word = slot >> 6;
    if constexpr (IS_BID) {
      uint64_t rest = page->taken[word] & ((1ull << (slot & 63)) - 1);
      for (;;) {
        if (rest != 0) return (index << PAGE_BITS) + (word << 6) + 63 - __builtin_clzll(rest);
        if (--word < 0) {
          do if (--index < firstPage) return NO_PRICE; while (directory[index] == nullptr || directory[index]->count == 0);
          page = directory[index], word = PAGE_TICKS / 64 - 1;
        }
        rest = page->taken[word];
      }
    } else {
      uint64_t rest = (slot & 63) == 63 ? 0 : page->taken[word] & (~0ull << ((slot & 63) + 1));
      for (;;) {
        if (rest != 0) return (index << PAGE_BITS) + (word << 6) + __builtin_ctzll(rest);
        if (++word == PAGE_TICKS / 64) {
          do if (++index > lastPage) return NO_PRICE; while (directory[index] == nullptr || directory[index]->count == 0);
          page = directory[index], word = 0;
        }
        rest = page->taken[word];
      }
    }
  }
};

// ---------------------------------------------------------------- columns

/* A column is dense memory; `Levels` is an Array(Int64): row ends, then flat values. */
template <typename T> struct Column {
  std::unique_ptr<T[]> values;
  size_t count = 0;
  explicit Column(size_t capacity) : values(new T[capacity]) {}
  void add(T value) { values[count++] = value; }
};

struct Levels {
  Column<uint64_t> ends;
  Column<int64_t> values;
  Levels(size_t rows, size_t flat) : ends(rows), values(flat) {}
  void add(int64_t value) { values.add(value); }
  void endRow() { ends.add(values.count); }
};

struct Sink {
  std::vector<uint8_t> block;
  uint64_t blocks = 0, bytes = 0, rows = 0;
  size_t at = 0;

  void begin(size_t estimate) {
    if (block.size() < estimate + 4096) block.resize(estimate + 4096);
    at = 256; // head of the block: names, identity, counts
  }
  template <typename T> void put(Column<T> &column) {
    const size_t length = column.count * sizeof(T);
    block[at++] = 0xc6; // msgpack bin 32
    const uint32_t big = __builtin_bswap32(static_cast<uint32_t>(length));
    std::memcpy(&block[at], &big, 4);
    std::memcpy(&block[at + 4], column.values.get(), length);
    at += 4 + length;
    column.count = 0;
  }
  void put(Levels &levels) { put(levels.ends), put(levels.values); }
  void end(size_t rowCount) { blocks++, bytes += at, rows += rowCount; }
};

/* What all tables share: how many rows are open, since when, and when to seal. */
struct OpenBlock {
  size_t rows = 0, flat = 0;
  int64_t firstNs = 0;
  void row(int64_t receivedNs) {
    if (rows++ == 0) firstNs = receivedNs;
  }
};

struct Trades : OpenBlock {
  Column<uint16_t> instrument;
  Column<int64_t> received, event, trade;
  Column<uint8_t> stream;
  Column<uint64_t> id, firstId, lastId;
  Column<int64_t> price, quantity;
  Column<uint8_t> priceScale, quantityScale, side;
  static constexpr size_t ROW_BYTES = 70;
  explicit Trades(size_t n)
      : instrument(n), received(n), event(n), trade(n), stream(n), id(n), firstId(n), lastId(n), price(n), quantity(n), priceScale(n), quantityScale(n), side(n) {}
  void put(Sink &sink) {
    sink.put(instrument), sink.put(received), sink.put(event), sink.put(trade), sink.put(stream), sink.put(id), sink.put(firstId), sink.put(lastId);
    sink.put(price), sink.put(quantity), sink.put(priceScale), sink.put(quantityScale), sink.put(side);
  }
};

struct Tickers : OpenBlock {
  Column<uint16_t> instrument;
  Column<int64_t> received, event, transaction;
  Column<uint64_t> id;
  Column<int64_t> bidPrice, bidQuantity, askPrice, askQuantity;
  Column<uint8_t> priceScale, quantityScale;
  static constexpr size_t ROW_BYTES = 68;
  explicit Tickers(size_t n)
      : instrument(n), received(n), event(n), transaction(n), id(n), bidPrice(n), bidQuantity(n), askPrice(n), askQuantity(n), priceScale(n), quantityScale(n) {}
  void put(Sink &sink) {
    sink.put(instrument), sink.put(received), sink.put(event), sink.put(transaction), sink.put(id), sink.put(bidPrice), sink.put(bidQuantity);
    sink.put(askPrice), sink.put(askQuantity), sink.put(priceScale), sink.put(quantityScale);
  }
};

struct Deltas : OpenBlock {
  Column<uint16_t> instrument;
  Column<int64_t> received, event, transaction;
  Column<uint64_t> first, last, previous;
  Column<uint32_t> epoch;
  Column<uint8_t> state;
  Levels bidPrices, bidQuantities, askPrices, askQuantities;
  Column<uint8_t> priceScale, quantityScale;
  static constexpr size_t ROW_BYTES = 90;
  Deltas(size_t n, size_t flat)
      : instrument(n), received(n), event(n), transaction(n), first(n), last(n), previous(n), epoch(n), state(n), bidPrices(n, flat), bidQuantities(n, flat),
        askPrices(n, flat), askQuantities(n, flat), priceScale(n), quantityScale(n) {}
  void put(Sink &sink) {
    sink.put(instrument), sink.put(received), sink.put(event), sink.put(transaction), sink.put(first), sink.put(last), sink.put(previous), sink.put(epoch);
    sink.put(state), sink.put(bidPrices), sink.put(bidQuantities), sink.put(askPrices), sink.put(askQuantities), sink.put(priceScale), sink.put(quantityScale);
  }
};

struct Snapshots : OpenBlock {
  Column<uint16_t> instrument;
  Column<int64_t> received, event;
  Column<uint8_t> kind;
  Column<uint64_t> last;
  Column<uint32_t> epoch, bidLevels, askLevels;
  Levels bidPrices, bidQuantities, askPrices, askQuantities;
  Column<uint8_t> priceScale, quantityScale;
  static constexpr size_t ROW_BYTES = 80;
  Snapshots(size_t n, size_t flat)
      : instrument(n), received(n), event(n), kind(n), last(n), epoch(n), bidLevels(n), askLevels(n), bidPrices(n, flat), bidQuantities(n, flat),
        askPrices(n, flat), askQuantities(n, flat), priceScale(n), quantityScale(n) {}
  void put(Sink &sink) {
    sink.put(instrument), sink.put(received), sink.put(event), sink.put(kind), sink.put(last), sink.put(epoch), sink.put(bidLevels), sink.put(askLevels);
    sink.put(bidPrices), sink.put(bidQuantities), sink.put(askPrices), sink.put(askQuantities), sink.put(priceScale), sink.put(quantityScale);
  }
};

// ---------------------------------------------------------------- scan

struct Cursor {
  const char *at;

  template <size_t N> bool tryTake(const char (&word)[N]) {
    if (std::memcmp(at, word, N - 1) != 0) return false;
    at += N - 1;
    return true;
  }
  template <size_t N> void take(const char (&word)[N]) {
    if (!tryTake(word)) refuse(word, at);
  }
  void takeSymbol(string_view symbol) {
    if (std::memcmp(at, symbol.data(), symbol.size()) != 0) refuse("another symbol", at);
    at += symbol.size();
  }
  uint64_t integer() {
    uint64_t value = 0;
    for (unsigned digit; (digit = static_cast<unsigned char>(*at) - '0') <= 9; at++) value = value * 10 + digit;
    return value;
  }
  /* `123.450"` → mantissa at this scale; digits beyond it must be zeros. Takes the closing quote. */
  int64_t decimal(int scale) {
    int64_t value = static_cast<int64_t>(integer());
    if (*at == '.') {
      at++;
      for (unsigned digit; (digit = static_cast<unsigned char>(*at) - '0') <= 9; at++) {
        if (scale > 0) value = value * 10 + digit, scale--;
        else if (digit != 0) refuse("more digits than the scale", at);
      }
    }
    while (scale-- > 0) value *= 10;
    if (*at++ != '"') refuse("no end of number", at);
    return value;
  }
};

struct Message {
  int64_t receivedNs;
  const char *text;
};

static constexpr int64_t MS = 1'000'000;
static constexpr uint8_t STATE_BUFFERING = 1, STATE_LIVE = 2;

class Engine {
  const Settings &settings;
  size_t flatMax;
  Trades trades;
  Tickers tickers;
  Deltas deltas;
  Snapshots snapshots;
  std::vector<std::pair<int64_t, const char *>> buffered;
  bool anchored = false, changed = false;
  uint64_t lastSeq = 0;
  size_t appliedSinceAnchor = 0;
  int64_t lastEventNs = 0, nextSnapshotNs = 0;
  uint32_t epoch = 0;

public:
  Ladder<true> bids;
  Ladder<false> asks;
  Sink sink;
  uint64_t tradeCount = 0, tickerCount = 0, applied = 0, stale = 0;

  explicit Engine(const Settings &settings)
      : settings(settings), flatMax(settings.bytesMax / 8 + (1 << 16)), trades(settings.rowsMax + 1), tickers(settings.rowsMax + 1),
        deltas(settings.rowsMax + 1, flatMax), snapshots(settings.rowsMax + 1, flatMax) {}

  void on(const Message &message) {
    const int64_t now = message.receivedNs;
    if (now >= nextSnapshotNs) tick(now);
    Cursor cursor{message.text};
    if (!cursor.tryTake("{\"stream\":\"")) return anchor(now, cursor);
    while (*cursor.at != '"') cursor.at++;
    cursor.take("\",\"data\":{\"e\":\"");
    if (cursor.tryTake("bookTicker\",\"u\":")) ticker(now, cursor);
    else if (cursor.tryTake("trade\",\"E\":")) trade(now, cursor);
    else if (cursor.tryTake("depthUpdate\",\"E\":")) depth(now, cursor, message.text);
    else if (!cursor.tryTake("markPriceUpdate\"")) refuse("unknown event", cursor.at);
  }

  void drain(int64_t now) {
    if (changed) periodic(now);
    seal(trades), seal(tickers), seal(deltas), seal(snapshots);
  }

private:
  void ticker(int64_t now, Cursor &cursor) {
    const uint64_t id = cursor.integer();
    cursor.take(",\"s\":\""), cursor.takeSymbol(settings.symbol);
    cursor.take("\",\"b\":\"");
    const int64_t bidPrice = cursor.decimal(settings.priceScale);
    cursor.take(",\"B\":\"");
    const int64_t bidQuantity = cursor.decimal(settings.quantityScale);
    cursor.take(",\"a\":\"");
    const int64_t askPrice = cursor.decimal(settings.priceScale);
    cursor.take(",\"A\":\"");
    const int64_t askQuantity = cursor.decimal(settings.quantityScale);
    cursor.take(",\"T\":");
    const int64_t transaction = cursor.integer() * MS;
    cursor.take(",\"E\":");
    const int64_t event = cursor.integer() * MS;
    cursor.take("}}");
    tickers.instrument.add(0), tickers.received.add(now), tickers.event.add(event), tickers.transaction.add(transaction), tickers.id.add(id);
    tickers.bidPrice.add(bidPrice), tickers.bidQuantity.add(bidQuantity), tickers.askPrice.add(askPrice), tickers.askQuantity.add(askQuantity);
    tickers.priceScale.add(settings.priceScale), tickers.quantityScale.add(settings.quantityScale);
    tickerCount++;
    tickers.row(now), sealIfFull(tickers);
  }

  void trade(int64_t now, Cursor &cursor) {
    const int64_t event = cursor.integer() * MS;
    cursor.take(",\"T\":");
    const int64_t time = cursor.integer() * MS;
    cursor.take(",\"s\":\""), cursor.takeSymbol(settings.symbol);
    cursor.take("\",\"t\":");
    const uint64_t id = cursor.integer();
    cursor.take(",\"p\":\"");
    const int64_t price = cursor.decimal(settings.priceScale);
    cursor.take(",\"q\":\"");
    const int64_t quantity = cursor.decimal(settings.quantityScale);
    cursor.take(",\"X\":\"");
    while (*cursor.at != '"') cursor.at++;
    cursor.take("\",\"m\":");
    const bool buyerMakes = *cursor.at == 't';
    if (buyerMakes) cursor.take("true}}");
    else cursor.take("false}}");
    trades.instrument.add(0), trades.received.add(now), trades.event.add(event), trades.trade.add(time), trades.stream.add(1);
    trades.id.add(id), trades.firstId.add(id), trades.lastId.add(id), trades.price.add(price), trades.quantity.add(quantity);
    trades.priceScale.add(settings.priceScale), trades.quantityScale.add(settings.quantityScale), trades.side.add(buyerMakes ? 2 : 1);
    tradeCount++;
    trades.row(now), sealIfFull(trades);
  }

  template <typename Side> void levels(Cursor &cursor, Levels &prices, Levels &quantities, Side *side) {
    const size_t start = prices.values.count;
    if (*cursor.at == ']') cursor.at++;
    else
      for (;;) {
        cursor.take("[\"");
        const int64_t price = cursor.decimal(settings.priceScale);
        cursor.take(",\"");
        const int64_t quantity = cursor.decimal(settings.quantityScale);
        prices.add(price), quantities.add(quantity);
        if (side != nullptr) side->set(price, quantity);
        cursor.take("]");
        if (*cursor.at++ == ']') break;
      }
    deltas.flat += prices.values.count - start;
    prices.endRow(), quantities.endRow();
  }

  void depth(int64_t now, Cursor &cursor, const char *text) {
    const int64_t event = cursor.integer() * MS;
    cursor.take(",\"T\":");
    const int64_t transaction = cursor.integer() * MS;
    cursor.take(",\"s\":\""), cursor.takeSymbol(settings.symbol);
    cursor.take("\",\"U\":");
    const uint64_t first = cursor.integer();
    cursor.take(",\"u\":");
    const uint64_t last = cursor.integer();
    cursor.take(",\"pu\":");
    const uint64_t previous = cursor.integer();
    bool apply = false;
    if (!anchored) buffered.emplace_back(now, text);
    else if (last < lastSeq) stale++;
    else if (appliedSinceAnchor == 0 ? (first <= lastSeq || previous == lastSeq) : previous == lastSeq) apply = true;
    else refuse("gap", cursor.at);
    if (!anchored) return; // its row is made when it is applied
    cursor.take(",\"b\":[");
    levels(cursor, deltas.bidPrices, deltas.bidQuantities, apply ? &bids : nullptr);
    cursor.take(",\"a\":[");
    levels(cursor, deltas.askPrices, deltas.askQuantities, apply ? &asks : nullptr);
    cursor.take("}}");
    if (apply) lastSeq = last, appliedSinceAnchor++, applied++, changed = true, lastEventNs = event;
    deltas.instrument.add(0), deltas.received.add(now), deltas.event.add(event), deltas.transaction.add(transaction);
    deltas.first.add(first), deltas.last.add(last), deltas.previous.add(previous), deltas.epoch.add(epoch);
    deltas.state.add(apply ? STATE_LIVE : STATE_BUFFERING), deltas.priceScale.add(settings.priceScale), deltas.quantityScale.add(settings.quantityScale);
    deltas.row(now), sealIfFull(deltas);
  }

  void anchor(int64_t now, Cursor &cursor) {
    cursor.take("{\"lastUpdateId\":");
    lastSeq = cursor.integer();
    cursor.take(",\"E\":");
    lastEventNs = cursor.integer() * MS;
    cursor.take(",\"T\":"), cursor.integer();
    bids.clear(), asks.clear();
    cursor.take(",\"bids\":[");
    levels(cursor, snapshots.bidPrices, snapshots.bidQuantities, &bids);
    cursor.take(",\"asks\":[");
    levels(cursor, snapshots.askPrices, snapshots.askQuantities, &asks);
    cursor.take("}");
    anchored = true, appliedSinceAnchor = 0, epoch++;
    snapshotRow(now, 2);
    for (auto &[receivedNs, text] : buffered) on({receivedNs, text});
    buffered.clear();
  }

  void snapshotRow(int64_t now, uint8_t kind) {
    snapshots.instrument.add(0), snapshots.received.add(now), snapshots.event.add(lastEventNs), snapshots.kind.add(kind), snapshots.last.add(lastSeq);
    snapshots.epoch.add(epoch), snapshots.bidLevels.add(bids.count), snapshots.askLevels.add(asks.count);
    snapshots.priceScale.add(settings.priceScale), snapshots.quantityScale.add(settings.quantityScale);
    snapshots.row(now);
    if (snapshots.rows >= settings.rowsMax || snapshots.bidPrices.values.count * 32 >= settings.bytesMax) seal(snapshots);
  }

  template <typename Side> void top(const Side &side, Levels &prices, Levels &quantities) {
    size_t left = settings.snapshotDepth;
    for (int64_t tick = side.best; tick >= 0 && left-- > 0; tick = side.next(tick)) prices.add(tick), quantities.add(side.quantityAt(tick));
    prices.endRow(), quantities.endRow();
  }

  void periodic(int64_t now) {
    top(bids, snapshots.bidPrices, snapshots.bidQuantities), top(asks, snapshots.askPrices, snapshots.askQuantities);
    snapshotRow(now, 1);
    changed = false;
  }

  void tick(int64_t now) {
    nextSnapshotNs = now + settings.snapshotNs;
    if (changed) periodic(now);
    sealIfOld(trades, now), sealIfOld(tickers, now), sealIfOld(deltas, now), sealIfOld(snapshots, now);
  }

  template <typename Table> void sealIfOld(Table &table, int64_t now) {
    if (table.rows > 0 && now - table.firstNs >= settings.ageNs) seal(table);
  }
  template <typename Table> void sealIfFull(Table &table) {
    if (table.rows >= settings.rowsMax || table.rows * Table::ROW_BYTES + table.flat * 16 >= settings.bytesMax) seal(table);
  }
  template <typename Table> void seal(Table &table) {
    if (table.rows == 0) return;
    sink.begin(table.rows * (Table::ROW_BYTES + 64) + 32 * flatMax);
    table.put(sink);
    sink.end(table.rows);
    table.rows = table.flat = 0;
  }
};

// ---------------------------------------------------------------- main

static std::string readFile(const char *path) {
  std::FILE *file = std::fopen(path, "rb");
  if (file == nullptr) refuse("cannot open", path);
  std::string text;
  std::vector<char> chunk(1 << 20);
  for (size_t got; (got = std::fread(chunk.data(), 1, chunk.size(), file)) > 0;) text.append(chunk.data(), got);
  std::fclose(file);
  return text;
}

static std::vector<Message> index(std::string &text) {
  std::vector<Message> messages;
  for (size_t from = 0; from < text.size();) {
    size_t to = text.find('\n', from);
    if (to == std::string::npos) to = text.size();
    const size_t space = text.find(' ', from);
    int64_t time = std::strtoll(&text[from], nullptr, 10);
    if (space - from == 16) time *= 1000;
    if (space < to) messages.push_back({time, &text[space + 1]});
    from = to + 1;
  }
  return messages;
}

int main(int argc, char **argv) {
  if (argc != 11) refuse("ten arguments, see the head of ceiling.cpp", "");
  std::string text = readFile(argv[1]);
  const std::vector<Message> messages = index(text);
  const Settings settings{argv[3], std::atoi(argv[4]), std::atoi(argv[5]), size_t(std::atoll(argv[6])), size_t(std::atoll(argv[7])),
                          std::atoll(argv[8]) * MS, std::atoll(argv[9]) * MS, size_t(std::atoll(argv[10]))};
  std::printf("{\"peer\":\"native\",\"version\":\"%s\",\"messages\":%zu,\"seconds\":[", __VERSION__, messages.size());
  std::unique_ptr<Engine> engine;
  for (int run = 0, runs = std::atoi(argv[2]); run <= runs; run++) {
    engine = std::make_unique<Engine>(settings);
    const auto start = std::chrono::steady_clock::now();
    for (const Message &message : messages) engine->on(message);
    engine->drain(messages.back().receivedNs);
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (run > 0) std::printf("%s%.6f", run > 1 ? "," : "", seconds); // the first is for warming up
  }
  double price = 1, quantity = 1;
  for (int digit = 0; digit < settings.priceScale; digit++) price *= 10;
  for (int digit = 0; digit < settings.quantityScale; digit++) quantity *= 10;
  const int64_t bid = engine->bids.best, ask = engine->asks.best;
  std::printf("],\"bid\":[%.*f,%.*f],\"ask\":[%.*f,%.*f]", settings.priceScale, bid / price, settings.quantityScale, engine->bids.quantityAt(bid) / quantity,
              settings.priceScale, ask / price, settings.quantityScale, engine->asks.quantityAt(ask) / quantity);
  std::printf(",\"levels\":[%zu,%zu],\"trades\":%llu,\"tickers\":%llu,\"applied\":%llu,\"stale\":%llu,\"rows\":%llu,\"blocks\":%llu,\"bytes\":%llu}\n",
              engine->bids.count, engine->asks.count, (unsigned long long)engine->tradeCount, (unsigned long long)engine->tickerCount,
              (unsigned long long)engine->applied, (unsigned long long)engine->stale, (unsigned long long)engine->sink.rows,
              (unsigned long long)engine->sink.blocks, (unsigned long long)engine->sink.bytes);
}
