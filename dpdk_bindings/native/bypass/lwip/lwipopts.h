/* How we build lwIP 2.2.1. Whatever is not named here is lwIP's own default. */
#ifndef BW_LWIPOPTS_H
#define BW_LWIPOPTS_H

/* one thread, its poll loop, no sockets */
#define NO_SYS 1
#define SYS_LIGHTWEIGHT_PROT 0
#define LWIP_SOCKET 0
#define LWIP_NETCONN 0
#define LWIP_NETIF_API 0
#define LWIP_SINGLE_NETIF 1

/* memory: fixed, in our own data segment */
#define MEM_ALIGNMENT 8
#define MEM_SIZE (8 << 20)
#define MEMP_NUM_TCP_PCB 256
#define MEMP_NUM_TCP_PCB_LISTEN 1
#define MEMP_NUM_TCP_SEG 8192 /* out of order and unacknowledged; below the buffers of a port */
#define MEMP_NUM_PBUF 256
#define MEMP_NUM_ARP_QUEUE 64
#define MEMP_NUM_ND6_QUEUE 64
#define PBUF_POOL_SIZE 16
#define LWIP_PBUF_REF_T uint16_t
#define LWIP_SUPPORT_CUSTOM_PBUF 1
#define LWIP_NETIF_TX_SINGLE_PBUF 1

/* protocols: what a TCP client needs */
#define LWIP_UDP 0
#define LWIP_RAW 0
#define LWIP_DNS 0
#define LWIP_DHCP 0
#define LWIP_IGMP 0
#define LWIP_ICMP 1
#define IP_FORWARD 0
#define IP_FRAG 0
#define IP_REASSEMBLY 0
#define LWIP_IPV6 1
#define LWIP_IPV6_FORWARD 0
#define LWIP_IPV6_FRAG 0
#define LWIP_IPV6_REASS 0
#define IPV6_FRAG_COPYHEADER 1 /* pointers are 64 bits wide */
#define LWIP_IPV6_AUTOCONFIG 0
#define LWIP_IPV6_SEND_ROUTER_SOLICIT 0
#define LWIP_IPV6_DUP_DETECT_ATTEMPTS 0 /* the kernel did, before we took the address over */
#define LWIP_IPV6_ADDRESS_LIFETIMES 1 /* no address is 'static': our routes say what is on the link */
#define LWIP_IPV6_NUM_ADDRESSES 9
#define LWIP_ND6_NUM_NEIGHBORS 32
#define LWIP_ND6_NUM_DESTINATIONS 100 /* nd6_tmr() counts them in 8 bits with a sign */
#define LWIP_ND6_ALLOW_RA_UPDATES 0
#define ARP_TABLE_SIZE 64
#define ARP_QUEUEING 1
#define ETH_PAD_SIZE 0

/* TCP */
#define TCP_MSS 1460
#define LWIP_WND_SCALE 1
#define TCP_RCV_SCALE 7
#define TCP_WND (4 << 20)
#define TCP_WND_UPDATE_THRESHOLD (TCP_WND / 16)
#define TCP_SND_BUF (256 << 10)
#define TCP_SND_QUEUELEN 1024
#define TCP_SNDLOWAT 4096
#define LWIP_DISABLE_TCP_SANITY_CHECKS 1 /* they compare 16-bit sizes */
#define LWIP_TCP_SACK_OUT 1
#define LWIP_TCP_MAX_SACK_NUM 4
#define LWIP_TCP_TIMESTAMPS 1
#define LWIP_TCP_KEEPALIVE 1
#define TCP_TMR_INTERVAL 10     /* ms; retransmission is decided every 20 ms instead of 500 */
#define LWIP_TCP_RTO_TIME 1000  /* RFC 6298 2.1 */
#define TCP_OOSEQ_TIMEOUT 30U   /* times the RTO before what came early is thrown away */
#define TCP_MSL 30000UL
#define TCP_FIN_WAIT_TIMEOUT 20000

/* checksums: received ones are checked before lwIP sees them (packet_check.h) */
#define CHECKSUM_CHECK_IP 0
#define CHECKSUM_CHECK_TCP 0
#define CHECKSUM_CHECK_ICMP 0
#define CHECKSUM_CHECK_ICMP6 0

#define LWIP_NETIF_LINK_CALLBACK 0
#define LWIP_STATS 1
#define LWIP_STATS_LARGE 1
#define LWIP_STATS_DISPLAY 0

#define LWIP_HOOK_FILENAME "lwip_hooks.h"

#endif
