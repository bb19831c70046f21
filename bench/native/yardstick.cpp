// The honest native yardstick: simdjson on-demand and a sorted vector a side, as one would write it in
// an afternoon. One program per question: "doubles" and "integers" (frame bytes -> updated book, prices as
// simdjson gives them, or as exact integers of 8 decimals read in place) and "texts" (simdjson merely finds
// every price and quantity). Requests come as lines "mode checked venue passes path" on stdin; checked is 1
// where Kraken's checksum is to be verified. The program knows each venue's form beforehand and checks the
// sequence where there is one.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include <simdjson.h>
#include <zlib.h>

namespace od = simdjson::ondemand;
using Clock = int64_t;

static Clock now(clockid_t which) {
    timespec t;
    clock_gettime(which, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

// Mantissa at 8 decimals of the number text that starts here; ends at the first byte that is none.
static int64_t decimal8(const char *text) {
    int64_t value = 0;
    for (; unsigned(*text - '0') < 10; text++) value = value * 10 + (*text - '0');
    int missing = 8;
    if (*text == '.')
        for (text++; unsigned(*text - '0') < 10; text++, missing--) value = value * 10 + (*text - '0');
    for (; missing > 0; missing--) value *= 10;
    return value;
}

#define INLINE __attribute__((always_inline)) static inline // a value passed in memory costs 14 ns a number

struct Texts { // a number is where it stands
    using Number = const char *;
    INLINE Number quoted(od::value value) { return od::raw_json_string(value.get_raw_json_string()).raw(); }
    INLINE Number bare(od::value value) { return std::string_view(value.raw_json_token()).data(); }
};

struct Integers {
    using Number = int64_t;
    INLINE Number quoted(od::value value) { return decimal8(Texts::quoted(value)); }
    INLINE Number bare(od::value value) { return decimal8(Texts::bare(value)); }
    static int64_t in(int64_t units, Number number) { return number / (100000000 / units); }
    static void print(Number number) {
        printf("%lld.%08lld", (long long)(number / 100000000), (long long)(number % 100000000));
    }
};

struct Doubles {
    using Number = double;
    INLINE Number quoted(od::value value) { return value.get_double_in_string(); }
    INLINE Number bare(od::value value) { return value.get_double(); }
    static int64_t in(int64_t units, Number number) { return std::llround(number * double(units)); }
    static void print(Number number) { printf("%.17g", number); }
};

template <class Number> struct Level {
    Number key, quantity;
};

template <class Number> struct Side { // ascending keys, the best level last: changes near the top move little
    std::vector<Level<Number>> levels;
    void set(Number key, Number quantity) {
        auto at = std::lower_bound(levels.begin(), levels.end(), key,
                                   [](const auto &level, Number wanted) { return level.key < wanted; });
        bool there = at != levels.end() && at->key == key;
        if (quantity == 0) {
            if (there) levels.erase(at);
        } else if (there) {
            at->quantity = quantity;
        } else {
            levels.insert(at, {key, quantity});
        }
    }
};

template <class Kind, bool checked> struct Book {
    using Numbers = Kind;
    static constexpr bool verifies = checked;
    using Number = typename Kind::Number;
    Side<Number> bids, asks;
    int64_t last = -1;
    void take(bool bid, Number price, Number quantity) {
        if (bid) bids.set(price, quantity);
        else asks.set(-price, quantity);
    }
    void follow(bool right, int64_t id) {
        if (last >= 0 && !right) throw std::runtime_error("gap");
        last = id;
    }
    // Kraken's: CRC-32 of price and quantity of the ten best, asks first, without points and leading zeros
    void verify(uint64_t wanted) {
        char text[20 * 40], *at = text;
        for (auto *side : {&asks, &bids}) {
            size_t count = side->levels.size(), end = count > 10 ? count - 10 : 0;
            for (size_t i = count; i-- > end;) {
                const auto &level = side->levels[i];
                Number price = side == &asks ? -level.key : level.key;
                at = std::to_chars(at, at + 20, Kind::in(10, price)).ptr;
                at = std::to_chars(at, at + 20, Kind::in(100000000, level.quantity)).ptr;
            }
        }
        if (crc32(0, (const Bytef *)text, at - text) != wanted) throw std::runtime_error("checksum");
    }
};

struct Seen { // what is found is only looked at
    using Numbers = Texts;
    static constexpr bool verifies = false;
    uint64_t seen = 0;
    int64_t last = -1;
    void take(bool bid, const char *price, const char *quantity) { seen += bid + *price + *quantity; }
    void follow(bool, int64_t id) { last = id; }
    void verify(uint64_t) {}
};

template <class Sink> static void rows(Sink &sink, bool bid, od::array list) {
    for (od::array row : list) {
        auto field = row.begin();
        auto price = Sink::Numbers::quoted(*field);
        sink.take(bid, price, Sink::Numbers::quoted(*++field));
    }
}

template <class Sink> static void binance(Sink &sink, od::document &message) {
    od::object data = message["data"];
    int64_t first = data["U"], last = data["u"];
    sink.follow(first <= sink.last + 1, last);
    rows(sink, true, data["b"]);
    rows(sink, false, data["a"]);
}

template <class Sink> static void binance_rest(Sink &sink, od::document &message) {
    sink.follow(true, int64_t(message["lastUpdateId"]));
    rows(sink, true, message["bids"]);
    rows(sink, false, message["asks"]);
}

template <class Sink> static void bybit(Sink &sink, od::document &message) {
    od::object data = message["data"];
    rows(sink, true, data["b"]);
    rows(sink, false, data["a"]);
    int64_t id = data["u"];
    sink.follow(id == sink.last + 1, id);
}

template <class Sink> static void okx(Sink &sink, od::document &message) {
    for (od::object data : message["data"].get_array()) {
        rows(sink, false, data["asks"]);
        rows(sink, true, data["bids"]);
        int64_t previous = data["prevSeqId"], id = data["seqId"];
        sink.follow(previous == sink.last, id);
    }
}

template <class Sink> static void coinbase(Sink &sink, od::document &message) {
    int64_t id = message["sequence_num"];
    sink.follow(id == sink.last + 1, id);
    for (od::object event : message["events"].get_array())
        for (od::object row : event["updates"].get_array()) {
            bool bid = *od::raw_json_string(row["side"].get_raw_json_string()).raw() == 'b';
            auto price = Sink::Numbers::quoted(row["price_level"]);
            sink.take(bid, price, Sink::Numbers::quoted(row["new_quantity"]));
        }
}

template <class Sink> static void kraken(Sink &sink, od::document &message) {
    for (od::object data : message["data"].get_array()) {
        for (bool bid : {true, false})
            for (od::object row : data[bid ? "bids" : "asks"].get_array()) {
                auto price = Sink::Numbers::bare(row["price"]);
                sink.take(bid, price, Sink::Numbers::bare(row["qty"]));
            }
        if (Sink::verifies) sink.verify(data["checksum"]);
    }
}

struct Frame {
    const char *text;
    size_t bytes;
};

static std::vector<Frame> split(const std::string &data, size_t padding) {
    std::vector<Frame> frames;
    for (size_t at = 0; at + padding < data.size();) {
        uint32_t bytes;
        memcpy(&bytes, data.data() + at, 4);
        frames.push_back({data.data() + at + 4, bytes});
        at += 4 + bytes;
    }
    return frames;
}

template <class Sink> using Reader = void (*)(Sink &, od::document &);

template <class Sink> static Reader<Sink> reader(const std::string &venue) {
    if (venue == "binance") return binance<Sink>;
    if (venue == "bybit") return bybit<Sink>;
    if (venue == "okx") return okx<Sink>;
    if (venue == "coinbase") return coinbase<Sink>;
    if (venue == "kraken") return kraken<Sink>;
    throw std::runtime_error("unknown venue " + venue);
}

template <class Sink> struct Run {
    od::parser parser;
    std::vector<Clock> totals, each;
    Sink sink;

    void one(Reader<Sink> read, Frame frame) {
        od::document message = parser.iterate(frame.text, frame.bytes, frame.bytes + simdjson::SIMDJSON_PADDING);
        read(sink, message);
    }
    void pass(const std::string &venue, const std::vector<Frame> &frames, bool stamp) {
        Reader<Sink> read = reader<Sink>(venue);
        sink = Sink();
        one(venue == "binance" ? binance_rest<Sink> : read, frames[0]);
        Clock started = now(CLOCK_PROCESS_CPUTIME_ID), before = now(CLOCK_MONOTONIC);
        for (size_t i = 1; i < frames.size(); i++) {
            one(read, frames[i]);
            if (stamp) {
                Clock after = now(CLOCK_MONOTONIC);
                each.push_back(after - before);
                before = after;
            }
        }
        if (!stamp) totals.push_back(now(CLOCK_PROCESS_CPUTIME_ID) - started);
    }
};

template <class Kind, class Side> static void print_side(const char *name, const Side &side, int sign) {
    printf("\"%s\":[", name);
    for (size_t i = side.levels.size(); i-- > 0;) {
        printf(i + 1 == side.levels.size() ? "[" : ",[");
        Kind::print(sign * side.levels[i].key);
        printf(",");
        Kind::print(side.levels[i].quantity);
        printf("]");
    }
    printf("]");
}
template <class Kind, bool checked> static void print_sink(const Book<Kind, checked> &book) {
    print_side<Kind>("bid", book.bids, 1);
    printf(",");
    print_side<Kind>("ask", book.asks, -1);
}
static void print_sink(const Seen &found) { printf("\"seen\":%llu", (unsigned long long)found.seen); }

template <class Sink> static void answer(const std::string &venue, int passes, const std::vector<Frame> &frames) {
    Run<Sink> run;
    run.pass(venue, frames, true); // the first pass warms memory and branches, its stamps go
    run.each.clear();
    run.pass(venue, frames, true);
    for (int i = 0; i < passes; i++) run.pass(venue, frames, false);
    std::sort(run.each.begin(), run.each.end());
    std::sort(run.totals.begin(), run.totals.end());
    printf("{\"cpu_ns\":%lld,\"p50_ns\":%lld,\"p99_ns\":%lld,\"book\":{", (long long)run.totals[run.totals.size() / 2],
           (long long)run.each[run.each.size() / 2], (long long)run.each[run.each.size() * 99 / 100]);
    print_sink(run.sink);
    printf("}}\n");
    fflush(stdout);
}

template <class Kind>
static void keep(bool checked, const std::string &venue, int passes, const std::vector<Frame> &frames) {
    if (checked) answer<Book<Kind, true>>(venue, passes, frames);
    else answer<Book<Kind, false>>(venue, passes, frames);
}

int main() {
    std::string mode, venue, path;
    int passes;
    bool checked;
    while (std::cin >> mode >> checked >> venue >> passes >> path) {
        std::ifstream file(path, std::ios::binary);
        std::string data((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        data.append(simdjson::SIMDJSON_PADDING, ' ');
        auto frames = split(data, simdjson::SIMDJSON_PADDING);
        if (mode == "doubles") keep<Doubles>(checked, venue, passes, frames);
        else if (mode == "integers") keep<Integers>(checked, venue, passes, frames);
        else answer<Seen>(venue, passes, frames);
    }
}
