typedef struct bw_shm_writer bw_shm_writer;
typedef struct bw_event_ring bw_event_ring;
typedef struct bw_engine bw_engine;
typedef struct bw_engine_spec {
    const bw_plan *plan;
    bw_shm_writer *shm;
    bw_event_ring *events;
    uint32_t levels_max;
    uint64_t pending_bytes;
    uint32_t connections_max;
    uint32_t crossed_max;
} bw_engine_spec;

