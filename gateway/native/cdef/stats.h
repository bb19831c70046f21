typedef struct bw_gateway_stats bw_gateway_stats;
const bw_gateway_stats *bw_gateway_stats_open(const char *path, char *error, uint32_t error_bytes);
void bw_gateway_stats_close(const bw_gateway_stats *stats);
uint32_t bw_gateway_counter_count(void);
const char *bw_gateway_counter_name(uint32_t index);
uint64_t bw_gateway_counter_value(const bw_gateway_stats *stats, uint32_t index);
uint64_t bw_gateway_latency_bucket(const bw_gateway_stats *stats, uint32_t which, uint32_t bucket);
uint64_t bw_gateway_latency_sum(const bw_gateway_stats *stats, uint32_t which);
