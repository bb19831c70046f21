// The honest native yardstick: simdjson on-demand and a sorted vector a side, as one would write it in
// an afternoon. One program per question: "book" (frame bytes -> updated book) and "texts" (simdjson
// merely finds every price and quantity). Requests come as lines "mode venue passes path" on stdin.
// The program knows each venue's form beforehand, checks the sequence where there is one, and takes
// prices as integers of 8 decimals, which is exact and quicker than doubles.
#include <algorithm>
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

namespace od = simdjson::ondemand;
using Clock = int64_t;

static Clock now(clockid_t which) {
    timespec t;
    clock_gettime(which, &t);
    return t.tv_sec * 1000000000 + t.tv_nsec;
}

struct Level {
    int64_t key, quantity;
};

struct Side { // ascending keys, the best level last: changes near the top move little
    std::vector<Level> levels;
    void set(int64_t key, int64_t quantity) {
        auto at = std::lower_bound(levels.begin(), levels.end(), key,
                                   [](const Level &level, int64_t wanted) { return level.key < wanted; });
        bool there = at != levels.end() && at->key == key;
        if (quantity == 0) {
            if (there) levels.erase(at);
        } else if (there) {
            at->quantity = quantity;
        } else {
            levels.insert(at, Level{key, quantity});
        }
    }
};

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

struct Book {
    Side bids, asks;
    int64_t last = -1;
    void take(bool bid, const char *price, const char *quantity) {
        int64_t key = decimal8(price);
        if (bid) bids.set(key, decimal8(quantity));
        else asks.set(-key, decimal8(quantity));
    }
    void follow(bool right, int64_t id) {
        if (last >= 0 && !right) throw std::runtime_error("gap");
        last = id;
    }
};

struct Texts { // what is found is only looked at
    uint64_t seen = 0;
    int64_t last = -1;
    void take(bool bid, const char *price, const char *quantity) { seen += bid + *price + *quantity; }
    void follow(bool, int64_t id) { last = id; }
};

template <class Sink> static void rows(Sink &sink, bool bid, od::array list) {
    for (od::array row : list) {
        auto field = row.begin();
        const char *price = od::raw_json_string((*field).get_raw_json_string()).raw();
        const char *quantity = od::raw_json_string((*++field).get_raw_json_string()).raw();
        sink.take(bid, price, quantity);
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
            const char *price = od::raw_json_string(row["price_level"].get_raw_json_string()).raw();
            sink.take(bid, price, od::raw_json_string(row["new_quantity"].get_raw_json_string()).raw());
        }
}

template <class Sink> static void kraken(Sink &sink, od::document &message) {
    for (od::object data : message["data"].get_array())
        for (bool bid : {true, false})
            for (od::object row : data[bid ? "bids" : "asks"].get_array()) {
                const char *price = std::string_view(row["price"].raw_json_token()).data();
                sink.take(bid, price, std::string_view(row["qty"].raw_json_token()).data());
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

static void print_side(const char *name, const Side &side, int sign) {
    printf("\"%s\":[", name);
    for (size_t i = side.levels.size(); i-- > 0;) {
        const Level &level = side.levels[i];
        printf("%s[%lld.%08lld,%lld.%08lld]", i + 1 == side.levels.size() ? "" : ",",
               (long long)(sign * level.key / 100000000), (long long)(sign * level.key % 100000000),
               (long long)(level.quantity / 100000000), (long long)(level.quantity % 100000000));
    }
    printf("]");
}
static void print_sink(const Book &book) {
    print_side("bid", book.bids, 1);
    printf(",");
    print_side("ask", book.asks, -1);
}
static void print_sink(const Texts &texts) { printf("\"seen\":%llu", (unsigned long long)texts.seen); }

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

int main() {
    std::string mode, venue, path;
    int passes;
    while (std::cin >> mode >> venue >> passes >> path) {
        std::ifstream file(path, std::ios::binary);
        std::string data((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
        data.append(simdjson::SIMDJSON_PADDING, ' ');
        auto frames = split(data, simdjson::SIMDJSON_PADDING);
        if (mode == "book") answer<Book>(venue, passes, frames);
        else answer<Texts>(venue, passes, frames);
    }
}
