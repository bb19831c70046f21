/* Where lwIP asks us: initial sequence numbers, gateways, and each segment of a connection. */
#ifndef BW_LWIP_HOOKS_H
#define BW_LWIP_HOOKS_H

#include <lwip/ip_addr.h>

struct netif;
struct pbuf;
struct tcp_hdr;
struct tcp_pcb;

u32_t bw_lwip_isn(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port);
const ip4_addr_t *bw_lwip_gateway4(struct netif *netif, const ip4_addr_t *destination);
const ip6_addr_t *bw_lwip_gateway6(struct netif *netif, const ip6_addr_t *destination);
s8_t bw_lwip_segment(struct tcp_pcb *pcb, struct tcp_hdr *header, u16_t option_bytes, struct pbuf *payload);

#define LWIP_HOOK_TCP_ISN bw_lwip_isn
#define LWIP_HOOK_ETHARP_GET_GW bw_lwip_gateway4
#define LWIP_HOOK_ND6_GET_GW bw_lwip_gateway6
#define LWIP_HOOK_TCP_INPACKET_PCB(pcb, header, optlen, opt1len, opt2, p) \
    bw_lwip_segment(pcb, header, optlen, p)

#endif
