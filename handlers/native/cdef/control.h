typedef struct bw_event {
    uint32_t type;
    uint32_t connection;
    uint32_t book;
    uint32_t code;
    int64_t a;
    int64_t b;
    int64_t time_ns;
    uint32_t text_bytes;
    uint32_t text_cut;
    char text[432];
} bw_event;
